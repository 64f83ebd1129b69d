// The class Hypercore against a peer that is made of upstream's modules and lies: it is named or cut off, nothing false
// is stored, and an honest peer beside it brings everything.

import assert from 'node:assert/strict'
import test, { before, after } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'

import Hypercore from 'hypertab/hypercore'

import { eventually } from './support/both.mjs'
import { defer } from './support/cleanup.mjs'
import { temporaryFolder } from './support/folder.mjs'
import { startLiar } from './support/liar.mjs'
import { connect, listen } from './support/tcp.mjs'
import { block, createCore, seed, summary } from './support/upstream.mjs'

const LENGTH = 40
const SIZE = 700

/** Memory that a lie may take in this process, bytes. */
const MAX_GROWTH = 256 << 20

/** What becomes of a lie: the stream ends with an error, an event says which peer it was, or it is not worth a word. */
const [CUT_OFF, NAMED, NOTHING] = ['cut off', 'named', 'nothing']

const flip = (bytes, at = bytes.byteLength >> 1) => {
  const copy = Buffer.from(bytes)
  copy[at] ^= 1
  return copy
}

/** Changes answers that have a part. */
const change = (part, edit) => ({ data: (data) => (data[part] ? { ...data, [part]: edit(data[part]) } : data) })
const nodes = (edit) => change('block', (block) => ({ ...block, nodes: block.nodes.map(edit) }))
const upgrade = (edit) => change('upgrade', (upgrade) => ({ ...upgrade, ...edit(upgrade) }))
const frames = (send) => ({ onopen: (liar) => send(liar) })

let first = null

/** @type {Array<[string, string | string[], object]>} */
const lies = [
  ['a forged block', NAMED, change('block', (block) => ({ ...block, value: flip(block.value) }))],
  ['the block of another place', NAMED, change('block', (proof) => ({ ...proof, value: block((proof.index + 1) % LENGTH, SIZE) }))],
  ['a longer block', NAMED, change('block', (block) => ({ ...block, value: Buffer.concat([block.value, Buffer.from('!')]) }))],
  ['a node with another hash', NAMED, nodes((node) => ({ ...node, hash: flip(node.hash) }))],
  ['a node of another size', NAMED, nodes((node) => ({ ...node, size: node.size + 1 }))],
  ['a proof without its nodes', NAMED, change('block', (block) => ({ ...block, nodes: [] }))],
  ['a head with a bad signature', NAMED, upgrade(({ signature }) => ({ signature: flip(signature) }))],
  ['a head that is longer than signed', NAMED, upgrade(({ length }) => ({ length: length + 1 }))],
  ['a head without its nodes', NAMED, upgrade(() => ({ nodes: [] }))],
  ['the first answer, again and again', [NAMED, NOTHING], { data: (data) => { first ??= data; return { ...first, request: data.request } } }],
  ['answers to requests that nobody made', NOTHING, { data: (data) => ({ ...data, request: data.request + 1000 }) }],
  ['answers with a fork that nobody made', [NAMED, NOTHING], { data: (data) => ({ ...data, fork: data.fork + 1 }) }],
  ['a fork that nobody made, from the start', [NAMED, NOTHING], { sync: (sync) => ({ ...sync, fork: 5, length: 1000 }) }],
  ['the capability of another key', CUT_OFF, { capability: (capability) => flip(capability) }],
  ['garbage in place of an encrypted frame', CUT_OFF, frames(({ socket }) => socket.write(Buffer.from([64, 0, 0, ...Array(64).fill(0xa5)])))],
  ['garbage inside an encrypted frame', CUT_OFF, frames(({ stream }) => stream.write(Buffer.alloc(300, 0xff)))],
  ['a message of an unknown type', NOTHING, frames((liar) => liar.sendRaw(47, Buffer.alloc(20, 1)))],
  ['a block that says it has 2^40 bytes', CUT_OFF, frames((liar) => liar.sendRaw('data', Buffer.from([1, 1, 0, 3, 0xff, 0, 0, 0, 0, 0, 1, 0, 0])))],
  ['a list of 2^48 nodes', CUT_OFF, frames((liar) => liar.sendRaw('data', Buffer.from([1, 1, 0, 3, 0xff, 0, 0, 0, 0, 0, 0, 1, 0])))],
  ['a range of more blocks than there are numbers', [CUT_OFF, NOTHING], frames((liar) => liar.sendRaw('range', Buffer.from([0, ...Array(18).fill(0xff)])))],
  ['half a message', CUT_OFF, frames((liar) => liar.sendRaw('request', Buffer.from([1])))],
  ['a flood of requests', [NOTHING, CUT_OFF, NAMED], frames((liar) => {
    for (let id = 1; id < 100_000; id++) liar.send('request', { id, fork: 0, block: { index: id % LENGTH, nodes: 0 }, hash: null, seek: null, upgrade: null, manifest: false, priority: 0 })
  })],
  ['a flood of requests, and nobody who reads the answers', [NOTHING, CUT_OFF, NAMED], frames((liar) => {
    liar.socket.pause()
    for (let id = 1; id < 100_000; id++) liar.send('request', { id, fork: 0, block: null, hash: null, seek: null, upgrade: { start: 0, length: LENGTH }, manifest: true, priority: 0 })
  })],
  ['a flood of wants', [NOTHING, CUT_OFF, NAMED], frames((liar) => {
    for (let i = 0; i < 50_000; i++) liar.send('want', { start: (i * 32_768) % 2 ** 45, length: 32_768, any: false })
  })],
  ['a flood of ranges and bitfields', [NOTHING, CUT_OFF], frames((liar) => {
    for (let i = 0; i < 50_000; i++) liar.send('range', { drop: false, start: i * 100_000, length: 3 })
    for (let i = 0; i < 2000; i++) liar.send('bitfield', { start: i * 32_768, bitfield: new Uint32Array(1024).fill(0x55555555) })
  })],
  ['a flood of extensions', [NOTHING, CUT_OFF], frames((liar) => {
    for (let i = 0; i < 20_000; i++) liar.send('extension', { name: `extension ${i}`, message: Buffer.alloc(500) })
  })],
  ['channels without end', [NOTHING, CUT_OFF], frames(({ mux }) => {
    for (let i = 0; i < 20_000; i++) mux.createChannel({ protocol: 'hypercore/alpha', id: Buffer.from(block(i, 32)) }).open()
  })]
]

