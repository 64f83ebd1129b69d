// What the readmes of upstream's packages show, and ours of what they have not: a strict compiler has to take all of it. It is never run.

import * as net from 'node:net'
import Hypercore from 'hypertab/hypercore'
import Corestore from 'hypertab/corestore'
import Hyperbee from 'hypertab/hyperbee'
import Hyperblobs from 'hypertab/hyperblobs'
import Hyperdrive from 'hypertab/hyperdrive'
import MirrorDrive from 'hypertab/mirror-drive'
import Localdrive from 'hypertab/localdrive'
import Hyperswarm from 'hypertab/hyperswarm'
import DHT from 'hypertab/dht'
import Protomux from 'hypertab/protomux'
import SecretStream from 'hypertab/secret-stream'
import BlindPeering from 'hypertab/blind-peering'
import { BeeLevel } from 'hypertab/level'
import { memory, folder, indexedDb, opfs, persistStorage, storageStatus, destroyStorage } from 'hypertab/storage'
import { answerDrive, serveDrives } from 'hypertab/service-worker'
import { HypertabInspector } from 'hypertab/inspector'
import { ready, keyPair, exportStore, importStore, copyStore, Retention, urlOf, openUrl, findMirror, decodeId, encodeId } from 'hypertab'
import 'hypertab/worker'

// hypercore
const core = new Hypercore('./directory')
new Hypercore('./d2', undefined, {
  createIfMissing: true,
  overwrite: false,
  force: false,
  valueEncoding: 'json',
  encodeBatch: (batch) => batch as Uint8Array[],
  keyPair: keyPair(),
  encryption: { key: Buffer.alloc(32) },
  onwait: () => {},
  timeout: 0,
  writable: true,
  inflightRange: null,
  ongc: (session) => { session.id },
  onseq: (index, core) => { console.log(index, core.length) },
  notDownloadingLinger: 20000,
  allowFork: true,
  userData: { foo: 'bar' },
  preload: Promise.resolve({})
})
new Hypercore({ storage: './d3', key: null })
await core.append(Buffer.from('I am a block of data'))
const { length, byteLength } = await core.append([Buffer.from('batch block 1'), Buffer.from('batch block 2')], {
  writable: false, maxLength: 5, keyPair: core.keyPair, signature: null
})
const block = await core.get(42)
const blockIfFast = await core.get(43, { timeout: 5000 })
const blockLocal = await core.get(44, { wait: false, valueEncoding: 'utf-8', decrypt: true, raw: false, onwait: () => {} })
const has: boolean = await core.has(0, 4)
const updated: boolean = await core.update({ wait: false, force: false })
const seeked = await core.seek(1, { wait: true, timeout: 0 })
if (seeked) { const [index, off]: [number, number] = seeked; console.log(index + off) }
const fullStream = core.createReadStream({ start: 10, end: 15, live: false, snapshot: true, wait: true, timeout: 0 })
for await (const data of fullStream) console.log('data:', data)
for await (const data of core.createByteStream({ byteOffset: 3, byteLength: 50, prefetch: 32 })) console.log(data.byteLength)
const ws = core.createWriteStream()
const done = new Promise<void>((resolve) => ws.on('finish', resolve))
for (const data of ['hello', 'world']) ws.write(data)
ws.end()
await done
const cleared = await core.clear(0, 10, { diff: true })
console.log(cleared?.blocks)
await core.truncate(2, { fork: core.fork + 1, keyPair: core.keyPair, signature: null })
await core.truncate(1, 3)
const hash: Uint8Array = await core.treeHash()
const proof = await core.proof({ block: { index: 0, nodes: 0 }, upgrade: { start: 0, length: 1 } })
const verified = await core.verifyFullyRemote(proof)
const signable: Uint8Array = await core.signable(1, 0)
const range = core.download({ start: 0, end: -1 })
await range.done()
core.download({ blocks: [4, 9, 7], linear: false })
const ext = core.registerExtension('name', { encoding: 'json', onmessage: (message, peer) => { console.log(message, peer.remotePublicKey) } })
ext.send({ a: 1 }, core.peers[0]!)
ext.broadcast({ a: 1 })
ext.destroy()
const session = core.session({ weak: false, exclusive: false, name: null })
const atom = core.state!.storage.createAtom()
const atomic = core.session({ atom })
await atom.flush()
const committed = await core.commit(session, { length: session.length, treeLength: core.length, keyPair: core.keyPair })
console.log(committed?.length)
const snapshot = core.snapshot()
const info = await core.info({ storage: true })
console.log(info.storage?.blocks, info.padding)
await core.setGroup(Buffer.alloc(32))
await core.startMarking()
await core.markBlock(1)
await core.clearMarkings()
await core.sweep({ batchSize: 1000 })
await core.close({ error: new Error('x') })
core.on('close', () => {})
core.on('ready', () => {})
const signedLength: number = core.signedLength
await core.setEncryptionKey(Buffer.alloc(32), { block: false })
core.setKeyPair(keyPair())
core.setActive(true)
await core.setUserData('key', 'value')
const value = await core.getUserData('key')
const server0 = net.createServer((socket) => { const s = core.replicate(false); socket.pipe(s).pipe(socket) })
const socket0 = net.connect(8080)
const rs0 = core.replicate(true, { keepAlive: true })
socket0.pipe(rs0).pipe(socket0)
const fdone = core.findingPeers()
fdone()
core.on('append', () => {})
core.on('truncate', (ancestors, forkId) => { console.log(ancestors + forkId) })
core.on('peer-add', (peer) => { console.log(peer.remotePublicKey) })
core.on('upload', (index, byteLength, peer) => { console.log(index, byteLength, peer) })
core.on('remote-contiguous-length', (length) => { console.log(length) })
const max: number = Hypercore.MAX_SUGGESTED_BLOCK_SIZE
const k: Uint8Array = Hypercore.key(core.manifest!, { compat: false })
const dk: Uint8Array = Hypercore.discoveryKey(core.key!)
const bk: Uint8Array = Hypercore.blockEncryptionKey(core.key!, Buffer.alloc(32))

