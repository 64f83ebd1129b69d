// Upstream's Protomux and cores of either kind on one stream: other protocols beside the replication.

import assert from 'node:assert/strict'
import test from 'node:test'

import SecretStream from '@hyperswarm/secret-stream'
import c from 'compact-encoding'
import { Hypercore } from 'hypertab'
import Ours from 'hypertab/protomux'
import OurStream from 'hypertab/secret-stream'
import Protomux from 'protomux'
import Latest from 'protomux-latest'

import { eventually, implementations, sameWithEveryPair } from './support/both.mjs'

const keyPair = {
  publicKey: Buffer.from('8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c', 'hex'),
  secretKey: Buffer.from('01'.repeat(32) + '8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c', 'hex')
}

/** Opens a channel with a handshake and two kinds of messages, and notes what comes. */
function chat (mux, name, heard, options = {}) {
  const channel = mux.createChannel({
    protocol: 'chat',
    id: Buffer.from('room'),
    handshake: c.json,
    messages: [
      { encoding: c.string, onmessage: (text) => { heard.push(text) } },
      { encoding: c.uint, onmessage: async (number) => { heard.push(number) } }
    ],
    onopen: (handshake) => { heard.push(handshake) },
    onclose: (isRemote) => { heard.push(`closed ${isRemote}`) },
    ondestroy: () => { heard.push('destroyed') },
    ...options
  })
  channel.open({ name })
  return channel
}

for (const [when, muxFirst] of [['before', true], ['after', false]]) {
  sameWithEveryPair(`a program's protocol on the stream of a core, opened ${when} the core's`, async ({ A, createA, createB, defer, note }) => {
    const a = await createA({ keyPair })
    await a.append(['zero', 'one'])
    const b = await createB(a.key)
    const streams = [[a, true], [b, false]].map(([core, isInitiator]) => {
      if (!muxFirst) return { core, raw: core.replicate(isInitiator, { keepAlive: false }) }
      const noise = new SecretStream(isInitiator)
      return { core, noise, raw: noise.rawStream }
    })
    const [one, other] = streams
    for (const stream of streams) stream.raw.on('error', () => {})
    one.raw.pipe(other.raw).pipe(one.raw)
    defer(() => Promise.all(streams.map(({ raw }) => new Promise((resolve) => { raw.on('close', resolve); raw.destroy() }))))

    for (const stream of streams) {
      stream.heard = []
      stream.mux = Protomux.from(stream.noise ?? stream.raw.noiseStream)
      stream.chat = chat(stream.mux, stream === one ? 'one' : 'other', stream.heard)
      note(stream.mux.opened({ protocol: 'chat', id: Buffer.from('room') }), stream.mux.opened({ protocol: 'other' }))
      if (muxFirst) stream.core.replicate(stream.noise)
    }
    one.chat.messages[0].send('at once')
    note(await b.get(1))
    note(a.peers[0].protomux === one.mux, b.peers[0].protomux === other.mux, a.peers[0].stream === one.mux.stream)
    note(await one.chat.fullyOpened(), await other.chat.fullyOpened())
    other.chat.cork()
    for (let i = 0; i < 3; i++) other.chat.messages[1].send(i * 1000)
    other.chat.messages[0].send('last')
    other.chat.uncork()
    await eventually(() => one.heard.length === 5 && other.heard.length === 2)
    note(one.heard, other.heard)
    note(one.mux.opened({ protocol: 'chat', id: Buffer.from('room') }), one.mux.opened({ protocol: 'chat' }), one.mux.isIdle())
    note(one.mux.createChannel({ protocol: 'chat', id: Buffer.from('room') }), Protomux.isProtomux(one.mux), Protomux.from(one.mux) === one.mux)
    one.chat.close()
    await other.chat.fullyClosed()
    note(one.heard.slice(5), other.heard.slice(2), one.chat.closed, other.chat.messages[0].send('late'))
    await a.append('two')
    note(await b.get(2), a.peers.length, b.peers.length)
  })
}

sameWithEveryPair('protocols that the other end opens first, and that nobody wants', async ({ createA, createB, replicate, note }) => {
  const a = await createA({ keyPair })
  const b = await createB(a.key)
  const { one, other } = replicate(a, b)
  const [muxA, muxB] = [one, other].map((stream) => Protomux.from(stream.noiseStream))
  const heard = []
  const asked = []
  muxB.pair({ protocol: 'chat' }, (id) => {
    asked.push(id)
    chat(muxB, 'paired', heard)
  })
  const channel = chat(muxA, 'first', [])
  channel.messages[0].send('early')
  note(await channel.fullyOpened())
  await eventually(() => heard.length === 2)
  note(heard, asked)
  const unwanted = muxA.createChannel({ protocol: 'unknown', onclose: (isRemote) => note('refused', isRemote) })
  unwanted.open()
  note(await unwanted.fullyOpened(), unwanted.closed)
  muxB.unpair({ protocol: 'chat' })
})

