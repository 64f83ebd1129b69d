// Options and switches that change bytes: signatures of very old versions, and how much peers are to report.

import Hypercore from 'hypercore'
import b4a from 'b4a'
import crypto from 'hypercore-crypto'

import { eventually } from './support/both.mjs'
import { suite, suiteOfPairs } from './support/suite.mjs'

const keyPair = crypto.keyPair(b4a.alloc(32, 7))

suite('a legacy core signs without a header', async (t, { note, create }) => {
  for (const legacy of [true, false]) {
    const core = await create(t, { keyPair, compat: true, legacy })
    await core.append(['a', 'b'])
    await core.truncate(1)
    await core.append('c')
    note(core.key, core.core.compat, core.state.signature, core.manifest)
    const { signature } = (await core.proof({ upgrade: { start: 0, length: 2 } })).upgrade
    const signable = core.state.createTreeBatch().signableCompat(legacy)
    note(signable.byteLength, crypto.verify(signable, signature, keyPair.publicKey))
  }
  const core = await create(t, { keyPair, legacy: true })
  await core.append('a')
  note(core.state.signature)
})

suite('a legacy core stays one when it is opened again, and only then', async (t, { note, createStored }) => {
  const stored = await createStored(t)
  let core = await stored({ keyPair, compat: true, legacy: true })
  await core.append('a')
  await core.close()
  core = await stored({ legacy: true })
  await core.append('b')
  note(core.state.signature, core.length)
  await core.close()
  core = await stored()
  await core.append('c')
  note(core.state.signature, core.length)
})

suiteOfPairs('a legacy core replicates with those who know of it', async (t, { note, createA, createB, replicate }) => {
  const writer = await createA(t, { keyPair, compat: true, legacy: true })
  await writer.append(['a', 'b', 'c'])
  const reader = await createB(t, writer.key, { compat: true, legacy: true })
  replicate(writer, reader, t)
  note(await reader.get(1))
  await writer.append('d')
  await eventually(() => reader.length === 4, 'the upgrade')
  note(await reader.get(3), reader.core.compat)
  await writer.truncate(2)
  await eventually(() => reader.length === 2, 'the cut')
  note(reader.fork)
})

suiteOfPairs('a legacy core is wrong for those who do not know of it', async (t, { note, createA, createB, replicate }) => {
  for (const [one, other] of [[true, false], [false, true]]) {
    const writer = await createA(t, { keyPair, compat: true, legacy: one })
    await writer.append(['a', 'b', 'c'])
    const reader = await createB(t, writer.key, { compat: true, legacy: other })
    let failed = null
    reader.on('verification-error', (error) => { failed = error.code })
    replicate(writer, reader, t)
    await eventually(() => failed !== null, 'the failure')
    note(failed, reader.length)
  }
})

suite('how much peers are to report', async (t, { note, Hypercore: Class, create, folder, defer, replicate }) => {
  const writer = new Hypercore(folder())
  await writer.append(Array.from({ length: 9000 }, (_, index) => `${index}`))
  // Who has everything is asked for nothing.
  await writer.clear(10)
  defer(() => writer.close())
  const wants = []
  writer.on('peer-add', (peer) => {
    const { onwant } = peer
    peer.onwant = function (want) {
      wants.push(want)
      return onwant.call(this, want)
    }
  })
  for (const flags of [Class.SMALL_WANTS, 0]) {
    Class.enable(flags)
    defer(() => { Class.enable(0) })
    const reader = await create(t, writer.key)
    const { end } = toEnd(replicate(writer, reader))
    note(await reader.get(8999), await reader.get(0))
    await reader.download({ start: 4090, end: 4100 }).done()
    note(await reader.seek(20_000))
    note(wants.splice(0).sort((a, b) => a.start - b.start || a.length - b.length))
    await end()
  }
})

suiteOfPairs('whether blocks are wanted is told to peers', async (t, { createA, createB, note, replicate }) => {
  const writer = await createA(t)
  await writer.append(['a', 'b'])
  const reader = await createB(t, writer.key, { notDownloadingLinger: 0 })
  replicate(writer, reader)
  await reader.get(0)
  const peer = writer.peers[0]
  note(peer.remoteDownloading, reader.core.replicator.downloading)
  reader.core.replicator.setDownloading(false)
  await eventually(() => !peer.remoteDownloading, 'the peer to hear that nothing is wanted')
  note(reader.core.replicator.downloading)
  reader.core.replicator.setDownloading(true)
  await eventually(() => peer.remoteDownloading, 'the peer to hear that blocks are wanted')
  note(reader.core.replicator.downloading, await reader.get(1))
})

function toEnd (streams) {
  return { end: () => Promise.all(streams.map((stream) => new Promise((resolve) => { stream.on('close', resolve).destroy() }))) }
}
