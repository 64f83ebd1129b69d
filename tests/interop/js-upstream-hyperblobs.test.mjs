// Programs in the manner of upstream's own suite: blobs.

import { pipelinePromise } from 'streamx'

import UpstreamCore from 'hypercore'
import UpstreamBlobs from 'hyperblobs'
import Hyperblobs from 'hypertab/hyperblobs'

import { closed, eventually, outcome, sameWithBoth, sameWithEveryPair } from './support/both.mjs'

const blobsOf = (Core) => Core === UpstreamCore ? UpstreamBlobs : Hyperblobs
const letters = (length) => Buffer.alloc(length, 'abcdefg')

const keyPair = {
  publicKey: Buffer.from('8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c', 'hex'),
  secretKey: Buffer.from('01'.repeat(32) + '8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c', 'hex')
}

function program (name, play) {
  sameWithBoth(name, async (scene) => {
    const Blobs = blobsOf(scene.Hypercore)
    const core = await scene.create({ keyPair })
    await play({ ...scene, Blobs, core, open: (options) => new Blobs(core, options) })
  })
}

async function collect (stream) {
  const all = []
  for await (const data of stream) all.push(data)
  return all
}

function write (stream, chunks) {
  return new Promise((resolve, reject) => {
    stream.on('error', reject)
    stream.on('close', () => resolve(stream.id))
    for (const chunk of chunks) stream.write(chunk)
    stream.end()
  })
}

program('large blobs come back', async ({ open, note }) => {
  const blobs = open()
  note(blobs.blockSize, blobs.locked, blobs.key === blobs.core.key, blobs.discoveryKey, blobs.feed === blobs.core)
  for (const length of [0, 1, 65535, 65536, 65537, 5 * 65536]) {
    const id = await blobs.put(letters(length))
    note(id, Object.keys(id))
    const found = await blobs.get(id)
    note(found.equals(letters(length)), Buffer.isBuffer(found))
  }
  const text = await blobs.put('text')
  note(text, await blobs.get(text))
})

program('parts of a blob', async ({ open, note }) => {
  const blobs = open({ blockSize: 10 })
  const first = await blobs.put(letters(33))
  const id = await blobs.put(Buffer.concat([Buffer.alloc(10, 'a'), Buffer.alloc(10, 'b'), Buffer.alloc(3, 'c')]))
  const last = await blobs.put(letters(12))
  for (const range of [
    { start: 2, length: 2 }, { start: 8, length: 4 }, { start: 2, end: 4 }, { start: 12 }, { start: 0 }, { end: 0 }, { length: 0 }, { start: 5, length: 0 },
    { start: 10, end: 19 }, { start: 9, end: 10 }, { start: 22 }, { start: 20, length: 3 }, { length: 23 }, { start: 0, end: 22 }, { start: 3, end: 5, length: 9 }
  ]) {
    note(range, await blobs.get(id, range), (await collect(blobs.createReadStream(id, range))).map(String))
  }
  note(await blobs.get(first, { start: 20, length: 5 }), await blobs.get(last, { start: 9, length: 3 }))
})

program('streams', async ({ open, note, core }) => {
  const blobs = open()
  const before = blobs.createWriteStream()
  note(before.id)
  const id = await write(before, ['one', 'two', 'three'].map(Buffer.from))
  note(id, core.length, (await collect(blobs.createReadStream(id))).map(String))
  const many = await write(blobs.createWriteStream(), Array.from({ length: 40 }, (_, i) => Buffer.from(`chunk ${i}`)))
  note(many, core.length, (await collect(blobs.createReadStream(many))).map(String))
  const nothing = await write(blobs.createWriteStream(), [])
  note(nothing, await blobs.get(nothing), await collect(blobs.createReadStream(nothing)))
  const strings = await write(blobs.createWriteStream(), ['a', 'b'])
  note(strings, await blobs.get(strings))
})

program('one blob is written at a time', async ({ open, note }) => {
  const blobs = open()
  const events = []
  const slow = blobs.createWriteStream()
  slow.write(Buffer.from('slow'))
  await new Promise((resolve) => setTimeout(resolve, 20))
  note(blobs.locked)
  const put = blobs.put('fast').then((id) => { events.push('put'); return id })
  await new Promise((resolve) => setTimeout(resolve, 20))
  slow.on('close', () => events.push('stream'))
  slow.end(Buffer.from('er'))
  const id = await put
  note(events, slow.id, id, blobs.locked)
  const destroyed = blobs.createWriteStream()
  destroyed.on('error', () => {})
  destroyed.write(Buffer.from('lost'))
  await new Promise((resolve) => setTimeout(resolve, 20))
  destroyed.destroy(new Error('no'))
  await closed(destroyed)
  note(await blobs.put('after'), blobs.locked)
})

