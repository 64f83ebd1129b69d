// What programs see of a drive that comes from a peer: events, what is refused, downloads, streams, and what ends with it.

import { eventually, outcome, outcomeOf } from './support/both.mjs'
import { collect, sameDrivesOfEveryPair, write } from './support/drives.mjs'

const names = async (stream) => (await collect(stream)).map((entry) => entry.key ?? entry)
const delay = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds))

/** A drive, a copy of it that has nothing yet, and what connects them. */
async function setup ({ A, B, store, replicate, defer }, fill, options) {
  const source = new A.Hyperdrive(store(A))
  await fill(source)
  const copy = new B.Hyperdrive(store(B, {}), source.key, options)
  await copy.ready()
  defer(async () => { for (const drive of [copy, source]) await drive.close() })
  return [source, copy, () => replicate(source, copy)]
}

sameDrivesOfEveryPair('a copy opens, and cannot be written', async (scene) => {
  const { note } = scene
  const [source, copy, connect] = await setup(scene, (drive) => drive.put('/a', 'x'))
  const events = []
  for (const name of ['blobs', 'content-key', 'ready', 'close']) copy.on(name, () => events.push(name))
  note(copy.blobs, copy.contentKey, copy.version, copy.core.length, copy.opened)
  const opening = copy.getBlobs()
  connect()
  const blobs = await opening
  note(blobs === copy.blobs, copy.contentKey.equals(source.contentKey), events, blobs.core.writable, copy.writable)
  for (const call of [() => copy.get('/a'), () => copy.entry('/none'), () => copy.put('/x', 'y'), () => copy.del('/a'), () => copy.symlink('/l', '/a'), () => copy.batch().put('/x', 'y'), () => copy.version]) note(await outcomeOf(call))
})

sameDrivesOfEveryPair('a copy follows, is listed and cleared', async (scene) => {
  const { note } = scene
  const [source, copy, connect] = await setup(scene, (drive) => drive.put('/a', 'x'))
  connect()
  note(await outcome(copy.update({ wait: true })), copy.version)
  const watcher = copy.watch('/')
  await watcher.ready()
  const next = watcher.next()
  await source.put('/b', 'y')
  const { value: [current, previous] } = await next
  note(current.version, previous.version, await names(current.list()), await names(previous.list()))
  await watcher.destroy()
  for (const call of [
    () => names(copy.list()), () => names(copy.readdir('/')), () => copy.has('/a'), () => copy.has('/'), () => copy.get('/a'), () => copy.has('/a'), () => copy.get('/b'), () => copy.has('/'), () => collect(copy.diff(2)),
    () => copy.clear('/a'), () => copy.has('/a'), () => copy.get('/a', { wait: false }), () => copy.get('/a'), () => copy.clearAll(), () => copy.has('/')
  ]) note(await outcomeOf(call))
})

sameDrivesOfEveryPair('everything that can be downloaded', async (scene) => {
  const { note } = scene
  const [, copy, connect] = await setup(scene, async (drive) => {
    for (let i = 0; i < 5; i++) await drive.put(`/d/${i}`, Buffer.alloc(70_000, i))
    await drive.put('/top', 'x')
    await write(drive.createWriteStream('/map', { dedup: true }), ['a', 'b', 'a'].map((text) => Buffer.from(text)))
    await drive.symlink('/link', '/top')
  })
  connect()
  await copy.getBlobs()
  await copy.update({ wait: true })
  const folder = copy.download('/d')
  note(folder.constructor.name, folder.folder, folder.downloads, folder.opened, folder.destroyed)
  note(await outcome(folder.done()), folder.opened, folder.downloads.length, await copy.has('/d'), await copy.has('/top'), await copy.has('/map'))
  for (const call of [() => copy.download('/map'), () => copy.download('/none'), () => copy.download('/link'), () => copy.download({ recursive: false }), () => copy.download('..'), () => copy.download()]) {
    note(await outcomeOf(async () => await call().done()), await copy.has('/map'), await copy.has('/'))
  }
  const given = copy.download('/top')
  await given.ready()
  given.destroy()
  note(given.destroyed, await outcome(given.done()))
  await eventually(() => given.closed)
  const difference = await copy.downloadDiff(2, '/d')
  const range = await copy.downloadRange([{ start: 0, end: 2 }], [{ start: 0, length: 1 }])
  note(difference.downloads.length, difference.folder, range.downloads.length, await outcome(range.done()))
})

