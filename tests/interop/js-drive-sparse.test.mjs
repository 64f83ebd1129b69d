// How much of a remote drive is fetched: over TCP, from upstream's drive, plain and encrypted, while it is written.
//
// HYPERTAB_LARGE_MIB is the size of the large file.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createWriteStream } from 'node:fs'
import net from 'node:net'
import { join } from 'node:path'
import test from 'node:test'

import { defer } from './support/cleanup.mjs'
import { kits, noise, collect, tree } from './support/drives.mjs'
import { eventually } from './support/both.mjs'
import { temporaryFolder } from './support/folder.mjs'
import { serve } from './support/tcp.mjs'

const LARGE = Number(process.env.HYPERTAB_LARGE_MIB ?? 48) * 1024 * 1024
const BLOCK = 65536

/** The content of a block of the large file. */
const block = (index) => {
  const bytes = Buffer.alloc(BLOCK, index & 255)
  bytes.writeUInt32LE(index)
  return bytes
}

async function open (t, kit, ...args) {
  const drive = new kit.Hyperdrive(new kit.Corestore(temporaryFolder(t)), ...args)
  defer(t, () => drive.close())
  await drive.ready()
  return drive
}

/** Joins two drives over TCP on loopback. */
async function connect (t, writer, reader) {
  const join = (socket, stream) => {
    socket.on('error', () => stream.destroy())
    stream.on('error', () => socket.destroy())
    socket.pipe(stream).pipe(socket)
  }
  const port = await serve(t, (socket) => { join(socket, writer.replicate(false, { keepAlive: false })) })
  const socket = net.connect(port, '127.0.0.1')
  defer(t, () => socket.destroy())
  await once(socket, 'connect')
  join(socket, reader.replicate(true, { keepAlive: false }))
  const done = reader.findingPeers()
  await reader.update({ wait: true })
  done()
}

/** Follows which blocks of the content are fetched. */
async function follow (drive) {
  const blobs = await drive.getBlobs()
  const fetched = []
  blobs.core.on('download', (index) => { fetched.push(index) })
  return fetched
}

for (const encryptionKey of [null, Buffer.alloc(32, 4)]) {
  const kind = encryptionKey ? 'an encrypted drive' : 'a drive'

  test(`folders of ${kind} are read without their files`, async (t) => {
    const writer = await open(t, kits.upstream, { encryptionKey })
    for (let i = 0; i < 400; i++) await writer.put(`/dir-${i % 4}/sub/file-${i}`, noise(2000, i + 1))
    const reader = await open(t, kits.hypertab, writer.key, { encryptionKey })
    const entries = []
    reader.core.on('download', (index) => { entries.push(index) })
    await connect(t, writer, reader)
    const fetched = await follow(reader)

    assert.deepEqual(await collect(reader.readdir('/')), ['dir-0', 'dir-1', 'dir-2', 'dir-3'])
    const first = entries.length
    assert.ok(first < 200, `${first} of 401 blocks for the names of 4 folders`)
    assert.equal((await collect(reader.list('/dir-2'))).length, 100)
    assert.equal(fetched.length, 0)
    assert.ok(entries.length < 401, `${entries.length} blocks for one folder of 4`)
  })

  test(`a part of a large file of ${kind}`, async (t) => {
    const writer = await open(t, kits.upstream, { encryptionKey })
    await writer.put('/before', noise(100_000))
    const stream = writer.createWriteStream('/large')
    const count = LARGE / BLOCK
    for (let i = 0; i < count; i++) if (!stream.write(block(i))) await once(stream, 'drain')
    stream.end()
    await once(stream, 'close')
    await writer.put('/after', noise(100_000))
    const reader = await open(t, kits.hypertab, writer.key, { encryptionKey })
    await connect(t, writer, reader)
    const { blob } = (await reader.entry('/large')).value
    assert.equal(blob.blockLength, count)
    const fetched = await follow(reader)

    const middle = Math.floor(count / 2)
    const start = middle * BLOCK + 1000
    const length = 5 * BLOCK
    const expected = Buffer.concat(Array.from({ length: 6 }, (_, i) => block(middle + i))).subarray(1000, 1000 + length)
    assert.deepEqual(Buffer.from(await reader.get('/large', { start, length })), expected)
    await new Promise((resolve) => setTimeout(resolve, 200))
    const first = blob.blockOffset + middle
    const beside = fetched.filter((index) => index < first || index > first + 5)
    assert.equal(new Set(fetched).size - beside.length, 6)
    assert.ok(beside.every((index) => index === first - 1 || index === first + 6), `${fetched}`)

    const one = await collect(reader.createReadStream('/large', { start: LARGE - 10 }))
    assert.deepEqual(Buffer.concat(one), block(count - 1).subarray(-10))
    assert.ok(new Set(fetched).size <= 6 + beside.length + 2, `${fetched}`)
  })

  test(`${kind} of ours is read by upstream while it is written`, async (t) => {
    const writer = await open(t, kits.hypertab, { encryptionKey })
    await writer.put('/first', noise(200_000))
    const reader = await open(t, kits.upstream, writer.key, { encryptionKey })
    await connect(t, writer, reader)
    assert.deepEqual(Buffer.from(await reader.get('/first')), noise(200_000))
    for (let i = 0; i < 50; i++) {
      await writer.put(`/dir-${i % 5}/file-${i}`, noise(500 * i, i + 1))
      if (i % 10 === 9) assert.ok((await collect(reader.list('/'))).length > 0)
    }
    await writer.del('/dir-0/file-0')
    await writer.symlink('/link', '/first')
    await eventually(() => reader.version === writer.version)
    assert.deepEqual(await tree(reader), await tree(writer))
  })

  test(`${kind} of upstream's and one of ours become the same, both ways`, async (t) => {
    const theirs = await open(t, kits.upstream, { encryptionKey })
    for (let i = 0; i < 40; i++) await theirs.put(`/dir-${i % 3}/file-${i}`, noise(3000 * (i % 7), i + 1), { executable: i % 5 === 0, metadata: i % 4 === 0 ? { i } : null })
    await theirs.symlink('/link', '/dir-0/file-0')
    const remote = await open(t, kits.hypertab, theirs.key, { encryptionKey })
    await connect(t, theirs, remote)
    const ours = await open(t, kits.hypertab, { encryptionKey })
    await ours.put('/too-much', 'x')
    await remote.mirror(ours).done()
    assert.deepEqual(await tree(ours), await tree(theirs))

    await ours.put('/dir-1/file-1', 'changed')
    await ours.del('/dir-2/file-2')
    const back = await open(t, kits.upstream, ours.key, { encryptionKey })
    await connect(t, ours, back)
    await back.mirror(theirs).done()
    assert.deepEqual(await tree(theirs), await tree(ours))

    // To a folder and back.
    const folder = temporaryFolder(t)
    const local = new kits.hypertab.Localdrive(folder)
    await ours.mirror(local).done()
    const seen = await new kits.upstream.Localdrive(folder)
    const withoutMetadata = (files) => files.map(([key, executable, linkname, , hash]) => [key, executable, linkname, hash])
    assert.deepEqual(withoutMetadata(await tree(seen)), withoutMetadata(await tree(ours)))
    await new Promise((resolve) => createWriteStream(join(folder, 'new')).end('new', resolve))
    await local.mirror(theirs).done()
    assert.deepEqual(withoutMetadata(await tree(theirs)), withoutMetadata(await tree(local)))
  })
}
