// Programs in the manner of upstream's own suites: mirrors, and folders as drives.

import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { join, sep } from 'node:path'
import { Transform } from 'node:stream'

import { closed, eventually, outcome } from './support/both.mjs'
import { collect, noise, sameDrives, tree, write } from './support/drives.mjs'

const names = async (stream) => (await collect(stream)).map((entry) => entry.key ?? entry)

async function fill (drive) {
  await drive.put('/equal.txt', Buffer.from('same'))
  await drive.put('/change.txt', Buffer.from('new content'), { metadata: 'm' })
  await drive.put('/script.sh', Buffer.from('#!'), { executable: true })
  await drive.put('/dir/add.txt', Buffer.from('added'))
  await drive.put('/dir/tree/leaf.txt', Buffer.from('leaf'))
  await drive.symlink('/link', '/equal.txt')
}

async function prepare (drive) {
  await drive.put('/equal.txt', Buffer.from('same'))
  await drive.put('/change.txt', Buffer.from('old'))
  await drive.put('/script.sh', Buffer.from('#!'))
  await drive.put('/gone/remove.txt', Buffer.from('removed'))
  await drive.symlink('/link', '/change.txt')
}

async function run (mirror) {
  const steps = []
  for await (const step of mirror) steps.push(step)
  return [steps, mirror.count, mirror.bytesAdded, mirror.bytesRemoved, mirror.finished]
}

sameDrives('a drive into another', async ({ kit, drive: open, note, store }) => {
  const src = await open()
  const dst = new kit.Hyperdrive(store().namespace('dst'))
  await fill(src)
  await prepare(dst)
  const dry = src.mirror(dst, { dryRun: true })
  note(dry.constructor.name, dry.dryRun, dry.prune, dry.preload, dry.batch, dry.dedup, dry.prefix, dry.count, dry.finished, dry.peers, dry.downloadProgress)
  note(await run(dry), dst.version)
  note(await run(src.mirror(dst, { includeEquals: true })), dst.version, await tree(dst))
  note(await run(src.mirror(dst, { includeEquals: true })), dst.version)
  note(await dst.core.get(dst.version - 1), dst.blobs.core.length)
  await dst.close()
})

for (const [what, options] of Object.entries({
  'without pruning': { prune: false },
  'one folder': { prefix: '/dir' },
  'folders and files': { prefix: ['/dir/tree', '/change.txt', '/none'] },
  filtered: { filter: (key) => key.endsWith('.txt') },
  'with what is ignored': { ignore: ['/dir', 'link'] },
  'with a function that ignores': { ignore: (key) => key.startsWith('/gone') },
  'these entries': { entries: ['/dir/add.txt', '/change.txt', '/none'], prune: false },
  'these entries, and nothing else': { entries: ['/dir/add.txt', '/change.txt', '/gone/remove.txt'] },
  'in a batch': { batch: true },
  'with equal metadata': { metadataEquals: () => true },
  'without fetching ahead': { preload: false }
})) {
  sameDrives(`mirrored ${what}`, async ({ kit, drive: open, note, store }) => {
    const src = await open()
    const dst = new kit.Hyperdrive(store().namespace('dst'))
    await fill(src)
    await prepare(dst)
    note(await run(src.mirror(dst, options)), await tree(dst), dst.version)
    await dst.close()
  })
}

sameDrives('equal parts of files are stored once', async ({ kit, drive: open, note, store }) => {
  const src = await open()
  const dst = new kit.Hyperdrive(store().namespace('dst'))
  const content = noise(6 * 1024 * 1024)
  await src.put('/large', content)
  await src.put('/small', Buffer.from('small'))
  note(await run(src.mirror(dst, { dedup: true })), dst.blobs.core.length, await tree(dst))
  note((await dst.entry('/large')).value, (await dst.blobs.getBlockMap((await dst.entry('/large')).value.blob)).blocks)
  const before = dst.blobs.core.length
  await src.put('/large', Buffer.concat([Buffer.from('inserted'), content]))
  note(await run(src.mirror(dst, { dedup: true })), dst.blobs.core.length - before, await tree(dst))
  note((await dst.get('/large')).equals(await src.get('/large')), await run(src.mirror(dst, { dedup: true })))
  const third = new kit.Hyperdrive(store().namespace('third'))
  note(await run(dst.mirror(third)), await tree(third))
  await third.close()
  await dst.close()
})

sameDrives('what content passes through', async ({ kit, drive: open, note, store }) => {
  const src = await open()
  const dst = new kit.Hyperdrive(store().namespace('dst'))
  await src.put('/a.txt', Buffer.from('abc'))
  await src.put('/b.bin', Buffer.from('abc'))
  const upper = (key) => key.endsWith('.txt') ? new Transform({ transform (data, _encoding, done) { done(null, data.toString().toUpperCase()) } }) : null
  note(await run(src.mirror(dst, { transformers: [upper] })), await dst.get('/a.txt'), await dst.get('/b.bin'))
  note(await run(src.mirror(dst, { transformers: [upper] })))
  note(await outcome(run(src.mirror(dst, { transformers: ['no'] }))), await outcome(run(src.mirror(dst, { transformers: [() => 'no'] }))))
  await dst.close()
})

