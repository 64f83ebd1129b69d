// Many streams over one WebSocket: who reads one of them slowly slows the peer of that one, and neither fills memory nor
// holds the others up.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'

import { DHT } from 'hypertab'

import { defer } from './support/cleanup.mjs'
import { startClient, startNative } from './support/relayed.mjs'
import { relayFigure, startRelay } from './support/relay.mjs'

const MIB = 1024 * 1024
const CHUNK = 64 * 1024

/** What a peer may have sent of a stream that nobody reads: the windows of both paths, and what the reader holds. */
const AHEAD = 4 * MIB

test('a stream that is not read stops its peer, while others flow, and goes on where it was', { timeout: 120_000 }, async (t) => {
  const { dht, server, sent } = await startScene(t, 16 * MIB)
  const idle = await open(dht, server)
  const [first] = sent.values()

  const busy = await Promise.all(Array.from({ length: 4 }, async () => read(await open(dht, server), 4 * MIB)))
  assert.deepEqual(busy, Array(4).fill(4 * MIB))

  // Its last bytes may still be on their way to what holds them.
  for (let before = -1; before !== first.bytes;) {
    before = first.bytes
    assert.ok(before > 0 && before < AHEAD, `${before} bytes for a stream that is not read`)
    await sleep(1000)
  }

  assert.equal(await read(idle, 16 * MIB), 16 * MIB)
})

test('a reader with pauses gets everything, in order, and the end after it', { timeout: 120_000 }, async (t) => {
  const { dht, server, sent } = await startScene(t, 16 * MIB)
  const stream = await open(dht, server)
  stream.end()
  let [received, most] = [0, 0]
  for await (const data of stream) {
    for (const at of [0, data.byteLength - 1]) assert.equal(data[at], byteAt(received + at))
    received += data.byteLength
    if (received % (16 * CHUNK) === 0) await sleep(5)
    most = Math.max(most, [...sent.values()][0].bytes - received)
  }

  assert.equal(received, 16 * MIB)
  assert.ok(most < AHEAD, `the peer was ${most} bytes ahead`)
})

test('a client without credit is held back as a whole, by its WebSocket', { timeout: 60_000 }, async (t) => {
  const relay = await startRelay(t, { testnet: true })
  const { server, sent } = await startServer(t, relay, 64 * MIB)
  const { dht, socket } = await startClient(t, relay)
  const stream = dht.connect(server.publicKey)
  stream.on('error', () => {})
  await once(stream, 'open')
  socket.pause()

  for (let last = -1; last !== [...sent.values()][0].bytes;) {
    last = [...sent.values()][0].bytes
    await sleep(1000)
  }
  assert.ok(await relayFigure(relay, 'queued_bytes') < 2 * MIB)
  assert.ok([...sent.values()][0].bytes < 16 * MIB, 'the peer was not held back')
  socket.resume()
})

async function startScene (t, size) {
  const relay = await startRelay(t, { testnet: true })
  const { server, sent } = await startServer(t, relay, size)
  const dht = new DHT({ relay: relay.url })
  defer(t, () => dht.destroy({ force: true }))
  await dht.ready()
  return { dht, server, sent }
}

/** A peer that sends so many bytes to whoever comes, as fast as they are taken. */
async function startServer (t, relay, size) {
  const native = await startNative(t, relay)
  const sent = new Map()
  const server = native.createServer(async (stream) => {
    stream.on('error', () => {})
    const state = { bytes: 0 }
    sent.set(stream, state)
    stream.setMaxListeners(0)
    stream.resume()
    for (; state.bytes < size && !stream.destroyed; state.bytes += CHUNK) {
      const chunk = Buffer.alloc(CHUNK)
      for (const at of [0, CHUNK - 1]) chunk[at] = byteAt(state.bytes + at)
      if (!stream.write(chunk)) await new Promise((resolve) => { stream.once('drain', resolve).once('close', resolve) })
    }
    stream.end()
  })
  defer(t, () => server.close())
  await server.listen()
  return { server, sent }
}

async function open (dht, server) {
  const stream = dht.connect(server.publicKey)
  stream.on('error', () => {})
  await once(stream, 'open')
  return stream
}

/** Reads so many bytes, and breaks off. */
async function read (stream, wanted) {
  let received = 0
  for await (const data of stream) {
    received += data.byteLength
    if (received >= wanted) break
  }
  return received
}

function byteAt (offset) {
  return (offset * 31 + (offset >> 8)) & 255
}
