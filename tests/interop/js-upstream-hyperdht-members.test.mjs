// What a node of the DHT and its servers have, are asked and tell, with upstream's on its own socket and with ours behind a relay.

import assert from 'node:assert/strict'
import test from 'node:test'
import { fileURLToPath } from 'node:url'

import { DHT } from 'hypertab'
import Address from 'hyperdht-address'

import { JsonProcess } from '../../scripts/lib/json-process.mjs'
import { closed, eventually, first, outcomeOf as told } from './support/both.mjs'
import { defer } from './support/cleanup.mjs'
import { sameNodes } from './support/nodes.mjs'
import { startRelay } from './support/relay.mjs'
import { startTestnet } from './support/testnet.mjs'

// Upstream counts these since 6.34.
const figures = ({ socketPool, punches: { tryLater, tryLaterRelayedHandshakesAtLeastOnce, ...punches }, ...stats }) => shape({ punches, ...stats })
const shape = (value) => Object.entries(value).map(([name, part]) => [name, typeof part === 'object' && part !== null ? shape(part) : typeof part])

sameNodes('members of the class and of a node', async ({ DHT, create, other, note }) => {
  note(DHT.DEFAULTS, DHT.OK, DHT.ERROR_UNKNOWN_COMMAND, DHT.ERROR_INVALID_TOKEN, DHT.FIREWALL, Array.isArray(DHT.BOOTSTRAP))
  for (const [port, host] of [[], [1], [1, '0.0.0.0'], [1, '::'], [1, 'localhost']]) note(await told(() => DHT.bootstrapper(port, host)))
  note(typeof DHT.connectRawStream, typeof DHT.bootstrapper)
  const node = create()
  note(node.degraded, node.bootstrapped, node.ephemeral, node.destroyed, node.suspended, node.concurrency, node.maxPingDelay)
  // What programs that watch a node count.
  note('clientSocket' in node.io, 'serverSocket' in node.io, node.rawStreams.size, [...node.rawStreams], node.nodes.length, node.nodes.toArray())
  for (const name of ['bytesTransmitted', 'bytesReceived', 'packetsTransmitted', 'packetsReceived', 'packetsDroppedByKernel']) note(typeof node.udx[name])
  note(node.id, node.host, node.port, node.randomized, node.remoteAddress(), node.listening, figures(node.stats), shape(node.config), node.plugins)
  await node.fullyBootstrapped()
  note(await node.ready(), await node.bind(), node.bootstrapped, node.online)
  note(Object.keys(node.address()), typeof node.address().host, node.address().port > 0)
  const server = await node.createServer().listen()
  note(node.host, typeof node.port, Object.keys(node.address()), node.address().family, server.address().host === node.host, server.address().port === node.port)
  const { active, total } = node.stats.queries
  const search = node.findNode(DHT.hash(Buffer.from('target')))
  note(search.force, search.concurrency, search.k, search.retries, search.inflight, node.stats.queries.active - active, node.stats.queries.total - total)
  await search.finished()
  note(node.stats.queries.active - active, node.stats.queries.total - total)
  const asked = node.findNode(DHT.hash(Buffer.from('target')), { concurrency: 3, force: true, retries: 1 })
  note(asked.concurrency, asked.force, asked.retries)
  await asked.finished()
  note(typeof node.refresh, typeof node.addNode, Array.isArray(node.toArray()), node.toArray({ limit: 0 }), await node.validateLocalAddresses([]))
  note(await told(() => node.delayedPing({ host: '127.0.0.1', port: 1 }, 20_000)))
  const plugins = []
  node.register('mine', { onregister: (dht) => plugins.push(dht === node), destroy () {} })
  note(plugins, [...node.plugins.keys()])
  await node.destroy()
  for (const run of [() => node.announce(server.target ?? Buffer.alloc(32), DHT.keyPair()), () => node.lookupAndUnannounce(Buffer.alloc(32), DHT.keyPair()), () => node.findPeer(Buffer.alloc(32)), () => node.unannounce(Buffer.alloc(32), DHT.keyPair())]) note(await told(run))
})

