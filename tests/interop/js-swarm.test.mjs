// The classes Hyperswarm and DHT behind upstream's relay, among upstream's peers on a test network.

import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { EventEmitter, once } from 'node:events'
import test from 'node:test'
import { fileURLToPath } from 'node:url'

import UpstreamStore from 'corestore'
import DHT from 'hyperdht'
import { Corestore, DHT as Node, Hypercore, Hyperswarm, memory } from 'hypertab'

import { eventually } from './support/both.mjs'
import { defer } from './support/cleanup.mjs'
import { temporaryFolder } from './support/folder.mjs'
import { startProcess } from './support/process.mjs'
import { startClient } from './support/relayed.mjs'
import { createNative, createOurSwarm } from './support/swarms.mjs'
import { parseBootstrap, startTestnet } from './support/testnet.mjs'
import { block, createCore, seed } from './support/upstream.mjs'

test('a node listens, is called, and calls', async (t) => {
  const { bootstrap } = await startTestnet(t)
  const node = createNode(t, (await startUpstreamRelay(t, bootstrap)).url)
  await node.ready()
  const native = new DHT({ bootstrap: parseBootstrap(bootstrap), host: '127.0.0.1', firewalled: false })
  defer(t, () => native.destroy())

  assert.ok(await node.roundTrip() > 0)
  const server = node.createServer()
  await server.listen()
  server.on('connection', (connection) => {
    connection.on('data', (data) => connection.write(`you said ${data}`))
  })
  const call = native.connect(server.publicKey)
  call.on('error', () => {})
  call.write('hello')
  const [answer] = await once(call, 'data')
  assert.equal(String(answer), 'you said hello')
  call.end()

  const other = native.createServer((connection) => {
    connection.on('error', () => {})
    connection.on('data', (data) => connection.write(data))
  })
  await other.listen()
  const connection = node.connect(other.publicKey)
  assert.equal(await connection.opened, true)
  assert.deepEqual(connection.remotePublicKey, other.publicKey)
  connection.write(Buffer.from('echo'))
  const [echo] = await once(connection, 'data')
  assert.equal(String(echo), 'echo')
  assert.ok(connection.rawBytesRead > 0 && connection.rawBytesWritten > 0)
  connection.destroy()
  await once(connection, 'close')
})

test('a node that is online again has its swarm look and announce again', async (t) => {
  const { bootstrap } = await startTestnet(t)
  const dht = new DHT({ bootstrap: parseBootstrap(bootstrap), host: '127.0.0.1', firewalled: false })
  const swarm = new Hyperswarm({ dht })
  defer(t, () => swarm.destroy({ force: true }))
  await swarm.join(Buffer.alloc(32, 'online'), { client: true, server: false }).flushed()
  await dht.fullyBootstrapped()
  const { queries } = dht.stats
  const before = queries.total

  for (const online of [true, false, false]) {
    dht.online = online
    dht.emit('network-update')
  }
  assert.equal(queries.total, before)
  dht.online = true
  dht.emit('network-update')
  await eventually(() => queries.total === before + 1)
})

for (const [code, isForced] of [['CANNOT_HOLEPUNCH', true], ['HOLEPUNCH_ABORTED', true], ['PEER_NOT_FOUND', false]]) {
  test(`a peer that could not be dialled (${code}) is dialled ${isForced ? 'through a relay' : 'the same way'} next`, async (t) => {
    const through = Buffer.alloc(32, 2)
    const tried = []
    const server = { relayAddresses: [], listen: async () => {}, close: async () => {} }
    const dht = Object.assign(new EventEmitter(), {
      createServer: () => server,
      destroy: async () => {},
      connect (publicKey, { relayThrough }) {
        tried.push(relayThrough)
        const connection = Object.assign(new EventEmitter(), { publicKey: Buffer.alloc(32), remotePublicKey: publicKey, destroy () {} })
        setImmediate(() => {
          connection.emit('error', Object.assign(new Error(code), { code }))
          connection.emit('close')
        })
        return connection
      }
    })
    const swarm = new Hyperswarm({ dht, relayThrough: through, backoffs: [1, 1, 1, 1], jitter: 0 })
    defer(t, () => swarm.destroy({ force: true }))
    swarm.joinPeer(Buffer.alloc(32, 1))
    await eventually(() => tried.length > 1)
    assert.deepEqual(tried.slice(0, 2), [null, isForced ? through : null])
  })
}

