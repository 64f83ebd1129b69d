// Encrypted streams, upstream's and ours: the same programs between each pair of them, over pipes and over sockets.

import assert from 'node:assert/strict'
import { createConnection, createServer } from 'node:net'
import test from 'node:test'

import Upstream from '@hyperswarm/secret-stream'
import c from 'compact-encoding'
import NoiseWrap from 'hyperdht/lib/noise-wrap.js'
import Ours from 'hypertab/secret-stream'
import Protomux from 'hypertab/protomux'
import { Duplex } from 'streamx'

import { closed, eventually, first } from './support/both.mjs'
import { plain } from './support/scene.mjs'

/**
 * Runs a program with a stream of either kind on each side, and compares what it notes with what upstream's note among themselves.
 *
 * The program gets `{ A, B, note }`: the class of each side, and `note(...values)`.
 */
function sameStreams (name, program) {
  test(name, async (t) => {
    const play = async (A, B) => {
      const notes = []
      await program({ A, B, note: (...values) => { notes.push(...values.map(plain)) } })
      return notes
    }
    const expected = await play(Upstream, Upstream)
    assert.ok(expected.length > 0)
    for (const [pair, A, B] of [['ours and upstream\'s', Ours, Upstream], ['upstream\'s and ours', Upstream, Ours], ['two of ours', Ours, Ours]]) {
      await t.test(pair, async () => { assert.deepEqual(await play(A, B), expected) })
    }
  })
}

/** What both sides of one handshake are left with. */
function handshake () {
  const keys = [1, 2].map((seed) => Upstream.keyPair(Buffer.alloc(32, seed)))
  const [one, other] = [new NoiseWrap(keys[0], keys[1].publicKey), new NoiseWrap(keys[1], null)]
  const payload = { version: 1, error: 0, firewall: 0, addresses4: [], addresses6: [], udx: null, secretStream: null }
  other.recv(one.send(payload))
  one.recv(other.send(payload))
  return [one.final(), other.final()]
}

function pipe (a, b) {
  a.rawStream.pipe(b.rawStream).pipe(a.rawStream)
}

/** Everything that a stream brings, as one text, until it ends. */
async function textOf (stream) {
  const parts = []
  stream.on('data', (data) => { parts.push(Buffer.from(data)) })
  await first(stream, 'end')
  return Buffer.concat(parts).toString()
}

sameStreams('two ends that are piped together', async ({ A, B, note }) => {
  const [one, other] = [A.keyPair(Buffer.alloc(32, 1)), B.keyPair(Buffer.alloc(32, 2))]
  const a = new A(true, null, { keyPair: one })
  const b = new B(false, null, { keyPair: Promise.resolve(other) })
  note(a.isInitiator, b.isInitiator, a.noiseStream === a, a.rawStream.noiseStream === a, a.handshakeHash, a.connected)
  pipe(a, b)
  note(await a.opened, await b.opened, a.publicKey, a.remotePublicKey, b.publicKey, b.remotePublicKey, a.connected)
  note(a.rawBytesRead, a.rawBytesWritten, b.rawBytesRead, b.rawBytesWritten)
  note(Buffer.from(a.handshakeHash).equals(b.handshakeHash), A.id(a.handshakeHash, true).equals(B.id(a.handshakeHash, true)), A.id(a.handshakeHash, false).equals(B.id(a.handshakeHash, false)))
  a.write('text')
  note(await first(b, 'data'))
  note(a.rawBytesRead, a.rawBytesWritten, b.rawBytesRead > 0, b.rawBytesWritten)
  const over = Promise.all([closed(a), closed(b)])
  note(await a.flush())
  b.end('and the end')
  note(await textOf(a))
  a.end()
  await over
  note(a.destroyed, b.destroyed)
})

sameStreams('ends over sockets of the program', async ({ A, B, note }) => {
  const server = createServer((socket) => {
    const b = new B(false, socket)
    note(b.rawStream === socket)
    b.on('data', (data) => { b.write(data) })
    b.on('end', () => { b.end() })
  })
  await new Promise((resolve) => { server.listen(0, '127.0.0.1', resolve) })
  const socket = createConnection(server.address().port, '127.0.0.1')
  const a = new A(true, socket)
  const ended = closed(socket)
  const sent = Buffer.alloc(3_000_000, 'socket')
  const half = sent.byteLength / 2
  a.write(sent.subarray(0, half))
  a.write(sent.subarray(half))
  a.end()
  note(await textOf(a) === sent.toString(), a.rawStream === socket)
  await ended
  await new Promise((resolve) => { server.close(resolve) })
})

sameStreams('a transport that breaks, and a stream that is destroyed', async ({ A, note }) => {
  const broken = new Duplex()
  const a = new A(true, broken)
  const failed = first(a, 'error')
  broken.on('error', () => {})
  broken.destroy(new Error('gone'))
  note((await failed).message)
  const transport = new Duplex()
  const other = new A(false, transport)
  const over = first(transport, 'error')
  other.on('error', () => {})
  other.destroy(new Error('enough'))
  note((await over).message, await other.opened)
  const quiet = new Duplex()
  const third = new A(false, quiet)
  third.destroy()
  await closed(quiet)
  note(quiet.destroyed)
})