sameDrives('a mirror that is followed', async ({ kit, drive: open, note, store }) => {
  const src = await open()
  const dst = new kit.Hyperdrive(store().namespace('dst'))
  await fill(src)
  const mirror = src.mirror(dst)
  const monitor = mirror.monitor({ interval: 10 })
  const events = []
  for (const name of ['preloaded', 'destroy']) monitor.on(name, () => events.push(name))
  note(monitor.stats, monitor.preloaded, monitor.destroyed, mirror.monitors.length, mirror.includeProgress)
  await mirror.done()
  note(mirror.finished, mirror.downloadProgress, monitor.destroyed, mirror.monitors.length, events.includes('destroy'))
  monitor.destroy()
  note((await outcome(mirror.done())).value)
  await dst.close()
})

sameDrives('not into what cannot be written', async ({ kit, drive: open, note, store }) => {
  const src = await open()
  await fill(src)
  const dst = new kit.Hyperdrive(store(), Buffer.alloc(32, 5))
  note(await outcome(src.mirror(dst).done()))
  note(await outcome(new kit.MirrorDrive(src, src.checkout(2)).done()).then(({ error }) => !!error))
  await dst.close()
})

sameDrives('a folder as a drive', async ({ localdrive, note }) => {
  const drive = localdrive()
  note(drive.supportsMetadata, drive.metadata, await drive.ready(), await drive.flush(), drive.batch() === drive, drive.checkout() === drive, drive.toPath('/a/../b').replace(drive.root, ''))
  note(await drive.put('/hello.txt', Buffer.from('hello')), await drive.get('/hello.txt'), Buffer.isBuffer(await drive.get('hello.txt')), await drive.get('/none'), await drive.exists('/hello.txt'), await drive.exists('/none'))
  await drive.put('/dir/run', 'text', { executable: true })
  await drive.put('/dir/sub/deep', Buffer.alloc(200_000, 'x'))
  await drive.put('/empty', Buffer.alloc(0))
  const { key, value: { blob, ...value }, mtime } = await drive.entry('/dir/run')
  note(key, value, Object.keys(blob), blob.byteLength, blob.byteOffset, blob.blockOffset, typeof mtime, statSync(drive.toPath('/dir/run')).mode & 0o777)
  note(await drive.entry('/dir'), await drive.entry('/none'), (await drive.entry({ key: '/empty' })).key)
  note((await names(drive.list('/'))).sort(), (await names(drive.list('/dir'))).sort(), await names(drive.list('/none')), await names(drive.list('/hello.txt')), (await names(drive.list())).sort(), (await names(drive.list({ ignore: '/dir' }))).sort())
  note((await names(drive.list('/', { ignore: ['dir/sub', '/empty'] }))).sort(), (await names(drive.list('/', { ignore: (key) => key === '/dir' }))).sort())
  note((await collect(drive.readdir('/'))).sort(), await collect(drive.readdir('/dir/sub')), await collect(drive.readdir('/none')), (await collect(drive.readdir())).sort())
  mkdirSync(drive.toPath('/nothing/in/it'), { recursive: true })
  note((await collect(drive.readdir('/'))).sort())
  await drive.put('/dir/run', 'not any more')
  note((await drive.entry('/dir/run')).value.executable)
  note(await drive.del('/dir/sub/deep'), existsSync(drive.toPath('/dir/sub')), existsSync(drive.toPath('/dir')), await drive.del('/none'), await outcome(drive.del('/nothing')).then(({ error }) => error?.code))
  note(drive.compare({ mtime: 1 }, { mtime: 2 }), drive.compare({ mtime: 2 }, { mtime: 1 }), drive.compare({ mtime: 1 }, { mtime: 1 }))
})

sameDrives('streams of a folder', async ({ localdrive, note }) => {
  const drive = localdrive()
  await write(drive.createWriteStream('/a/b'), ['one', Buffer.from('two'), 'three'])
  note(await drive.get('/a/b'))
  for (const range of [{}, { start: 2 }, { start: 2, end: 4 }, { start: 2, length: 4 }, { end: 0 }, { start: 100 }, { length: 100 }, { start: 10, length: 100 }]) {
    note(range, Buffer.concat(await collect(drive.createReadStream('/a/b', range))))
  }
  note((await outcome(collect(drive.createReadStream('/none')))).error.code, (await outcome(collect(drive.createReadStream('/a')))).error.message.endsWith('is not a file'))
  await drive.put('/large', noise(300_000))
  const chunks = await collect(drive.createReadStream('/large'))
  note(chunks.map((chunk) => chunk.byteLength), Buffer.concat(chunks).equals(noise(300_000)))
  await write(drive.createWriteStream('/nothing'), [])
  note(await drive.get('/nothing'))
  const stream = drive.createWriteStream('/x')
  stream.on('error', () => {})
  stream.write('x')
  stream.destroy(new Error('stopped'))
  await closed(stream)
  note((await outcome(drive.put('/large/below', 'x'))).error.code)
})