let writer
const undo = []
before(async () => {
  writer = await createCore({ after: (step) => undo.push(step) })
  await seed(writer, LENGTH, SIZE)
})
after(async () => { for (const step of undo) await step() })

for (const [name, fates, lie] of lies) {
  test(name, async (t) => {
    const reader = new Hypercore(temporaryFolder(t), writer.key)
    defer(t, () => reader.close())
    await reader.ready()
    const named = []
    reader.on('verification-error', (error, request, response, peer) => named.push([error, peer]))
    reader.on('invalid-request', (error, request, peer) => named.push([error, peer]))
    const before = process.memoryUsage().rss

    const { stream, closed } = await connect(t, reader, await startLiar(t, writer, lie))
    let end = null
    closed.then((error) => { end = { error } })
    const liar = await Promise.race([new Promise((resolve) => reader.once('peer-add', resolve)), closed.then(() => null)])
    const whole = reader.download({ start: 0, end: LENGTH }).done()
    const fate = () => end?.error ? CUT_OFF : named.length > 0 ? NAMED : NOTHING
    const allowed = [fates].flat()
    if (allowed.includes(NOTHING)) await sleep(150)
    else await eventually(() => fate() !== NOTHING, 'the lie is noticed', 10_000)
    assert.ok(allowed.includes(fate()), `${fate()}: ${end?.error ?? named[0]?.[0]}`)
    for (const [, peer] of named) assert.equal(peer, liar)

    await connect(t, reader, await listen(t, writer))
    await whole
    assert.deepEqual(await summary(reader), await summary(writer))
    for (let i = 0; i < LENGTH; i++) assert.deepEqual(await reader.get(i, { timeout: 1000 }), block(i, SIZE))
    const growth = process.memoryUsage().rss - before
    assert.ok(growth < MAX_GROWTH, `${growth >> 20} MiB for a lie`)
    stream.destroy()
  })
}
