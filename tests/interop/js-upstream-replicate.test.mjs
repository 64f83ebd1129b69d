// Programs in the manner of upstream's own suite: cores that replicate.

import { once } from 'node:events'
import net from 'node:net'
import { inspect } from 'node:util'

import SecretStream from '@hyperswarm/secret-stream'
import c from 'compact-encoding'

import { eventually, outcome, sameWithEveryPair } from './support/both.mjs'

const seed = (byte) => Buffer.alloc(32, byte)
const keyPair = {
  publicKey: Buffer.from('8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c', 'hex'),
  secretKey: Buffer.from('01'.repeat(32) + '8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c', 'hex')
}

sameWithEveryPair('what a peer tells', async ({ createA, createB, replicate, note }) => {
  const a = await createA({ keyPair })
  await a.append(['a', 'b', 'c'])
  const b = await createB(a.key)
  const added = []
  b.on('peer-add', (peer) => added.push(['add', peer === b.peers[0], peer.remoteOpened]))
  b.on('peer-remove', (peer) => added.push(['remove', b.peers.length]))
  const { one, other, end } = replicate(a, b)
  await b.update({ wait: true })
  await b.get(1)
  await eventually(() => b.peers.length === 1 && b.peers[0].remoteLength === 3 && a.peers[0].remoteLength === 3 && b.remoteContiguousLength === 3)
  const [peer] = b.peers
  note(peer.remoteLength, peer.remoteFork, peer.remoteContiguousLength, peer.remoteCanUpgrade, peer.remoteUploading, peer.remoteDownloading, peer.remoteOpened, peer.removed)
  note(peer.remotePublicKey.equals(one.publicKey), peer.stream === other.noiseStream, peer.protomux.stream === other.noiseStream, peer.inflight, peer.paused)
  note(peer.core === b.core, peer.remoteSynced, typeof peer.stats.wireSync.tx, peer.replicator === b.replicator, typeof peer.remoteBitfield.get, peer.remoteAllowPush)
  note(a.peers[0].lengthAcked, a.peers[0].remoteHasManifest, b.remoteContiguousLength, a.remoteContiguousLength)
  note(inspect(b).replace(/remotePublicKey: .*/, '').split('\n').length)
  await end()
  await eventually(() => added.length === 2)
  note(added, peer.removed, peer.remoteLength)
})

sameWithEveryPair('messages are counted', async ({ createA, createB, replicate, note }) => {
  const a = await createA({ keyPair })
  await a.append(['a', 'b', 'c', 'd'])
  const b = await createB(a.key)
  replicate(a, b)
  const extension = b.registerExtension('count')
  await Promise.all([0, 1, 2, 3].map((i) => b.get(i)))
  extension.broadcast(Buffer.from('x'))
  await eventually(() => a.replicator.stats.wireExtension.rx === 1)
  note(Object.keys(b.replicator.stats).sort(), Object.keys(b.peers[0].stats).sort())
  note(b.replicator.stats.wireExtension, a.replicator.stats.wireData.tx >= 4, b.replicator.stats.wireData.rx >= 4, b.replicator.stats.wireRequest.tx >= 4, b.replicator.stats.wireSync.rx > 0, b.replicator.stats.invalidData)
})

sameWithEveryPair('appends arrive by themselves', async ({ createA, createB, replicate, note }) => {
  const a = await createA({ keyPair })
  const b = await createB(a.key)
  replicate(a, b)
  let appends = 0
  b.on('append', () => appends++)
  for (let i = 0; i < 5; i++) {
    await a.append(`${i}`)
    await eventually(() => b.length === i + 1)
  }
  note(b.length, appends, await b.has(0), await b.get(4), b.contiguousLength)
})

sameWithEveryPair('no eager upgrade', async ({ createA, createB, replicate, note }) => {
  const a = await createA({ keyPair })
  await a.append(['a', 'b'])
  const b = await createB(a.key, { eagerUpgrade: false })
  replicate(a, b)
  await eventually(() => b.peers.length === 1)
  await new Promise((resolve) => setTimeout(resolve, 100))
  note(b.length)
  note(await b.update({ wait: true }), b.length, await b.update({ wait: true }))
  await a.append('c')
  await new Promise((resolve) => setTimeout(resolve, 100))
  note(b.length, await b.get(2), b.length)
})

