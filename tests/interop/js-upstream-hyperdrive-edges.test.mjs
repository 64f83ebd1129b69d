// What programs see of a drive at its edges: without peers, closed, in versions and batches, and what streams of files tell.

import SubEncoder from 'sub-encoder'

import { closed, outcome, outcomeOf } from './support/both.mjs'
import { collect, sameDrives, write } from './support/drives.mjs'

const names = async (stream) => (await collect(stream)).map((entry) => entry.key ?? entry)
const delay = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds))
const unknown = Buffer.alloc(32, 1)

sameDrives('a drive that nobody has', async ({ drive: open, note }) => {
  const drive = await open(unknown)
  note(drive.opened, drive.blobs, drive.contentKey, drive.writable, drive.version, drive.core.length)
  for (const call of [
    (drive) => drive.get('/a'), (drive) => drive.entry('/a'), (drive) => drive.exists('/a'), (drive) => names(drive.list('/')), (drive) => names(drive.readdir('/')), (drive) => drive.clear('/a'), (drive) => drive.clearAll(),
    (drive) => drive.clear('/a', { diff: true }), (drive) => drive.clearAll({ diff: true }), (drive) => drive.putEntry('/a', {}), (drive) => drive.del('/a'), (drive) => drive.symlink('/a', '/b'), (drive) => drive.update(), (drive) => drive.update({ wait: false })
  ]) note(await outcomeOf(() => call(drive)))
  const waiting = [
    drive.getBlobs(), drive.download('/').done(), collect(drive.createReadStream('/a')), write(drive.createWriteStream('/a'), ['x']), drive.monitor('/a').ready(), drive.truncate(0), drive.getBlobsLength(), drive.put('/a', 'x'), drive.has('/a')
  ].map(async (call) => await outcome(call).then(({ value, error }) => error ? 'failed' : value ?? null))
  await delay(30)
  note(await outcome(drive.close()), await Promise.all(waiting))
})

sameDrives('everything that a closed drive says', async ({ drive: open, note }) => {
  const drive = await open()
  await drive.put('/a', 'x')
  const version = drive.checkout(2)
  await version.ready()
  await drive.close()
  for (const closed of [drive, version]) {
    note(closed.closed, closed.opened, closed.writable, closed.readable, closed.version, closed.blobs !== null)
    for (const call of [
      (drive) => drive.get('/a'), (drive) => drive.entry('/a'), (drive) => drive.exists('/a'), (drive) => drive.has('/a'), (drive) => names(drive.list('/')), (drive) => names(drive.readdir('/')), (drive) => names(drive.entries()),
      (drive) => drive.put('/a', 'x'), (drive) => drive.put('/a', 'again'), (drive) => write(drive.createWriteStream('/a'), ['x']), (drive) => collect(drive.createReadStream('/a')), (drive) => drive.clear('/a'), (drive) => drive.clearAll(),
      (drive) => drive.update(), (drive) => collect(drive.diff(1)), (drive) => drive.getBlobs().then((blobs) => [blobs !== null, blobs.locked]), (drive) => drive.checkout(1).ready(), (drive) => drive.batch().ready(), (drive) => drive.ready(),
      (drive) => drive.close(), (drive) => drive.download('/').done(), (drive) => drive.monitor('/a').ready(), (drive) => drive.getBlobsLength(), (drive) => drive.truncate(1), (drive) => drive.watch('/').next()
    ]) note(await outcomeOf(() => call(closed)))
  }
})

sameDrives('sessions of a drive', async ({ kit, store, note }) => {
  const corestore = store()
  const drive = new kit.Hyperdrive(corestore, { active: false })
  await drive.ready()
  const state = () => [drive.core.active, drive.blobs.core.active]
  note(state())
  for (const active of [true, 1, 0, true]) {
    drive.setActive(active)
    note(state())
  }
  note(drive.core.sessions.length, drive.blobs.core.sessions.length, drive.core.exclusive, drive.blobs.core.exclusive, drive.blobs.core.writable)
  const batch = drive.batch()
  note(batch.opened, batch.blobs)
  await batch.ready()
  note(batch.core === drive.core, batch.blobs === drive.blobs, batch.contentKey.equals(drive.contentKey), drive.blobs.core.sessions.length, batch.db.constructor.name, batch.version, batch.writable, batch.id === drive.id)
  await batch.close()
  note(drive.closed, drive.core.closed, drive.blobs.core.closed, drive.blobs.core.sessions.length, corestore.closed)
  const version = drive.checkout(1)
  await version.ready()
  note(version.core === drive.core, version.version, version.blobs === drive.blobs, version.contentKey.equals(drive.contentKey), version.key.equals(drive.key), version.supportsMetadata, version.writable, version.encryptionKey)
  await version.close()
  note(drive.closed, drive.core.closed, drive.blobs.core.closed)
  await drive.close()
  note(corestore.closed)
})