sameWithEveryPair('cores attached to a mux', async ({ A, B, createA, createB, defer, note }) => {
  const a = await createA({ keyPair })
  const second = await createA()
  await a.append('hello')
  await second.append('world')
  const b = await createB(a.key)
  const secondCopy = await createB(second.key)
  const [one, other] = [new SecretStream(true), new SecretStream(false)]
  one.rawStream.pipe(other.rawStream).pipe(one.rawStream)
  for (const stream of [one, other]) stream.on('error', () => {})
  defer(() => Promise.all([one, other].map((stream) => new Promise((resolve) => { if (stream.destroyed) resolve(); stream.on('close', resolve); stream.destroy() }))))
  const [muxA, muxB] = [new Protomux(one), new Protomux(other)]
  note(a.replicate(muxA) === muxA, b.replicate(muxB) === muxB)
  note(await b.get(0))
  const keys = []
  muxA.pair({ protocol: 'hypercore/alpha' }, async (discoveryKey) => {
    keys.push(discoveryKey.equals(second.discoveryKey))
    second.replicate(muxA)
  })
  secondCopy.replicate(muxB)
  note(await secondCopy.get(0), keys)
  note(a.replicate(one) === one, a.peers.length)
  await b.close()
  await eventually(() => a.peers.length === 0)
  note(one.destroyed)
  one.destroy()
  await eventually(() => second.peers.length === 0)
})

sameWithEveryPair('several cores on one stream', async ({ A, B, createA, createB, replicate, note }) => {
  const a = await createA({ keyPair })
  const b = await createB(a.key)
  const c2 = await createB()
  const copy = await createA(c2.key)
  await a.append('one way')
  await c2.append('the other')
  const { one, other } = replicate(a, b)
  c2.replicate(other)
  copy.replicate(one)
  note(await b.get(0), await copy.get(0))
  note(a.peers.length, a.peers[0].remotePublicKey.equals(other.noiseStream.publicKey), one.noiseStream.userData.isProtomux)
})

sameWithEveryPair('errors in a handler end the stream', async ({ createA, createB, replicate, note }) => {
  const a = await createA({ keyPair })
  const b = await createB(a.key)
  const { one, other } = replicate(a, b)
  const [muxA, muxB] = [one, other].map((stream) => Protomux.from(stream.noiseStream))
  const channel = chat(muxA, 'a', [])
  chat(muxB, 'b', [], { messages: [{ encoding: c.string, onmessage: async () => { throw new Error('no') } }] })
  const closed = Promise.all([one, other].map((stream) => new Promise((resolve) => stream.on('close', resolve))))
  channel.messages[0].send('boom')
  await closed
  note(one.destroyed, other.destroyed, channel.closed, muxA.createChannel({ protocol: 'late' }))
})

sameWithEveryPair('cores of both kinds share a stream of either', async ({ createA, createB, replicate, note, folder, defer }) => {
  const a = await createA({ keyPair })
  const b = await createB(a.key)
  await a.append('first')
  const { one, other } = replicate(a, b)
  const create = async (Class, ...args) => {
    const core = new Class(folder(), ...args)
    defer(() => core.close())
    await core.ready()
    return core
  }
  for (const [Writer, Reader] of [['upstream', 'hypertab'], ['hypertab', 'upstream']].map((names) => names.map((name) => implementations[name]))) {
    const writer = await create(Writer)
    await writer.append(Array.from({ length: 50 }, (_, i) => `block ${i}`))
    const reader = await create(Reader, writer.key)
    writer.replicate(one)
    reader.replicate(other)
    await reader.download({ start: 0, end: 50 }).done()
    note(reader.contiguousLength, await reader.get(49), writer.peers.length)
    const dropped = writer.peers.length
    await writer.close()
    await eventually(() => reader.peers.length === 0)
    note(dropped)
  }
  note(await b.get(0), one.destroyed)
})

test('a mux of our class and one of upstream\u2019s on one stream: a channel without any core', async (t) => {
  const ours = Hypercore.createProtocolStream(true)
  const theirs = new SecretStream(false)
  ours.pipe(theirs.rawStream).pipe(ours)
  for (const stream of [ours, theirs]) stream.on('error', () => {})
  t.after(() => { ours.destroy(); theirs.destroy() })
  const mux = Ours.from(ours.noiseStream)
  const [heard, heardByThem] = [[], []]
  const theirChat = chat(Protomux.from(theirs), 'theirs', heardByThem)
  const ourChat = chat(mux, 'ours', heard)
  ourChat.messages[0].send('hello')
  assert.equal(await theirChat.fullyOpened(), true)
  theirChat.messages[1].send(7)
  await eventually(() => heard.length === 2 && heardByThem.length === 2)
  assert.deepEqual([heard, heardByThem], [[{ name: 'theirs' }, 7], [{ name: 'ours' }, 'hello']])
  assert.ok(Ours.isProtomux(mux) && Protomux.isProtomux(mux) && !Ours.isProtomux(ours) && !Ours.isProtomux(null))
  assert.equal(Ours.from(ours.noiseStream), mux)
})

