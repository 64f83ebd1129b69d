// The class Hypercore over streams: the same programs with every pair of upstream's and ours.

import { once } from 'node:events'
import net from 'node:net'

import SecretStream from '@hyperswarm/secret-stream'
import c from 'compact-encoding'

import { eventually, outcome, sameWithEveryPair } from './support/both.mjs'
import { connect, listen } from './support/tcp.mjs'
import { block } from './support/upstream.mjs'

const seed = (byte) => Buffer.alloc(32, byte)
const keyPair = {
  publicKey: Buffer.from('8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c', 'hex'),
  secretKey: Buffer.from('01'.repeat(32) + '8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c', 'hex')
}

sameWithEveryPair('blocks, updates and events', async ({ createA, createB, replicate, note }) => {
  const a = await createA({ keyPair })
  await a.append(['a', 'b', 'c', 'd', 'e'])
  const b = await createB(a.key)
  const events = []
  b.on('append', () => events.push(`append ${b.length}`))
  b.on('peer-add', (peer) => events.push(`peer-add ${peer.remotePublicKey.byteLength}`))
  b.on('download', (index, byteLength) => events.push(`download ${index} ${byteLength}`))
  const uploads = []
  a.on('upload', (index, byteLength) => uploads.push(`upload ${index} ${byteLength}`))
  b.on('manifest', () => events.push('manifest'))
  replicate(a, b)
  note(await b.update({ wait: true }), b.length, b.fork, b.manifest, b.contiguousLength)
  note(await b.get(3), await b.get(0), await b.has(0), await b.has(1))
  await b.download({ start: 0, end: 5 }).done()
  note(b.contiguousLength, b.byteLength, await b.treeHash())
  note(a.peers.length, b.peers.length, b.peers[0].remoteLength, b.peers[0].remoteFork, b.peers[0].remoteUploading)
  await eventually(() => uploads.length === 5)
  note(events.filter((event) => !event.startsWith('download')).sort(), events.filter((event) => event.startsWith('download')).sort(), uploads.sort())
  await a.append('f')
  await eventually(() => b.length === 6)
  note(await b.get(5), b.length)
})

sameWithEveryPair('a writer that answers and a reader that asks, over TCP', async ({ createA, createB, defer, note }) => {
  const t = { after: defer }
  const a = await createA({ keyPair })
  await a.append(Array.from({ length: 600 }, (_, i) => block(i, 512)))
  const b = await createB(a.key)
  const { stream, closed } = await connect(t, b, await listen(t, a))
  await b.download({ start: 0, end: 600 }).done()
  note(b.length, b.contiguousLength, await b.treeHash(), await b.get(599))
  note(stream.noiseStream.isInitiator, stream.noiseStream.connected, stream.noiseStream.remotePublicKey.byteLength, stream.noiseStream.handshakeHash.byteLength)
  stream.destroy()
  note(await closed)
  await eventually(() => b.peers.length === 0 && a.peers.length === 0)
})

sameWithEveryPair('blocks that are yet to be written', async ({ createA, createB, replicate, note }) => {
  const a = await createA({ keyPair, valueEncoding: 'utf-8' })
  const b = await createB(a.key, { valueEncoding: 'utf-8' })
  replicate(a, b)
  const early = b.get(1)
  const live = b.createReadStream({ live: true })
  const seen = []
  live.on('data', (data) => seen.push(data))
  await a.append(['one', 'two'])
  note(await early)
  await a.append('three')
  await eventually(() => seen.length === 3)
  note(seen)
  live.destroy()
})

sameWithEveryPair('truncation reaches the reader', async ({ createA, createB, replicate, note }) => {
  const a = await createA({ keyPair })
  await a.append(['a', 'b', 'c', 'd'])
  const b = await createB(a.key)
  replicate(a, b)
  await b.download({ start: 0, end: 4 }).done()
  const events = []
  b.on('truncate', (ancestors, fork) => events.push(`truncate ${ancestors} ${fork}`))
  await a.truncate(2)
  await a.append(['x', 'y', 'z'])
  await eventually(() => b.fork === 1 && b.length === 5)
  note(events, b.length, b.fork, await b.get(2), await b.get(0), await b.treeHash())
})

sameWithEveryPair('seeks and bytes', async ({ createA, createB, replicate, note }) => {
  const a = await createA({ keyPair })
  await a.append(Array.from({ length: 50 }, (_, i) => 'x'.repeat(i + 1)))
  const b = await createB(a.key)
  replicate(a, b)
  await b.update({ wait: true })
  note(await b.seek(100), await b.seek(0), await b.seek(1274), await b.seek(7))
  note((await outcome(b.seek(5000, { timeout: 50 }))).error?.code)
  const bytes = []
  for await (const data of b.createByteStream({ byteOffset: 90, byteLength: 40 })) bytes.push(data)
  note(Buffer.concat(bytes).toString())
})