sameDrives('a batch before and after it is stored', async ({ drive: open, note }) => {
  const drive = await open()
  const batch = drive.batch()
  await batch.put('/a', 'x')
  await batch.put('/b', 'y')
  note(drive.version, batch.version, await names(batch.list('/')), await names(batch.readdir('/')), await batch.exists('/a'))
  for (const call of [() => batch.get('/a'), () => drive.get('/a'), () => collect(batch.createReadStream('/a')), () => batch.has('/a'), () => batch.entry('/a')]) note(await outcomeOf(call))
  for (const call of [() => batch.checkout(1), () => batch.diff(1), () => batch.watch('/'), () => batch.update(), () => batch.getBlobsLength()]) note((await outcomeOf(call)).error?.name)
  note(await outcome(batch.flush()), batch.closed, batch.opened, await names(drive.list('/')), drive.version)
  note(await outcome(batch.put('/c', 'z')), await outcome(batch.get('/a')), await outcome(batch.flush()))
  note((await outcome(drive.flush())).error?.name, drive.closed)
})

sameDrives('events of streams', async ({ drive: open, note }) => {
  const drive = await open()
  await drive.put('/a', Buffer.alloc(200_000, 'x'))
  await drive.put('/empty', Buffer.alloc(0))
  await drive.symlink('/link', '/a')
  const reading = drive.createReadStream('/a')
  const events = []
  for (const name of ['open', 'data', 'end', 'close', 'error', 'readable']) reading.on(name, (data) => events.push([name, data?.byteLength ?? data?.message]))
  await closed(reading)
  note(events.splice(0))
  for (const path of ['/empty', '/link', '/none', '/', '..']) note(path, await outcome(collect(drive.createReadStream(path))))
  note((await outcome(collect(drive.createReadStream(null)))).error?.name)
  const writing = drive.createWriteStream('/written', { executable: true, metadata: { a: 1 } })
  for (const name of ['open', 'drain', 'finish', 'close', 'error', 'pipe']) writing.on(name, (error) => events.push([name, error?.message]))
  note(writing.write('hello'), writing.write(Buffer.from('x')))
  writing.end('bye')
  await closed(writing)
  const { seq, key, value } = await drive.entry('/written')
  note(events, seq, key, value, await drive.get('/written'))
  const dropped = drive.createWriteStream('/dropped')
  dropped.on('error', () => {})
  dropped.write('x')
  await delay(20)
  dropped.destroy()
  await closed(dropped)
  note(await drive.entry('/dropped'), drive.blobs.locked, drive.blobs.core.length)
  const large = drive.createWriteStream('/large')
  let full = 0
  for (let i = 0; i < 40; i++) if (!large.write(Buffer.alloc(5000, i))) full++
  large.end()
  await closed(large)
  note(full, (await drive.entry('/large')).value.blob)
})

sameDrives('lists with options of the bee', async ({ drive: open, note }) => {
  const drive = await open()
  for (const path of ['/a', '/b/c', '/b/d/e', '/b.txt', '/z/1', '/z/2', '/z0', '/é', '/b/\u0000', '/ space', '/%20']) await drive.put(path, path)
  for (const options of [{ reverse: true }, { limit: 2 }, { recursive: false, reverse: true, limit: 3 }, { ignore: ['/b', 'z/1'] }, { ignore: '/z', limit: 3 }]) {
    note(await names(drive.list('/', options)), await names(drive.list(options)), await names(drive.readdir('/', options)))
  }
  note(await names(drive.entries({ gt: '/b' }, { limit: 3 })), await names(drive.entries({ gte: '/z', reverse: true })), await names(drive.entries({}, { ignore: (key) => key.startsWith('/b') })))
  for await (const { key, seq } of drive) {
    note(key, seq)
    break
  }
  const entry = await drive.entry('/a')
  note(await drive.entry(entry) === entry, await drive.get(entry), await drive.exists(entry), await drive.has('/b/'), await drive.has(''), await drive.has())
})

