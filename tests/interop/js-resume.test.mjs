// A tab whose WebSocket breaks and that comes back to its relay: peers and programs notice nothing but a pause.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:http'
import test from 'node:test'

import { DHT as Node } from 'hypertab'

import { eventually } from './support/both.mjs'
import { defer } from './support/cleanup.mjs'
import { startProxy } from './support/proxy.mjs'
import { relayFigure, startRelay } from './support/relay.mjs'
import { startNative } from './support/relayed.mjs'
import { createOurSwarm, startBothWays } from './support/swarms.mjs'
import { startTestnet } from './support/testnet.mjs'

const BLOCKS = 500
const SIZE = 16 * 1024

test('a replication in both directions outlives its WebSocket, again and again', async (t) => {
  const { relay, bootstrap, proxy } = await startScene(t)
  const both = await startBothWays(t, bootstrap, BLOCKS, SIZE)
  let atNative = 0
  both.native.on('connection', () => { atNative++ })
  const swarm = createOurSwarm(t, [proxy.url], { backoffs: [100, 100, 100, 100], jitter: 0 })
  const events = []
  swarm.dht.on('relay-interrupted', (url, error, grace) => { events.push(['interrupted', url, error.code, grace > 0]) })
  swarm.dht.on('relay-resumed', (url) => { events.push(['resumed', url]) })
  swarm.dht.on('relay-close', (url, error) => { events.push(['close', url, error]) })
  const connections = []
  swarm.on('connection', (connection) => {
    connections.push(connection)
    connection.on('close', () => { events.push(['connection closed']) })
    both.replicate(connection)
  })
  swarm.join(both.topic, { server: false })

  const { fetched } = both
  const done = both.download()
  const CUTS = 6
  for (let cut = 1; cut <= CUTS; cut++) {
    await eventually(() => fetched[0]() + fetched[1]() > cut * 2 * BLOCKS / (CUTS + 2), 'the blocks to arrive', 60_000)
    const resumed = once(swarm.dht, 'relay-resumed')
    // One is reset at both ends; another one only here, so that the relay still believes in it.
    if (cut % 2) proxy.reset()
    else proxy.forsake()
    await resumed
  }
  await done

  await both.check()
  const url = new URL(proxy.url).href
  assert.deepEqual(events, Array.from({ length: CUTS }, () => [['interrupted', url, 'RELAY_INTERRUPTED', true], ['resumed', url]]).flat())
  assert.equal(connections.length, 1)
  assert.deepEqual([...swarm.connections], connections)
  assert.equal(atNative, 1, 'the native peer has seen one connection')
  assert.equal(await relayFigure(relay, 'resumed_total'), CUTS)
  assert.equal(await relayFigure(relay, 'links'), 1)
})

test('every byte arrives on the same stream, whatever breaks in between, and what is asked meanwhile is answered', async (t) => {
  const { relay, bootstrap, proxy } = await startScene(t)
  const native = await startNative(t, { bootstrap })
  const server = native.createServer((socket) => {
    socket.on('data', (data) => { socket.write(data) })
    socket.on('end', () => { socket.end() })
    socket.on('error', () => {})
  })
  const keyPair = native.defaultKeyPair
  await server.listen(keyPair)
  const node = new Node({ relay: proxy.url })
  defer(t, () => node.destroy({ force: true }))
  const stream = await dial(node, keyPair.publicKey)
  let closed = 0
  stream.on('close', () => { closed++ })

  const TOTAL = 4 * 1024 * 1024
  const sent = Buffer.alloc(TOTAL)
  for (let at = 0; at < TOTAL; at += 4) sent.writeUInt32LE(at, at)
  const got = []
  let bytes = 0
  stream.on('data', (data) => {
    got.push(data)
    bytes += data.byteLength
  })
  let next = TOTAL / 8
  for (let at = 0; at < TOTAL; at += 32 * 1024) {
    if (!stream.write(sent.subarray(at, at + 32 * 1024))) await once(stream, 'drain')
    if (at < next) continue
    next += TOTAL / 8
    proxy.reset()
    assert.equal(node.online, true, 'it has not noticed yet')
    await once(node, 'relay-interrupted')
    assert.equal(node.online, false)
    const found = node.findPeer(keyPair.publicKey)
    await once(node, 'relay-resumed')
    assert.equal(node.online, true)
    let answers = 0
    for await (const _ of found) answers++
    assert.ok(answers > 0)
  }
  await eventually(() => bytes === TOTAL, 'the bytes to come back', 60_000)
  assert.ok(Buffer.concat(got).equals(sent))
  assert.equal(closed, 0)
  assert.equal(await relayFigure(relay, 'resumed_total'), 7)

  stream.end()
  await once(stream, 'close')
  await node.destroy()
  await eventually(async () => await relayFigure(relay, 'links') === 0, 'the link to end')
  assert.equal(await relayFigure(relay, 'links_held'), 0, 'who leaves in order is not waited for')
  assert.equal(await relayFigure(relay, 'resume_expired_total'), 0)
})

