// More tests in the manner of upstream's own: what is known of peers and of blocks, and what peers do for each other.

import b4a from 'b4a'
import { Transform } from 'streamx'

import { closed, eventually, first } from './support/both.mjs'
import { sleep, suite, suiteOfPairs, unreplicate } from './support/suite.mjs'

const blocks = (count, size = 1) => Array.from({ length: count }, () => b4a.alloc(size, 'x'))

suiteOfPairs('what is known of a peer', async (t, { createA, createB, replicate, note }) => {
  const a = await createA(t)
  await a.append(blocks(100))
  const b = await createB(t, a.key)
  replicate(a, b, t)
  await b.get(3)
  await b.get(50)
  await eventually(() => a.peers[0]?.lengthAcked === 100, 'what it has seen')
  const { stats } = b.core.replicator
  note(Object.keys(stats), Object.keys(b.peers[0].stats))
  note(stats.wireRequest.tx, stats.wireData.rx, a.core.replicator.stats.wireData.tx, stats.hotswaps, stats.backoffs, stats.notAvailableBackoffs)
  for (const [peer] of [b.peers, a.peers]) {
    note(peer.remoteOpened, peer.remoteSynced, peer.remoteLength, peer.remoteContiguousLength, peer.remoteFork, peer.lengthAcked)
    note(peer.canUpgrade, peer.inflight, peer.paused, peer.removed, peer.remoteUploading, peer.remoteDownloading, peer.inflightRange, peer.isActive())
    note(peer.getMaxInflight(), peer.getMaxHotswapInflight())
    note([2, 3, 4, 50].map((index) => peer.remoteBitfield.get(index)), peer.remoteBitfield.firstSet(0), peer.remoteBitfield.firstSet(4))
    note(peer.remoteBitfield.firstUnset(3), peer.remoteBitfield.lastSet(1000), peer.remoteBitfield.lastUnset(3), peer.remoteBitfield.findFirst(true, 51))
  }
  for (const { core: { replicator } } of [a, b]) {
    note(replicator.activeSessions, replicator.destroyed, replicator.pushOnly, replicator.allowPush, replicator.isAllowingPush(), replicator.eagerUpgrade, replicator.allowFork)
  }
})

for (const [name, handlers] of [
  ['that cannot be decoded', {}],
  ['whose handler fails', { encoding: 'binary', onmessage () { throw new Error('not that') } }]
]) {
  suiteOfPairs(`an extension message ${name} ends the stream`, async (t, { createA, createB, replicate, note }) => {
    const a = await createA(t)
    const b = await createB(t, a.key)
    a.registerExtension('greeting', handlers)
    const greeting = b.registerExtension('greeting', { encoding: 'binary' })
    const [stream, other] = replicate(a, b, t)
    await eventually(() => a.peers.length === 1 && b.peers.length === 1, 'peers')
    const failed = first(stream, 'error')
    const over = [closed(stream), closed(other)]
    // A length of two bytes, of which one is missing.
    greeting.broadcast(b4a.from([0xfd, 1]))
    note((await failed).message)
    await Promise.all(over)
    note(a.peers.length, b.peers.length)
    await a.append('x')
    note(await a.get(0))
  })
}

suiteOfPairs('a stream that one end ends', async (t, { createA, createB, replicate, note }) => {
  const a = await createA(t)
  const b = await createB(t, a.key)
  const [one, other] = replicate(a, b, t)
  await eventually(() => a.peers.length === 1 && b.peers.length === 1, 'peers')
  const said = []
  for (const event of ['end', 'finish', 'close']) other.noiseStream.on(event, () => said.push(event))
  const over = [closed(one.noiseStream), closed(other.noiseStream)]
  one.noiseStream.end()
  await Promise.all(over)
  note(said, a.peers.length, b.peers.length)
})

suiteOfPairs('the channels of a stream', async (t, { createA, createB, replicate, note }) => {
  const a = await createA(t)
  const b = await createB(t, a.key)
  const streams = replicate(a, b, t)
  await eventually(() => a.peers.length === 1 && b.peers.length === 1, 'peers')
  for (const { noiseStream } of streams) {
    const channels = [...noiseStream.userData]
    note(channels.map(({ protocol, id, opened, handshake }) => [protocol, b4a.equals(id, a.discoveryKey), opened, handshake.capability.byteLength]))
    note(noiseStream.userData.getLastChannel({ protocol: 'hypercore/alpha', id: a.discoveryKey }) === channels[0])
  }
})

suiteOfPairs('who signs a log is told before its length', async (t, { createA, createB, replicate, note }) => {
  const a = await createA(t)
  await a.append(['x', 'y'])
  const b = await createB(t, a.key)
  const told = []
  b.on('manifest', () => told.push('manifest', b.manifest !== null))
  b.on('append', () => told.push('append', b.manifest !== null, b.length))
  replicate(a, b, t)
  await eventually(() => told.includes('append'), 'the length')
  note(told)
})