sameWithEveryPair('updates', async ({ createA, createB, replicate, note }) => {
  const a = await createA({ keyPair })
  const b = await createB(a.key)
  note(await b.update(), await b.update({ wait: false }), await a.update(), await a.update({ force: true }))
  const done = b.findingPeers()
  const again = b.findingPeers()
  let settled = 0
  const updates = [b.update().then((value) => { settled++; return value }), b.update({ wait: true }).then((value) => { settled++; return value })]
  await new Promise((resolve) => setTimeout(resolve, 50))
  note(settled)
  done()
  done()
  await new Promise((resolve) => setTimeout(resolve, 50))
  note(settled)
  again()
  note(await Promise.all(updates), b.length)
  await a.append('a')
  replicate(a, b)
  note(await b.update({ wait: true }), b.length)
  const snapshot = b.snapshot()
  await snapshot.ready()
  note(await snapshot.update({ wait: true }))
})

sameWithEveryPair('downloads', async ({ createA, createB, replicate, note }) => {
  const a = await createA({ keyPair })
  await a.append(Array.from({ length: 20 }, (_, i) => `block ${i}`))
  const b = await createB(a.key)
  replicate(a, b)
  note(await b.download({ start: 2, end: 5 }).done(), await b.has(2, 5), await b.has(5))
  note(await b.download({ start: 10, length: 2 }).done(), await b.has(10, 12), await b.has(12))
  note(await b.download({ blocks: [15, 17] }).done(), await b.has(15), await b.has(16), await b.has(17))
  const range = b.download({ start: 0, end: 30 })
  let over = false
  range.done().then(() => { over = true })
  await eventually(() => b.contiguousLength === 20)
  note(over)
  await a.append(Array.from({ length: 10 }, (_, i) => `more ${i}`))
  await eventually(() => over)
  note(b.contiguousLength)
  const forever = b.download()
  await a.append('last')
  await eventually(() => b.contiguousLength === 31)
  const ended = outcome(forever.done())
  forever.destroy()
  note(await ended, await b.download({ start: 0, end: 0 }).done(), await b.download({ start: 0, end: 31, linear: true }).downloaded())
})

sameWithEveryPair('blocks that are asked for twice', async ({ createA, createB, replicate, note }) => {
  const a = await createA({ keyPair })
  await a.append(['a', 'b'])
  const b = await createB(a.key)
  const gets = [b.get(0), b.get(0), b.session().get(0)]
  replicate(a, b)
  const blocks = await Promise.all(gets)
  note(blocks)
  blocks[0].fill(0)
  note(blocks[1], await b.get(0), a.replicator.stats.wireData.tx <= 3)
})

sameWithEveryPair('time-outs', async ({ createA, createB, replicate, note }) => {
  const a = await createA({ keyPair })
  await a.append(['a', 'b'])
  const b = await createB(a.key, { timeout: 30 })
  note(await outcome(b.get(0)), await outcome(b.get(0, { timeout: 10 })), await outcome(b.seek(5)))
  const patient = b.session({ timeout: 0 })
  const got = patient.get(1)
  await new Promise((resolve) => setTimeout(resolve, 60))
  replicate(a, b)
  note(await got, await b.get(0), await outcome(b.get(7, { timeout: 20 })))
})

sameWithEveryPair('sessions of a reader', async ({ createA, createB, replicate, note }) => {
  const a = await createA({ keyPair, valueEncoding: 'json' })
  await a.append([{ n: 1 }, { n: 2 }])
  const b = await createB(a.key, { valueEncoding: 'json' })
  const session = b.session({ valueEncoding: 'utf-8' })
  replicate(a, session)
  note(await session.get(0), await b.get(1), session.peers.length === b.peers.length)
  await session.close()
  await a.append({ n: 3 })
  note(await b.get(2), b.peers.length)
})

