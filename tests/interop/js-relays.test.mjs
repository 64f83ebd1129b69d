// A list of relays: a swarm that loses the one in use goes on through the next, as its upstream peers see it.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:net'
import test from 'node:test'
import { fileURLToPath } from 'node:url'

import UpstreamClient from '@hyperswarm/dht-relay'
import Stream from '@hyperswarm/dht-relay/ws'
import { DHT as Node, Hypercore, memory } from 'hypertab'
import WebSocket from 'ws'

import { eventually } from './support/both.mjs'
import { defer } from './support/cleanup.mjs'
import { startProcess } from './support/process.mjs'
import { startProxy } from './support/proxy.mjs'
import { startRelay } from './support/relay.mjs'
import { createNative, createOurSwarm, startBothWays } from './support/swarms.mjs'
import { startTestnet } from './support/testnet.mjs'
import { createCore } from './support/upstream.mjs'

const BLOCKS = 1500
const SIZE = 16 * 1024

test('two of three relays are killed under load, both directions arrive whole, and who listens is found', async (t) => {
  const { bootstrap } = await startTestnet(t, 4)
  const relays = await startRelays(t, bootstrap, 3)
  const both = await startBothWays(t, bootstrap, BLOCKS, SIZE)
  const swarm = createOurSwarm(t, relays.map(({ url }) => url), { backoffs: [100, 100, 100, 100], jitter: 0 })
  const used = []
  swarm.dht.on('relay-open', (url) => used.push(url))
  let [opened, closed] = [0, 0]
  const isTheirs = ({ remotePublicKey }) => Buffer.compare(remotePublicKey, both.native.keyPair.publicKey) === 0
  swarm.on('connection', (connection) => {
    if (!isTheirs(connection)) return
    opened++
    connection.on('close', () => { closed++ })
    both.replicate(connection)
  })
  swarm.join(both.topic, { server: false })
  // What it has itself is announced, and found by who comes after each of the kills.
  const own = new Hypercore(memory())
  defer(t, () => own.close())
  await own.append('still here')
  swarm.on('connection', (connection) => { if (!isTheirs(connection)) own.replicate(connection) })
  const session = swarm.join(own.discoveryKey, { client: false })
  const isFound = async () => {
    const copy = await createCore(t, { key: own.key })
    const newcomer = createNative(t, bootstrap, copy)
    newcomer.join(own.discoveryKey, { server: false })
    assert.equal(String(await copy.get(0, { timeout: 30_000 })), 'still here')
    await newcomer.destroy()
  }
  assert.equal(await session.flushed(), true)

  const found = []
  const { fetched } = both
  const done = both.download()
  for (const part of [1, 2]) {
    await eventually(() => fetched.some((count) => count() > part * BLOCKS / 4), 'the blocks to arrive', 60_000)
    const relay = relays.find(({ url }) => new URL(url).href === swarm.dht.relay.url)
    const lost = once(swarm.dht, 'relay-close')
    await relay.process.kill()
    const [url, error] = await lost
    assert.equal(url, new URL(relay.url).href)
    assert.ok(error.code)
    found.push(isFound())
  }
  await Promise.all([done, ...found])

  await both.check()
  assert.deepEqual(used, relays.map(({ url }) => new URL(url).href))
  assert.equal(opened, 3)
  assert.equal(closed, 2)
  assert.equal([...swarm.connections].filter(isTheirs).length, 1)
})

test('what was announced stays announced, and who listens is found, after the relay is gone', async (t) => {
  const { bootstrap } = await startTestnet(t, 4)
  const relays = await startRelays(t, bootstrap, 2)
  const core = new Hypercore(memory())
  defer(t, () => core.close())
  await core.append('still here')
  const swarm = createOurSwarm(t, relays.map(({ url }) => url), { backoffs: [100, 100, 100, 100], jitter: 0 })
  swarm.on('connection', (connection) => core.replicate(connection))
  const session = swarm.join(core.discoveryKey, { client: false })
  await session.flushed()
  assert.equal(swarm.server.listening, true)

  const changed = once(swarm.dht, 'network-change')
  const listening = once(swarm.server, 'listening')
  const lost = once(swarm.dht, 'relay-close').then(() => [swarm.server.listening, swarm.server.address()])
  await relays[0].process.kill()
  assert.deepEqual(await lost, [false, null])
  await changed
  await listening
  assert.equal(await session.flushed(), true)

  const copy = await createCore(t, { key: core.key })
  const native = createNative(t, bootstrap, copy)
  native.join(core.discoveryKey, { server: false })
  assert.equal(String(await copy.get(0)), 'still here')
})

test('a query that loses its relay fails, and does not look as if all had been asked', async (t) => {
  const { bootstrap } = await startTestnet(t, 4)
  const [relay] = await startRelays(t, bootstrap, 1)
  const node = new Node({ relay: relay.url })
  defer(t, () => node.destroy({ force: true }))
  await node.ready()
  process.kill(relay.process.pid, 'SIGSTOP')
  const query = node.lookup(Buffer.alloc(32, 7))
  const failed = assert.rejects(query.finished(), { code: 'RELAY_CLOSED' })
  await relay.process.kill()

  await failed
})

