// UDX streams of core against udx-native, over loopback, both ways.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import test from 'node:test'

import UDX from 'udx-native'

import { nativeProgram } from '../../scripts/lib/cargo.mjs'
import { defer } from './support/cleanup.mjs'
import { startProcess } from './support/process.mjs'

const MIB = 1 << 20
const SIZE = 32 * MIB

const program = await nativeProgram('udx-peer')

test('our stream sends to udx-native, and the bytes arrive', async (t) => {
  const { peer, stream, id } = await pair(t)

  const closed = once(stream, 'close')
  const receiving = receive(stream)
  const start = performance.now()
  await peer.ask('send', { stream: id, bytes: SIZE, end: true })
  const { received, intact } = await receiving
  report(t, 'ours to udx-native', received, start)

  assert.deepEqual({ received, intact }, { received: SIZE, intact: true })
  stream.end()
  assert.equal((await peer.next('close')).reason, 'Finished')
  await closed
})

test('udx-native sends to our stream, and the bytes arrive', async (t) => {
  const { peer, stream, id } = await pair(t)

  const closed = once(stream, 'close')
  const start = performance.now()
  send(stream, SIZE)
  const { received, intact } = await peer.next('end')
  report(t, 'udx-native to ours', received, start)

  assert.deepEqual({ received, intact }, { received: SIZE, intact: true })
  stream.resume()
  await peer.ask('send', { stream: id, bytes: 0, end: true })
  assert.equal((await peer.next('close')).reason, 'Finished')
  await closed
})

test('both directions at once', async (t) => {
  const { peer, stream, id } = await pair(t)

  const receiving = receive(stream)
  const start = performance.now()
  await peer.ask('send', { stream: id, bytes: SIZE, end: true })
  send(stream, SIZE)
  const [ours, theirs] = await Promise.all([peer.next('end'), receiving])
  report(t, 'both ways, each', SIZE, start)

  assert.deepEqual([ours.received, ours.intact], [SIZE, true])
  assert.deepEqual([theirs.received, theirs.intact], [SIZE, true])
  assert.equal((await peer.next('close')).reason, 'Finished')
})

test('a peer without segmentation offload keeps up', async (t) => {
  const { peer, stream, id } = await pair(t, ['--plain'])

  const receiving = receive(stream)
  const start = performance.now()
  await peer.ask('send', { stream: id, bytes: SIZE, end: true })
  const { received, intact } = await receiving
  report(t, 'ours to udx-native, plain', received, start)

  assert.deepEqual({ received, intact }, { received: SIZE, intact: true })
})

test('udx-native stops when our reader does, and goes on with it', async (t) => {
  const { peer, stream, id } = await pair(t)

  await peer.ask('hold', { stream: id, limit: 262_144 })
  // The window travels with the first acknowledgement.
  stream.write(pattern(0, 1))
  await peer.next('data')
  send(stream, 4 * MIB, 1)
  await new Promise((resolve) => setTimeout(resolve, 1500))
  const { received: stalled } = await peer.ask('stats', { stream: id })
  await peer.ask('release', { stream: id })
  const { received, intact } = await peer.next('end')

  assert.ok(stalled > 200_000 && stalled < 350_000, `${stalled} bytes`)
  assert.deepEqual({ received, intact }, { received: 4 * MIB, intact: true })
})

test('messages cross unordered and without acknowledgement', async (t) => {
  const { peer, stream, id } = await pair(t)

  stream.trySend(Buffer.from('hello'))
  assert.equal((await peer.next('message')).text, 'hello')
  const arrived = once(stream, 'message')
  await peer.ask('message', { stream: id, text: 'back' })

  assert.equal((await arrived)[0].toString(), 'back')
})

test('a reset crosses in both directions', async (t) => {
  const first = await pair(t)
  first.stream.on('error', () => {})
  first.stream.write('x')
  await first.peer.next('data')
  first.stream.destroy()
  assert.equal((await first.peer.next('close')).reason, 'Reset')

  const second = await pair(t)
  const failed = once(second.stream, 'error')
  await second.peer.ask('destroy', { stream: second.id })
  assert.match((await failed)[0].message, /reset/)
})

test('a stream that udx-native dials is offered before it is known', async (t) => {
  const { peer, socket, stream, id } = await pair(t, [], { connect: false })

  stream.write('early')
  const { port } = await peer.next('incoming')
  assert.equal(port, socket.address().port)
  await peer.next('data')
  await peer.ask('connect', { stream: id, port, remote: stream.id })
  stream.end()
  await peer.next('end')
  await peer.ask('send', { stream: id, bytes: 0, end: true })

  assert.equal((await peer.next('close')).reason, 'Finished')
})

/** Starts our peer and joins one of its streams with one of udx-native. */
async function pair (t, args = [], { connect = true } = {}) {
  const peer = startProcess(t, program, args)
  const udx = new UDX()
  const socket = udx.createSocket()
  socket.bind(0, '127.0.0.1')
  const stream = udx.createStream(1 + Math.floor(Math.random() * 1e9))
  defer(t, async () => {
    stream.on('error', () => {})
    stream.destroy()
    await socket.close()
  })
  const { port, stream: id } = await peer.ask('open')
  stream.connect(socket, id, port, '127.0.0.1')
  if (connect) await peer.ask('connect', { stream: id, port: socket.address().port, remote: stream.id })
  return { peer, udx, socket, stream, id }
}

async function receive (stream) {
  let received = 0
  let intact = true
  stream.on('data', (chunk) => {
    if (intact) intact = chunk.equals(pattern(received, chunk.length))
    received += chunk.length
  })
  await once(stream, 'end')
  return { received, intact }
}

async function send (stream, size, from = 0) {
  for (let at = from; at < size; at += 65_536) {
    const chunk = pattern(at, Math.min(65_536, size - at))
    if (!stream.write(chunk)) await once(stream, 'drain')
  }
  stream.end()
}

/** The pattern repeats after 16 MiB; a copy of it is cheaper than making it again. */
const PERIOD = 1 << 24
const table = Buffer.alloc(PERIOD + 65_536 * 2)
for (let at = 0; at < table.length; at++) table[at] = (at ^ (at >> 8) ^ (at >> 16)) & 0xff

function pattern (at, length) {
  return table.subarray(at % PERIOD, at % PERIOD + length)
}

function report (t, what, bytes, start) {
  const seconds = (performance.now() - start) / 1000
  t.diagnostic(`${what}: ${(bytes / 1e6 / seconds).toFixed(1)} MB/s`)
}