sameNodes('members of a server', async ({ DHT, create, note }) => {
  const node = create()
  const server = node.createServer({ relayKeepAlive: 100, handshakeClearWait: 200 })
  note(server.target, server.relayAddresses, server.pool, server.relayThrough, server.relayKeepAlive, server.handshakeClearWait, server.firewall(), server.holepunch())
  note(node.createServer().relayKeepAlive, node.createServer().handshakeClearWait, typeof node.createServer({ holepunch: false }).holepunch)
  const firewall = () => true
  note(node.createServer({ firewall }).firewall === firewall)
  const listening = server.listen()
  note(server.listening, node.listening.size, server.closed)
  await listening
  note(server.target.equals(DHT.hash(server.publicKey)), server.listening, server.relayAddresses.length > 0, server.relayAddresses.every(({ host, port }) => host === '127.0.0.1' && port > 0))
  note(server.notifyOnline(), server.refresh(), node.listening.has(server))
  await server.close()
  note(server.listening, server.relayAddresses, node.listening.size)
  note(await server.listen() === server, server.closed)
  const twice = node.createServer()
  const both = await Promise.allSettled([twice.listen(DHT.keyPair()), twice.listen(DHT.keyPair())])
  note(both.map(({ status, reason }) => [status, reason?.code]), twice.listening)
  const words = []
  await node.suspend({ log: (word) => words.push(word) })
  note(words.filter((word) => /^Suspending (all hyperdht|hyperdht)|fully/.test(word)))
  words.splice(0)
  await node.resume({ log: (word) => words.push(word) })
  note(words.filter((word) => /hyperdht/.test(word)))
})

sameNodes('a server that goes on says so once, and a stream that is over brings nothing', async ({ create, other, note }) => {
  const node = create()
  const heard = []
  const streams = []
  const server = node.createServer((stream) => {
    streams.push(stream)
    stream.on('error', () => {})
  })
  server.on('listening', () => { heard.push('listening') })
  await server.listen()
  const call = async () => {
    const stream = other.connect(server.publicKey)
    stream.on('error', () => {})
    return await stream.opened ? stream : null
  }
  await node.suspend()
  await node.resume()
  let theirs
  await eventually(async () => (theirs = await call()) !== null, 'the server to be reached again')
  note(heard)

  const [ours] = streams
  note(ours.keepAlive > 0, await ours.flush())
  ours.setTimeout(60_000)
  ours.end()
  note(ours.timeout)
  await eventually(() => ours.keepAlive === 0, 'the end to be on its way')
  const ended = closed(ours)
  theirs.resume().end()
  await eventually(async () => !await ours.flush(), 'the stream to be over')
  ours.resume()
  await ended
  note(ours.keepAlive, ours.timeout, await ours.flush())
})

sameNodes('what is searched for', async ({ DHT, create, note }) => {
  const node = create()
  for (const key of [null, undefined, 5, 'key']) {
    for (const ask of [() => node.findPeer(key), () => node.mutableGet(key), () => DHT.hash(key)]) {
      const asking = (async () => await ask())()
      note(await asking.then(() => 'asked', () => 'refused'))
    }
  }
})

sameNodes('what a firewall is told', async ({ create, other, note }) => {
  const node = create()
  const payloads = []
  const addresses = new Set()
  let verdict = () => false
  const server = node.createServer({
    firewall (publicKey, payload, { host, port }) {
      addresses.add(`${host} ${port > 0}`)
      payloads.push([publicKey.equals(other.defaultKeyPair.publicKey), { ...payload, addresses4: payload.addresses4.length > 0, udx: { ...payload.udx, id: typeof payload.udx.id } }])
      return verdict()
    }
  }, (stream) => { stream.on('error', () => {}) })
  await server.listen()
  const call = async () => {
    const stream = other.connect(server.publicKey)
    stream.on('error', () => {})
    const ended = closed(stream)
    const isOpen = await stream.opened
    stream.destroy()
    await ended
    return isOpen
  }
  note(await call(), payloads.splice(0)[0])
  // Whoever cannot be judged stays outside.
  verdict = () => { throw new Error('no idea') }
  note(await call())
  verdict = async () => { throw new Error('later, neither') }
  note(await call())
  verdict = async () => false
  note(await call(), [...addresses])
})