sameWithEveryPair('a stream given twice, and one for two cores', async ({ A, createA, createB, defer, note }) => {
  const a = await createA({ keyPair })
  await a.append('a')
  const b = await createB(a.key)
  const stream = a.replicate(true, { keepAlive: false })
  note(a.replicate(stream) === stream, a.session().replicate(stream) === stream)
  const other = b.replicate(false, { keepAlive: false })
  for (const each of [stream, other]) each.on('error', () => {})
  defer(() => { stream.destroy(); other.destroy() })
  stream.pipe(other).pipe(stream)
  note(await b.get(0), a.peers.length)
  note(stream.noiseStream.isInitiator, other.noiseStream.isInitiator, stream.noiseStream.keepAlive, stream.noiseStream.rawStream === stream, A.getProtocolMuxer(stream) === stream.noiseStream.userData)
  note(stream.noiseStream.connected, stream.noiseStream.handshakeHash.equals(other.noiseStream.handshakeHash), stream.noiseStream.remotePublicKey.equals(other.noiseStream.publicKey))
})

sameWithEveryPair('replication before the cores are open', async ({ A, B, folder, defer, note }) => {
  const a = new A(folder(), { keyPair })
  const b = new B(folder(), a.core?.key ?? undefined, { keyPair: { publicKey: keyPair.publicKey }, manifest: { version: 1, signers: [{ publicKey: keyPair.publicKey }] } })
  const stream = a.replicate(true)
  const other = b.replicate(false)
  for (const each of [stream, other]) each.on('error', () => {})
  defer(async () => { stream.destroy(); other.destroy(); await a.close(); await b.close() })
  stream.pipe(other).pipe(stream)
  await a.append('early')
  note(await b.get(0), b.writable, a.key.equals(b.key))
})

sameWithEveryPair('given streams, protocol streams and key pairs', async ({ A, B, createA, createB, defer, note }) => {
  const a = await createA({ keyPair })
  await a.append('a')
  const b = await createB(a.key)
  const pair = SecretStream.keyPair(seed(3))
  const stream = A.createProtocolStream(true, { keyPair: pair, keepAlive: false })
  const asked = []
  const other = B.createProtocolStream(false, { keepAlive: false, ondiscoverykey: (key) => { asked.push(key.equals(a.discoveryKey)); return b.replicate(other) } })
  for (const each of [stream, other]) each.on('error', () => {})
  defer(() => { stream.destroy(); other.destroy() })
  a.replicate(stream)
  stream.pipe(other).pipe(stream)
  note(await b.get(0), other.noiseStream.remotePublicKey.equals(pair.publicKey), b.peers[0].remotePublicKey.equals(pair.publicKey))
  const options = await createA()
  const replicated = options.replicate(true, { stream })
  note(replicated === stream)
  await eventually(() => asked.length === 2)
  note(asked)
})

sameWithEveryPair('a core that nobody has on the other side', async ({ createA, createB, replicate, note }) => {
  const a = await createA({ keyPair })
  await a.append('a')
  const stranger = await createB(seed(5))
  const { one, other } = replicate(a, stranger)
  await eventually(() => one.noiseStream.connected && other.noiseStream.connected)
  await new Promise((resolve) => setTimeout(resolve, 100))
  note(a.peers.length, stranger.peers.length, one.destroyed, other.destroyed)
})

sameWithEveryPair('detaching and leaving', async ({ createA, createB, replicate, note }) => {
  const a = await createA({ keyPair })
  await a.append('a')
  const b = await createB(a.key)
  const { one } = replicate(a, b)
  note(await b.get(0))
  note(a.replicator.attached(one.noiseStream.userData))
  a.replicator.detachFrom(one.noiseStream.userData)
  note(a.replicator.attached(one.noiseStream.userData), one.destroyed)
  a.replicate(one)
  await a.append('again')
  note(await b.get(1))
})

