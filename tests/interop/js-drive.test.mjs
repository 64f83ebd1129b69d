// What only our drives have, and what upstream's are meant to do and do not.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'node:test'

import { defer } from './support/cleanup.mjs'
import { collect, kits, noise, tree } from './support/drives.mjs'
import { temporaryFolder } from './support/folder.mjs'

const { Corestore, Hyperdrive, Localdrive } = kits.hypertab

function storeOf (t) {
  const store = new Corestore(temporaryFolder(t))
  defer(t, () => store.close())
  return store
}

async function open (t, store, ...args) {
  const drive = new Hyperdrive(store, ...args)
  defer(t, () => drive.close())
  await drive.ready()
  return drive
}

const paths = async (entries) => (await collect(entries)).map((entry) => entry.key)

test('purged drives are gone', async (t) => {
  const store = storeOf(t)
  const other = await open(t, store.namespace('b'))
  await other.put('/kept', 'kept')
  const drive = await open(t, store.namespace('a'))
  await drive.put('/a', 'x')
  await drive.put('/b', noise(100_000))
  const checkout = drive.checkout(2)
  await assert.rejects(checkout.purge(), { message: 'Can only purge the main session' })
  await assert.rejects(drive.batch().purge(), { message: 'Can only purge the main session' })
  await drive.purge()
  assert.ok(drive.closed)
  const again = await open(t, store.namespace('a'))
  assert.deepEqual(again.key, drive.key)
  assert.equal(again.core.length, 0)
  assert.equal(again.blobs.core.length, 0)
  assert.equal(await again.get('/a'), null)
  assert.equal(String(await other.get('/kept')), 'kept')
})

test('snapshots stay as they are', async (t) => {
  const drive = await open(t, storeOf(t))
  await drive.put('/a', 'first')
  const snapshot = drive.snapshot()
  await drive.put('/a', 'second')
  assert.equal(String(await snapshot.get('/a')), 'first')
  assert.equal(String(await drive.get('/a')), 'second')
  await snapshot.close()
})

test('parts of a file end with it', async (t) => {
  const drive = await open(t, storeOf(t))
  await drive.put('/a', 'content')
  await drive.put('/b', 'behind it')
  assert.equal(String(await drive.get('/a', { start: 3, length: 100 })), 'tent')
  assert.equal(String(await drive.get('/a', { start: 3, end: 100 })), 'tent')
})

test('links are cleared without a word', async (t) => {
  const drive = await open(t, storeOf(t))
  await drive.symlink('/link', '/a')
  assert.equal(await drive.clear('/link'), null)
  assert.deepEqual(await drive.clear('/link', { diff: true }), { blocks: 0 })
})

test('drives are shown in others', async (t) => {
  const store = storeOf(t)
  const [root, home, shared] = await Promise.all(['root', 'home', 'shared'].map((name) => open(t, store.namespace(name))))
  await root.put('/readme', 'of the root')
  await home.put('/letters/one', 'a letter')
  await shared.put('/file', 'first')
  const version = shared.version
  await shared.put('/file', 'second')
  await shared.put('/later', 'x')
  await root.mount('/home', home.key)
  await home.mount('/shared', shared.id)
  await home.mount('/old', shared.key, { version })
  await shared.mount('/back', root.key)
  await root.put('/home2', 'no mount')

  const all = root.mounts()
  t.after(() => all.close())
  assert.equal(String(await all.get('/readme')), 'of the root')
  assert.equal(String(await all.get('/home/letters/one')), 'a letter')
  assert.equal(String(await all.get('/home/shared/file')), 'second')
  assert.equal(String(await all.get('/home/old/file')), 'first')
  assert.equal(await all.get('/home/old/later'), null)
  assert.equal(await all.get('/home/nothing'), null)
  assert.equal(await all.exists('/home/letters/one'), true)
  assert.equal((await all.entry('/home/letters/one')).key, '/letters/one')
  assert.deepEqual(await collect(all.readdir('/')), ['home', 'home2', 'readme'])
  assert.deepEqual(await collect(all.readdir('/home')), ['letters', 'old', 'shared'])
  assert.deepEqual(await collect(all.readdir('/home/shared')), ['back', 'file', 'later'])
  assert.equal(String(Buffer.concat(await collect(await all.createReadStream('/home/shared/file', { start: 1, length: 3 })))), 'eco')

  // A mount is live, and one of a version is not.
  await shared.put('/file', 'third')
  assert.equal(String(await all.get('/home/shared/file')), 'third')
  assert.equal(String(await all.get('/home/old/file')), 'first')

  // And it is to read only.
  const { drive } = await all.resolve('/home/shared/file')
  assert.equal(drive.writable, false)
  await assert.rejects(drive.put('/x', 'x'))

  // What leads back is not gone through.
  await assert.rejects(all.get('/home/shared/back/readme'), { code: 'MOUNT_LOOP' })
  const found = await paths(all.list('/'))
  assert.deepEqual(found.sort(), ['/home/letters/one', '/home/old/file', '/home/shared/back', '/home/shared/file', '/home/shared/later', '/home2', '/readme'])
  assert.deepEqual((await paths(all.list('/home/shared'))).sort(), ['/home/shared/back', '/home/shared/file', '/home/shared/later'])

  // Without a reader of mounts, it is an entry as any other; upstream shows it as a file without content.
  assert.equal(await root.get('/home/letters/one'), null)
  assert.equal(await root.get('/home'), null)
  await all.close()
  await assert.rejects(all.get('/home/letters/one'), { code: 'SESSION_CLOSED' })
  assert.equal(String(await root.get('/readme')), 'of the root')
})