sameNodes('terms of announcements', async ({ DHT, create, other, note }) => {
  const node = create()
  const topic = DHT.keyPair().publicKey
  const keyPair = DHT.keyPair()
  const known = async (about = topic) => {
    const records = new Set()
    let bump = 0
    for await (const result of other.lookup(about)) {
      bump = Math.max(bump, result.bump)
      for (const { publicKey, relayAddresses } of result.peers) if (publicKey.equals(keyPair.publicKey)) records.add(JSON.stringify(relayAddresses))
    }
    return [[...records], bump > 0]
  }
  const relayAddresses = [{ host: '10.0.0.1', port: 4000 }, { host: '10.0.0.2', port: 5000 }]
  await node.announce(topic, keyPair, relayAddresses).finished()
  note(await known())
  const bump = Date.now()
  await node.announce(topic, keyPair, relayAddresses.slice(1), { bump }).finished()
  const found = new Set()
  for await (const result of other.lookup(topic)) found.add(result.bump === bump)
  note(await known(), [...found])
  // More than nodes keep, and taken back before that.
  const many = Array.from({ length: 5 }, (_, at) => ({ host: '10.0.0.9', port: at + 1 }))
  await node.announce(topic, keyPair, many, { clear: true }).finished()
  note(await known())
  await node.announce(topic, keyPair).finished()
  note((await known())[0])
  await node.announce(topic, keyPair, null, { clear: true, bump: 0 }).finished()
  note((await known())[0])
  const announcing = node.announce(topic, keyPair, [], { clear: true })
  const seen = []
  for await (const { from, peers } of announcing) seen.push(from.host, peers.some(({ publicKey }) => publicKey.equals(keyPair.publicKey)))
  note(seen.includes(true), announcing.closestNodes.length > 0)
  await node.unannounce(topic, keyPair)
  note((await known())[0])
})

sameNodes('pools of servers, and of both ends', async ({ create, other, note }) => {
  const node = create()
  const pool = node.pool()
  const events = []
  pool.on('connection', (stream) => events.push(stream.isInitiator))
  const server = node.createServer({ pool })
  note(server.pool === pool)
  await server.listen()
  const streams = [other.connect(server.publicKey), other.connect(server.publicKey)]
  const ended = streams.map((stream) => new Promise((resolve) => stream.on('error', () => {}).on('close', resolve)))
  await Promise.all(streams.map((stream) => stream.opened))
  await Promise.race(ended)
  await eventually(() => events.length > 0)
  note([...pool.connections].length, pool.has(other.defaultKeyPair.publicKey), events[0])
  const left = pool.get(other.defaultKeyPair.publicKey)
  const gone = closed(left)
  left.on('error', () => {})
  left.destroy()
  await gone
  await eventually(() => !pool.has(other.defaultKeyPair.publicKey))
  note([...pool.connections].length, pool.connecting, pool.get(other.defaultKeyPair.publicKey))
})

sameNodes('connections by address', async ({ create, other, note }) => {
  const node = create()
  const server = other.createServer((stream) => { stream.on('error', () => {}) })
  await server.listen()
  for (const nodes of [[], server.relayAddresses]) {
    const stream = node.connect(Address.encode(server.publicKey, nodes))
    stream.on('error', () => {})
    note(stream.remotePublicKey.equals(server.publicKey), stream.remotePublicKey.byteLength, await stream.opened)
    stream.destroy()
  }
  const pool = node.pool()
  const stream = node.connect(server.publicKey, { pool })
  stream.on('error', () => {})
  note(node.connect(Address.encode(server.publicKey, []), { pool }) === stream)
  // What a program passes on that has no keys of its own.
  const plain = node.connect(server.publicKey, { keyPair: null, pool: null })
  plain.on('error', () => {})
  note(plain.publicKey.equals(node.defaultKeyPair.publicKey), await plain.opened)
})

