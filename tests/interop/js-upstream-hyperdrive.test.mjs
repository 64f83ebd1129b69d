// Programs in the manner of upstream's own suite: one drive.

import b4a from 'b4a'

import { closed, eventually, outcome } from './support/both.mjs'
import { collect, noise, sameDrives, write } from './support/drives.mjs'

const names = async (stream) => (await collect(stream)).map((entry) => entry.key ?? entry)
const entries = async (stream) => (await collect(stream)).map(({ seq, key, value }) => ({ seq, key, value }))
const entryOf = (entry) => entry && { seq: entry.seq, key: entry.key, value: entry.value }

async function fill (drive, paths) {
  for (const path of paths) await drive.put(path, Buffer.from(path))
}

sameDrives('what a drive has', async ({ kit, store, note, defer }) => {
  const corestore = store()
  const drive = new kit.Hyperdrive(corestore)
  defer(() => drive.close())
  note(drive.corestore === corestore, drive.blobs, drive.opened, drive.supportsMetadata, drive.encryptionKey, drive.monitors.size, drive.contentKey, drive.version, drive.writable, drive.readable)
  const events = []
  for (const name of ['blobs', 'content-key', 'ready', 'close']) drive.on(name, (value) => events.push([name, value?.key ?? value]))
  note(drive.ready() === drive.ready())
  await drive.ready()
  note(events.map(([name]) => name), drive.opened, drive.version, drive.writable, drive.readable, drive.id, drive.key, drive.discoveryKey, drive.contentKey)
  note(drive.core === drive.db.core, drive.blobs === await drive.getBlobs(), drive.core.exclusive, drive.key.equals(drive.core.key), events[1][1].equals(drive.contentKey))
  note(kit.Hyperdrive.getContentKey(drive.core), kit.Hyperdrive.getContentKey(drive.core.manifest), kit.Hyperdrive.getContentKey(drive.core.manifest, drive.key))
  note(kit.Hyperdrive.getContentManifest(drive.core.manifest, drive.key), kit.Hyperdrive.getContentKey({ version: 0, signers: [] }, drive.key))
  await drive.close()
  note(events.at(-1), drive.closed, drive.closing !== null, corestore.closed)
  await drive.close()
})

sameDrives('the key of the drive that a store has', async ({ kit, store, note }) => {
  const corestore = store()
  const key = await kit.Hyperdrive.getDriveKey(corestore)
  const drive = new kit.Hyperdrive(corestore)
  await drive.ready()
  note(key, drive.key.equals(key))
  await drive.close()
})

sameDrives('paths', async ({ kit, note, drive: open }) => {
  const drive = await open()
  for (const path of ['a', '/a/b/../c', './a', 'a//b', 'a\\b', 'C:\\a', 'file:///a', 'http://h/a', ' a ', '/..a', '/', '', '.', '..', 'x/..']) {
    note(path, await outcome(Promise.resolve().then(() => kit.Hyperdrive.normalizePath(path))), await outcome(drive.entry(path)), await outcome(drive.put(path, 'x')))
  }
  note(await names(drive.list()))
  for (const call of [(path) => drive.get(path), (path) => drive.del(path), (path) => drive.symlink(path, 'x'), (path) => drive.putEntry(path)]) note(await outcome(call('/')))
})

sameDrives('files are put and read', async ({ drive: open, note }) => {
  const drive = await open()
  note(await drive.put('/hello.txt', Buffer.from('hello')), drive.version, drive.blobs.core.length)
  const content = await drive.get('/hello.txt')
  note(content, Buffer.isBuffer(content), await drive.get('hello.txt'), await drive.get('/none'))
  await drive.put('/text', 'a string')
  await drive.put('/empty', Buffer.alloc(0))
  await drive.put('/run', Buffer.from('x'), { executable: true, metadata: { a: [1, null, 'ü'] } })
  await drive.put('/large', noise(200_000))
  note(await drive.get('/text'), await drive.get('/empty'), (await drive.get('/large')).equals(noise(200_000)))
  note(await entries(drive.entries()), (await collect(drive)).map((entry) => entry.key), drive.version)
  note(await drive.exists('/run'), await drive.exists('/none'), await drive.entry('/none'), Object.keys((await drive.entry('/run')).value))
  note(await drive.get(await drive.entry('/text')), await drive.entry({ key: 'as it is' }))
  note(await drive.get('/large', { start: 65530, length: 10 }), await drive.get('/large', { start: 3, end: 5 }))
  note(await drive.del('/text'), await drive.get('/text'), await drive.del('/none'), drive.version)
  await drive.put('/hello.txt', Buffer.from('hello again'))
  note(await drive.get('/hello.txt'), entryOf(await drive.entry('/hello.txt')))
})