for (const kit of Object.values(kits)) {
  test(`a mounted drive is read from a peer, of ${kit.name}`, async (t) => {
    const [theirs, ours] = [new kit.Corestore(temporaryFolder(t)), storeOf(t)]
    const shared = new kit.Hyperdrive(theirs)
    defer(t, () => shared.close())
    await shared.put('/file', 'first')
    await shared.put('/folder/file', 'x')
    const { version } = shared
    const root = await open(t, ours)
    await root.mount('/mnt', shared.key)
    await root.mount('/old', shared.key, { version: version - 1 })
    await root.mount('/nobody', Buffer.alloc(32, 9))
    const streams = [theirs.replicate(true), ours.replicate(false)]
    streams[0].pipe(streams[1]).pipe(streams[0])
    const all = root.mounts()
    defer(t, () => all.close())

    // What is read first is there, too, and what nobody has is empty.
    assert.equal(String(await all.get('/mnt/file')), 'first')
    assert.deepEqual((await paths(all.list('/'))).sort(), ['/mnt/file', '/mnt/folder/file', '/old/file'])
    assert.equal(await all.get('/nobody/file', { wait: false }), null)
    await shared.put('/file', 'second')
    const { drive } = await all.resolve('/mnt/file')
    while (drive.version === version) await once(drive.core, 'append')
    assert.equal(String(await all.get('/mnt/file')), 'second')
    assert.equal(String(await all.get('/old/file')), 'first')
    for (const stream of streams) stream.destroy()
  })
}

test('a drive that is mounted in itself', async (t) => {
  const drive = await open(t, storeOf(t))
  await drive.mount('/self', drive.key)
  await drive.put('/file', 'x')
  const all = drive.mounts()
  t.after(() => all.close())
  await assert.rejects(all.get('/self/file'), { code: 'MOUNT_LOOP' })
  assert.deepEqual(await paths(all.list('/')), ['/file', '/self'])
})

test('what cannot be mounted', async (t) => {
  const drive = await open(t, storeOf(t))
  await assert.rejects(drive.mount('/', drive.key))
  await assert.rejects(drive.mount('/a', 'no key'))
  await assert.rejects(drive.mount('/a', drive.key, { version: -1 }), { code: 'BAD_ARGUMENT' })
  // What others have written is no mount unless it is a whole one.
  for (const mount of [null, 5, {}, { key: 'x' }, { key: drive.id, version: 'x' }, { key: drive.id, version: 1.5 }]) await drive.putEntry('/a', { metadata: { mount } })
  const all = drive.mounts()
  t.after(() => all.close())
  assert.equal(await all.get('/a/b'), null)
  assert.deepEqual(await paths(all.list('/')), ['/a'])
})

test('a mount in a drive of upstream is kept by a mirror', async (t) => {
  const store = storeOf(t)
  const shared = await open(t, store.namespace('shared'))
  await shared.put('/file', 'content')
  const drive = await open(t, store.namespace('drive'))
  await drive.mount('/mnt', shared.key)
  const theirs = new kits.upstream.Hyperdrive(new kits.upstream.Corestore(temporaryFolder(t)))
  defer(t, () => theirs.close())
  await drive.mirror(theirs).done()
  const copy = await open(t, store.namespace('copy'))
  await new kits.hypertab.MirrorDrive(theirs, copy).done()
  const all = copy.mounts()
  t.after(() => all.close())
  assert.equal(String(await all.get('/mnt/file')), 'content')
  assert.equal((await tree(copy)).length, 1)
})

