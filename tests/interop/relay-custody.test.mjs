// What the relay knows of its clients: nothing, unless its operator wants to serve those that give their keys away.

import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { test } from 'node:test'

import RelayedDHT from '@hyperswarm/dht-relay'
import RelayStream from '@hyperswarm/dht-relay/ws'
import DHT from 'hyperdht'
import Hyperswarm from 'hyperswarm'
import WebSocket from 'ws'

import { defer } from './support/cleanup.mjs'
import { findInMemory } from './support/memory.mjs'
import { finished, keys } from './support/relayed.mjs'
import { startRelay } from './support/relay.mjs'
import { eventually } from './support/scene.mjs'
import { parseBootstrap } from './support/testnet.mjs'

const LOG = ['--log-level', 'debug', '--log-addresses', '--log-keys']

test('neither keys nor words of a client are anywhere in the memory or the log of a relay', async (t) => {
  const relay = await startRelay(t, { testnet: true, args: LOG })
  const native = await startNative(t, relay)
  const { dht } = await startClient(t, relay, { custodial: false })
  const [pair, own, words] = [DHT.keyPair(), DHT.keyPair(), randomBytes(48)]
  await dht.createServer(reflect).listen(pair)
  await finished(dht.announce(randomBytes(32), own))
  const incoming = native.connect(pair.publicKey)
  await echo(incoming, words)
  const outgoing = dht.connect(await listen(t, native), { keyPair: own })
  await echo(outgoing, words)

  // The streams are open, and what was said has just gone through.
  const wanted = { 'key of the server': seedOf(pair), 'key of the caller': seedOf(own), words }
  assert.deepEqual(findInMemory(relay.process.pid, wanted), [])
  for (const stream of [incoming, outgoing]) stream.destroy()
  assertNotLogged(relay, wanted)
})

test('a client that gives its key away is refused with the reason, and its key is kept nowhere', async (t) => {
  const relay = await startRelay(t, { testnet: true, args: LOG })
  const keys = {}
  for (let round = 0; round < 5; round++) {
    const keyPair = DHT.keyPair()
    keys[`key ${round}`] = seedOf(keyPair)
    const socket = new WebSocket(relay.url)
    const dht = new RelayedDHT(new RelayStream(true, socket), { custodial: true, keyPair })
    defer(t, () => dht.destroy({ force: true }))
    const [code, reason] = await once(socket, 'close')
    assert.equal(code, 1008)
    assert.match(reason.toString(), /secret keys.*custodial: false/)
  }

  await eventually(() => findInMemory(relay.process.pid, keys).length === 0, 'the keys are wiped')
  assertNotLogged(relay, keys)
})

test('a key that comes later, in another message, is refused and kept nowhere either', async (t) => {
  const relay = await startRelay(t, { testnet: true, args: LOG })
  const { dht, socket } = await startClient(t, relay, { custodial: false })
  const keyPair = DHT.keyPair()
  const closed = once(socket, 'close')
  dht._custodial = true
  dht.createServer().listen(keyPair).catch(() => {})

  const [code] = await closed
  assert.equal(code, 1008)
  // The socket is told before the message that it sent is wiped.
  await eventually(() => findInMemory(relay.process.pid, { key: seedOf(keyPair) }).length === 0, 'the key is wiped')
})

test('where the operator allows it, upstream\'s clients are served as they are by default', async (t) => {
  const relay = await startRelay(t, { testnet: true, args: ['--allow-custodial'] })
  const native = await startNative(t, relay)
  const { dht } = await startClient(t, relay, { custodial: true })
  const [topic, pair] = [randomBytes(32), DHT.keyPair()]

  await finished(dht.announce(topic, pair))
  assert.deepEqual(await keys(native.lookup(topic)), [pair.publicKey.toString('hex')])
  await dht.unannounce(topic, pair)
  assert.deepEqual(await keys(native.lookup(topic)), [])

  // Dials, with a key of its own, and words of many sizes.
  const target = await listen(t, native)
  const call = dht.connect(target, { keyPair: pair })
  for (const size of [1, 1000, 65536, 300_000]) await echo(call, randomBytes(size))
  assert.deepEqual(call.remotePublicKey, target)
  assert.equal(call.handshakeHash.byteLength, 64)
  call.end()
  await once(call, 'close')

  // Is dialled, and decides who may.
  const [listened, friend] = [DHT.keyPair(), DHT.keyPair()]
  const server = dht.createServer({ firewall: (key) => !key.equals(friend.publicKey) }, reflect)
  await server.listen(listened)
  const refused = native.connect(listened.publicKey, { keyPair: DHT.keyPair() })
  const [error] = await once(refused, 'error')
  assert.match(error.message, /PEER_CONNECTION_FAILED|PEER_NOT_FOUND/)
  for (let round = 0; round < 3; round++) {
    const incoming = native.connect(listened.publicKey, { keyPair: friend })
    await echo(incoming, randomBytes(100_000))
    if (round === 0) incoming.destroy()
    else incoming.end()
    await once(incoming, 'close')
  }
  await server.close()

  // The search would find a key that is there.
  const kept = dht.createServer()
  const keptPair = DHT.keyPair()
  await kept.listen(keptPair)
  assert.deepEqual(findInMemory(relay.process.pid, { key: seedOf(keptPair) }), ['key'])
})