sameDrives('raw entries', async ({ drive: open, note }) => {
  const drive = await open()
  await drive.put('/a', Buffer.from('content'))
  await drive.putEntry('/b', (await drive.entry('/a')).value)
  await drive.putEntry('/c', { executable: true })
  await drive.putEntry('/d')
  note(await entries(drive.entries()), await drive.get('/b'), await drive.get('/c'))
})

sameDrives('links', async ({ drive: open, note }) => {
  const drive = await open()
  await drive.put('/dir/file', Buffer.from('content'))
  await drive.symlink('/abs', '/dir/file')
  await drive.symlink('/dir/rel', '../dir/file', { metadata: 'm' })
  await drive.symlink('/dir/sibling', '../file')
  await drive.symlink('/again', '/abs')
  await drive.symlink('/loop', '/loop')
  await drive.symlink('/nowhere', '/none')
  await drive.symlink('/out', '../../x')
  for (const path of ['/abs', '/dir/rel', '/dir/sibling', '/again', '/nowhere', '/loop', '/out', '/dir/file']) {
    note(path, await drive.get(path), await outcome(drive.get(path, { follow: true })), entryOf(await drive.entry(path)), entryOf((await outcome(drive.entry(path, { follow: true }))).value ?? null))
  }
  note(await collect(drive.createReadStream('/abs')), await drive.exists('/loop'))
})

sameDrives('streams', async ({ drive: open, note }) => {
  const drive = await open()
  await write(drive.createWriteStream('/stream', { executable: true, metadata: { m: 1 } }), Array.from({ length: 20 }, (_, i) => Buffer.from(`chunk${i}`)))
  note(entryOf(await drive.entry('/stream')), (await collect(drive.createReadStream('/stream'))).map(String))
  for (const range of [{ start: 4, end: 13 }, { start: 4, length: 5 }, { start: 100 }, { end: 3 }, { length: 0 }, {}]) {
    note(range, (await collect(drive.createReadStream('/stream', range))).map(String))
  }
  await write(drive.createWriteStream('/nothing'), [])
  note(entryOf(await drive.entry('/nothing')), await collect(drive.createReadStream('/nothing')), await drive.get('/nothing'))
  await write(drive.createWriteStream('/strings'), ['a', 'b'])
  note(await drive.get('/strings'))
  note(await outcome(collect(drive.createReadStream('/none'))))
  note((await collect(drive.createReadStream(await drive.entry('/stream')))).length)
  await drive.put('/large', noise(500_000))
  const large = b4a.concat(await collect(drive.createReadStream('/large')))
  note(large.equals(noise(500_000)))
  const reading = drive.createReadStream('/large')
  reading.once('data', () => { reading.destroy() })
  await closed(reading)
  const writing = drive.createWriteStream('/lost')
  writing.on('error', () => {})
  writing.write('x')
  await new Promise((resolve) => setTimeout(resolve, 20))
  writing.destroy(new Error('stopped'))
  await closed(writing)
  note(await drive.exists('/lost'))
  await drive.put('/after', 'x')
  note(await drive.get('/after'))
})

