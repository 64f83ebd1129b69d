// More tests in the manner of upstream's own: streams that carry several cores, lengths, clearing, purging, streams of
// blocks, time-outs, encodings, encryption and extensions.

import b4a from 'b4a'
import crypto from 'hypercore-crypto'
import c from 'compact-encoding'

import { eventually, outcome } from './support/both.mjs'
import { eventFlush, sleep, suite, suiteOfPairs, unreplicate } from './support/suite.mjs'

const keyPair = crypto.keyPair(b4a.alloc(32, 3))

suiteOfPairs('basic multiplexing', async (t, { createA, createB }) => {
  const [a1, a2] = [await createA(t), await createA(t)]
  const [b1, b2] = [await createB(t, a1.key), await createB(t, a2.key)]
  const a = a1.replicate(a2.replicate(true, { keepAlive: false }))
  const b = b1.replicate(b2.replicate(false, { keepAlive: false }))
  a.pipe(b).pipe(a)
  t.teardown(() => unreplicate([a, b]))
  await a1.append('hi')
  t.alike(await b1.get(0), b4a.from('hi'))
  await a2.append('ho')
  t.alike(await b2.get(0), b4a.from('ho'))
})

suiteOfPairs('async multiplexing', async (t, { createA, createB }) => {
  const a1 = await createA(t)
  const b1 = await createB(t, a1.key)
  const a = a1.replicate(true, { keepAlive: false })
  const b = b1.replicate(false, { keepAlive: false })
  a.pipe(b).pipe(a)
  t.teardown(() => unreplicate([a, b]))
  const a2 = await createA(t)
  await a2.append('ho')
  const b2 = await createB(t, a2.key)
  // Opened on one side first.
  a2.replicate(a)
  b2.replicate(b)
  await eventually(() => b2.peers.length === 1, 'the peer')
  t.is(a2.peers.length, 1)
  t.alike(await b2.get(0), b4a.from('ho'))
})

suiteOfPairs('multiplexing multiple times over the same stream', async (t, { createA, createB }) => {
  const a1 = await createA(t)
  await a1.append('hi')
  const b1 = await createB(t, a1.key)
  const n1 = a1.replicate(true, { keepAlive: false })
  const n2 = b1.replicate(false, { keepAlive: false })
  n1.pipe(n2).pipe(n1)
  t.teardown(() => unreplicate([n1, n2]))
  a1.replicate(n1)
  a1.replicate(n1)
  await b1.get(0)
  b1.replicate(n2)
  t.alike(await b1.get(0), b4a.from('hi'))
  t.is(a1.peers.length, 1)
  t.is(b1.peers.length, 1)
})

suiteOfPairs('destroying a stream and re-replicating works', async (t, { createA, createB, replicate }) => {
  const core = await createA(t)
  while (core.length < 33) await core.append(b4a.from([core.length]))
  const clone = await createB(t, core.key)
  const streams = replicate(core, clone, t)
  const all = []
  for (let i = 0; i < 33; i++) all.push(clone.get(i))
  clone.once('download', () => { streams[0].destroy() })
  await new Promise((resolve) => { streams[0].once('close', resolve) })
  const [one, other] = replicate(core, clone, t)
  await Promise.all(all)
  t.is(clone.contiguousLength, 33)
  await unreplicate([one, other])
})

suiteOfPairs('large linear download', async (t, { createA, createB, replicate }) => {
  const a = await createA(t)
  const blocks = Array.from({ length: 1000 }, (_, i) => `block ${i}`)
  await a.append(blocks)
  const b = await createB(t, a.key)
  replicate(a, b, t)
  let downloads = 0
  b.on('download', () => { downloads++ })
  await b.download({ start: 0, end: a.length, linear: true }).done()
  t.is(downloads, 1000)
  t.is(b.contiguousLength, 1000)
})

suiteOfPairs('range download, single block missing', async (t, { createA, createB, replicate }) => {
  const a = await createA(t)
  const b = await createB(t, a.key)
  await a.append(Array.from({ length: 30 }, () => b4a.from([0])))
  replicate(a, b, t)
  await b.download({ start: 0, end: 30 }).done()
  await b.clear(15)
  await b.download({ start: 0, end: 30 }).done()
  t.ok(await b.has(0, 30))
})

suiteOfPairs('range download, repeated', async (t, { createA, createB, replicate }) => {
  const a = await createA(t)
  const b = await createB(t, a.key)
  await a.append(Array.from({ length: 30 }, () => b4a.from([0])))
  replicate(a, b, t)
  for (let round = 0; round < 3; round++) await b.download({ start: 0, end: 30 }).done()
  t.is(b.contiguousLength, 30)
})