program('batches', async ({ open, note, core }) => {
  const blobs = open({ blockSize: 16 })
  const batch = blobs.batch()
  await batch.ready()
  const a = await batch.put(letters(40))
  const b = await batch.put(letters(5))
  note(a, Object.keys(a), b, core.length, batch.bytes, batch.blocks.length)
  await batch.flush()
  note(core.length, await blobs.get(a), await blobs.get(b), batch.bytes, batch.blocks.length)
  note(await batch.get(a), batch.close())
})

program('maps of blocks', async ({ open, note, core }) => {
  const blobs = open()
  const id = await write(blobs.createWriteStream({ blockMap: true }), ['x', 'yy', 'zzz'].map(Buffer.from))
  note(id, Object.keys(id), core.length, await core.get(core.length - 1))
  note(await blobs.get(id), (await collect(blobs.createReadStream(id))).map(String))
  note(await blobs.getBlockMap(id), await blobs.getByteLength(id))
  for (const range of [{ start: 1 }, { start: 1, end: 3 }, { end: 0 }, { start: 2, length: 2 }, { start: 1, length: 2 }]) note(range, await blobs.get(id, range))
  const plain = await blobs.put('plain')
  note(blobs.getBlockMap(plain), await blobs.getByteLength(plain))
  const empty = await write(blobs.createWriteStream({ blockMap: true }), [])
  note(empty, core.length, await blobs.getByteLength(empty))
  const put = await blobs.put(letters(100), { blockMap: true, blockSize: 30 })
  note(put, await blobs.get(put), (await blobs.getBlockMap(put)).blocks)
})

program('equal chunks are stored once', async ({ open, note, core }) => {
  const blobs = open()
  const first = await write(blobs.createWriteStream({ dedup: true }), ['aaaa', 'bbbb', 'aaaa', 'cccc'].map(Buffer.from))
  note(first, core.length, await blobs.get(first))
  const second = await write(blobs.createWriteStream({ dedup: true, blob: first }), ['aaaa', 'dddd', 'cccc', 'dddd'].map(Buffer.from))
  note(second, core.length, await blobs.get(second), (await blobs.getBlockMap(second)).blocks)
  const plain = await write(blobs.createWriteStream(), ['eeee', 'aaaa'].map(Buffer.from))
  const third = await write(blobs.createWriteStream({ dedup: true, blob: plain }), ['aaaa', 'eeee', 'ffff'].map(Buffer.from))
  note(third, core.length, await blobs.get(third), (await blobs.getBlockMap(third)).blocks)
})

program('cleared blobs are not here', async ({ open, note, core }) => {
  const blobs = open({ blockSize: 10 })
  const id = await blobs.put(letters(25))
  const mapped = await write(blobs.createWriteStream({ blockMap: true }), ['x', 'yy'].map(Buffer.from))
  note(await core.has(0, 3), await blobs.clear(id), await core.has(0), await core.has(2), await core.has(3))
  note(await blobs.get(id, { wait: false }), await blobs.get(id, { wait: false, start: 1 }))
  const stream = blobs.createReadStream(id, { wait: false })
  note(await outcome(collect(stream)))
  note(await blobs.clear(mapped), await core.has(3), await core.has(4), await core.has(5))
  const again = await blobs.put('again')
  note(await blobs.clear(again, { diff: true }) !== null, await blobs.get(again, { wait: false }))
})

program('another core', async ({ open, note, create, core }) => {
  const blobs = open()
  const other = await create()
  const id = await blobs.put(letters(3 * 65536), { core: other })
  note(id, core.length, other.length, (await blobs.get(id, { core: other })).equals(letters(3 * 65536)))
  note(await blobs.get(id, { core: other, start: 65530, length: 10 }))
})

program('snapshots stay as they are', async ({ open, note }) => {
  const blobs = open()
  const id = await blobs.put('one')
  const snapshot = blobs.snapshot()
  await snapshot.ready()
  const later = await blobs.put('two')
  note(await snapshot.get(id), snapshot.core.length, (await outcome(snapshot.get(later))).error?.code)
  await snapshot.close()
})

