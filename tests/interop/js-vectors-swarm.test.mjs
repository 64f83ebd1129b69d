// Priorities, pauses, duplicates and limits of a swarm against those of upstream's, as recorded.

import assert from 'node:assert/strict'
import { EventEmitter } from 'node:events'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import test, { mock } from 'node:test'
import { fileURLToPath, pathToFileURL } from 'node:url'

import { build } from 'esbuild'
import { Hyperswarm } from 'hypertab'

import { temporaryFolder } from './support/folder.mjs'

const here = (path) => fileURLToPath(new URL(path, import.meta.url))
const vectors = JSON.parse(readFileSync(here('../vectors/dht-swarm.json'), 'utf8'))
const TIERS = { '1 s': 1000, '5 s': 5000, '15 s': 15_000, '10 min': 600_000 }

test('attempts set priority and pause as upstream', async (t) => {
  const { PeerInfo, Retry } = await internals(t)
  mock.timers.enable({ apis: ['Date'] })
  t.after(() => { mock.timers.reset() })
  for (const { name, explicit = false, banned = false, reconnecting = true, steps } of vectors.priorities) {
    const peer = new PeerInfo({ publicKey: new Uint8Array(32) })
    peer.explicit = explicit
    peer.ban(banned)
    peer.reconnect(reconnecting)
    for (const [at, step] of steps.entries()) {
      const where = `${name}, step ${at}`
      const lasted = /^lasted (\d+) ms$/.exec(step.event)
      if (lasted) mock.timers.tick(Number(lasted[1]))
      if (lasted || step.event === 'failed') peer.disconnected()
      else if (step.event === 'connected') peer.connected()
      else if (step.event === 'reset') peer.reset()
      else assert.equal(step.event, 'found')
      assert.deepEqual(retryOf(Retry, peer), step.retryTier === null ? { is: false, after: null } : { is: true, after: TIERS[step.retryTier] }, where)
      assert.equal(peer.updatePriority(), step.mayConnect, where)
      assert.equal(peer.attempts, step.attempts, where)
      assert.equal(peer.proven, step.proven, where)
      assert.equal(peer.priority, step.priority, where)
      assert.equal(peer.shouldGC(), step.collectable, where)
    }
  }
  assert.equal(vectors.priorities.length, 7)
})

test('both ends keep the same of two connections', async () => {
  for (const { keys, existingInitiatedByUs, existingBytesRead, existingBytesWritten, keep, keepAliveSentOnExisting } of vectors.duplicates) {
    const [low, high] = [vectors.keys.low, vectors.keys.high].map((hex) => Buffer.from(hex, 'hex'))
    const [publicKey, remotePublicKey] = keys === 'local key is larger' ? [high, low] : [low, high]
    const node = new FakeNode(publicKey)
    const swarm = new Hyperswarm({ dht: node, keyPair: { publicKey, secretKey: Buffer.alloc(64) } })
    if (existingInitiatedByUs) swarm.joinPeer(remotePublicKey)
    else node.arrive(remotePublicKey)
    const existing = node.connections[0]
    existing.emit('open')
    Object.assign(existing, { rawBytesRead: existingBytesRead, rawBytesWritten: existingBytesWritten })
    node.arrive(remotePublicKey)
    const added = node.connections[1]
    await new Promise(setImmediate)

    const what = JSON.stringify({ keys, existingInitiatedByUs, existingBytesRead, existingBytesWritten })
    assert.deepEqual([existing.destroyed, added.destroyed], keep === 'new' ? [true, false] : [false, true], what)
    assert.equal(existing.keepAlives, keepAliveSentOnExisting ? 1 : 0, what)
    assert.deepEqual([...swarm.connections], [keep === 'new' ? added : existing], what)
    await swarm.destroy({ force: true })
  }
  assert.equal(vectors.duplicates.length, 16)
})