// corestore
const store = new Corestore('./my-storage')
const core1 = store.get({ name: 'core-1' })
const core2 = store.get({ key: core.key!, valueEncoding: 'json' })
const byKey = store.get(core.key!)
const stream = store.replicate(true)
const storeB = store.session()
const ns1 = store.namespace('a')
ns1.namespace(Buffer.alloc(32))
for await (const dkey of store.list()) console.log(dkey.byteLength)
store.watch((core) => { console.log(core.key) })
const handle = store.notifyGroup(Buffer.alloc(32))
handle.on('update', () => {})
for await (const key of handle.updates()) console.log(key)
handle.destroy()
await store.suspend()
await store.resume()
const kp = await store.createKeyPair('name')
await store.close()
store.on('group-active', (topic) => { console.log(topic) })

// hyperbee
const db = new Hyperbee(core, { keyEncoding: 'utf-8', valueEncoding: 'binary' })
await db.put('key1', 'value1')
await db.del('some-key')
const batch = db.batch()
await batch.put('key', 'value')
await batch.del('some-key')
await batch.flush()
const entry = await db.get('key')
console.log(entry?.value)
for await (const entry of db.createReadStream({ gte: 'a', lt: 'd' }, { reverse: true, limit: 10 })) console.log(entry.key)
for await (const entry of db.createHistoryStream({ reverse: true, limit: 1 })) console.log(entry.type, entry.seq)
await db.put('number', '123', { cas: (prev, next) => prev.value !== next.value })
await db.del('number', { cas: (prev) => prev.value === 'x' })
const bySeq = await db.getBySeq(1)
const peeked = await db.peek({ gt: 'a' })
for await (const { left, right } of db.createDiffStream(1)) console.log(left, right)
const watcherE = await db.getAndWatch('key')
watcherE.on('update', () => { console.log(watcherE.node) })
await watcherE.close()
const watcher = db.watch({ gt: 'a' })
await watcher.ready()
for await (const [current, previous] of watcher) { console.log(current.version, previous.version); break }
const snap = db.checkout(1)
const sub = db.sub('prefix', { sep: Buffer.alloc(1), valueEncoding: 'json', keyEncoding: 'utf-8' })
await sub.put('b', { hello: 1 })
const header = await db.getHeader()
const isBee: boolean = await Hyperbee.isHyperbee(core)