sameWithEveryPair('lists of blocks, in order or not', async ({ createA, createB, replicate, note }) => {
  const a = await createA({ keyPair })
  await a.append(Array.from({ length: 64 }, (_, i) => `block ${i}`))
  const b = await createB(a.key)
  replicate(a, b)
  await b.download({ blocks: [3, 40, 41, 63] }).done()
  const held = []
  for (let index = 0; index < 64; index++) if (await b.has(index)) held.push(index)
  note(held, b.length)
  const order = []
  b.on('download', (index) => order.push(index))
  await b.download({ start: 10, end: 20, linear: true }).done()
  note(order.sort((x, y) => x - y), await b.has(10, 20))
  await b.clear(10, 20)
  note(await b.has(10), await b.get(15), await b.has(15))
})

sameWithEveryPair('several cores on one stream, asked for by their discovery keys', async ({ A, createA, createB, B, defer, note }) => {
  const a1 = await createA({ keyPair })
  const a2 = await createA({ keyPair: A.prototype.constructor === A ? undefined : keyPair })
  await a1.append('first')
  await a2.append('second')
  const cores = new Map([[a1.discoveryKey.toString('hex'), a1], [a2.discoveryKey.toString('hex'), a2]])
  const asked = []
  const one = A.createProtocolStream(false, {
    keepAlive: false,
    ondiscoverykey: async (discoveryKey) => {
      asked.push(discoveryKey.toString('hex'))
      cores.get(discoveryKey.toString('hex'))?.replicate(one)
    }
  })
  const b1 = await createB(a1.key)
  const b2 = await createB(a2.key)
  const other = B.createProtocolStream(true, { keepAlive: false })
  one.on('error', () => {})
  other.on('error', () => {})
  one.pipe(other).pipe(one)
  defer(() => { one.destroy(); other.destroy() })
  note(b1.replicate(other) === other)
  b2.replicate(other)
  note(await b1.get(0), await b2.get(0), asked.length, asked.every((key) => cores.has(key)))
  const unknown = await createB(seed(5))
  unknown.replicate(other)
  note(await outcome(unknown.get(0, { timeout: 100 })), asked.length)
  note(await unknown.update({ wait: true }))
})

sameWithEveryPair('on encrypted streams that exist already', async ({ createA, createB, defer, note }) => {
  const a = await createA({ keyPair })
  await a.append(['a', 'b'])
  const b = await createB(a.key)
  const one = new SecretStream(true)
  const other = new SecretStream(false)
  one.rawStream.pipe(other.rawStream).pipe(one.rawStream)
  for (const stream of [one, other]) stream.on('error', () => {})
  defer(() => { one.destroy(); other.destroy() })
  note(a.replicate(one) === one, b.replicate(other) === other)
  note(await b.get(1))
  await a.append(Array.from({ length: 100 }, (_, i) => block(i, 4096)))
  await b.download({ start: 0, end: 102 }).done()
  note(b.contiguousLength, await b.treeHash())
  one.destroy()
  await eventually(() => b.peers.length === 0)
})

sameWithEveryPair('encrypted blocks, and a reader without the key', async ({ createA, createB, replicate, note }) => {
  const key = seed(8)
  const a = await createA({ keyPair, encryption: { key } })
  await a.append(['secret one', 'secret two'])
  const b = await createB(a.key, { encryption: { key } })
  const blind = await createA(a.key)
  replicate(a, blind)
  replicate(blind, b)
  await blind.download({ start: 0, end: 2 }).done()
  note(blind.byteLength, blind.padding, (await blind.get(0)).byteLength)
  note(await b.get(0), await b.get(1), b.padding, b.byteLength, await b.seek(11))
})

sameWithEveryPair('compat cores and manifests', async ({ createA, createB, replicate, note }) => {
  const compat = await createA({ keyPair, compat: true })
  await compat.append(['old', 'style'])
  const reader = await createB(compat.key, { compat: true })
  replicate(compat, reader)
  note(await reader.get(1), reader.manifest, reader.length)
  const manifest = { version: 2, quorum: 1, signers: [{ publicKey: keyPair.publicKey, namespace: seed(9) }], userData: Buffer.from('what it is') }
  const core = await createA({ keyPair, manifest })
  await core.append('signed')
  const other = await createB(core.key)
  replicate(core, other)
  note(await other.get(0), other.manifest)
})