sameNodes('a connection as words, and one of a node that is gone', async ({ create, other, note }) => {
  const node = create()
  const server = other.createServer((stream) => { stream.on('error', () => {}) })
  await server.listen()
  const stream = node.connect(server.publicKey)
  stream.on('error', () => {})
  const early = stream.toJSON()
  note(Object.keys(early), early.connected, early.isInitiator)
  await stream.opened
  const { publicKey, remotePublicKey, rawStream, ...rest } = stream.toJSON()
  note(rest, publicKey === node.defaultKeyPair.publicKey.toString('hex'), remotePublicKey === server.publicKey.toString('hex'), typeof rawStream, rawStream !== null)
  const { rawStream: raw } = stream
  const ended = []
  raw.on('close', () => ended.push('raw'))
  stream.on('close', () => ended.push('stream'))
  for (const name of ['mtu', 'cwnd', 'inflight', 'packetsReceived', 'packetsTransmitted', 'retransmits', 'fastRecoveries', 'rtoCount']) note(typeof raw[name])
  note(raw.connected, typeof raw.bytesReceived, typeof raw.bytesTransmitted, typeof raw.rtt, raw.destroying, raw.destroyed)
  raw.destroy()
  await closed(stream)
  note(ended, raw.destroyed, stream.destroyed)
  const last = node.connect(server.publicKey)
  last.on('error', () => {})
  await last.opened
  await node.destroy()
  note(last.destroyed, last.toJSON().destroyed)
  const late = node.connect(server.publicKey)
  const error = await first(late, 'error')
  note(error instanceof Error, await late.opened, late.destroyed)
})

sameNodes('whoever accepts a connection knows its handshake before it is connected', async ({ create, other, note }) => {
  const node = create()
  const keyPair = node.defaultKeyPair
  const accepted = new Promise((resolve) => {
    const server = node.createServer((stream) => {
      const { handshakeHash, connected, publicKey, remotePublicKey, isInitiator } = stream
      const events = []
      for (const name of ['handshake', 'connect', 'open']) stream.on(name, () => events.push([name, stream.connected]))
      stream.on('error', () => {})
      note(handshakeHash.byteLength, connected, publicKey.equals(keyPair.publicKey), remotePublicKey.equals(other.defaultKeyPair.publicKey), isInitiator)
      stream.on('open', () => { resolve({ events, handshakeHash }) })
    })
    server.listen(keyPair).then(() => {
      const stream = other.connect(keyPair.publicKey)
      stream.on('error', () => {})
      stream.opened.then(() => { first.handshakeHash = stream.handshakeHash })
      first.stream = stream
    })
  })
  const first = {}
  const { events, handshakeHash } = await accepted
  await first.stream.opened
  note(events, handshakeHash.equals(first.handshakeHash))
})

sameNodes('what both ends have finished arrives, though the node that sent it is destroyed at once', async ({ create, other, note }) => {
  const node = create()
  let received = 0
  const ended = []
  const over = new Promise((resolve) => {
    const server = other.createServer((stream) => {
      stream.on('data', (data) => { received += data.byteLength })
      stream.on('end', () => ended.push('end'))
      stream.on('error', (error) => ended.push(error.message))
      stream.on('close', resolve)
      stream.end()
    })
    server.listen().then(() => {
      const stream = node.connect(server.publicKey)
      stream.on('error', (error) => ended.push(error.message))
      stream.resume()
      stream.on('end', async () => {
        for (let at = 0; at < 20; at++) {
          if (!stream.write(Buffer.alloc(60_000, at))) await new Promise((resolve) => stream.once('drain', resolve))
        }
        stream.end()
      })
      stream.on('close', () => node.destroy())
    })
  })
  await over
  note(received, ended)
})