test('two swarms meet by topic and replicate, both ways', async (t) => {
  const { bootstrap } = await startTestnet(t)
  const { url } = await startUpstreamRelay(t, bootstrap)
  const theirs = await createCore(t)
  await seed(theirs, 30, 1024)
  const ours = new Hypercore(memory())
  defer(t, () => ours.close())
  await ours.append(['from', 'behind', 'the relay'])
  const ourCopy = new Hypercore(memory(), theirs.key)
  defer(t, () => ourCopy.close())
  const theirCopy = await createCore(t, { key: ours.key })

  const native = createNative(t, bootstrap, theirs, theirCopy)
  await native.join(theirs.discoveryKey, { client: false }).flushed()
  const swarm = createOurSwarm(t, url)
  const peers = []
  swarm.on('connection', (connection, peer) => {
    peers.push(peer)
    ours.replicate(connection)
    ourCopy.replicate(connection)
  })
  swarm.join(theirs.discoveryKey, { server: false })

  assert.deepEqual(await ourCopy.get(29), block(29, 1024))
  await ourCopy.download({ start: 0, end: 30 }).done()
  assert.deepEqual(await ourCopy.treeHash(), await theirs.treeHash())
  assert.equal(String(await theirCopy.get(2)), 'the relay')
  assert.equal(swarm.connections.size, 1)
  assert.equal(peers[0].client, true)
  assert.deepEqual(peers[0].publicKey, native.keyPair.publicKey)
})

test('two stores replicate all of their cores over the connections of their swarms', async (t) => {
  const { bootstrap } = await startTestnet(t)
  const { url } = await startUpstreamRelay(t, bootstrap)
  const theirs = new UpstreamStore(temporaryFolder(t))
  defer(t, () => theirs.close())
  const ours = new Corestore(memory())
  defer(t, () => ours.close())
  const [log, second] = [theirs.get({ name: 'log' }), theirs.get({ name: 'second' })]
  await log.append(['hello', 'world'])
  await second.append('along')
  const native = createNative(t, bootstrap, theirs)
  await native.join(log.discoveryKey).flushed()

  const swarm = createOurSwarm(t, url)
  swarm.on('connection', (connection) => { ours.replicate(connection) })
  const copy = ours.get({ key: log.key })
  await copy.ready()
  const done = copy.findingPeers()
  swarm.join(copy.discoveryKey)
  swarm.flush().then(done, done)
  await copy.update()
  assert.equal(copy.length, 2)
  assert.equal(String(await copy.get(1)), 'world')
  // On the same connection, later.
  assert.equal(String(await ours.get({ key: second.key }).get(0)), 'along')
  const own = ours.get({ name: 'own' })
  await own.append('from here')
  assert.equal(String(await theirs.get({ key: own.key }).get(0)), 'from here')
  assert.equal(swarm.connections.size, 1)
})

test('a native swarm finds who announced behind the relay', async (t) => {
  const { bootstrap } = await startTestnet(t)
  const { url } = await startUpstreamRelay(t, bootstrap)
  const core = new Hypercore(memory())
  defer(t, () => core.close())
  await core.append('found')
  const swarm = createOurSwarm(t, url)
  swarm.on('connection', (connection) => core.replicate(connection))
  await swarm.join(core.discoveryKey, { client: false }).flushed()

  const copy = await createCore(t, { key: core.key })
  const native = createNative(t, bootstrap, copy)
  native.join(core.discoveryKey, { server: false })

  assert.equal(String(await copy.get(0)), 'found')
  await swarm.leave(core.discoveryKey)
  assert.equal(swarm.status(core.discoveryKey), null)
})