sameWithEveryPair('extensions', async ({ createA, createB, replicate, note }) => {
  const a = await createA({ keyPair })
  const b = await createB(a.key)
  const got = []
  const one = a.registerExtension('test', { encoding: 'json', onmessage: (message, peer) => { got.push(message); if (message.ask) one.send({ answer: message.ask + 1 }, peer) } })
  const other = b.registerExtension('test', { encoding: 'json', onmessage: (message) => got.push(message) })
  const raw = []
  a.registerExtension('raw', { encoding: c.raw, onmessage: (message) => raw.push(message) })
  const rawB = b.registerExtension('raw', { encoding: c.raw })
  replicate(a, b)
  await eventually(() => a.peers.length === 1 && b.peers.length === 1)
  other.broadcast({ ask: 1 })
  await eventually(() => got.length === 2)
  rawB.send(Buffer.from('bytes'), b.peers[0])
  await eventually(() => raw.length === 1)
  note(got, raw, one.name, a.extensions.size)
  other.destroy()
  note(b.extensions.size)
})

sameWithEveryPair('updates wait while peers are looked for', async ({ createA, createB, replicate, note }) => {
  const a = await createA({ keyPair })
  await a.append('a')
  const b = await createB(a.key)
  note(await b.update(), b.length)
  const done = b.findingPeers()
  const updating = b.update()
  replicate(a, b)
  note(await updating, b.length)
  done()
  note(await b.update())
})

sameWithEveryPair('errors of streams', async ({ A, B, createA, createB, replicate, note }) => {
  const a = await createA({ keyPair })
  const b = await createB(a.key)
  try { a.replicate({ pipe: () => {} }) } catch (error) { note(error instanceof Error) }
  const { one, other } = replicate(a, b)
  await eventually(() => b.peers.length === 1)
  const closed = Promise.all([one, other].map((stream) => new Promise((resolve) => stream.on('close', resolve))))
  let removed = 0
  a.on('peer-remove', () => { removed++ })
  b.on('peer-remove', () => { removed++ })
  one.destroy()
  await closed
  await eventually(() => removed === 2)
  note(a.peers.length, b.peers.length, one.destroyed, other.destroyed)
  const garbage = A.createProtocolStream(true, { keepAlive: false })
  const failed = new Promise((resolve) => garbage.on('error', resolve))
  garbage.resume()
  garbage.write(Buffer.alloc(200, 0xff))
  garbage.write(Buffer.from([1, 0, 0, 0]))
  const error = await Promise.race([failed, new Promise((resolve) => setTimeout(resolve, 200, null))])
  note(error instanceof Error || error === null)
  garbage.destroy()
})

sameWithEveryPair('a core that closes leaves its streams', async ({ createA, createB, replicate, note }) => {
  const a = await createA({ keyPair })
  await a.append('a')
  const b = await createB(a.key)
  const { one } = replicate(a, b)
  note(await b.get(0))
  await a.close()
  await eventually(() => b.peers.length === 0)
  note(one.destroyed)
})

sameWithEveryPair('a relay in the middle: three in a row', async ({ createA, createB, replicate, note }) => {
  const a = await createA({ keyPair })
  const b = await createB(a.key)
  const last = await createA(a.key)
  replicate(a, b)
  replicate(b, last)
  const range = b.download({ start: 0, end: -1 })
  const got = last.get(2)
  await a.append(['a', 'b', 'c'])
  await eventually(() => b.contiguousLength === 3)
  note(await got, last.length)
  range.destroy()
})

sameWithEveryPair('sockets piped by hand', async ({ createA, createB, defer, note }) => {
  const a = await createA({ keyPair })
  await a.append(Array.from({ length: 40 }, (_, i) => block(i, 60_000)))
  const b = await createB(a.key)
  const server = net.createServer((socket) => {
    const stream = a.replicate(false)
    socket.on('error', () => {})
    stream.on('error', () => {})
    socket.pipe(stream).pipe(socket)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  defer(() => new Promise((resolve) => server.close(resolve)))
  const socket = net.connect(server.address().port, '127.0.0.1')
  defer(() => socket.destroy())
  const stream = b.replicate(true)
  socket.pipe(stream).pipe(socket)
  stream.on('error', () => {})
  await b.download({ start: 0, end: 40 }).done()
  note(b.contiguousLength, await b.treeHash())
  const closed = once(stream, 'close')
  socket.destroy()
  stream.destroy()
  await closed
})