sameWithEveryPair('detaching keeps the peer that is there, and takes no other', async ({ createA, createB, replicate, note }) => {
  const a = await createA({ keyPair })
  await a.append('a')
  const b = await createB(a.key)
  const { one, other } = replicate(a, b)
  await b.get(0)
  const gone = []
  for (const core of [a, b]) core.on('peer-remove', () => gone.push(core === a ? 'a' : 'b'))
  a.replicator.detachFrom(one.noiseStream.userData)
  a.replicator.detachFrom(one.noiseStream.userData)
  await a.append('again')
  note(await b.get(1), gone, a.peers.length, b.peers.length, a.replicator.attached(one.noiseStream.userData))
  await b.close()
  await eventually(() => a.peers.length === 0)
  const later = await createB(a.key)
  later.replicate(other)
  await new Promise((resolve) => setTimeout(resolve, 200))
  note(gone, a.peers.length, later.peers.length, one.destroyed)
  a.replicate(one)
  note(a.replicator.attached(one.noiseStream.userData))
})

sameWithEveryPair('truncation while a reader holds blocks', async ({ createA, createB, replicate, note }) => {
  const a = await createA({ keyPair })
  await a.append(['a', 'b', 'c', 'd'])
  const b = await createB(a.key)
  replicate(a, b)
  await b.download({ start: 0, end: 4 }).done()
  const told = []
  b.on('truncate', (ancestors, fork) => told.push([ancestors, fork]))
  await a.truncate(2)
  await a.append(['x'])
  await eventually(() => b.fork === 1 && b.length === 3)
  note(told, await b.get(2), await b.get(1), b.length, await b.has(3), (await b.treeHash()).equals(await a.treeHash()))
  await a.truncate(0)
  await a.append(['new'])
  await eventually(() => b.fork === 2 && b.length === 1)
  note(await b.get(0))
})

sameWithEveryPair('a reader that does not follow forks', async ({ createA, createB, replicate, note }) => {
  const a = await createA({ keyPair })
  await a.append(['a', 'b', 'c'])
  const b = await createB(a.key, { allowFork: false })
  replicate(a, b)
  await b.get(2)
  await a.truncate(1)
  await a.append('z')
  await new Promise((resolve) => setTimeout(resolve, 150))
  note(b.fork, b.length, await b.get(2))
})

sameWithEveryPair('big blocks, empty blocks and many', async ({ createA, createB, replicate, note }) => {
  const a = await createA({ keyPair })
  const big = Buffer.alloc(4 << 20, 'big')
  await a.append([big, Buffer.alloc(0), 'x', Buffer.alloc(1 << 20)])
  await a.append(Array.from({ length: 5000 }, (_, i) => `${i}`))
  const b = await createB(a.key)
  replicate(a, b)
  note((await b.get(0)).equals(big), await b.get(1), await b.get(2), (await b.get(3)).byteLength)
  await b.download({ start: 0, end: a.length }).done()
  note(b.contiguousLength, b.byteLength, await b.get(4999), (await b.treeHash()).equals(await a.treeHash()))
})

sameWithEveryPair('blocks as large as they may be', async ({ Hypercore, createA, createB, replicate, note }) => {
  const length = Hypercore.MAX_SUGGESTED_BLOCK_SIZE
  const blocks = ['a', 'b'].map((byte) => Buffer.alloc(length, byte))
  const a = await createA()
  note(await a.append(blocks))
  const b = await createB(a.key)
  replicate(a, b)
  for (const index of [1, 0]) note((await b.get(index)).equals(blocks[index]))
  note(b.byteLength, await outcome(a.append([blocks[0], Buffer.alloc(length + 1)])).then(({ error }) => error.code), a.length)
})

sameWithEveryPair('many cores on one stream', async ({ A, B, createA, createB, replicate, note }) => {
  const writers = await Promise.all(Array.from({ length: 12 }, (_, i) => createA({ valueEncoding: 'utf-8' })))
  await Promise.all(writers.map((core, i) => core.append([`core ${i}`, 'second'])))
  const readers = await Promise.all(writers.map((core) => createB(core.key, { valueEncoding: 'utf-8' })))
  const { one, other } = replicate(writers[0], readers[0])
  for (let i = 1; i < writers.length; i++) {
    writers[i].replicate(one)
    readers[i].replicate(other)
  }
  note(await Promise.all(readers.map((core) => core.get(0))))
  await writers[3].close()
  await readers[5].close()
  note(await readers[7].get(1), one.destroyed)
})

