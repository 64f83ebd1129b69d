// Five peers in one mesh whose links come and go: upstream's cores and ours, of each kind, end up with the same log.
//
// HYPERTAB_SWARM is the number of steps, HYPERTAB_SEED the seed.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import net from 'node:net'
import test from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'

import Hypertab from 'hypertab/hypercore'

import { eventually } from './support/both.mjs'
import { random } from './support/bees.mjs'
import { defer } from './support/cleanup.mjs'
import { startCorePeer } from './support/core-peer.mjs'
import { temporaryFolder } from './support/folder.mjs'
import { serve } from './support/tcp.mjs'
import { block, createCore, summary } from './support/upstream.mjs'

const STEPS = Number(process.env.HYPERTAB_SWARM ?? 250)
const SEED = Number(process.env.HYPERTAB_SEED ?? 1)
const PATIENCE = 60_000

/** Who writes, and who copies. */
const meshes = {
  upstream: ['upstream', 'upstream', 'package', 'native', 'package'],
  package: ['package', 'upstream', 'upstream', 'native', 'package'],
  native: ['native', 'upstream', 'upstream', 'package', 'package']
}

for (const [writer, kinds] of Object.entries(meshes)) {
  test(`the writer is of kind ${writer}`, { timeout: PATIENCE + STEPS * 1000 }, async (t) => {
    t.diagnostic(`${STEPS} steps, seed ${SEED}`)
    const peers = []
    for (const kind of kinds) peers.push(await open[kind](t, peers[0]?.key ?? null))
    const links = new Links(t)
    await churn(peers, links, random(SEED))
    await settle(t, kinds, peers, links)
  })
}

/** Links, appends, truncations and reads, as the seed has it. */
async function churn ([writer, ...readers], links, draw) {
  const peers = [writer, ...readers]
  let written = 0
  const counts = { append: 0, truncate: 0, read: 0 }
  for (let step = 0; step < STEPS; step++) {
    const what = draw(20)
    if (what < 6) {
      const one = draw(peers.length)
      const other = (one + 1 + draw(peers.length - 1)) % peers.length
      await links.toggle(peers, one, other)
    } else if (what < 11) {
      const texts = Array.from({ length: 1 + draw(12) }, () => block(written++, 40 + draw(400)).toString('hex'))
      await writer.append(texts)
      counts.append++
    } else if (what === 11) {
      const { length } = await writer.info()
      if (length > 4) {
        await writer.truncate(length - 1 - draw(Math.min(length - 1, 20)))
        counts.truncate++
      }
    } else if (what < 15) {
      const reader = readers[draw(readers.length)]
      const { length } = await writer.info()
      if (length > 0) reader.want(draw(length))
      counts.read++
    } else {
      await sleep(draw(25))
    }
  }
  assert.ok(links.made > 5 && counts.append > 5 && counts.truncate > 0 && counts.read > 5, JSON.stringify({ links: links.made, ...counts }))
}

/** Joins everyone in a chain, and compares what they hold. */
async function settle (t, kinds, peers, links) {
  for (let i = 1; i < peers.length; i++) await links.join(peers, i - 1, i)
  const [writer, ...readers] = peers
  const { length, fork } = await writer.info()
  for (const [i, reader] of readers.entries()) {
    const copying = copy(reader, i, length, fork)
    // Upstream's does not tell a neighbour how long its log is when that neighbour tells the same just then; a new link does.
    const needsHelp = kinds[i + 1] === 'upstream' && kinds[i] === 'upstream'
    while (needsHelp && !await Promise.race([copying.then(() => true), sleep(5000, false)])) await links.renew(peers, i, i + 1)
    await copying
  }
  const expected = await writer.info()
  assert.equal(expected.contiguousLength, length)
  const blocks = await Promise.all(Array.from({ length }, (_, i) => writer.get(i)))
  for (const [i, reader] of readers.entries()) {
    assert.deepEqual(await reader.info(), expected, `peer ${i + 1}`)
    assert.deepEqual(await Promise.all(Array.from({ length }, (_, i) => reader.get(i))), blocks, `peer ${i + 1}`)
  }
  t.diagnostic(`${links.made} links, ${length} blocks, fork ${fork}`)
}