test('explicit peers leave less room for others', async () => {
  for (const { explicitPeers, maxPeers, connectionsAllowed } of vectors.maxPeers) {
    const node = new FakeNode(Buffer.alloc(32, 0xff))
    const swarm = new Hyperswarm({ dht: node, maxPeers, maxParallel: 1000, keyPair: { publicKey: node.publicKey, secretKey: Buffer.alloc(64) } })
    for (let i = 0; i < explicitPeers; i++) {
      // They count as connections while they last, so none does here; and they are not tried again at once.
      const peer = swarm.joinPeer(key(1000 + i))
      assert.equal(peer, undefined)
      const connection = node.connections.pop()
      connection.destroyed = true
      connection.emit('close')
    }
    assert.equal(node.connections.length, 0)
    for (let i = 0; i < 200; i++) swarm.found({ publicKey: key(i) }, Buffer.alloc(32, 1))
    assert.equal(node.connections.length, connectionsAllowed, `${explicitPeers} explicit peers`)
    await swarm.destroy({ force: true })
  }
  assert.equal(vectors.maxPeers.length, 6)
})

/** A node whose connections are what the test makes of them. */
class FakeNode extends EventEmitter {
  connections = []
  #accept

  constructor (publicKey) {
    super()
    this.publicKey = publicKey
  }

  createServer (options, accept) {
    this.#accept = accept
    return { relayAddresses: [], listen: async () => {}, close: async () => {} }
  }

  connect (remotePublicKey) {
    return this.#connection(remotePublicKey, true)
  }

  /** A peer connects. */
  arrive (remotePublicKey) {
    this.#accept(this.#connection(remotePublicKey, false))
  }

  async destroy () {}

  #connection (remotePublicKey, isInitiator) {
    const connection = Object.assign(new EventEmitter(), {
      publicKey: this.publicKey,
      remotePublicKey,
      isInitiator,
      rawBytesRead: 0,
      rawBytesWritten: 0,
      keepAlives: 0,
      destroyed: false,
      sendKeepAlive: () => { connection.keepAlives++ },
      destroy: () => {
        if (connection.destroyed) return
        connection.destroyed = true
        queueMicrotask(() => connection.emit('close'))
      }
    })
    this.connections.push(connection)
    return connection
  }
}

function key (number) {
  const bytes = Buffer.alloc(32)
  bytes.writeUInt32BE(number, 4)
  return bytes
}

/** Whether a peer is handed back, and after how many milliseconds. */
function retryOf (Retry, peer) {
  const { setTimeout } = globalThis
  const retry = new Retry(() => {}, { jitter: 0 })
  let after = null
  globalThis.setTimeout = (run, milliseconds) => {
    after = milliseconds
    return setTimeout(run, milliseconds)
  }
  try {
    const is = retry.add(peer)
    return { is, after }
  } finally {
    globalThis.setTimeout = setTimeout
    retry.clear()
  }
}

/** What the package has no names for. */
async function internals (t) {
  const outfile = join(temporaryFolder(t), 'internals.mjs')
  await build({
    stdin: {
      contents: "export { PeerInfo } from './peer-info.ts'\nexport { Retry } from './retry.ts'\n",
      resolveDir: here('../../wasm/js/hyperswarm'),
      loader: 'ts'
    },
    bundle: true,
    format: 'esm',
    platform: 'node',
    logLevel: 'silent',
    outfile,
    // The engine is not needed.
    plugins: [{
      name: 'platform',
      setup (build) {
        build.onResolve({ filter: /platform\.js$/ }, () => ({ path: 'platform', namespace: 'test' }))
        build.onLoad({ filter: /.*/, namespace: 'test' }, () => ({
          contents: "export { EventEmitter as PlatformEmitter } from 'node:events'\nexport const userBytes = (bytes) => bytes\nexport const unrefTimer = (timer) => timer.unref()\n"
        }))
      }
    }]
  })
  return await import(pathToFileURL(outfile))
}