test('the bounds of messages stay where the relay encrypts', async (t) => {
  const relay = await startRelay(t, { testnet: true, args: ['--allow-custodial'] })
  const native = await startNative(t, relay)
  const { dht } = await startClient(t, relay, { custodial: true })
  const server = native.createServer((stream) => {
    stream.on('error', () => {})
    stream.on('data', (data) => stream.write(data))
  })
  defer(t, () => server.close())
  await server.listen()
  const call = dht.connect(server.publicKey)
  const sizes = Array.from({ length: 200 }, (_, index) => 1 + (index * 7919) % 5000)
  const seen = []
  const done = new Promise((resolve) => {
    call.on('data', (data) => { if (seen.push(data.byteLength) === sizes.length) resolve() })
  })
  await once(call, 'open')
  for (const size of sizes) call.write(Buffer.alloc(size, 1))
  await done

  assert.deepEqual(seen, sizes)
})

test('a key that is given away moves to its newest link, and clients of both kinds share a relay', async (t) => {
  const relay = await startRelay(t, { testnet: true, args: ['--allow-custodial'] })
  const native = await startNative(t, relay)
  const [old, fresh] = [await startClient(t, relay, { custodial: false }), await startClient(t, relay, { custodial: true })]
  const pair = DHT.keyPair()
  const taken = old.dht.createServer(() => assert.fail('the old one was connected'))
  await taken.listen(pair)
  const replaced = once(taken, 'close')
  await fresh.dht.createServer(reflect).listen(pair)
  await replaced

  await echo(native.connect(pair.publicKey), randomBytes(1000))
  await echo(old.dht.connect(pair.publicKey), randomBytes(1000))
})

test('a swarm of upstream\'s meets another through its custodial client', async (t) => {
  const relay = await startRelay(t, { testnet: true, args: ['--allow-custodial'] })
  const native = new Hyperswarm({ dht: await startNative(t, relay) })
  const topic = randomBytes(32)
  native.on('connection', (connection) => {
    connection.on('error', () => {})
    connection.write('hello from afar')
  })
  defer(t, async () => {
    native.clear().catch(() => {})
    await native.destroy({ force: true })
  })
  await native.join(topic, { client: false }).flushed()

  const { dht } = await startClient(t, relay, { custodial: true })
  const [first] = [...await keys(dht.lookup(topic))]
  const call = dht.connect(Buffer.from(first, 'hex'))
  call.on('error', () => {})
  const [data] = await once(call, 'data')
  assert.equal(String(data), 'hello from afar')
})

async function startNative (t, { bootstrap }) {
  const dht = new DHT({ bootstrap: parseBootstrap(bootstrap), host: '127.0.0.1', firewalled: false })
  defer(t, () => dht.destroy({ force: true }))
  await dht.fullyBootstrapped()
  return dht
}

async function startClient (t, { url }, options) {
  const socket = new WebSocket(url)
  const dht = new RelayedDHT(new RelayStream(true, socket), options)
  defer(t, () => dht.destroy({ force: true }))
  await dht.ready()
  return { dht, socket }
}

/** Starts a native server that sends back what it gets; returns its key. */
async function listen (t, native) {
  const server = native.createServer(reflect)
  defer(t, () => server.close())
  await server.listen(DHT.keyPair())
  return server.publicKey
}

function reflect (stream) {
  stream.on('error', () => {})
  stream.pipe(stream)
}

async function echo (stream, bytes) {
  const parts = []
  let length = 0
  const back = new Promise((resolve, reject) => {
    const failed = (error) => reject(error ?? new Error(`closed after ${length} bytes`))
    stream.on('error', failed)
    stream.on('close', failed)
    stream.on('data', function take (data) {
      parts.push(data)
      length += data.byteLength
      if (length < bytes.byteLength) return
      stream.off('data', take)
      stream.off('close', failed)
      resolve(Buffer.concat(parts))
    })
  })
  for (let at = 0; at < bytes.byteLength; at += 65536) stream.write(bytes.subarray(at, at + 65536))
  assert.ok((await back).equals(bytes), 'what came back differs')
}

/** The half of a secret key that is secret. */
function seedOf ({ secretKey }) {
  return secretKey.subarray(0, 32)
}

function assertNotLogged (relay, wanted) {
  const log = relay.process.stderr
  assert.ok(log.length > 0)
  for (const [name, bytes] of Object.entries(wanted)) {
    for (const encoding of ['hex', 'base64', 'latin1']) assert.ok(!log.includes(Buffer.from(bytes).toString(encoding)), `${name} is in the log`)
  }
}
