// Programs in the manner of upstream's own suite: drives that replicate.

import { closed, eventually, outcome } from './support/both.mjs'
import { collect, noise, sameDrivesOfEveryPair, tree, write } from './support/drives.mjs'

const names = async (stream) => (await collect(stream)).map((entry) => entry.key ?? entry)

async function update (drive) {
  const done = drive.findingPeers()
  const updating = drive.update({ wait: true })
  await updating
  done()
}

sameDrivesOfEveryPair('a drive is read from a peer', async ({ driveA, driveB, replicate, note }) => {
  const a = await driveA()
  await a.put('/hello', Buffer.from('world'))
  await a.put('/dir/large', noise(300_000), { executable: true, metadata: { m: 1 } })
  await a.symlink('/link', '/hello')
  await write(a.createWriteStream('/mapped', { dedup: true }), ['aaaa', 'bbbb', 'aaaa'].map(Buffer.from))
  const b = await driveB(a.key)
  const events = []
  b.on('blobs', (blobs) => events.push(['blobs', blobs.key]))
  b.on('content-key', (key) => events.push(['content-key', key]))
  note(b.writable, b.blobs, b.contentKey, b.version, b.key.equals(a.key))
  replicate(a, b)
  await update(b)
  note(b.version, await b.get('/hello'), events, b.contentKey.equals(a.contentKey))
  note((await b.get('/dir/large')).equals(noise(300_000)), await b.get('/link', { follow: true }), await b.get('/mapped'), await names(b.list('/')), await names(b.readdir('/')))
  note((await b.entry('/dir/large')).value, (await outcome(b.put('/x', 'x'))).error.code)
  await a.put('/hello', Buffer.from('again'))
  await eventually(() => b.version === a.version)
  note(await b.get('/hello'), b.version)
  const old = b.checkout(2)
  note(await old.get('/hello'), await names(old.list('/')))
})

sameDrivesOfEveryPair('an encrypted drive is read from a peer', async ({ A, B, store, replicate, note, defer }) => {
  const encryptionKey = Buffer.alloc(32, 9)
  const a = new A.Hyperdrive(store(A), { encryptionKey })
  await a.put('/secret', noise(100_000))
  await a.put('/small', 'small')
  const b = new B.Hyperdrive(store(B), a.key, { encryptionKey })
  const blind = new B.Hyperdrive(store(B), a.key)
  defer(() => Promise.all([a.close(), b.close(), blind.close()]))
  replicate(a, b)
  replicate(a, blind)
  await update(b)
  note((await b.get('/secret')).equals(noise(100_000)), await b.get('/small'), await b.get('/secret', { start: 65530, length: 12 }), await names(b.list('/')))
  await blind.core.update({ wait: true })
  note((await blind.core.get(1)).equals(await a.core.get(1)), await a.core.get(1, { raw: true }).then(async (block) => block.equals(await blind.core.get(1))))
})

sameDrivesOfEveryPair('only what is read is fetched', async ({ driveA, driveB, replicate, note }) => {
  const a = await driveA()
  for (let i = 0; i < 100; i++) await a.put(`/dir-${i % 10}/file-${i}`, noise(5000, i + 1))
  await a.put('/large', noise(40 * 65536))
  const b = await driveB(a.key)
  replicate(a, b)
  await update(b)
  const blobs = await b.getBlobs()
  const fetched = []
  blobs.core.on('download', (index) => fetched.push(index))
  note(await names(b.readdir('/')), (await names(b.list('/dir-3'))).length, fetched.length)
  const { blob } = (await b.entry('/large')).value
  const start = 10 * 65536 + 100
  note((await b.get('/large', { start, length: 3 * 65536 })).equals(noise(40 * 65536).subarray(start, start + 3 * 65536)))
  const inRange = fetched.filter((index) => index >= blob.blockOffset + 10 && index < blob.blockOffset + 14).length
  note(inRange, fetched.length <= inRange + 2)
})

sameDrivesOfEveryPair('downloads', async ({ driveA, driveB, replicate, note }) => {
  const a = await driveA()
  for (const path of ['/a', '/dir/b', '/dir/c', '/dir/sub/d', '/e']) await a.put(path, noise(1000, path.length))
  await write(a.createWriteStream('/mapped', { dedup: true }), ['aaaa', 'bbbb'].map(Buffer.from))
  await a.symlink('/link', '/a')
  const b = await driveB(a.key)
  replicate(a, b)
  await update(b)
  const has = async () => {
    const all = []
    for (const path of ['/a', '/dir/b', '/dir/sub/d', '/e', '/mapped', '/link', '/dir', '/dir/sub', '/', '/none']) if (await b.has(path)) all.push(path)
    return all
  }
  note(await has())
  const folder = b.download('/dir')
  note(folder.opened, folder.destroyed)
  await folder.done()
  note(await has())
  await b.download('/e').done()
  note(await has())
  await b.download('/mapped').done()
  note(await has())
  await b.download('/link').done()
  await b.download('/none').done()
  await b.download().done()
  note(await has())
  const version = b.version
  await a.put('/new', noise(1000))
  await a.del('/a')
  await eventually(() => b.version === a.version)
  note(await b.has('/new'))
  await (await b.downloadDiff(version, '/')).done()
  note(await b.has('/new'))
  await a.put('/range', noise(1000))
  await eventually(() => b.version === a.version)
  const { blob } = (await a.entry('/range')).value
  await (await b.downloadRange([{ start: 0, end: -1 }].slice(1), [{ start: blob.blockOffset, length: blob.blockLength }])).done()
  note(await b.has('/range'))
  const never = b.download('/')
  never.destroy()
  await closed(never)
  note(never.closed, never.destroyed)
})