sameDrives('entries that another program wrote', async ({ drive: open, note }) => {
  const drive = await open()
  await drive.put('/file', 'x')
  await drive.put('/other', 'yy')
  const keyEncoding = new SubEncoder('files', 'utf-8')
  for (const [name, value] of Object.entries({ '/none': {}, '/metadata': { metadata: 1 }, '/link': { linkname: '/file' }, '/wrong': { blob: { blockOffset: 'a' } } })) await drive.db.put(name, value, { keyEncoding })
  for (const name of ['/none', '/metadata', '/link']) {
    note(name, await drive.has(name), await drive.get(name), await collect(drive.createReadStream(name)), await drive.exists(name), await outcome(drive.download(name).done()))
  }
  note(await names(drive.list('/')), await drive.getBlobsLength(), await drive.getBlobsLength(3))
})

sameDrives('chains of links', async ({ drive: open, note }) => {
  const drive = await open()
  await drive.put('/a/file', 'x')
  for (const [from, to] of [['/one', '/a/file'], ['/two', 'one'], ['/a/three', 'file'], ['/a/four', '../two'], ['/loop', '/loop'], ['/dead', '/none'], ['/folder', '/a']]) await drive.symlink(from, to)
  for (const path of ['/one', '/two', '/a/three', '/a/four', '/loop', '/dead', '/folder', '/folder/file', '/none']) {
    note(path, await outcome(drive.entry(path, { follow: true })), await outcome(drive.get(path, { follow: true })), await outcome(drive.get(path)), await outcome(drive.has(path)))
  }
  for (let i = 0; i < 18; i++) await drive.symlink(`/c${i}`, `/c${i + 1}`)
  await drive.put('/c18', 'end')
  for (const path of ['/c0', '/c2', '/c3']) note(path, await outcome(drive.entry(path, { follow: true })))
  note(await outcome(drive.symlink('/x')), await drive.entry('/x'), await outcome(drive.symlink('/x', '')), await drive.entry('/x'))
})

sameDrives('contents and entries of every kind', async ({ drive: open, note }) => {
  const drive = await open()
  for (const content of ['text', Buffer.from('b'), new Uint8Array([1, 2]), '', Buffer.alloc(0), [1, 2], new ArrayBuffer(2)]) note(await outcome(drive.put('/a', content)), await drive.get('/a'))
  for (const content of [null, undefined, 7, {}]) note((await outcome(drive.put('/n', content))).error?.name, await drive.exists('/n'))
  for (const options of [{ metadata: undefined, executable: 1 }, { metadata: 0, executable: undefined }, { metadata: { a: [1] } }]) note(await outcome(drive.put('/m', 'x', options)), await drive.entry('/m'))
  note((await outcome(drive.put('/m', 'x', null))).error?.name, await outcome(drive.putEntry('/p', { executable: true, other: 1 })), await drive.entry('/p'), await drive.get('/p'))
  note(await outcome(drive.del('/none')), await outcome(drive.del('/p')), drive.version)
})

sameDrives('watchers, and versions that are yet to come', async ({ drive: open, note }) => {
  const drive = await open()
  await drive.put('/a', 'x')
  const watcher = drive.watch('/')
  note(watcher.constructor.name, watcher.opened, watcher.closed, watcher.current, watcher.previous)
  await watcher.ready()
  note(watcher.current.version, watcher.current.constructor.name)
  const next = watcher.next()
  await drive.put('/b', 'x')
  const { value: [current, previous], done } = await next
  note(done, current.version, previous.version, current.opened, previous.opened, current.core.closed, watcher.current.version, watcher.previous.version)
  note(await outcome(watcher.destroy()), current.closed, previous.closed, await outcome(watcher.next()), watcher.closed, await outcomeOf(() => drive.watch('..')))
  const later = drive.checkout(10)
  await later.ready()
  const [get, list] = [outcome(later.get('/a')), outcome(names(later.list('/')))]
  await delay(10)
  await later.close()
  note(later.version, (await get).error?.name, (await list).error?.name)
  note(drive.checkout(0).version, drive.checkout(-1).version, await names(drive.checkout(1).list('/')))
  const last = drive.watch()
  const end = last.next()
  await drive.close()
  note(await end, last.closed)
})

sameDrives('a drive that is closed as soon as it waits, and ranges of any kind', async ({ drive: open, note }) => {
  const drive = await open(unknown)
  const waiting = [drive.getBlobs(), collect(drive.createReadStream('/a'))].map((call) => outcome(call))
  await drive.close()
  note(await Promise.all(waiting), await outcome(drive.getBlobs()))
  const own = await open()
  await own.put('/a', 'a')
  const download = await own.downloadRange(new Set([{ start: 0, end: 1 }]), new Set())
  note(download.downloads.length, await outcome(download.done()))
})