test('what a peer said before it broke off is read, though a busy tab hears of both at once', async (t) => {
  const { bootstrap } = await startTestnet(t)
  const { url } = await startRelay(t, { bootstrap, args: ['--allow-private'] })
  const peer = new JsonProcess('node', [fileURLToPath(new URL('support/last-words.mjs', import.meta.url)), ...bootstrap])
  defer(t, () => peer.kill())
  const { key } = await peer.next('listening')
  const node = new DHT({ relay: url, webrtc: false })
  defer(t, () => node.destroy({ force: true }))
  const call = async () => {
    const heard = []
    const stream = node.connect(key)
    stream.on('data', (data) => { heard.push(String(data)) })
    stream.on('error', ({ code }) => { heard.push(code) })
    const ended = closed(stream)
    if (!await stream.opened) return null
    stream.write('hello')
    await stream.flush()
    await new Promise((resolve) => { setTimeout(resolve, 3) })
    // What comes meanwhile comes together.
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 300)
    await ended
    return heard
  }
  await eventually(async () => await call() !== null, 'the peer to be found')
  for (let turn = 0; turn < 6; turn++) assert.deepEqual(await call(), ['last words', 'ECONNRESET'])
})

test('a node has the figures of upstream\'s newest', async () => {
  const node = new DHT({ relay: 'ws://127.0.0.1:1', webrtc: false })
  assert.deepEqual(node.stats.punches, { consistent: 0, random: 0, open: 0, tryLater: 0, tryLaterRelayedHandshakesAtLeastOnce: 0 })
  assert.deepEqual(node.stats.socketPool, { socketsAdded: 0, socketsRemoved: 0 })
  await node.destroy()
})

test('what is no target is refused before anybody is asked, in words', async () => {
  const node = new DHT({ relay: 'ws://127.0.0.1:1', webrtc: false })
  for (const target of [null, undefined, 5, 'topic', Buffer.alloc(3)]) {
    for (const ask of [() => node.lookup(target), () => node.findNode(target), () => node.findPeer(target, { hash: false }), () => node.immutableGet(target)]) {
      assert.match(JSON.stringify(await told(ask)), /BAD_ARGUMENT.*32 bytes/)
    }
  }
  for (const key of [null, undefined, 5, 'key']) assert.match(JSON.stringify(await told(() => node.findPeer(key))), /BAD_ARGUMENT.*is bytes/)
  assert.equal(node.stats.queries.active, 0)
  await node.destroy()
})

test('a key pair without its secret is refused before anything is done with it, and so are handshakes of a program\'s own', async (t) => {
  const node = new DHT({ relay: 'ws://127.0.0.1:1', webrtc: false })
  t.after(() => node.destroy({ force: true }))
  const topic = Buffer.alloc(32)
  const publicKey = Buffer.alloc(32, 1)
  const refused = { code: 'BAD_ARGUMENT', message: /without its secret/ }
  const signing = { signAnnounce: () => Buffer.alloc(64), signUnannounce: () => Buffer.alloc(64) }
  assert.throws(() => node.connect(topic, { keyPair: { publicKey } }), refused)
  assert.throws(() => node.announce(topic, { publicKey }, []), refused)
  node.announce(topic, { publicKey }, [], signing).destroy()
  assert.throws(() => node.lookupAndUnannounce(topic, { publicKey }), refused)
  await assert.rejects(node.unannounce(topic, { publicKey }), refused)
  await node.unannounce(topic, { publicKey }, signing)
  await assert.rejects(node.createServer().listen({ publicKey }), refused)
  await assert.rejects(node.createServer().listen({ publicKey }, signing), refused)
  assert.equal(node.listening.size, 0)
  for (const nobody of [null, undefined, {}, 5]) assert.throws(() => node.connect(nobody), { message: /^Invalid Hypercore key/ })
  for (const name of ['createHandshake', 'createSecretStream']) {
    const instead = { code: 'NOT_SUPPORTED', message: new RegExp(name) }
    assert.throws(() => node.connect(topic, { [name]: () => {} }), instead)
    assert.throws(() => node.createServer({ [name]: () => {} }), instead)
  }
})
