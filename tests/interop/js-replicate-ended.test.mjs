// Streams that are over when they open: a program that replicates on one, as it opens, is not told by an exception.

import assert from 'node:assert/strict'
import test from 'node:test'

import Upstream from 'hypercore'
import Hypertab from 'hypertab/hypercore'

import { defer } from './support/cleanup.mjs'
import { temporaryFolder } from './support/folder.mjs'

/** What a core does on a stream as it opens, when the bytes that open it are followed by some that end it. */
async function play (t, Hypercore, event) {
  const core = new Hypercore(temporaryFolder(t))
  defer(t, () => core.close())
  await core.append('block')
  const stream = Hypercore.createProtocolStream(false)
  const peer = Upstream.createProtocolStream(true)
  defer(t, () => { peer.destroy() })
  let messages = 0
  peer.on('error', () => {})
  peer.on('data', (data) => {
    // The second one ends the handshake.
    stream.write(++messages === 2 ? Buffer.concat([data, Buffer.from([40, 0, 0]), Buffer.alloc(40, 9)]) : data)
  })
  stream.on('data', (data) => { peer.write(data) })
  const said = []
  stream.on('error', () => { said.push('error') })
  stream.noiseStream.on(event, () => {
    core.replicate(stream)
    said.push('replicates')
  })
  await new Promise((resolve) => { stream.on('close', resolve) })
  assert.equal(core.peers.length, 0)
  assert.equal(String(await core.get(0)), 'block')
  return said
}

for (const event of ['handshake', 'open', 'connect']) {
  test(`replicating on a stream that is over, at its event ${event}`, async (t) => {
    assert.deepEqual(await play(t, Hypertab, event), await play(t, Upstream, event))
  })
}

const ENDS = {
  'is destroyed': (stream) => { stream.destroy() },
  'is destroyed with an error': (stream) => { stream.destroy(new Error('enough')) },
  'has its inner side destroyed': (stream) => { stream.noiseStream.destroy() },
  'has its inner side destroyed with an error': (stream) => { stream.noiseStream.destroy(new Error('enough')) },
  'is ended': (stream) => { stream.end() },
  'gets what is no message': (stream) => { stream.write(Buffer.concat([Buffer.from([40, 0, 0]), Buffer.alloc(40, 9)])) }
}

// An error that nobody hears of would end the program.
for (const [what, end] of Object.entries(ENDS)) {
  test(`streams that are only piped, of which one ${what}`, async (t) => {
    for (const [One, Other] of [[Upstream, Upstream], [Hypertab, Hypertab], [Hypertab, Upstream], [Upstream, Hypertab]]) {
      for (const isOpen of [true, false]) {
        // One of upstream's waits for good for the other end of what never opened.
        if (!isOpen && One === Upstream && what === 'is ended') continue
        const a = new One(temporaryFolder(t))
        await a.append('block')
        const b = new Other(temporaryFolder(t), a.key)
        const [one, other] = [a.replicate(true), b.replicate(false)]
        one.pipe(other).pipe(one)
        if (isOpen) assert.equal(String(await b.get(0)), 'block')
        const over = [one, other].map((stream) => new Promise((resolve) => { stream.on('close', resolve) }))
        end(one)
        await Promise.all(over)
        assert.deepEqual([a.peers.length, b.peers.length], [0, 0])
        await a.close()
        await b.close()
      }
    }
  })
}

test('a message beside the mux ends the stream', async (t) => {
  for (const Hypercore of [Upstream, Hypertab]) {
    const a = new Hypercore(temporaryFolder(t))
    await a.append('block')
    const b = new Hypercore(temporaryFolder(t), a.key)
    const [one, other] = [a.replicate(true), b.replicate(false)]
    one.pipe(other).pipe(one)
    await b.get(0)
    const over = [one, other].map((stream) => new Promise((resolve) => { stream.on('close', resolve) }))
    // No peer understands it.
    one.noiseStream.write(Buffer.from([0, 1, 255]))
    await Promise.all(over)
    assert.equal(String(await b.get(0)), 'block')
    await a.close()
    await b.close()
  }
})

test('what a stream tells as it opens', async (t) => {
  const told = []
  for (const Hypercore of [Upstream, Hypertab]) {
    const [one, other] = [true, false].map((isInitiator) => Hypercore.createProtocolStream(isInitiator))
    const events = []
    for (const event of ['handshake', 'connect', 'open']) other.noiseStream.on(event, () => { events.push(event) })
    one.pipe(other).pipe(one)
    await new Promise((resolve) => { other.noiseStream.on('open', resolve) })
    one.destroy()
    await new Promise((resolve) => { other.on('close', resolve) })
    told.push(events)
  }
  assert.deepEqual(told[1], told[0])
})