suiteOfPairs('manifests eagerly sync', async (t, { createA, createB, replicate }) => {
  const a = await createA(t, { compat: false })
  const b = await createB(t, a.key)
  replicate(a, b, t)
  await eventually(() => b.manifest !== null, 'the manifest')
  t.alike(b.manifest, a.manifest)
})

suiteOfPairs('manifests gossip eagerly', async (t, { createA, createB, replicate }) => {
  const a = await createA(t, { compat: false })
  const b = await createB(t, a.key)
  const d = await createA(t, a.key)
  replicate(a, b, t)
  replicate(b, d, t)
  await eventually(() => d.manifest !== null, 'the manifest')
  t.alike(d.manifest, a.manifest)
})

suite('can define default max-inflight blocks for replicator peers', async (t, { create, replicate, note }) => {
  const a = await create(t, { inflightRange: [123, 123] })
  await a.append('some block')
  const b = await create(t, a.key)
  replicate(a, b, t)
  await b.get(0)
  t.alike(a.peers[0].inflightRange, [123, 123])
  note(b.peers[0].inflightRange, a.replicator.inflightRange, b.replicator.inflightRange)
})

suiteOfPairs('remote length', async (t, { createA, createB, replicate }) => {
  const a = await createA(t)
  await a.append(['a', 'b'])
  const b = await createB(t, a.key)
  replicate(a, b, t)
  await eventually(() => b.peers.length === 1 && b.peers[0].remoteLength === 2, 'the length')
  await eventually(() => b.length === 2 && a.peers[0].remoteLength === 2, 'the answer')
  await a.append('c')
  await eventually(() => b.peers[0].remoteLength === 3 && a.peers[0].remoteLength === 3, 'the next length')
  t.is(b.peers[0].remoteFork, 0)
  t.is(a.peers[0].lengthAcked >= 2, true)
})

suiteOfPairs('remote contiguous length', async (t, { createA, createB, replicate }) => {
  const a = await createA(t)
  await a.append(['a', 'b', 'c'])
  const b = await createB(t, a.key)
  replicate(a, b, t)
  t.is(a.remoteContiguousLength, 0)
  await b.download({ start: 0, end: 3 }).done()
  await eventually(() => a.remoteContiguousLength === 3, 'all')
  await a.append('d')
  t.is(a.remoteContiguousLength, 3)
})

suite('clear', async (t, { create, note }) => {
  const a = await create(t, { keyPair })
  await a.append(['a', 'b', 'c'])
  t.is(a.contiguousLength, 3)
  note(await a.clear(1), a.contiguousLength)
  t.ok(await a.has(0))
  t.absent(await a.has(1))
  t.ok(await a.has(2))
  note(await a.clear(0, 3, { diff: true }), await a.clear(2, 2), await a.clear(9, 12), a.contiguousLength)
  note(await outcome(a.clear(-1)), await outcome(a.clear(2, 1)))
})

suite('clear + replication, gc and reopen', async (t, { create, createStored, replicate }) => {
  const stored = await createStored(t)
  let a = await stored()
  await a.append(['a', 'b', 'c'])
  const b = await create(t, a.key)
  const streams = replicate(a, b, t)
  await b.download({ start: 0, end: 3 }).done()
  await a.clear(1)
  t.absent(await a.has(1), 'a cleared')
  t.alike(await a.get(1), b4a.from('b'), 'a downloaded from b')
  await a.clear(0, 2)
  await unreplicate(streams)
  await a.close()
  a = await stored()
  await a.ready()
  t.is(a.contiguousLength, 0)
  t.alike([await a.has(0), await a.has(1), await a.has(2)], [false, false, true])
})

suite('clear blocks across pages of the bitfield', async (t, { create }) => {
  const a = await create(t)
  await a.append(Array.from({ length: 66_000 }, () => 'x'))
  await a.clear(32_000, 65_600)
  t.alike([await a.has(31_999), await a.has(32_000), await a.has(65_599), await a.has(65_600)], [true, false, false, true])
  t.is(a.contiguousLength, 32_000)
  t.is(a.core.bitfield.firstUnset(0), 32_000)
  t.is(a.core.bitfield.firstSet(32_000), 65_600)
})

