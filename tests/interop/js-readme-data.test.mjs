// The programs that upstream's readmes show, of bees, blobs, drives, folders and mirrors, with what they print noted.

import { existsSync } from 'node:fs'
import { join } from 'node:path'

import UpstreamBlobs from 'hyperblobs'
import UpstreamBee from 'hyperbee'
import Hyperblobs from 'hypertab/hyperblobs'
import Hyperbee from 'hypertab/hyperbee'

import { collect, kits, sameDrives, sameDrivesOfEveryPair } from './support/drives.mjs'

const beeOf = (kit) => kit === kits.upstream ? UpstreamBee : Hyperbee
const blobsOf = (kit) => kit === kits.upstream ? UpstreamBlobs : Hyperblobs

/** A bee over a core of a store, with the encodings that the readme has. */
function openBee ({ kit, store }, options = { keyEncoding: 'utf-8', valueEncoding: 'utf-8' }) {
  return new (beeOf(kit))(store().get({ name: 'bee' }), options)
}

sameDrives('readme: a bee', async (scene) => {
  const { note } = scene
  const db = openBee(scene, { keyEncoding: 'utf-8', valueEncoding: 'binary' })
  await db.put('key1', 'value1')
  await db.put('key2', 'value2')
  await db.del('some-key')
  const batch = db.batch()
  await batch.put('key', 'value')
  await batch.del('some-key')
  await batch.flush()
  note(await db.get('key'), await db.get('none'))
  for await (const entry of db.createReadStream()) note(entry)
  for await (const entry of db.createReadStream({ gte: 'a', lt: 'd' })) note(entry)
  for await (const entry of db.createReadStream({ gt: 'key', lte: 'key2', reverse: true, limit: 1 })) note(entry)
  for await (const entry of db.createHistoryStream({ reverse: true, limit: 1 })) note(entry)
  note(db.version, db.writable, db.readable, db.id === db.core.id, db.key, db.discoveryKey, await db.getHeader(), await db.getBySeq(2), await db.peek({ gte: 'key1' }))
})

sameDrives('readme: compare and swap', async (scene) => {
  const { note } = scene
  const db = openBee(scene)
  const cas = (prev, next) => prev.value !== next.value
  for (const value of ['123', '123', '456']) {
    await db.put('number', value, { cas })
    note(await db.get('number'))
  }
  const isDeletable = (prev) => prev.value === 'can-be-deleted'
  await db.del('number', { cas: isDeletable })
  note(await db.get('number'))
  await db.put('number', 'can-be-deleted')
  await db.del('number', { cas: isDeletable })
  note(await db.get('number'))
})

sameDrives('readme: parts, versions, differences and watchers', async (scene) => {
  const { note } = scene
  const db = openBee(scene)
  const sub = db.sub('a')
  await sub.put('b', 'hello')
  note(await sub.get('b'), await db.peek())
  const { version } = db
  await db.put('c', 'd')
  const old = db.checkout(version)
  for await (const { left, right } of db.createDiffStream(version)) note(left, right)
  note(await old.get('c'), (await db.snapshot().get('c')).value)
  const watcher = db.watch({ gte: 'x' })
  const entry = await db.getAndWatch('x1')
  let updates = 0
  entry.on('update', () => { updates++ })
  setTimeout(async () => {
    await db.put('other', '1')
    await db.put('x1', '2')
  }, 5)
  for await (const [current, previous] of watcher) {
    note(current.version > previous.version, await current.get('x1'), await previous.get('x1'))
    break
  }
  while (updates === 0) await new Promise((resolve) => setTimeout(resolve, 2))
  note(entry.node, watcher.closed)
  await entry.close()
})

sameDrives('readme: blobs', async ({ kit, store, note }) => {
  const blobs = new (blobsOf(kit))(store().get({ name: 'blobs' }))
  const id = await blobs.put(Buffer.from('hello world', 'utf-8'))
  note(id, await blobs.get(id), await blobs.get(id, { start: 1, length: 2 }), await blobs.clear(id), await blobs.get(id, { wait: false }))
})