program('streams end and fail as others do', async ({ open, note, core }) => {
  const blobs = open({ blockSize: 4 })
  const id = await blobs.put(letters(40))
  const stream = blobs.createReadStream(id)
  const seen = []
  stream.on('end', () => seen.push('end'))
  stream.on('close', () => seen.push('close'))
  stream.once('data', () => { stream.destroy() })
  await closed(stream)
  note(seen, core.sessions.length)
  const copy = blobs.createWriteStream()
  await pipelinePromise(blobs.createReadStream(id, { start: 2 }), copy)
  note(copy.id, await blobs.get(copy.id))
  await core.close()
  note((await outcome(blobs.put('x'))).error.code, blobs.locked)
})

for (const encryption of [undefined, { key: Buffer.alloc(32, 9) }]) {
  sameWithEveryPair(`blobs are read from peers${encryption ? ', encrypted' : ''}`, async ({ A, B, createA, createB, replicate, note }) => {
    const a = await createA({ keyPair, encryption })
    const theirs = new (blobsOf(A))(a, { blockSize: 100 })
    const filler = await theirs.put(letters(1000))
    const id = await theirs.put(letters(1234))
    const mapped = await write(theirs.createWriteStream({ dedup: true }), ['aaaa', 'bbbb', 'aaaa', 'cccc'].map(Buffer.from))
    const b = await createB(a.key, { encryption })
    const ours = new (blobsOf(B))(b)
    replicate(a, b)
    note((await ours.get(id, { start: 250, length: 500 })).equals(letters(1234).subarray(250, 750)))
    note(await ours.get(mapped), await ours.get(mapped, { start: 3, end: 9 }), await ours.getByteLength(mapped))
    note((await ours.get(id)).equals(letters(1234)), await b.has(id.blockOffset, id.blockOffset + id.blockLength), await b.has(filler.blockOffset))
    note(await ours.get(filler, { wait: false }))
    const later = await theirs.put('put while it is read')
    note(await ours.get(later), await ours.clear(id, { diff: true }), await ours.get(id, { wait: false }), (await ours.get(id)).equals(letters(1234)))
    const batch = theirs.batch()
    const parts = [await batch.put(letters(150)), await batch.put(letters(10))]
    await batch.flush()
    note(await Promise.all(parts.map((part) => ours.get(part))))
  })
}

sameWithEveryPair('transfers are counted', async ({ A, B, createA, createB, replicate, note }) => {
  const a = await createA({ keyPair })
  const theirs = new (blobsOf(A))(a, { blockSize: 100 })
  await theirs.put(letters(300))
  const id = await theirs.put(letters(1000))
  const b = await createB(a.key)
  const ours = new (blobsOf(B))(b)
  const [up, down] = [theirs.monitor(id), ours.monitor(id)]
  let updates = 0
  down.on('update', () => updates++)
  note(down.downloadStats, down.uploadStats, down.peers, await outcome(new Promise(() => { ours.monitor() })))
  replicate(a, b)
  await ours.get(id)
  await eventually(() => up.uploadStats.blocks === 10)
  const { startTime, speed, ...stats } = down.downloadStats
  note(stats, startTime > 0, speed > 0, down.downloadSpeed() > 0, down.uploadSpeed(), updates >= 10, up.uploadStats.percentage, up.uploadStats.totalBytes)
  down.close()
  up.destroy()
})

// What differs on purpose: a part that goes beyond a blob ends with it.
sameWithBoth('parts beyond a blob', async ({ Hypercore, create, note }) => {
  const Blobs = blobsOf(Hypercore)
  const blobs = new Blobs(await create({ keyPair }), { blockSize: 10 })
  const id = await blobs.put(letters(25))
  await blobs.put(Buffer.alloc(30, 'z'))
  const part = await blobs.get(id, { start: 20, length: 10 })
  note(part.subarray(0, 5), Blobs === UpstreamBlobs ? part.byteLength - 5 : part.byteLength)
})

sameWithBoth('a part that begins behind the end of a blob', async ({ Hypercore, create, note }) => {
  const Blobs = blobsOf(Hypercore)
  const core = await create({ keyPair })
  const blobs = new Blobs(await create(core.key))
  const id = { byteOffset: 5, blockOffset: 1, blockLength: 1, byteLength: 5 }
  note(await outcome(blobs.get(id, { start: 100, timeout: 1 })))
  note(await blobs.get(id, { start: 100, wait: false }), await blobs.get(id, { start: 100, end: 200, wait: false }))
  note(await outcome(collect(blobs.createReadStream(id, { start: 100, wait: false }))))
  const own = new Blobs(core, { blockSize: 10 })
  const stored = await own.put(letters(25))
  note(await own.get(stored, { start: 25 }), await own.get(stored, { start: 25, length: 0 }))
  note(await outcome(own.get(stored, { start: 26, wait: false })), await outcome(own.get(stored, { start: -1 })))
})