test('a relay that is not there is told, and tried again', async (t) => {
  const node = createNode(t, 'ws://127.0.0.1:9')
  const [url, error, retry] = await once(node, 'relay-close')

  assert.equal(url, 'ws://127.0.0.1:9/')
  assert.ok(error.code && error.message.includes('127.0.0.1:9'))
  assert.ok(retry > 0)
  await once(node, 'relay-connecting')
  assert.throws(() => new Node({ relay: 'http://x' }), { code: 'BAD_RELAY' })
  assert.throws(() => new Node(), { code: 'RELAY_MISSING' })
})

test('a swarm announces again after its relay comes back', async (t) => {
  const { bootstrap } = await startTestnet(t)
  const first = await startUpstreamRelay(t, bootstrap)
  const second = await startUpstreamRelay(t, bootstrap)
  const core = new Hypercore(memory())
  defer(t, () => core.close())
  await core.append('still here')
  const swarm = createOurSwarm(t, [first.url, second.url])
  swarm.on('connection', (connection) => core.replicate(connection))
  await swarm.join(core.discoveryKey, { client: false }).flushed()

  const changed = once(swarm.dht, 'network-change')
  await first.stop()
  await changed
  await eventually(() => swarm.server.listening)
  await swarm.flush()
  const copy = await createCore(t, { key: core.key })
  const native = createNative(t, bootstrap, copy)
  native.join(core.discoveryKey, { server: false })

  assert.equal(String(await copy.get(0)), 'still here')
})

test('a swarm runs over the client of a relay that upstream has', async (t) => {
  const { bootstrap } = await startTestnet(t)
  const { url } = await startUpstreamRelay(t, bootstrap)
  const topic = Buffer.alloc(32, 'either client')
  const native = createNative(t, bootstrap)
  native.on('connection', (connection) => {
    connection.on('error', () => {})
    connection.on('data', (data) => connection.write(data))
  })
  await native.join(topic, { client: false }).flushed()
  const { dht } = await startClient(t, { url })
  const swarm = new Hyperswarm({ dht })
  defer(t, () => swarm.destroy({ force: true }))
  const connected = once(swarm, 'connection')

  assert.equal(await swarm.join(topic, { server: false }).flushed(), true)
  assert.equal(await swarm.flush(), true)
  const [connection, peer] = await connected
  connection.on('error', () => {})
  connection.write('echo')

  assert.equal(String((await once(connection, 'data'))[0]), 'echo')
  assert.deepEqual(peer.publicKey, native.keyPair.publicKey)
  assert.equal(swarm.connections.size, 1)
})

/** Upstream's relay in a process of its own. */
async function startUpstreamRelay (t, bootstrap) {
  const relay = startProcess(t, 'node', [fileURLToPath(new URL('./support/upstream-relay.mjs', import.meta.url)), ...bootstrap])
  const { url } = await relay.next('listening')
  return { url, stop: () => relay.kill() }
}

function createNode (t, url) {
  const node = new Node({ relay: url })
  defer(t, () => node.destroy({ force: true }))
  return node
}

test('whoever joins at the same time is found soon, though neither saw the other when it looked', async (t) => {
  const { bootstrap } = await startTestnet(t)
  const swarm = createOurSwarm(t, (await startUpstreamRelay(t, bootstrap)).url)
  const other = new DHT({ bootstrap: parseBootstrap(bootstrap), host: '127.0.0.1', firewalled: false })
  defer(t, () => other.destroy())
  const server = other.createServer((connection) => { connection.on('error', () => {}) })
  await server.listen()
  const topic = randomBytes(32)

  swarm.join(topic)
  await swarm.flush()
  // It looked before we were announced, and is announced after we looked.
  await other.announce(topic, other.defaultKeyPair).finished()

  await eventually(() => swarm.connections.size === 1, 'a connection', 60_000)
})