sameWithEveryPair('extension messages', async ({ createA, createB, replicate, note }) => {
  const a = await createA({ keyPair })
  const b = await createB(a.key)
  const got = []
  const early = a.registerExtension('early', { encoding: 'utf-8', onmessage: (message, peer) => got.push(['a', message, peer === a.peers[0]]) })
  replicate(a, b)
  await eventually(() => a.peers.length === 1 && b.peers.length === 1)
  const late = b.registerExtension('early', { encoding: 'utf-8', onmessage: (message) => got.push(['b', message]) })
  late.send('to a', b.peers[0])
  await eventually(() => got.length === 1)
  early.broadcast('to b')
  await eventually(() => got.length === 2)
  const session = a.session()
  await session.ready()
  const own = session.registerExtension('session', { encoding: c.uint, onmessage: (message) => got.push(['session', message]) })
  b.registerExtension('session', { encoding: c.uint }).broadcast(300)
  await eventually(() => got.length === 3)
  const plain = a.registerExtension('plain', { onmessage: (message) => got.push(message) })
  b.registerExtension('plain').broadcast(Buffer.from('default'))
  await eventually(() => got.length === 4)
  note(got, early.name, a.extensions.get('early') === early, own.session === session)
  note(a.registerExtension('early', { encoding: 'json' }) === early)
  await session.close()
  note(session.extensions.size, plain.encoding !== null)
  b.registerExtension('unknown').broadcast(Buffer.from('nobody'))
  plain.destroy()
  note(a.extensions.has('plain'))
})

sameWithEveryPair('uploads and downloads are told', async ({ createA, createB, replicate, note }) => {
  const a = await createA({ keyPair })
  await a.append(['aa', 'b'])
  const b = await createB(a.key)
  const told = []
  a.on('upload', (index, byteLength, peer) => told.push(['upload', index, byteLength, peer === a.peers[0]]))
  b.on('download', (index, byteLength, peer, request) => told.push(['download', index, byteLength, peer === b.peers[0], typeof request?.elapsed]))
  replicate(a, b)
  await b.get(0)
  await b.get(1)
  await eventually(() => told.length === 4)
  note(told.sort((x, y) => x[0].localeCompare(y[0]) || x[1] - y[1]))
})

sameWithEveryPair('blocks that were cleared are fetched again', async ({ createA, createB, replicate, note }) => {
  const a = await createA({ keyPair })
  await a.append(['a', 'b', 'c'])
  const b = await createB(a.key)
  replicate(a, b)
  await b.download({ start: 0, end: 3 }).done()
  await b.clear(1)
  note(b.contiguousLength, await b.has(1), await b.get(1), await b.has(1), b.contiguousLength)
  await a.clear(0, 3)
  note(await outcome(a.get(0, { wait: false })), await a.get(0), await a.get(2))
})

sameWithEveryPair('a writer that lost its blocks gets them back', async ({ createA, createB, replicate, note }) => {
  const a = await createA({ keyPair })
  await a.append(['a', 'b'])
  const b = await createB(a.key)
  const { end } = replicate(a, b)
  await b.download({ start: 0, end: 2 }).done()
  await end()
  const copy = await createA(a.key)
  replicate(b, copy)
  note(await copy.get(0), await copy.get(1), copy.length, copy.manifest)
})

sameWithEveryPair('seeks', async ({ createA, createB, replicate, note }) => {
  const a = await createA({ keyPair })
  await a.append(['hello', 'big', 'wide', 'world', '', 'end'])
  const b = await createB(a.key)
  note(await b.seek(3, { wait: false }))
  const early = b.seek(6)
  replicate(a, b)
  note(await early, await b.seek(0), await b.seek(5), await b.seek(17), await b.seek(19), await outcome(b.seek(100, { timeout: 50 })), await a.seek(20, { wait: false }), await a.seek(21, { wait: false }))
  note(await b.seek(12, { wait: false }), await outcome(b.seek(-1)))
})