test('a server stays listened on, and peers dial it while its tab is away', async (t) => {
  const { bootstrap, proxy } = await startScene(t)
  const native = await startNative(t, { bootstrap })
  const node = new Node({ relay: proxy.url })
  defer(t, () => node.destroy({ force: true }))
  const server = node.createServer()
  await server.listen()
  const listening = []
  server.on('listening', () => { listening.push(true) })

  proxy.refuses = true
  proxy.reset()
  await once(node, 'relay-interrupted')
  assert.equal(server.listening, true)
  const socket = native.connect(server.publicKey)
  socket.on('error', () => {})
  defer(t, () => { socket.destroy() })
  const accepted = once(server, 'connection')
  proxy.refuses = false
  await once(node, 'relay-resumed')
  await Promise.all([accepted, once(socket, 'open')])
  assert.deepEqual(listening, [], 'nothing was announced anew')
})

test('who hears nothing over the connection that it has come back by takes another, and keeps its streams', async (t) => {
  const { relay, bootstrap, proxy } = await startScene(t)
  const { node, stream } = await startCall(t, bootstrap, proxy)
  proxy.silences = true
  proxy.reset()
  await once(node, 'relay-interrupted')
  await eventually(async () => await relayFigure(relay, 'resumed_total') === 1, 'the relay to go on')
  proxy.silences = false
  await once(node, 'relay-resumed')
  assert.equal(stream.destroyed, false)
  assert.deepEqual([await relayFigure(relay, 'resumed_total'), await relayFigure(relay, 'streams')], [2, 1])
})

test('a relay that was restarted, or holds nothing, ends what ran through it, as without all this', async (t) => {
  for (const args of [[], ['--per-link-resume-grace', 'none']]) {
    const { relay, bootstrap, proxy } = await startScene(t, args)
    const { native, node, stream } = await startCall(t, bootstrap, proxy)
    const closed = Promise.all([new Promise((resolve) => { stream.on('close', resolve) }), once(node, 'relay-close')])
    if (args.length === 0) {
      await relay.process.kill()
      const next = await startRelay(t, { listen: new URL(relay.url).host, bootstrap, args: ['--allow-private'] })
      assert.equal(next.url, relay.url)
    } else {
      proxy.reset()
    }
    const [, [url, error]] = await closed
    assert.equal(url, new URL(proxy.url).href)
    assert.equal(error.code, 'RELAY_CLOSED')
    if (!node.online) await once(node, 'relay-open')
    const again = await dial(node, native.defaultKeyPair.publicKey)
    again.destroy()
  }
})

