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