// hyperblobs
const blobs = new Hyperblobs(core, { blockSize: 65536 })
const id = await blobs.put(Buffer.from('hello world', 'utf-8'), { blockSize: 100 })
const content = await blobs.get(id, { start: 1, length: 2 })
await blobs.clear(id)
for await (const chunk of blobs.createReadStream(id, { start: 0, end: 3 })) console.log(chunk.byteLength)
const bws = blobs.createWriteStream()
bws.on('close', () => { console.log(bws.id) })

// hyperdrive
const drive = new Hyperdrive(store)
await drive.put('/blob.txt', Buffer.from('example'), { executable: true, metadata: { a: 1 } })
const buffer = await drive.get('/blob.txt', { wait: true, timeout: 0 })
const dentry = await drive.entry('/blob.txt')
console.log(dentry?.value.blob?.byteLength, dentry?.value.metadata, dentry?.seq)
await drive.del('/x')
await drive.symlink('/images/logo.shortcut', '/images/logo.png')
for await (const file of drive.list('/images', { recursive: true, ignore: '/x' })) console.log(file.key)
const drs = drive.createReadStream('/blob.txt', { start: 0, end: 1 })
for await (const chunk of drs) console.log(chunk.byteLength)
const dws = drive.createWriteStream('/blob.txt', { executable: false })
dws.write('new example')
dws.end()
dws.once('close', () => {})
const comparison: number = drive.compare(dentry!, dentry!)
const dcleared = await drive.clear('/x', { diff: true })
await drive.clearAll()
await drive.truncate(1)
await drive.purge()
const dbatch = drive.batch()
await dbatch.put('/a', Buffer.alloc(1))
await dbatch.flush()
for await (const e of drive.entries({ gt: '/' })) console.log(e.key)
const mirror = drive.mirror(new Hyperdrive(store), { dryRun: true, filter: (key: string) => true })
for await (const diff of mirror) console.log(diff.op, diff.key, diff.bytesAdded)
for await (const [current, previous] of drive.watch('/')) { console.log(current.version - previous.version); break }
const download = await drive.download('/', { wait: true })
await download.done()
const ddiff = await drive.downloadDiff(1, '/')
await ddiff.done()
const dr = await drive.downloadRange([{ start: 0, end: 1 }], [{ start: 0, end: 1 }])
await dr.done()
const dhas: boolean = await drive.has('/x')
const dblobs = await drive.getBlobs()
await dblobs!.get(dentry!.value.blob!)
const bl: number = await drive.getBlobsLength()
console.log(drive.contentKey, drive.supportsMetadata, drive.db.version, drive.core.length)

// mirror-drive and localdrive
const src = new Localdrive('./src', { metadata: new Map() , followLinks: false })
const m = new MirrorDrive(src, drive, { prune: true, dryRun: false, ignore: ['/x'] })
await m.done()
console.log(m.count.files, m.count.add)
await src.put('/a', Buffer.alloc(1))
for await (const f of src.list('/')) console.log(f.key)
new Localdrive('./my-app', { metadata: { get: (key) => null, put: (key, value) => {}, del: (key) => {} } })

// hyperswarm
const swarm = new Hyperswarm({ relay: 'wss://relay.example', keyPair: kp, maxPeers: 64, firewall: (remotePublicKey, payload) => false })
swarm.on('connection', (socket, info) => {
  console.log(info.publicKey, info.topics, info.prioritized)
  info.ban(true)
  store.replicate(socket)
  socket.write('hello')
  socket.on('data', (data) => { console.log(data.toString()) })
})
swarm.on('update', () => {})
swarm.on('ban', (peerInfo, error) => { console.log(peerInfo, error) })
const discovery = swarm.join(Buffer.alloc(32).fill('hello world'), { server: true, client: false })
await discovery.flushed()
await discovery.refresh({ client: true, server: true })
await discovery.destroy()
await swarm.flush()
await swarm.leave(Buffer.alloc(32))
swarm.joinPeer(kp.publicKey)
swarm.leavePeer(kp.publicKey)
swarm.status(Buffer.alloc(32))
await swarm.listen()
await swarm.suspend({ log: () => {} })
await swarm.resume()
const conns: number = swarm.connections.size
const peers = swarm.peers.get('x')
const connecting: number = swarm.connecting
await swarm.destroy()