async function copy (reader, i, length, fork) {
  await eventually(async () => {
    const head = await reader.head()
    return head.length === length && head.fork === fork
  }, `peer ${i + 1} learns of ${length} blocks of fork ${fork}`, PATIENCE)
  await reader.download(length)
}

/** The TCP links of the mesh, one between two peers at most. */
class Links {
  made = 0
  #open = new Map()
  #t

  constructor (t) {
    this.#t = t
    defer(t, () => { for (const socket of this.#open.values()) socket.destroy() })
  }

  async toggle (peers, one, other) {
    const socket = this.#open.get(name(one, other))
    if (socket === undefined) return await this.join(peers, one, other)
    socket.destroy()
    this.#open.delete(name(one, other))
  }

  async renew (peers, one, other) {
    await this.toggle(peers, one, other)
    await this.join(peers, one, other)
  }

  /** `other` dials. */
  async join (peers, one, other) {
    const old = this.#open.get(name(one, other))
    if (old !== undefined && !old.destroyed) return
    const socket = await peers[one].accept(peers[other])
    this.#open.set(name(one, other), socket)
    this.made++
  }
}

const name = (one, other) => `${Math.min(one, other)} ${Math.max(one, other)}`

const open = {
  async upstream (t, key) {
    return new CorePeer(t, await createCore(t, { key }))
  },
  async package (t, key) {
    const core = new Hypertab(temporaryFolder(t), key)
    defer(t, () => core.close())
    await core.ready()
    return new CorePeer(t, core)
  },
  async native (t, key) {
    const { peer, core } = await startCorePeer(t, { key: key?.toString('hex') ?? null })
    return new NativePeer(peer, core, (await peer.ask('listen')).port)
  }
}

/** A core of this process. */
class CorePeer {
  #core
  #port
  #incoming = []

  constructor (t, core) {
    this.#core = core
    this.key = core.key
    this.#port = serve(t, (socket) => {
      this.replicate(socket, false)
      this.#incoming.shift()?.(socket)
    })
  }

  /** Lets `other` dial, and returns the socket here. */
  async accept (other) {
    const socket = new Promise((resolve) => this.#incoming.push(resolve))
    await other.dial(await this.#port)
    return await socket
  }

  async dial (port) {
    const socket = net.connect(port, '127.0.0.1')
    this.replicate(socket, true)
    await once(socket, 'connect')
    return socket
  }

  replicate (socket, isInitiator) {
    const stream = this.#core.replicate(isInitiator, { keepAlive: false })
    socket.on('error', () => {}).on('close', () => stream.destroy())
    stream.on('error', () => {}).on('close', () => socket.destroy())
    socket.pipe(stream).pipe(socket)
  }

  /** Asks for a block that may never come. */
  want (index) {
    this.#core.get(index, { timeout: 2000 }).catch(() => {})
  }

  append (texts) { return this.#core.append(texts) }
  truncate (length) { return this.#core.truncate(length) }
  info () { return summary(this.#core) }

  /** Like `info`, without a hash: upstream fails to say it while a truncation arrives. */
  head () { return this.#core }
  download (end) { return this.#core.download({ start: 0, end }).done() }
  async get (index) { return (await this.#core.get(index, { wait: false }))?.toString() }
}

/** A core in a process of its own. */
class NativePeer {
  #peer
  #port

  constructor (peer, { key }, port) {
    this.#peer = peer
    this.#port = port
    this.key = Buffer.from(key, 'hex')
  }

  /** Is dialled: the socket that can be cut is the other's. */
  accept (other) { return other.dial(this.#port) }

  async dial (port) { await this.#peer.ask('connect', { port }) }
  want (index) { this.#peer.ask('get', { index }, 2 * PATIENCE).catch(() => {}) }
  append (blocks) { return this.#peer.ask('append', { blocks }) }
  truncate (length) { return this.#peer.ask('truncate', { length }) }
  info () { return this.#peer.ask('info') }
  head () { return this.info() }
  download (end) { return this.#peer.ask('download', { start: 0, end }, PATIENCE) }
  async get (index) { return Buffer.from((await this.#peer.ask('get', { index })).hex, 'hex').toString() }
}