sameDrives('pauses and back pressure', async ({ drive: open, note }) => {
  const drive = await open()
  await drive.put('/from', noise(3_000_000))
  const copy = drive.createWriteStream('/to')
  drive.createReadStream('/from').pipe(copy)
  await closed(copy)
  note((await drive.get('/to')).equals(noise(3_000_000)), (await drive.entry('/to')).value.blob.blockLength)
  const slow = drive.createReadStream('/to')
  let bytes = 0
  for await (const data of slow) {
    bytes += data.byteLength
    await new Promise((resolve) => setTimeout(resolve, 1))
  }
  note(bytes)
})

sameDrives('equal parts are stored once', async ({ drive: open, note }) => {
  const drive = await open()
  await write(drive.createWriteStream('/dedup', { dedup: true }), ['aaaa', 'bbbb', 'aaaa', 'cccc'].map(Buffer.from))
  note(entryOf(await drive.entry('/dedup')), await drive.get('/dedup'), drive.blobs.core.length)
  await write(drive.createWriteStream('/dedup', { dedup: true }), ['aaaa', 'dddd', 'cccc', 'dddd'].map(Buffer.from))
  note(entryOf(await drive.entry('/dedup')), await drive.get('/dedup'), drive.blobs.core.length)
  note((await collect(drive.createReadStream('/dedup', { start: 2, end: 9 }))).map(String), await drive.has('/dedup'))
  await drive.symlink('/link', '/dedup')
  await write(drive.createWriteStream('/link', { dedup: true }), ['aaaa'].map(Buffer.from))
  note(await drive.get('/link'))
})

const files = ['/a', '/b/a', '/b/b/a', '/b/b/b', '/b/c', '/b-c', '/b0', '/c/ü/✓', '/d', '/d/e', '/z']

sameDrives('folders', async ({ drive: open, note }) => {
  const drive = await open()
  note(await names(drive.list()), await names(drive.readdir('/')))
  await fill(drive, files)
  for (const folder of ['/', '', undefined, null, '/b', 'b', '/b/', '/b/b', '/c', '/d', '/d/e', '/none', '/b/../c', '.']) {
    note(folder, await outcome(names(drive.list(folder))), await outcome(names(drive.list(folder, { recursive: false }))), await outcome(names(drive.readdir(folder))))
  }
  note(await names(drive.list({ recursive: false })), await names(drive.list({ recursive: true })), await names(drive.list('/', {})))
  for (const ignore of ['/b', ['/b/b', 'c'], [], ['/b/a', '/none'], (key) => key.endsWith('a'), '/']) {
    note(await names(drive.list('/', { ignore })), await names(drive.list('/', { ignore, recursive: false })), await names(drive.list('/b', { ignore })))
  }
  note(await names(drive.entries({ gte: '/b', lt: '/c' })), await names(drive.entries(null, { reverse: true, limit: 2 })), await names(drive.entries({ gt: '/b/b/b' })), await names(drive.entries({ lte: '/b' })))
  note(await outcome(Promise.resolve().then(() => names(drive.list('..')))))
})

sameDrives('versions', async ({ drive: open, note }) => {
  const drive = await open()
  await fill(drive, ['/a', '/b', '/c'])
  const version = drive.version
  await drive.put('/a', Buffer.from('changed'))
  await drive.del('/b')
  await drive.put('/dir/d', Buffer.from('d'))
  const old = drive.checkout(version)
  await old.ready()
  note(old.version, old.key.equals(drive.key), await names(old.list('/')), await old.get('/a'), await old.get('/b'), await old.get('/dir/d'), old.blobs === drive.blobs)
  note(await outcome(old.put('/x', 'x')).then(({ error }) => !!error), drive.version)
  const older = old.checkout(2)
  note(await names(older.list('/')), older.version)
  await older.close()
  const snapshot = drive.checkout(drive.version)
  await drive.put('/later', 'x')
  note(await names(snapshot.list('/')))
  const differences = async (...args) => (await collect(drive.diff(...args))).map(({ left, right }) => [entryOf(left), entryOf(right)])
  note(await differences(version), await differences(1), await differences(version, '/dir'), await differences(version, 'dir'), await differences(drive.version), await differences(version, { limit: 1 }))
  await old.close()
  note(drive.closing, await drive.get('/a'))
  await drive.close()
  note(snapshot.closed, drive.closed)
})