sameWithEveryPair('the channels of cores are found on the stream, and the stream on a channel', async ({ createA, createB, replicate, note }) => {
  const a = await createA({ keyPair })
  await a.append('zero')
  const b = await createB(a.key)
  replicate(a, b, { keepAlive: false })
  note(await b.get(0))
  const [peer] = b.peers
  const mux = peer.protomux
  const { discoveryKey } = b
  for (const protocol of ['hypercore/alpha', 'hypercore', 'other']) {
    const channel = mux.getLastChannel({ protocol, id: discoveryKey })
    note(protocol, channel === peer.channel, channel && await channel.fullyOpened())
  }
  note(mux.getLastChannel({ protocol: 'hypercore', id: Buffer.alloc(32) }), mux.getLastChannel({ protocol: 'hypercore' }))
  note(mux.opened({ protocol: 'hypercore/alpha', id: discoveryKey }), mux.opened({ protocol: 'hypercore/alpha', id: Buffer.alloc(32) }))
  // Programs reach for these: how far away a peer is, and whether a core is replicated with it.
  const own = mux.createChannel({ protocol: 'own', id: Buffer.from('x'), messages: [] })
  own.open()
  note(own._mux === mux, own._mux.stream === peer.stream, peer.channel._mux === mux, peer.channel.userData === peer)
  const named = (name) => mux._infos.get(name) !== undefined
  note(named(`hypercore/alpha##${discoveryKey.toString('hex')}`), named(`own##${Buffer.from('x').toString('hex')}`), named('none##'), named('none'))
  own.close()
  note(mux.getLastChannel({ protocol: 'own', id: Buffer.from('x') }))
})

/** Runs a program with a mux of either kind on each side, on a stream of the same kind, and compares what it notes. */
function sameMuxes (name, program, Upstream = Protomux) {
  test(name, async (t) => {
    const kinds = { upstream: [Upstream, SecretStream], ours: [Ours, OurStream] }
    const play = async (...names) => {
      const notes = []
      const [a, b] = names.map((name, i) => {
        const [Mux, Stream] = kinds[name]
        return new Mux(new Stream(i === 0))
      })
      await program({ a, b, join: () => { a.stream.rawStream.pipe(b.stream.rawStream).pipe(a.stream.rawStream) }, note: (...values) => { notes.push(...values) } })
      for (const { stream } of [a, b]) {
        stream.on('error', () => {})
        stream.destroy()
      }
      return notes
    }
    const expected = await play('upstream', 'upstream')
    for (const names of [['ours', 'upstream'], ['upstream', 'ours'], ['ours', 'ours']]) {
      await t.test(names.join(' and '), async () => { assert.deepEqual(await play(...names), expected) })
    }
  })
}

sameMuxes('a channel that is opened, says something and is closed before there is a connection', async ({ a, b, join, note }) => {
  const heard = []
  const theirs = chat(b, 'listens', heard)
  const ours = chat(a, 'leaves', [])
  ours.messages[0].send('only this')
  ours.messages[1].send(7)
  ours.close()
  note(ours.closed, ours.messages[0].send('late'))
  join()
  await theirs.fullyClosed()
  note(heard)
})

sameMuxes('whoever sends before there is a connection is told to wait, and then to go on', async ({ a, b, join, note }) => {
  let bytes = 0
  const theirs = b.createChannel({ protocol: 'bulk', messages: [{ encoding: c.string, onmessage: (text) => { bytes += text.length } }] })
  theirs.open()
  let drains = 0
  const ours = a.createChannel({ protocol: 'bulk', messages: [{ encoding: c.string }], ondrain: () => { drains++ } })
  ours.open()
  let sent = 0
  while (sent < 10_000_000) {
    sent += 1000
    if (!ours.messages[0].send('x'.repeat(1000))) break
  }
  note(sent < 100_000, ours.drained, a.drained)
  join()
  await eventually(() => bytes === sent && drains > 0)
  note(ours.drained, a.drained)
})

sameMuxes('what fails in a handler of a channel that is over does not end the stream', async ({ a, b, join, note }) => {
  const warnings = []
  b.stream.on('warning', (error) => { warnings.push(error.message) })
  b.stream.on('error', (error) => { warnings.push(`the stream: ${error.message}`) })
  let fail
  const failing = new Promise((resolve, reject) => { fail = reject })
  let isHandled = false
  const theirs = b.createChannel({
    protocol: 'short', messages: [{ encoding: c.string, onmessage () { isHandled = true; return failing } }]
  })
  theirs.open()
  const ours = a.createChannel({ protocol: 'short', messages: [{ encoding: c.string }] })
  ours.open()
  const heard = []
  chat(b, 'listens', heard)
  const other = chat(a, 'speaks', [])
  join()
  ours.messages[0].send('x')
  await eventually(() => isHandled)
  ours.close()
  await eventually(() => theirs.closed)
  fail(new Error('too late'))
  await theirs.fullyClosed()
  other.messages[0].send('goes on')
  await eventually(() => heard.includes('goes on'))
  note(warnings, b.stream.destroying)
}, Latest)