suite('basic read stream, and a live one', async (t, { create, note }) => {
  const core = await create(t)
  const expected = ['hello', 'world', 'verden', 'welt']
  await core.append(expected)
  const seen = []
  for await (const data of core.createReadStream()) seen.push(b4a.toString(data))
  t.alike(seen, expected)
  note((await collect(core.createReadStream({ start: 1, end: 3 }))).map((block) => b4a.toString(block)), (await collect(core.createReadStream({ start: 3 }))).map((block) => b4a.toString(block)))
  const live = core.createReadStream({ live: true, start: 3 })
  const got = []
  live.on('data', (data) => { got.push(b4a.toString(data)) })
  await eventually(() => got.length === 1)
  await core.append('more')
  await eventually(() => got.length === 2)
  t.alike(got, ['welt', 'more'])
  live.destroy()
})

suite('a read stream is of the log as it was, unless it is told otherwise', async (t, { create }) => {
  const core = await create(t)
  await core.append(['a', 'b'])
  const fixed = core.createReadStream()
  const growing = core.createReadStream({ snapshot: false })
  await eventFlush()
  const one = new Promise((resolve) => { fixed.once('readable', resolve) })
  await one
  await core.append('c')
  t.is((await collect(fixed)).length, 2)
  t.is((await collect(growing)).length, 3)
})

suite('basic byte stream', async (t, { create }) => {
  const core = await create(t)
  const expected = ['hello', 'world', 'verden', 'welt']
  await core.append(expected)
  const all = b4a.from(expected.join(''))
  for (const [byteOffset, byteLength] of [[0, -1], [5, -1], [0, 8], [2, 3], [4, 9], [20, -1], [all.byteLength, -1], [3, 0]]) {
    const read = b4a.concat(await collect(core.createByteStream({ byteOffset, byteLength })))
    t.alike(b4a.from(read), all.subarray(byteOffset, byteLength === -1 ? all.byteLength : byteOffset + byteLength))
  }
})

suiteOfPairs('basic byte stream from a peer, with blocks ahead', async (t, { createA, createB, replicate }) => {
  const core = await createA(t)
  const expected = Array.from({ length: 20 }, (_, i) => `block number ${i}.`)
  await core.append(expected)
  const clone = await createB(t, core.key)
  replicate(core, clone, t)
  await clone.update({ wait: true })
  const read = b4a.concat(await collect(clone.createByteStream({ byteOffset: 17, byteLength: 100, prefetch: 4 })))
  t.alike(b4a.from(read), b4a.from(expected.join('')).subarray(17, 117))
})

suite('basic write stream', async (t, { create, note }) => {
  const core = await create(t, { valueEncoding: 'utf-8' })
  const ws = core.createWriteStream()
  const expected = ['hello', 'world', 'verden', 'welt']
  for (const block of expected) ws.write(block)
  ws.end()
  await new Promise((resolve) => { ws.on('finish', resolve) })
  t.is(core.length, 4)
  for (let i = 0; i < 4; i++) t.is(await core.get(i), expected[i])
  const bad = core.createWriteStream()
  let failed
  bad.on('error', (error) => { failed = error.name })
  await core.close()
  bad.write('x')
  await new Promise((resolve) => { bad.on('close', resolve) })
  note(failed !== undefined)
})

suite('core and session timeout property', async (t, { create }) => {
  const core = await create(t, { timeout: 50 })
  t.is(core.timeout, 50)
  const session = core.session()
  await session.ready()
  t.is(session.timeout, 50)
  const none = core.session({ timeout: 0 })
  await none.ready()
  t.is(none.timeout, 0)
  await session.close()
  await none.close()
})

suite('preread timeout / get timeout / cancel close', async (t, { create }) => {
  const core = await create(t)
  await t.exception(core.get(0, { timeout: 1 }), /timed out/)
  const other = await create(t, core.key, { timeout: 20 })
  await t.exception(other.get(0), /timed out/)
  const waiting = other.get(0, { timeout: 0 })
  const seeking = other.seek(3, { timeout: 0 })
  waiting.catch(() => {})
  seeking.catch(() => {})
  // Upstream reads from storage first, and a session that closes meanwhile fails otherwise, as ours does in the same turn.
  await new Promise((resolve) => setTimeout(resolve))
  await eventually(() => other.activeRequests.length === 2, 'both requests')
  await other.close()
  await t.exception(waiting)
  await t.exception(seeking)
  await t.exception(other.get(0), /closed/i)
})