sameDrives('batches', async ({ drive: open, note }) => {
  const drive = await open()
  await fill(drive, ['/a', '/b'])
  const batch = drive.batch()
  note(batch.version, batch.writable)
  await batch.put('/c', Buffer.from('c'))
  await batch.del('/a')
  await batch.symlink('/l', '/c')
  await batch.put('/b', Buffer.from('b2'))
  note(await batch.get('/c'), await batch.get('/a'), await drive.get('/a'), await drive.get('/c'), drive.version, drive.blobs.core.length, await names(batch.list('/')), await names(drive.list('/')))
  await batch.flush()
  note(drive.version, await names(drive.list('/')), await drive.get('/b'), batch.closed, drive.closed)
  const dropped = drive.batch()
  await dropped.put('/dropped', 'x')
  await dropped.close()
  note(await drive.exists('/dropped'), drive.version)
  const empty = drive.batch()
  await empty.flush()
  note(drive.version)
  const early = drive.batch()
  await write(early.createWriteStream('/streamed'), ['x'])
  await early.flush()
  note(await drive.get('/streamed'))
})

sameDrives('what is cleared', async ({ drive: open, note }) => {
  const drive = await open()
  await fill(drive, ['/a', '/b'])
  await write(drive.createWriteStream('/mapped', { dedup: true }), ['x', 'y'].map(Buffer.from))
  note(await drive.has('/a'), await drive.has('/mapped'), await drive.has('/'), await drive.has('/none'), await drive.has('/none/'))
  note(await drive.clear('/a'), await drive.clear('/none'), await drive.clear('/none', { diff: true }), await drive.has('/a'), await drive.has('/b'), await drive.has('/'))
  note((await outcome(drive.get('/a', { wait: false }))).error, entryOf(await drive.entry('/a')), await drive.get('/b'))
  note(await drive.clear('/mapped'), await drive.has('/mapped'), await drive.clearAll(), await drive.has('/b'))
  note(await names(drive.list('/')), await outcome(drive.get('/b', { timeout: 30 })))
})

sameDrives('cut back', async ({ drive: open, note }) => {
  const drive = await open()
  for (let i = 0; i < 10; i++) await drive.put(`/file-${i}`, Buffer.from(`content ${i}`))
  await drive.symlink('/link', '/file-1')
  note(drive.version, await drive.getBlobsLength(), await drive.getBlobsLength(5), await drive.getBlobsLength(1), drive.blobs.core.length)
  note(await outcome(drive.truncate(100)), await outcome(drive.truncate(5, { blobs: 100 })))
  await drive.truncate(5)
  note(drive.version, drive.blobs.core.length, await names(drive.list('/')), drive.core.fork, drive.blobs.core.fork)
  await drive.put('/new', 'x')
  note(await drive.get('/new'), await drive.get('/file-3'), drive.version)
  await drive.truncate(3, { blobs: 2 })
  note(drive.version, drive.blobs.core.length, await drive.get('/file-1'))
})

sameDrives('compared by age', async ({ drive: open, note }) => {
  const drive = await open()
  await fill(drive, ['/a', '/b'])
  const [a, b] = [await drive.entry('/a'), await drive.entry('/b')]
  note(drive.compare(a, b), drive.compare(b, a), drive.compare(a, a))
})

sameDrives('opened again', async ({ kit, note, folder }) => {
  const path = folder()
  const options = { primaryKey: Buffer.alloc(32, 9), unsafe: true }
  const drive = new kit.Hyperdrive(new kit.Corestore(path, options))
  await drive.put('/a', 'content')
  const { key, contentKey } = drive
  await drive.close()
  const again = new kit.Hyperdrive(new kit.Corestore(path, options), key)
  await again.ready()
  note(again.key.equals(key), again.contentKey.equals(contentKey), again.writable, again.version, await again.get('/a'))
  await again.put('/b', 'more')
  await again.close()
  const third = new kit.Hyperdrive(new kit.Corestore(path, options), { encryptionKey: null })
  note(await names(third.list('/')))
  await third.close()
})