sameDrives('links in a folder', async ({ localdrive, folder, note }) => {
  const drive = localdrive()
  await drive.put('/dir/file', 'content')
  await drive.symlink('/abs', '/dir/file')
  await drive.symlink('/dir/rel', 'file')
  await drive.symlink('/loop', '/loop')
  await drive.symlink('/abs2', '/abs')
  const outside = folder()
  writeFileSync(join(outside, 'out'), 'outside')
  symlinkSync(outside, drive.toPath('/folder'))
  symlinkSync(join(outside, 'out'), drive.toPath('/external'))
  for (const path of ['/abs', '/dir/rel', '/loop', '/abs2', '/external', '/folder']) {
    const linkname = (await drive.entry(path))?.value.linkname?.replace(outside, 'OUT')
    const followed = await outcome(drive.entry(path, { follow: true }))
    note(path, linkname, followed.value?.key, followed.error?.message.replace(outside, 'OUT'), (await outcome(drive.get(path, { follow: true }))).value ?? null)
  }
  note((await names(drive.list('/'))).sort(), (await collect(drive.readdir('/'))).sort())
  for (const options of [{ followLinks: true }, { followExternalLinks: true }]) {
    const other = new drive.constructor(drive.root, options)
    note((await names(other.list('/'))).sort(), (await collect(other.readdir('/'))).sort(), (await other.entry('/external'))?.value.linkname, (await other.entry('/abs'))?.value.linkname, await other.get('/folder/out'))
  }
  await drive.symlink('/abs', '/dir/rel')
  note((await drive.entry('/abs')).value.linkname)
})

sameDrives('metadata of a folder', async ({ localdrive, note }) => {
  const map = new Map()
  const drive = localdrive({ metadata: map })
  await drive.put('/a', 'a', { metadata: { m: 1 } })
  await drive.put('/b', 'b')
  note(drive.supportsMetadata, [...map], (await drive.entry('/a')).value.metadata, (await drive.entry('/b')).value.metadata)
  await drive.put('/a', 'a again')
  note([...map], (await drive.entry('/a')).value.metadata)
  await drive.put('/a', 'a', { metadata: 'again' })
  await drive.del('/a')
  note([...map])
  const calls = []
  const hooked = localdrive({ metadata: { get: async (key) => { calls.push(['get', key]); return 'm' }, put: (...args) => { calls.push(['put', ...args]) }, del: (key) => { calls.push(['del', key]) } } })
  await hooked.put('/a', 'a', { metadata: 1 })
  await hooked.entry('/a')
  await hooked.del('/a')
  note(calls)
})

sameDrives('all of a file or nothing', async ({ localdrive, note }) => {
  const drive = localdrive({ atomic: true })
  await drive.put('/a', 'old')
  const stream = drive.createWriteStream('/a')
  const second = drive.createWriteStream('/a')
  stream.write('new')
  second.write('second')
  await eventually(() => readdirSync(drive.root).length === 3)
  note(readdirSync(drive.root).sort(), await drive.get('/a'))
  stream.end()
  await closed(stream)
  note(await drive.get('/a'))
  second.destroy()
  await closed(second)
  note(readdirSync(drive.root), await drive.get('/a'))
})

sameDrives('from a folder to a drive and back', async ({ kit, localdrive, drive: open, note, folder }) => {
  const from = localdrive()
  await from.put('/a.txt', 'a')
  await from.put('/dir/b', noise(300_000))
  await from.put('/dir/run', '#!', { executable: true })
  await from.symlink('/link', '/a.txt')
  await from.put('/gone', 'x')
  const drive = await open()
  const order = ({ key: a }, { key: b }) => a < b ? -1 : 1
  const all = async (mirror) => {
    const [steps, ...rest] = await run(mirror)
    return [steps.sort(order), ...rest]
  }
  note(await all(from.mirror(drive)), await tree(drive))
  await from.del('/gone')
  await from.put('/a.txt', 'changed')
  note(await all(from.mirror(drive)), await tree(drive), await all(from.mirror(drive)))
  const to = localdrive()
  note(await all(drive.mirror(to)), await tree(to), readFileSync(to.toPath('/dir/b')).equals(noise(300_000)), statSync(to.toPath('/dir/run')).mode & 0o111)
  chmodSync(to.toPath('/dir/run'), 0o644)
  writeFileSync(to.toPath('/extra'), 'x')
  note(await all(drive.mirror(to)), await tree(to), await all(to.mirror(from, { dryRun: true })))
  note(sep, await all(from.mirror(localdrive(), { filter: (key) => key !== '/link' })))
})