suite('encodings', async (t, { create, note }) => {
  for (const valueEncoding of ['json', 'utf-8', 'utf8', 'binary', 'hex', 'base64', 'ascii', c.uint, { encode: (v) => b4a.from(`<${v}>`), decode: (v) => `${b4a.toString(v)}!` }]) {
    const core = await create(t, { valueEncoding })
    const value = valueEncoding === 'json' ? { a: [1] } : valueEncoding === c.uint ? 300 : valueEncoding === 'binary' ? b4a.from('00ff', 'hex') : '00ff'
    note(await core.append(value), await core.get(0), await core.get(0, { valueEncoding: 'binary' }), core.byteLength)
  }
  const core = await create(t)
  await core.append('text')
  note(await core.get(0, { valueEncoding: 'utf-8' }))
  t.alike(core.valueEncoding, null)
})

suite('encodings - supports multiple types of encodings for sessions', async (t, { create }) => {
  const core = await create(t, { valueEncoding: 'json' })
  await core.append({ hello: 'world' })
  const session = core.session({ valueEncoding: 'utf-8' })
  await session.ready()
  t.is(await session.get(0), '{"hello":"world"}')
  const inherits = core.session()
  await inherits.ready()
  t.alike(await inherits.get(0), b4a.from('{"hello":"world"}'))
  await session.close()
  await inherits.close()
})

suite('encrypted append and get, with reopening and sessions', async (t, { create, createStored, note }) => {
  const encryption = { key: b4a.alloc(32, 7) }
  const stored = await createStored(t)
  let core = await stored({ keyPair, encryption })
  await core.append(['hello', 'world'])
  t.is(core.byteLength, 10)
  t.is(core.core.state.byteLength, 10 + 2 * core.padding)
  const info = await core.info()
  note(info.byteLength, info.padding, info.length)
  const session = core.session({ encryption: null })
  await session.ready()
  note((await session.get(0)).byteLength)
  await session.close()
  note(await core.seek(5), await core.seek(7))
  await core.close()
  core = await stored({ encryption })
  t.alike(await core.get(0), b4a.from('hello'))
  await core.close()
  core = await stored()
  t.unlike(await core.get(0), b4a.from('hello'))
  await core.setEncryptionKey(encryption.key)
  t.alike(await core.get(0), b4a.from('hello'))
  await core.truncate(1)
  await core.append('again')
  t.alike(await core.get(1), b4a.from('again'))
  note(await core.get(1, { raw: true }))
  await t.exception(core.setEncryption({ padding: 3 }))
})

suite('an encryption provider of a program', async (t, { create, note }) => {
  const calls = []
  const provider = {
    padding (context, index) { return 2 },
    async encrypt (index, block, fork, context) { calls.push(['encrypt', index, fork, b4a.from(block).byteLength]); for (let i = 0; i < block.byteLength; i++) block[i] ^= 0x55 },
    async decrypt (index, block, context) { calls.push(['decrypt', index, b4a.from(block).byteLength]); for (let i = 0; i < block.byteLength; i++) block[i] ^= 0x55 }
  }
  const core = await create(t, { encryption: provider })
  await core.append(['abc', 'd'])
  note(await core.get(0), await core.get(1), core.byteLength, core.padding)
  // What is in the room in front is the program's to write.
  note((await core.get(0, { raw: true })).subarray(2), calls)
})

suiteOfPairs('encrypted replication', async (t, { createA, createB, replicate }) => {
  const encryption = { key: b4a.alloc(32, 9) }
  const a = await createA(t, { encryption })
  await a.append(['a', 'b', 'c', 'd', 'e'])
  const b = await createB(t, a.key, { encryption })
  const plain = await createB(t, a.key)
  replicate(a, b, t)
  replicate(a, plain, t)
  for (let i = 0; i < 5; i++) t.alike(await b.get(i), b4a.from(['a', 'b', 'c', 'd', 'e'][i]))
  t.is((await plain.get(0)).byteLength, 9)
  t.alike(await b.seek(2), [2, 0])
  await a.append('live')
  await eventually(() => b.length === 6)
  t.alike(await b.get(5), b4a.from('live'))
})

suiteOfPairs('two extensions, and one that the other side lacks', async (t, { createA, createB, replicate }) => {
  const a = await createA(t)
  const b = await createB(t, a.key)
  replicate(a, b, t)
  const got = []
  await eventually(() => a.peers.length === 1 && b.peers.length === 1)
  b.registerExtension('first', { encoding: 'utf-8', onmessage: (message, peer) => { got.push(['first', message, peer === b.peers[0]]) } })
  b.registerExtension('second', { encoding: 'json', onmessage: (message) => { got.push(['second', message]) } })
  const lost = a.registerExtension('nobody', { encoding: 'utf-8' })
  const first = a.registerExtension('first', { encoding: 'utf-8' })
  const second = a.registerExtension('second', { encoding: 'json' })
  lost.send('x', a.peers[0])
  first.send('one', a.peers[0])
  second.broadcast({ two: 2 })
  first.send('three', a.peers[0])
  await eventually(() => got.length === 3)
  t.alike(got, [['first', 'one', true], ['second', { two: 2 }], ['first', 'three', true]])
  t.alike([first.name, typeof first.encoding], ['first', 'object'])
  first.destroy()
  t.is(a.extensions.get('first'), undefined)
})