test('who does not come back in time is gone at the relay, and so are its streams', async (t) => {
  const { relay, bootstrap, proxy } = await startScene(t, ['--per-link-resume-grace', '1s'])
  const native = await startNative(t, { bootstrap })
  const closed = new Promise((resolve) => {
    const server = native.createServer((socket) => {
      socket.on('error', () => {})
      socket.on('close', resolve)
    })
    server.listen(native.defaultKeyPair)
  })
  const node = new Node({ relay: proxy.url })
  defer(t, () => node.destroy({ force: true }))
  await dial(node, native.defaultKeyPair.publicKey)
  proxy.refuses = true
  proxy.reset()
  await closed
  assert.equal(await relayFigure(relay, 'resume_expired_total'), 1)

})

test('who leaves while the connection is away, or as it breaks, waits for nothing', async (t) => {
  const { proxy } = await startScene(t, ['--per-link-resume-grace', '5s'])
  const swarm = createOurSwarm(t, proxy.url)
  const topic = Buffer.alloc(32, 8)
  await swarm.join(topic).flushed()
  const servers = [await swarm.dht.createServer().listen(Node.keyPair()), await swarm.dht.createServer().listen(Node.keyPair())]

  proxy.refuses = true
  proxy.freeze()
  const closing = servers[0].close()
  proxy.reset()
  await once(swarm.dht, 'relay-interrupted')
  await closing
  await servers[1].close()
  await swarm.leave(topic)
  assert.equal(swarm.dht.degraded, true, 'the relay still holds it')
  await swarm.destroy()
})

test('a relay that stops waits for nobody who is away', async (t) => {
  const { relay, proxy } = await startScene(t, ['--per-link-resume-grace', '1h', '--drain', '1h'])
  const node = new Node({ relay: proxy.url })
  defer(t, () => node.destroy({ force: true }))
  // Whoever was never served has nothing to come back to.
  await node.lookup(Buffer.alloc(32, 7)).finished()
  proxy.refuses = true
  proxy.reset()
  await eventually(async () => await relayFigure(relay, 'links_held') === 1, 'the link to be held')
  await relay.process.kill('SIGTERM')
})

test('who is not let in any more does not come back either', async (t) => {
  let status = 200
  const asked = []
  const judge = createServer((request, response) => {
    asked.push(request.url)
    request.resume().on('end', () => { response.writeHead(status).end() })
  }).listen(0, '127.0.0.1')
  defer(t, () => { judge.close() })
  await once(judge, 'listening')
  const { relay, bootstrap, proxy } = await startScene(t, ['--access-callback', `http://127.0.0.1:${judge.address().port}/admit`])
  const { node, stream } = await startCall(t, bootstrap, proxy)
  const closed = new Promise((resolve) => { stream.on('close', resolve) })

  const before = asked.length
  proxy.reset()
  await once(node, 'relay-resumed')
  assert.equal(asked.length, before + 1, 'whoever comes back is asked about')
  status = 403
  proxy.reset()
  await Promise.all([closed, once(node, 'relay-close')])
  assert.equal(await relayFigure(relay, 'resumed_total'), 1)
})

/** Dials a peer until it is found: the DHT of a relay takes a moment to know everybody. */
async function dial (node, publicKey) {
  let stream
  await eventually(async () => {
    stream = node.connect(publicKey)
    stream.on('error', () => {})
    return await Promise.race([once(stream, 'open').then(() => true), once(stream, 'close').then(() => false)])
  }, 'a stream')
  return stream
}

/** A network, a relay, and a proxy before it whose connections can be broken. */
async function startScene (t, args = []) {
  const { bootstrap } = await startTestnet(t, 4)
  const relay = await startRelay(t, { bootstrap, args: ['--allow-private', ...args] })
  return { relay, bootstrap, proxy: await startProxy(t, relay.url) }
}

/** Dials a native peer that says nothing, through the proxy. */
async function startCall (t, bootstrap, proxy) {
  const native = await startNative(t, { bootstrap })
  const server = native.createServer((socket) => { socket.on('error', () => {}) })
  await server.listen(native.defaultKeyPair)
  const node = new Node({ relay: proxy.url })
  defer(t, () => node.destroy({ force: true }))
  return { native, node, stream: await dial(node, native.defaultKeyPair.publicKey) }
}