sameDrivesOfEveryPair('reads that begin before there is a peer', async (scene) => {
  const { note } = scene
  const [, copy, connect] = await setup(scene, (drive) => drive.put('/a', Buffer.alloc(300_000, 1)))
  const reads = [
    collect(copy.createReadStream('/a')).then((chunks) => chunks.map((chunk) => chunk.byteLength)), collect(copy.createReadStream('/a', { start: 10, length: 5 })), copy.entry('/none'), copy.has('/none')
  ].map((read) => outcome(read))
  await delay(10)
  connect()
  const [whole, part] = await Promise.all(reads)
  note(whole, part)
  note(await outcome(collect(copy.createReadStream('/a', { start: 10, length: 5, wait: false }))), await outcome(copy.get('/a', { wait: false, start: 5, length: 2 })))
})

sameDrivesOfEveryPair('differences that nobody has yet, are given up, or end with their drive', async (scene) => {
  const { note } = scene
  const [source, copy, connect] = await setup(scene, async (drive) => { for (const path of ['/a', '/d/b', '/d/c']) await drive.put(path, path) })
  const given = await copy.downloadDiff(2, '/d')
  note(given.folder, given.diff, given.opened, given.downloads)
  given.destroy()
  note(await outcome(given.done()), given.downloads)
  const waits = await copy.downloadDiff(2)
  connect()
  await copy.update({ wait: true })
  const found = await copy.downloadDiff(2, { limit: 1 })
  note(await outcome(found.done()), found.folder, found.downloads.length, await outcome(waits.done()))
  note(await outcome(copy.downloadDiff(2, '/d', { limit: 1 }).then((download) => download.done())), await copy.has('/d/b'), await copy.has('/a'))
  await source.put('/later', 'x')
  const ended = [copy.download('/'), await copy.downloadDiff(1)].map((download) => outcome(download.done()))
  await copy.close()
  note(await Promise.all(ended), await outcome(copy.download('/').done()), await outcome(copy.downloadDiff(1).then((download) => download.done())))
})

sameDrivesOfEveryPair('content that the peer has lost', async (scene) => {
  const { note } = scene
  const [source, copy, connect] = await setup(scene, (drive) => drive.put('/a', Buffer.alloc(300_000, 1)))
  connect()
  await copy.update({ wait: true })
  await copy.entry('/a')
  await copy.getBlobs()
  await source.blobs.core.clear(0, 100)
  for (const options of [{ timeout: 30 }, { wait: false }]) note(await outcome(copy.get('/a', options)), await outcome(collect(copy.createReadStream('/a', options))), await copy.has('/a'))
  const reads = [copy.get('/a'), collect(copy.createReadStream('/a'))].map((read) => outcome(read))
  const download = copy.download('/')
  const done = outcome(download.done())
  await delay(30)
  await copy.close()
  note((await Promise.all(reads)).map(({ error }) => error !== undefined), await done)
})

sameDrivesOfEveryPair('a copy without the key of encryption', async ({ A, B, store, replicate, note, defer }) => {
  const encryptionKey = Buffer.alloc(32, 9)
  const source = new A.Hyperdrive(store(A), { encryptionKey })
  await source.put('/a', 'secret')
  const [able, blind] = [new B.Hyperdrive(store(B, {}), source.key, { encryptionKey }), new B.Hyperdrive(store(B, {}), source.key)]
  defer(async () => { for (const drive of [able, blind, source]) await drive.close() })
  for (const drive of [able, blind]) {
    await drive.ready()
    replicate(source, drive)
    await drive.update({ wait: true })
  }
  note(await outcome(able.get('/a')))
  // What fails first is a matter of which block comes first.
  for (const call of [() => blind.get('/a', { timeout: 1000 }), () => blind.getBlobs(), () => blind.entry('/a', { timeout: 1000 })]) note((await outcomeOf(call)).error !== undefined)
})