test('a node that is suspended and resumed before it is connected ends as it was told last, over one connection', async (t) => {
  const { bootstrap } = await startTestnet(t, 4)
  const [relay] = await startRelays(t, bootstrap, 1)
  const proxy = await startProxy(t, relay.url)
  const node = new Node({ relay: proxy.url })
  defer(t, () => node.destroy({ force: true }))
  node.relay.stop()
  node.relay.start()
  await node.lookup(Buffer.alloc(32, 7)).finished()
  assert.equal(proxy.opened, 1)

  await Promise.all([node.suspend(), node.resume(), node.suspend(), node.resume()])
  await node.lookup(Buffer.alloc(32, 7)).finished()
  await eventually(() => proxy.connections === 1, 'all connections but one to be closed')
  await Promise.all([node.suspend(), node.resume(), node.suspend()])
  assert.deepEqual([node.suspended, node.relay.handle], [true, null])
  await eventually(() => proxy.connections === 0, 'the connection to be closed')
  await Promise.all([node.resume(), node.destroy({ force: true })])
  const { opened } = proxy
  await eventually(() => proxy.connections === 0, 'the connection to be closed')
  assert.deepEqual([node.relay.handle, proxy.opened], [null, opened])
})

test('a relay that is not there is told at once, also where a socket that cannot be opened fires no close event, as in Node 22', async (t) => {
  class Failing extends EventTarget {
    static { Object.assign(this.prototype, { CONNECTING: 0, OPEN: 1, readyState: 0, bufferedAmount: 0 }) }
    #handlers = {}
    constructor () {
      super()
      setImmediate(() => { this.dispatchEvent(new Event('error')) })
    }

    get onclose () { return this.#handlers.close ?? null }
    set onclose (handler) {
      this.removeEventListener('close', this.#handlers.close)
      this.#handlers.close = handler
      if (handler) this.addEventListener('close', handler)
    }

    close () {}
  }
  const { WebSocket: before } = globalThis
  globalThis.WebSocket = Failing
  defer(t, () => { globalThis.WebSocket = before })
  const node = new Node({ relay: 'ws://127.0.0.1:9' })
  node.on('error', () => {})
  defer(t, () => node.destroy({ force: true }))

  const [, error] = await once(node, 'relay-close')
  assert.equal(error.code, 'RELAY_CLOSED')
})

test('a relay that accepts and says nothing is left for the next', async (t) => {
  const { bootstrap } = await startTestnet(t, 4)
  const [relay] = await startRelays(t, bootstrap, 1)
  const sockets = new Set()
  const silent = createServer((socket) => { sockets.add(socket) }).listen(0, '127.0.0.1')
  defer(t, () => {
    for (const socket of sockets) socket.destroy()
    silent.close()
  })
  await once(silent, 'listening')
  const url = `ws://127.0.0.1:${silent.address().port}`
  const node = new Node({ relay: [url, relay.url] })
  defer(t, () => node.destroy({ force: true }))

  const [lost, error] = await once(node, 'relay-close')
  assert.equal(lost, new URL(url).href)
  assert.equal(error.code, 'RELAY_NOT_CONNECTED')
  await node.ready()
  assert.equal(node.relay.url, new URL(relay.url).href)
})

test('a key that another client proves to own is lost with an event', async (t) => {
  const { bootstrap } = await startTestnet(t, 4)
  const [relay] = await startRelays(t, bootstrap, 1)
  const [first, second] = [new Node({ relay: relay.url }), new Node({ relay: relay.url })]
  for (const node of [first, second]) defer(t, () => node.destroy({ force: true }))
  await Promise.all([first.ready(), second.ready()])
  const keyPair = Node.keyPair()
  const server = await first.createServer().listen(keyPair)
  const lost = once(first, 'server-error')
  await second.createServer().listen(keyPair)

  const [error, loser] = await lost
  assert.equal(error.code, 'SERVER_CLOSED')
  assert.equal(loser, server)
  assert.equal(server.listening, false)
})

test("a node over a stream of the program's, as upstream's client takes one, at either relay", async (t) => {
  const { bootstrap } = await startTestnet(t)
  const upstream = startProcess(t, process.execPath, [fileURLToPath(new URL('support/upstream-relay.mjs', import.meta.url)), ...bootstrap])
  const urls = [(await startRelay(t, { bootstrap, args: ['--allow-private'] })).url, (await upstream.next('listening')).url]
  const { dht: peer } = createNative(t, bootstrap)
  const echo = (connection) => connection.on('error', () => {}).on('data', (data) => connection.write(data))
  const server = await peer.createServer(echo).listen()
  const answer = async (connection) => {
    echo(connection).write(Buffer.from('hello'))
    return String((await once(connection, 'data'))[0])
  }
  const play = async (Class, url) => {
    const socket = new WebSocket(url)
    const node = new Class(new Stream(true, socket), { custodial: false })
    const ended = once(socket, 'close')
    await node.ready()
    const listening = node.createServer((connection) => { connection.on('error', () => {}).on('data', (data) => connection.write(data)) })
    await listening.listen()
    const { publicKey } = listening.address()
    const notes = [await answer(node.connect(server.publicKey)), publicKey.equals(node.defaultKeyPair.publicKey), await answer(peer.connect(publicKey))]
    await node.destroy()
    await ended
    return notes
  }
  for (const url of urls) assert.deepEqual(await play(Node, url), await play(UpstreamClient, url))

  const socket = new WebSocket(urls[1])
  const node = new Node(new Stream(true, socket))
  await node.ready()
  const connection = node.connect(server.publicKey)
  assert.equal(await answer(connection), 'hello')
  const events = []
  for (const [name, emitter] of [['relay-close', node], ['close', node], ['close', connection]]) emitter.on(name, () => events.push(name))
  socket.terminate()
  await once(node, 'close')
  assert.deepEqual(events, ['relay-close', 'close', 'close'])
  assert.ok(node.destroyed, 'a stream is not made again')
})

async function startRelays (t, bootstrap, count) {
  return await Promise.all(Array.from({ length: count }, () => startRelay(t, { bootstrap, args: ['--allow-private'] })))
}