sameWithEveryPair('live and byte streams over the network', async ({ createA, createB, replicate, note }) => {
  const a = await createA({ keyPair })
  await a.append(['one', 'two', 'three'])
  const b = await createB(a.key, { valueEncoding: 'utf-8' })
  replicate(a, b)
  const seen = []
  const live = b.createReadStream({ live: true })
  live.on('data', (block) => seen.push(block))
  await eventually(() => seen.length === 3)
  await a.append('four')
  await eventually(() => seen.length === 4)
  live.destroy()
  let text = ''
  for await (const bytes of b.createByteStream({ byteOffset: 1, byteLength: 9 })) text += bytes
  note(seen, text)
})

sameWithEveryPair('snapshots of a reader', async ({ createA, createB, replicate, note }) => {
  const a = await createA({ keyPair })
  await a.append(['a', 'b', 'c'])
  const b = await createB(a.key)
  replicate(a, b)
  await b.update({ wait: true })
  const snapshot = b.snapshot()
  await snapshot.ready()
  await a.append('d')
  await eventually(() => b.length === 4)
  note(snapshot.length, await snapshot.get(1), await outcome(snapshot.get(3)).then((out) => out.error.code), await b.get(3))
  await a.truncate(1)
  await a.append('z')
  await eventually(() => b.fork === 1 && b.length === 2)
  note(await outcome(snapshot.get(2)).then((out) => out.error.code), await snapshot.get(0), snapshot.length)
})

sameWithEveryPair('a reader reopened without its peers', async ({ B, createA, folder, replicate, note, defer }) => {
  const a = await createA({ keyPair })
  await a.append(['a', 'b', 'c'])
  const where = folder()
  const b = new B(where, a.key)
  const { end } = replicate(a, b)
  await b.get(1)
  await end()
  await b.close()
  const again = new B(where)
  defer(() => again.close())
  await again.ready()
  note(again.key.equals(a.key), again.length, again.writable, await again.has(1), await again.has(0), await again.get(1), await again.get(0, { wait: false }), again.manifest !== null, again.contiguousLength, again.remoteContiguousLength)
})

sameWithEveryPair('push only and allowed pushes', async ({ createA, createB, replicate, note }) => {
  const a = await createA({ keyPair })
  const b = await createB(a.key, { pushOnly: true, allowPush: true })
  replicate(a, b)
  await eventually(() => a.peers.length === 1 && b.peers.length === 1)
  await a.append(['a', 'b'])
  await eventually(() => a.peers[0].remoteOpened)
  await new Promise((resolve) => setTimeout(resolve, 100))
  await a.replicator.push(1)
  await eventually(() => b.has(1))
  note(await b.get(1), await b.has(0), b.length)
  note(await b.get(0, { force: true }))
})

sameWithEveryPair('inactive sessions', async ({ createA, createB, replicate, note }) => {
  const a = await createA({ keyPair })
  await a.append('a')
  const b = await createB(a.key, { active: false })
  replicate(a, b)
  note(await b.get(0))
  b.setActive(true)
  b.setActive(true)
  b.setActive(false)
  note(b.peers.length)
})

sameWithEveryPair('streams that fail', async ({ A, B, createA, createB, note }) => {
  const a = await createA({ keyPair })
  const b = await createB(a.key)
  const stream = a.replicate(true, { keepAlive: false })
  const other = b.replicate(false, { keepAlive: false })
  const errors = []
  stream.on('error', (error) => errors.push(error.message))
  other.on('error', () => {})
  stream.pipe(other).pipe(stream)
  await eventually(() => a.peers.length === 1)
  const closed = new Promise((resolve) => stream.on('close', resolve))
  stream.noiseStream.destroy(new Error('enough'))
  await closed
  await eventually(() => a.peers.length === 0 && b.peers.length === 0)
  note(errors, stream.destroyed)
  const wrong = B.createProtocolStream(false)
  wrong.on('error', () => {})
  const gone = new Promise((resolve) => wrong.on('close', resolve))
  wrong.destroy()
  await gone
  note(wrong.destroyed, (() => { try { return a.replicate(wrong) === wrong } catch (error) { return error.message } })())
})