sameDrives('encrypted', async ({ kit, store, note }) => {
  const corestore = store()
  const encryptionKey = Buffer.alloc(32, 3)
  const drive = new kit.Hyperdrive(corestore.namespace('secret'), { encryptionKey })
  await drive.put('/a', Buffer.from('secret'))
  await drive.put('/b', noise(70_000))
  note(drive.encryptionKey, drive.key, drive.contentKey, await drive.get('/a'), (await drive.get('/b')).equals(noise(70_000)), await drive.get('/b', { start: 65530, length: 12 }))
  note(await drive.core.get(1, { raw: true }), await drive.blobs.core.get(0, { raw: true }), drive.blobs.core.byteLength, drive.core.padding)
  const batch = drive.batch()
  await batch.put('/c', 'x')
  await batch.flush()
  const checkout = drive.checkout(3)
  note(await drive.get('/c'), await checkout.get('/a'), await names(checkout.list('/')))
  await drive.close()
})

sameDrives('asked for as before manifests', async ({ kit, store, note }) => {
  const corestore = store()
  const drive = new kit.Hyperdrive(corestore.session(), { compat: true })
  await drive.ready()
  note(drive.core.core.compat, drive.core.manifest?.version, kit.Hyperdrive.getContentKey(drive.core))
  await drive.put('/a', 'content')
  const header = await drive.db.getHeader()
  note(header.protocol, header.metadata.contentFeed, await drive.get('/a'), drive.blobs.core.manifest?.version, drive.contentKey)
  await drive.close()
  const again = new kit.Hyperdrive(corestore.session(), drive.key, { compat: true })
  note(await again.get('/a'), again.contentKey.equals(drive.contentKey))
  await again.close()
})

sameDrives('changes are watched', async ({ drive: open, note }) => {
  const drive = await open()
  await drive.put('/dir/a', 'a')
  const watcher = drive.watch('/dir')
  const seen = []
  const watching = (async () => {
    for await (const [now, before] of watcher) {
      seen.push([now.version, before.version, now.constructor === drive.constructor, await names(now.list('/')), await names(before.list('/'))])
    }
  })()
  await drive.put('/other', 'x')
  await drive.put('/dir/b', 'b')
  await eventually(() => seen.length === 1)
  await drive.del('/dir/a')
  await eventually(() => seen.length === 2)
  await watcher.destroy()
  await watching
  note(seen.map(([now, before, isDrive, ...listings]) => [isDrive, now > before, ...listings]))
  const all = drive.watch()
  const next = all.next()
  await drive.put('/last', 'x')
  const { done, value } = await next
  note(done, value.length, await value[0].get('/last'), await value[1].get('/last'))
  await all.close()
})

sameDrives('monitors', async ({ drive: open, note }) => {
  const drive = await open()
  await drive.put('/a', noise(100_000))
  const monitor = drive.monitor('/a')
  note(drive.monitors.size, monitor.name, monitor.peers, monitor.downloadSpeed())
  await monitor.ready()
  note(monitor.downloadStats, monitor.uploadStats, entryOf(monitor.entry), monitor.uploadSpeed())
  const whole = drive.monitor()
  await whole.ready()
  note(whole.entry, whole.name, whole.downloadStats, drive.monitors.size)
  await monitor.close()
  note(drive.monitors.size)
  await drive.closeMonitors()
  note(drive.monitors.size, whole.closed)
})

sameDrives('closing', async ({ kit, store, note }) => {
  const corestore = store()
  const drive = new kit.Hyperdrive(corestore.session())
  const closing = drive.close()
  note(drive.closing === closing)
  await closing
  note(drive.opened, drive.closed, corestore.closed)
  const other = new kit.Hyperdrive(corestore.session())
  await other.put('/a', 'x')
  const batch = other.batch()
  await batch.ready()
  await other.close()
  note(batch.closed, other.blobs.core.closed, other.core.closed, (await outcome(other.get('/a'))).error !== undefined, (await outcome(other.put('/a', 'x'))).error !== undefined)
})