sameStreams('a stream that is begun later, and what came before', async ({ A, B, note }) => {
  const a = new A(true, null, { autoStart: false })
  const b = new B(false, null, { autoStart: false })
  note(a.rawStream, a.connected)
  a.setKeepAlive(500)
  a.setTimeout(60_000)
  note(a.keepAlive, a.timeout)
  a.write('early')
  const sent = []
  a.start()
  await new Promise((resolve) => {
    a.rawStream.once('data', (head) => {
      sent.push(Buffer.from(head))
      a.rawStream.pause()
      resolve()
    })
  })
  b.start(null, { data: Buffer.concat(sent) })
  pipe(a, b)
  note(await first(b, 'data'))
  a.destroy()
  b.on('error', () => {})
  b.destroy()
})

sameStreams('keys of a handshake that was made elsewhere', async ({ A, B, note }) => {
  const [one, other] = handshake()
  const a = new A(true, null, { handshake: one })
  const b = new B(false, null, { autoStart: false })
  note(a.publicKey, a.remotePublicKey, a.handshakeHash.byteLength)
  a.write('with them')
  b.start(null, { handshake: other })
  pipe(a, b)
  note(await first(b, 'data'), await a.opened, await b.opened, b.publicKey, b.remotePublicKey, a.handshakeHash.equals(b.handshakeHash))
  b.write('and back')
  note(await first(a, 'data'))

  const [mine] = handshake()
  const stranger = new B(false, null, { handshake: handshake()[1] })
  const lone = new A(true, null, { handshake: mine })
  const failed = first(stranger, 'error')
  lone.on('error', () => {})
  pipe(lone, stranger)
  lone.write('for somebody else')
  note(await failed instanceof Error)
})

sameStreams('what makes no sense, and a stream that breaks, with nobody who listens to its raw side', async ({ A, B, note }) => {
  for (const bytes of [Buffer.alloc(65_536), Buffer.from('\x10\x00\x00garbagegarbagegarbage')]) {
    const a = new A(true)
    const failed = first(a, 'error')
    a.rawStream.write(bytes)
    note(await failed instanceof Error, a.rawStream.destroying)
  }
  const [a, b] = [new A(true), new B(false)]
  pipe(a, b)
  await Promise.all([a.opened, b.opened])
  const failed = [first(a, 'error'), first(b, 'error')]
  const over = Promise.all([closed(a), closed(b)])
  a.destroy(new Error('mine'))
  note((await Promise.all(failed)).map((error) => error.message))
  await over
})

test('what there is not is said', () => {
  assert.throws(() => new Ours(true, null, { pattern: 'IK' }), { code: 'NOT_SUPPORTED' })
  assert.throws(() => new Ours(true, null, { handshake: {} }), { code: 'BAD_ARGUMENT' })
  assert.throws(() => new Ours('yes'), /isInitiator should be a boolean/)
  const stream = new Ours(true)
  assert.throws(() => stream.start(), /started already/)
  stream.destroy()
})

test('a mux is made of a stream as upstream\'s is, and there is one', async () => {
  const [a, b] = [new Ours(true), new Ours(false)]
  const mux = new Protomux(a)
  assert.equal(a.userData, mux)
  assert.equal(Protomux.from(a), mux)
  assert.equal(new Protomux(a), mux)
  assert.throws(() => new Protomux({}), { code: 'BAD_ARGUMENT' })
  const kept = new Ours(true)
  kept.userData = { of: 'the program' }
  const beside = new Protomux(kept)
  assert.deepEqual(kept.userData, { of: 'the program' })
  assert.equal(Protomux.from(kept), beside)
  kept.destroy()

  const heard = []
  const channel = mux.createChannel({ protocol: 'chat', messages: [{ encoding: c.string, onmessage: (text) => { heard.push(text) } }] })
  channel.open()
  const theirs = new Protomux(b).createChannel({ protocol: 'chat', messages: [{ encoding: c.string }] })
  theirs.open()
  theirs.messages[0].send('made by new')
  pipe(a, b)
  assert.equal(await channel.fullyOpened(), true)
  while (heard.length === 0) await new Promise((resolve) => { setTimeout(resolve, 5) })
  assert.deepEqual(heard, ['made by new'])
  a.destroy()
  b.destroy()
})

for (const [why, options, drops] of [['as its options say', { filterZeroByteMessages: true }, true], ['as it was kept alive', { keepAlive: 5000 }, true], ['by default', {}, false]]) {
  test(`messages without bytes are ${drops ? 'dropped' : 'given to the program'} ${why}`, async (t) => {
    const [ours, theirs] = [new Ours(true, null, options), new Upstream(false)]
    for (const stream of [ours, theirs]) {
      stream.on('error', () => {})
      t.after(() => { stream.destroy() })
    }
    pipe(ours, theirs)
    await ours.opened
    ours.setKeepAlive(0)
    const lengths = []
    ours.on('data', (message) => { lengths.push(message.byteLength) })
    for (const message of ['a', '', 'bc']) theirs.write(Buffer.from(message))
    await eventually(() => lengths.includes(2))
    assert.deepEqual(lengths, drops ? [1, 2] : [1, 0, 2])
  })
}