suite('which blocks are here', async (t, { create, note }) => {
  const core = await create(t)
  await core.append(blocks(40000))
  await core.clear(10, 20)
  await core.clear(39990, 40000)
  const { bitfield } = core.core
  note([9, 10, 19, 20, 39989, 39990].map((index) => bitfield.get(index)))
  note(bitfield.firstSet(0), bitfield.firstSet(10), bitfield.firstUnset(0), bitfield.firstUnset(20), bitfield.lastSet(50000), bitfield.lastSet(15), bitfield.lastUnset(30))
  note(bitfield.findFirst(true, 12), bitfield.findFirst(false, 12), bitfield.findLast(true, 12), bitfield.findLast(false, 9), bitfield.firstSet(39990))
  note(bitfield.count(0, 100, true), bitfield.count(0, 100, false), bitfield.countSet(32760, 20), bitfield.countUnset(5, 10))
  note(bitfield.hasSet(10, 10), bitfield.hasSet(10, 11), bitfield.hasUnset(20, 39970), bitfield.hasUnset(20, 39971))
  note(bitfield.getPageIndex(32768), bitfield.getPageByteLength(), bitfield.toBuffer(40000).byteLength, bitfield.toBuffer(8)[1], bitfield.toBuffer(40000)[4096])
  for (const [start, length] of [[0, 64], [5, 40], [32760, 20]]) {
    for (const { start: at, bitfield: words } of bitfield.want(start, length)) note(at, words.length, words[0], words[words.length - 1])
  }
  note(bitfield.getBitfield(5).index, bitfield.getBitfield(5).get(9), bitfield.getBitfield(5).get(10), bitfield.getBitfield(1 << 22) === null)
  note(core.core.verifier.compat, core.core.verifier.version, core.core.verifier.quorum, core.core.verifier.signers.length)
})

suiteOfPairs('what a peer has that lacks blocks', async (t, { createA, createB, replicate, note }) => {
  const a = await createA(t)
  await a.append(blocks(40))
  const b = await createB(t, a.key)
  const streams = replicate(a, b, t)
  for (const index of [3, 4, 20]) await b.get(index)
  await unreplicate(streams)
  const c = await createA(t, a.key)
  replicate(b, c, t)
  await c.get(3)
  const [peer] = c.peers
  note(peer.remoteContiguousLength, [2, 3, 4, 5, 20].map((index) => peer.remoteBitfield.get(index)), peer.remoteBitfield.firstSet(5))
  note(peer.missingBlocks.get(3), peer.missingBlocks.get(4), peer.missingBlocks.get(5))
  await b.clear(20)
  await eventually(() => !peer.remoteBitfield.get(20), 'the news')
  note(peer.remoteBitfield.firstSet(5))
})

suiteOfPairs('hotswaps avoid a long tail of a download', async (t, { createA, createB, replicate, note }) => {
  const core = await createA(t)
  await core.append(blocks(100, 60000))
  const slow = await createA(t, core.key)
  const streams = replicate(core, slow, t)
  await slow.download({ start: 0, end: 100 }).done()
  await unreplicate(streams)
  const peer = await createB(t, core.key)
  const fast = limited(core, peer, t, 10_000_000)
  const lame = limited(slow, peer, t, 500_000)
  await eventually(() => peer.peers.length === 2 && peer.peers.every((peer) => peer.remoteLength === 100), 'both peers')
  await peer.download({ start: 0, end: 100 }).done()
  const of = (stream) => peer.peers.find(({ remotePublicKey }) => b4a.equals(remotePublicKey, stream.noiseStream.publicKey)).stats
  note(of(fast).hotswaps > 0, of(lame).wireCancel.tx > 0)
  note(peer.core.replicator.stats.hotswaps === of(fast).hotswaps + of(lame).hotswaps)
})

suiteOfPairs('an invalid signature fails', async (t, { createA, createB, replicate, note }) => {
  const a = await createA(t)
  const b = await createB(t, a.key)
  await a.append(['a', 'b', 'c'])
  note(a.core.state.signature.byteLength, a.core.state.signature === a.core.state.signature)
  a.core.state.signature[5]++
  const failed = new Promise((resolve) => { b.on('verification-error', (error) => { resolve(error.code) }) })
  replicate(a, b, t)
  note(await failed)
  t.is(b.length, 0)
})

suiteOfPairs('idle replication sessions end by themselves', async (t, { createA, createB, replicate, note }) => {
  const a = await createA(t, { active: false, notDownloadingLinger: 50 })
  const b = await createB(t, a.key, { autoClose: false, active: false, notDownloadingLinger: 50 })
  await a.append('test')
  replicate(a, b, t)
  const session = b.session({ active: true })
  t.alike(await session.get(0), b4a.from('test'))
  note(a.peers.length, b.peers.length)
  await session.close()
  await eventually(() => a.peers.length === 0 && b.peers.length === 0, 'the end')
  const again = b.session({ active: true })
  await a.append('more')
  t.alike(await again.get(1), b4a.from('more'))
  note(a.peers.length, b.peers.length)
})

/** Replicates through streams that carry so many bytes a second. */
function limited (a, b, t, speed) {
  const one = a.replicate(true, { keepAlive: false })
  const other = b.replicate(false, { keepAlive: false })
  const throttle = () => new Transform({
    transform (data, done) { sleep(1000 * data.byteLength / speed).then(() => { done(null, data) }) }
  })
  const all = [one, throttle(), other, throttle()]
  for (const stream of all) stream.on('error', () => {})
  all[0].pipe(all[1]).pipe(all[2]).pipe(all[3]).pipe(all[0])
  t.teardown(() => unreplicate([one, other]))
  return one
}