/** What the readmes of drives and of folders do alike. */
async function walkthrough (drive, note) {
  await drive.put('/blob.txt', Buffer.from('example'))
  await drive.put('/images/logo.png', Buffer.from('..'))
  await drive.put('/images/old-logo.png', Buffer.from('..'))
  note(await drive.get('/blob.txt'))
  const { key, value: { blob, ...value } } = await drive.entry('/blob.txt')
  note(key, value, blob.byteLength)
  await drive.del('/images/old-logo.png')
  await drive.symlink('/images/logo.shortcut', '/images/logo.png')
  const files = []
  for await (const { key, value } of drive.list('/images')) files.push([key, value.linkname])
  note(files.sort(([a], [b]) => a < b ? -1 : 1))
  for await (const chunk of drive.createReadStream('/blob.txt')) note(chunk)
  const stream = drive.createWriteStream('/blob.txt')
  stream.write('new example')
  stream.end()
  await new Promise((resolve) => stream.once('close', resolve))
  note(await drive.get('/blob.txt'), (await drive.entry('/images/logo.shortcut', { follow: true })).key, await drive.exists('/images/logo.png'), await drive.exists('/images/old-logo.png'))
}

sameDrives('readme: a drive', async ({ drive: open, note }) => {
  const drive = await open()
  await walkthrough(drive, note)
  const blobs = await drive.getBlobs()
  const entry = await drive.entry('/blob.txt')
  note(entry, (await blobs.get(entry.value.blob)).equals(await drive.get('/blob.txt')), await drive.getBlobsLength(), await drive.has('/blob.txt'))
  const batch = drive.batch()
  await batch.put('/batched', 'x')
  await batch.flush()
  note(drive.compare(await drive.entry('/batched'), entry), await collect(drive.readdir('/')), await collect(drive.list('/', { recursive: false, ignore: 'images' })))
  await drive.truncate(4)
  note(drive.version, await collect(drive.readdir('/')), await drive.getBlobsLength(2))
  note((await drive.clear('/images/logo.png', { diff: true })).blocks, await drive.clear('/blob.txt'), (await drive.clearAll({ diff: true })).blocks)
})

sameDrives('readme: a folder', async ({ localdrive, note }) => {
  const drive = localdrive()
  await walkthrough(drive, note)
  note(existsSync(join(drive.root, 'images', 'logo.png')), Object.keys(await drive.entry('/blob.txt')))
  const meta = new Map()
  const described = localdrive({ metadata: { get: (key) => meta.has(key) ? meta.get(key) : null, put: (key, value) => meta.set(key, value), del: (key) => meta.delete(key) } })
  await described.put('/file.txt', Buffer.from('a'))
  note((await described.entry('/file.txt')).value.metadata, meta.size)
  await described.put('/file.txt', Buffer.from('a'), { metadata: { type: 'text' } })
  note((await described.entry('/file.txt')).value.metadata, meta.size)
  await described.put('/file.txt', Buffer.from('a'))
  note((await described.entry('/file.txt')).value.metadata, meta.size)
})

sameDrives('readme: a mirror', async ({ kit, localdrive, drive: open, note }) => {
  const source = localdrive()
  await source.put('/new-file.txt', 'news')
  const destination = await open()
  const mirror = new kit.MirrorDrive(source, destination)
  note(mirror.count)
  for await (const difference of mirror) note(difference)
  note(mirror.count)
  const again = new kit.MirrorDrive(source, destination)
  note(again.count)
  await again.done()
  note(again.count)
})

sameDrivesOfEveryPair('readme: what is fetched from a peer', async ({ driveA, driveB, replicate, note }) => {
  const source = await driveA()
  await source.put('/a/one', Buffer.alloc(100_000, 1))
  const { version } = source
  await source.put('/b/two', 'two')
  const copy = await driveB(source.key)
  const done = copy.findingPeers()
  replicate(source, copy)
  note(await copy.update())
  done()
  for (const begin of [() => copy.download('/a'), () => copy.downloadDiff(version, '/b'), () => copy.downloadRange([{ start: 0, end: 2 }], [{ start: 0, end: 1 }])]) {
    const download = await begin()
    note(await download.done(), await copy.has('/a'), await copy.has('/b'))
    download.destroy()
  }
})