suite('preload', async (t, { Hypercore, folder, defer }) => {
  const given = new Hypercore(folder(), { preload: new Promise((resolve) => { setTimeout(() => resolve({ valueEncoding: 'json' }), 5) }) })
  defer(() => given.close())
  await given.append({ hello: 'world' })
  t.alike(await given.get(0), { hello: 'world' })
  const failing = new Hypercore(folder(), { preload: Promise.reject(new Error('not this time')) })
  await t.exception(failing.ready(), /not this time/)
})

suite('a core with a prologue, and appending to it', async (t, { create, createB, replicate, note }) => {
  const first = await create(t, { keyPair })
  await first.append(['0', '1'])
  const prologue = { hash: await first.treeHash(), length: 2 }
  const manifest = { version: 1, prologue, signers: [{ publicKey: keyPair.publicKey }] }
  const core = await create(t, { manifest, keyPair })
  note(core.key, core.length, core.manifest)
  await t.exception(core.append('x'))
  await core.core.copyPrologue(first.state)
  note(core.length, await core.get(0), core.state.signature, core.core.header.hints.contiguousLength)
  await core.append('2')
  t.is(core.length, 3)
  await t.exception(core.truncate(1))
  const reader = await createB(t, core.key)
  replicate(core, reader, t)
  t.alike(await reader.get(0), b4a.from('0'))
  t.alike(await reader.get(2), b4a.from('2'))
  note(reader.manifest.prologue)
})

suite('user data survives, is told and is removed', async (t, { createStored, note }) => {
  const stored = await createStored(t)
  let core = await stored({ userData: { hello: b4a.from('world') } })
  await core.setUserData('other', b4a.from('abc'))
  note(await core.getUserData('hello'), await core.getUserData('other'))
  await core.close()
  core = await stored()
  note(await core.getUserData('hello'), await core.getUserData('other'), await core.getUserData('none'))
  await core.setUserData('hello', null)
  note(await core.getUserData('hello'))
  await core.setUserData('big', b4a.alloc(100_000, 'x'))
  note((await core.getUserData('big')).byteLength)
})

suite('moving a session', async (t, { create, note }) => {
  const core = await create(t)
  await core.append(['1', '2', '3'])
  const session = core.session({ name: 'session' })
  await session.ready()
  await session.append('4')
  const events = []
  session.on('migrate', (key) => { events.push(['migrate', b4a.equals(key, session.key)]) })
  session.on('append', () => { events.push(['append', session.length]) })
  session.on('truncate', (length, fork) => { events.push(['truncate', length, fork]) })
  const manifest = { prologue: { hash: await core.state.hash(), length: core.state.length }, signers: [] }
  const next = await create(t, { manifest })
  await next.core.copyPrologue(core.state)
  await session.state.moveTo(next, next.length)
  note(session.length, events, b4a.equals(session.key, next.key), core.sessions.length, next.sessions.length)
  await session.append('5')
  note(session.length, await session.get(3))
  await session.close()
})

suite('what a program gets after closing', async (t, { create, note }) => {
  const core = await create(t, { keyPair })
  await core.append('a')
  await core.close()
  for (const act of [
    () => core.get(0), () => core.append('x'), () => core.truncate(0), () => core.clear(0), () => core.update(), () => core.info(),
    () => core.snapshot(), () => core.session()
  ]) {
    const { error } = await outcome((async () => act())())
    note(error ? [error.code, error.message] : 'done', String(act).slice(6, 22))
  }
  // Upstream's storage says so in its own words.
  for (const act of [() => core.treeHash(), () => core.setUserData('a', 'b'), () => core.getUserData('a')]) note('error' in await outcome(act()))
  note(core.length, core.byteLength, core.fork, core.writable, core.readable, core.opened, core.closed, core.peers, core.padding, core.contiguousLength)
})

async function collect (stream) {
  const all = []
  for await (const entry of stream) all.push(entry)
  return all
}