test('a mount that could not be opened is tried again', async (t) => {
  const store = storeOf(t)
  const root = await open(t, store.namespace('root'))
  const shared = store.get({ name: 'shared' })
  await shared.append('no header of a drive')
  await root.mount('/mnt', shared.key)
  await root.mount('/old', shared.key, { version: 2 })
  const all = root.mounts()
  t.after(() => all.close())
  for (const path of ['/mnt/file', '/old/file', '/mnt/file']) await assert.rejects(all.get(path), { code: 'DECODING_ERROR' })
  assert.equal(shared.sessions.length, 1)

  await shared.truncate(0)
  const drive = await open(t, store.session(), shared.key)
  await drive.put('/file', 'content')

  assert.equal(String(await all.get('/mnt/file')), 'content')
  assert.equal(String(await all.get('/old/file')), 'content')
})

test('what cannot be downloaded as a whole does not go on in parts', async (t) => {
  const drive = await open(t, storeOf(t))
  await drive.put('/a', 'lost')
  await drive.put('/map', 'no map of blocks')
  await drive.putEntry('/b', { blob: { ...(await drive.entry('/map')).value.blob, blockMap: true } })
  await drive.clear('/a')
  const begun = []
  const { core } = await drive.getBlobs()
  core.download = function (range) {
    begun.push(Object.getPrototypeOf(core).download.call(core, range))
    return begun.at(-1)
  }

  await assert.rejects(drive.download('/').done())
  await assert.rejects((await drive.downloadDiff(1)).done())

  const parts = begun.filter(({ range }) => range.start === 0)
  assert.equal(parts.length, 2)
  for (const part of parts) assert.equal(await part.done(), false)
})

for (const [name, Drive] of [['drives of ours', Hyperdrive], ['drives of upstream over stores of ours', kits.upstream.Hyperdrive]]) {
  test(`mirrors of upstream fetch what they copy from ${name}`, async (t) => {
    const store = storeOf(t)
    const source = new Drive(store)
    defer(t, () => source.close())
    await source.put('/large', noise(300_000))
    await source.put('/small', 'small')
    for (const [name, options] of [['all of it', {}], ['progress', { progress: true }], ['nothing before', { preload: false }]]) {
      const copies = storeOf(t)
      const copy = new Drive(copies, source.key)
      defer(t, () => copy.close())
      await copy.ready()
      const streams = [store.replicate(true), copies.replicate(false)]
      streams[0].pipe(streams[1]).pipe(streams[0])
      const folder = temporaryFolder(t)
      const mirror = new kits.upstream.MirrorDrive(copy, new kits.upstream.Localdrive(folder), options)
      await mirror.done()
      assert.deepEqual(mirror.count, { files: 2, add: 2, remove: 0, change: 0 }, name)
      assert.deepEqual(readFileSync(join(folder, 'large')), await source.get('/large'))
      assert.deepEqual(copy.blobs.core.replicator.inflightRange, [16, 512])
      for (const stream of streams) stream.destroy()
    }
  })
}

test('a difference is fetched with what its files share with older ones', async (t) => {
  const [store, copies] = [storeOf(t), storeOf(t)]
  const source = await open(t, store)
  const write = async (path, chunks) => {
    const stream = source.createWriteStream(path, { dedup: true })
    for (const chunk of chunks) stream.write(Buffer.from(chunk))
    stream.end()
    await once(stream, 'close')
  }
  await write('/old', ['aaaa', 'bbbb'])
  const { version } = source
  await write('/new', ['bbbb', 'cccc', 'aaaa'])
  await source.put('/plain', 'plain')
  const copy = await open(t, copies, source.key)
  const streams = [store.replicate(true), copies.replicate(false)]
  streams[0].pipe(streams[1]).pipe(streams[0])
  await copy.update({ wait: true })

  await (await copy.downloadDiff(version)).done()

  assert.equal(await copy.has('/plain'), true)
  for (const stream of streams) stream.destroy()
  assert.equal(String(await copy.get('/new', { wait: false })), 'bbbbccccaaaa')
})