sameDrivesOfEveryPair('what was cleared is fetched again', async ({ driveA, driveB, replicate, note }) => {
  const a = await driveA()
  await a.put('/a', noise(100_000))
  const b = await driveB(a.key)
  replicate(a, b)
  await update(b)
  await b.get('/a')
  note(await b.has('/a'))
  await b.clear('/a')
  note(await b.has('/a'), (await b.get('/a')).equals(noise(100_000)), await b.has('/a'))
  await b.clearAll()
  note(await b.has('/a'))
})

sameDrivesOfEveryPair('what is not there is not waited for', async ({ driveA, driveB, replicate, note }) => {
  const a = await driveA()
  await a.put('/a', noise(100_000))
  const b = await driveB(a.key)
  note((await outcome(b.get('/a', { wait: false }))).value ?? null, await b.entry('/a', { wait: false }), await names(b.list('/', { wait: false })))
  const { end } = replicate(a, b)
  await update(b)
  note((await b.entry('/a')).seq)
  await b.getBlobs()
  await end()
  note((await outcome(b.get('/a', { wait: false }))).error?.code, (await outcome(b.get('/a', { timeout: 50 }))).error?.code)
  note((await outcome(collect(b.createReadStream('/a', { wait: false })))).error?.code, (await outcome(collect(b.createReadStream('/a', { timeout: 50 })))).error?.code)
})

sameDrivesOfEveryPair('what is waited for is told', async ({ A, B, store, replicate, note, defer }) => {
  const a = new A.Hyperdrive(store(A))
  await a.put('/a', noise(1000))
  const waits = []
  const b = new B.Hyperdrive(store(B), a.key, { onwait: (index, core) => waits.push([index, core.key.equals(a.key)]) })
  defer(() => Promise.all([a.close(), b.close()]))
  replicate(a, b)
  await update(b)
  await b.get('/a')
  note(waits.some(([, isDb]) => isDb), waits.filter(([, isDb]) => !isDb))
})

sameDrivesOfEveryPair('transfers are counted', async ({ driveA, driveB, replicate, note }) => {
  const a = await driveA()
  await a.put('/other', noise(70_000))
  await a.put('/file', noise(5 * 65536))
  const b = await driveB(a.key)
  replicate(a, b)
  await update(b)
  const [up, down, whole] = [a.monitor('/file'), b.monitor('/file'), b.monitor()]
  let updates = 0
  down.on('update', () => updates++)
  await Promise.all([up.ready(), down.ready(), whole.ready()])
  await b.get('/file')
  await b.get('/other')
  await eventually(() => up.uploadStats.blocks === 5 && whole.downloadStats.blocks >= 7)
  const { startTime, speed, ...stats } = down.downloadStats
  note(stats, startTime > 0, speed > 0, updates, up.uploadStats.monitoringBytes, up.peers, whole.entry)
})

sameDrivesOfEveryPair('a drive that is mirrored from a peer', async ({ B, driveA, driveB, replicate, store, note }) => {
  const a = await driveA()
  await a.put('/a', noise(100_000))
  await a.put('/dir/b', 'b', { executable: true, metadata: ['m'] })
  await a.symlink('/link', '/a')
  await write(a.createWriteStream('/mapped', { dedup: true }), ['aaaa', 'bbbb', 'aaaa'].map(Buffer.from))
  const b = await driveB(a.key)
  replicate(a, b)
  await update(b)
  const copy = new B.Hyperdrive(store(B).namespace('copy'))
  const mirror = b.mirror(copy, { progress: true })
  await mirror.done()
  note(mirror.count, mirror.bytesAdded, await tree(copy), mirror.downloadProgress, mirror.peers.length, mirror.downloadedBytes > 100_000)
  note(JSON.stringify(await tree(copy)) === JSON.stringify(await tree(a)))
  await copy.close()
})

sameDrivesOfEveryPair('reading goes on while the writer writes', async ({ driveA, driveB, replicate, note }) => {
  const a = await driveA()
  await a.put('/file-0', 'first')
  const b = await driveB(a.key)
  replicate(a, b)
  await update(b)
  let writing = true
  const writer = (async () => {
    for (let i = 1; i < 60; i++) await a.put(`/file-${i % 20}`, noise(1000 + i, i))
    writing = false
  })()
  const blobs = await b.getBlobs()
  let wrong = 0
  while (writing) {
    await new Promise((resolve) => setTimeout(resolve, 1))
    for await (const { key, value } of b.list('/')) {
      const content = await blobs.get(value.blob)
      if (content.byteLength !== value.blob.byteLength || !key.startsWith('/file-')) wrong++
    }
  }
  await writer
  await eventually(() => b.version === a.version)
  note(wrong, JSON.stringify(await tree(a)) === JSON.stringify(await tree(b)))
})

sameDrivesOfEveryPair('a remote drive that is cut back', async ({ driveA, driveB, replicate, note }) => {
  const a = await driveA()
  for (let i = 0; i < 6; i++) await a.put(`/file-${i}`, noise(1000, i + 1))
  const b = await driveB(a.key)
  replicate(a, b)
  await update(b)
  note((await tree(b)).length)
  await a.truncate(4)
  await a.put('/new', 'new')
  await eventually(() => b.core.fork === a.core.fork && b.version === a.version && b.blobs.core.fork === a.blobs.core.fork && b.blobs.core.length === a.blobs.core.length)
  note(await names(b.list('/')), await b.get('/new'), JSON.stringify(await tree(a)) === JSON.stringify(await tree(b)))
})