// hyperdht
const node = new DHT({ relay: 'wss://relay.example' })
const kp2 = DHT.keyPair(Buffer.alloc(32))
const server = node.createServer({
  firewall (remotePublicKey, payload) { return false } }, (socket) => { process.stdin.pipe(socket).pipe(process.stdout)
})
server.on('connection', (socket) => { console.log(socket.remotePublicKey) })
await server.listen(kp2)
server.refresh()
server.on('listening', () => {})
console.log(server.address()?.publicKey)
await server.close()
const sock = node.connect(kp2.publicKey, { keyPair: kp2 })
sock.on('open', () => {})
sock.end()
for await (const { peers } of node.lookup(Buffer.alloc(32))) for (const { publicKey } of peers) console.log(publicKey)
await node.announce(Buffer.alloc(32), kp2).finished()
await node.unannounce(Buffer.alloc(32), kp2)
const put = await node.immutablePut(Buffer.from('x'))
const got = await node.immutableGet(put.hash)
console.log(got?.value)
const mput = await node.mutablePut(kp2, Buffer.from('x'), { seq: 1 })
const mget = await node.mutableGet(kp2.publicKey, { seq: 0, latest: true })
console.log(mput.seq, mget?.value)
await node.destroy({ force: true })

// protomux and secret-stream
const a = new SecretStream(true)
const b = new SecretStream(false)
a.rawStream.pipe(b.rawStream).pipe(a.rawStream)
a.setTimeout(5000)
a.setKeepAlive(5000)
a.sendKeepAlive()
await a.opened
a.on('connect', () => {})
await a.send(Buffer.alloc(1))
a.trySend(Buffer.alloc(1))
a.on('message', (m) => { console.log(m.byteLength) })
console.log(a.handshakeHash, a.rawBytesRead)
const mux = new Protomux(a)
const mux2 = Protomux.from(b)
const c = { preencode (s: any, x: string) {}, encode (s: any, x: string) {}, decode (s: any) { return 'x' } }
const cool = mux.createChannel({
  protocol: 'cool-protocol',
  id: Buffer.from('x'),
  handshake: c,
  onopen (handshake) { console.log(handshake) },
  onclose () {},
  async ondestroy () {}
})!
const one = cool.addMessage({ encoding: c, onmessage (m) { console.log(m) } })
cool.open('hi')
one.send('a string')
cool.cork()
cool.uncork()
cool.close()
mux.pair({ protocol: 'x', id: null }, async () => {})
mux.unpair({ protocol: 'x' })
const mo: boolean = mux.opened({ protocol: 'x' })
mux.cork()
mux.uncork()
for (const ch of mux) console.log(ch.protocol)
const idle: boolean = mux.isIdle()
SecretStream.keyPair()

// what upstream has not
const blind = new BlindPeering(swarm.dht, store, { keys: [kp.publicKey], keyPair: kp })
const copy = blind.keep(drive)
copy.on('update', ({ state, held, until }) => { console.log(state, held, until?.getTime()) })
await copy.done()
const lv = new BeeLevel<string, { n: number }>(() => new Hyperbee(store.get({ name: 'db' })), { valueEncoding: 'json' })
await lv.put('k', { n: 1 })
for await (const [key, v] of lv.iterator({ gte: 'a' })) console.log(key, v.n)
lv.sublevel('users')
await importStore(new Blob([]), memory(), { onprogress: (p) => { console.log(p) }, signal: AbortSignal.timeout(1) })
for await (const piece of exportStore(folder('x'))) console.log(piece.byteLength)
await copyStore(indexedDb('a'), opfs('b'))
console.log(await persistStorage(), (await storageStatus()).deletedAfterDays)
await destroyStorage(memory())
const ret = new Retention(store, { limit: 1e9 })
await ret.evict()
ret.pin(core.key!)
console.log(urlOf(drive, { path: '/x', version: 1 }), await openUrl(drive, 'hyper://x'), await findMirror('wss://r'), encodeId(decodeId('x')))
const ds = serveDrives((key) => key === 'x' ? drive : null, { worker: '/sw.js' })
await ds.ready
await ready()