test('a download that waits for a peer is given up', async (t) => {
  const copy = await open(t, storeOf(t), Buffer.alloc(32, 7))
  copy.findingPeers()
  const download = copy.download('/folder/')

  download.destroy()

  await download.done()
  assert.deepEqual(download.downloads, [])
})

test('a file that says it has more blocks than there can be', async (t) => {
  const drive = await open(t, storeOf(t))
  await drive.put('/a', noise(100_000))
  const { value: { blob } } = await drive.entry('/a')
  await drive.putEntry('/b', { blob: { ...blob, blockLength: 2 ** 50 } })
  await drive.putEntry('/c', { blob: { ...blob, blockLength: 3000, byteOffset: 0 } })
  await assert.rejects(drive.get('/b', { wait: false }), { code: 'BLOCK_NOT_AVAILABLE' })
  await assert.rejects(drive.get('/c', { wait: false }), { code: 'BLOCK_NOT_AVAILABLE' })
  assert.equal(await drive.has('/b'), false)
  assert.equal((await drive.get('/a')).byteLength, 100_000)
})

test('a file of more blocks than are asked for at once', async (t) => {
  const drive = await open(t, storeOf(t))
  const { core } = await drive.getBlobs()
  const content = noise(2500)
  await core.append(Array.from(content, (_byte, i) => content.subarray(i, i + 1)))
  await drive.putEntry('/a', { blob: { blockOffset: 0, blockLength: 2500, byteOffset: 0, byteLength: 2500 } })
  assert.deepEqual(await drive.get('/a'), content)
})

test('a file is written after one that could not be begun', async (t) => {
  const drive = await open(t, storeOf(t))
  const { core } = (await drive.getBlobs()).core.state
  core.lockWrites = async () => { throw new Error('moved') }
  Object.defineProperty(core.db, 'isShared', { value: true, configurable: true })
  await assert.rejects(drive.put('/a', 'x'), { message: 'moved' })
  delete core.lockWrites
  delete core.db.isShared
  await drive.put('/a', 'y')
  assert.equal(String(await drive.get('/a')), 'y')
})

test("a mirror of somebody else's drive stays in its folder", async (t) => {
  const outside = temporaryFolder(t)
  const root = join(temporaryFolder(t), 'root')
  const kept = join(outside, 'kept')
  writeFileSync(kept, 'kept')
  const drive = await open(t, storeOf(t))
  const refused = { code: 'BAD_ARGUMENT' }
  const mirror = () => drive.mirror(new Localdrive(root), { prune: false }).done()
  for (const [path, target] of [['/folder', `${outside}/`], ['/file', kept], ['/new', join(outside, 'new')]]) {
    // Upstream's drives take links that lead from the root only; a folder can have others.
    mkdirSync(root, { recursive: true })
    symlinkSync(target, join(root, path))
  }
  const local = new Localdrive(root)
  await assert.rejects(local.put('/folder/in/it', 'x'), refused)
  await assert.rejects(local.put('/folder/kept', 'x'), refused)
  await assert.rejects(local.put('/file', 'x'), refused)
  await assert.rejects(local.put('/new', 'x'), refused)
  await assert.rejects(local.del('/folder/kept'), refused)
  await assert.rejects(local.symlink('/folder/link', '/a'), refused)

  await drive.symlink('/up', '../..')
  await drive.put('/up/written', 'x')
  await assert.rejects(mirror(), refused)

  // What stays inside is written.
  await drive.del('/up')
  await drive.del('/up/written')
  await drive.symlink('/link', 'target')
  await drive.put('/target', 'x')
  await mirror()
  await local.put('/link', 'through it')
  assert.equal(readFileSync(join(root, 'target'), 'utf8'), 'through it')
  await local.del('/file')
  assert.equal(readFileSync(kept, 'utf8'), 'kept')
  assert.ok(!existsSync(join(outside, 'new')) && !existsSync(join(outside, 'in')) && !existsSync(join(root, '../..', 'written')))

  // Who asks for links to be followed writes through them.
  await new Localdrive(root, { followExternalLinks: true }).put('/folder/kept', 'new')
  assert.equal(readFileSync(kept, 'utf8'), 'new')
  // A file that takes the place of another takes that of a link, too.
  await new Localdrive(root, { atomic: true }).put('/new', 'x')
  assert.ok(!existsSync(join(outside, 'new')))
  assert.equal(readFileSync(join(root, 'new'), 'utf8'), 'x')
})
