// What programs see of blobs at their edges: closed, not here, of every kind, and what streams tell.

import UpstreamCore from 'hypercore'
import UpstreamBlobs from 'hyperblobs'
import Hyperblobs from 'hypertab/hyperblobs'

import { closed, outcome, outcomeOf, sameWithBoth } from './support/both.mjs'

const letters = (length) => Buffer.alloc(length, 'abcdefg')
const keyPair = {
  publicKey: Buffer.from('8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c', 'hex'),
  secretKey: Buffer.from('01'.repeat(32) + '8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c', 'hex')
}

function program (name, play) {
  sameWithBoth(name, async (scene) => {
    const Blobs = scene.Hypercore === UpstreamCore ? UpstreamBlobs : Hyperblobs
    const core = await scene.create({ keyPair })
    await play({ ...scene, core, open: (options) => new Blobs(core, options) })
  })
}

async function collect (stream) {
  const all = []
  for await (const data of stream) all.push(data)
  return all
}

async function write (stream, chunks) {
  stream.on('error', () => {})
  for (const chunk of chunks) stream.write(Buffer.from(chunk))
  stream.end()
  await closed(stream)
  return stream.id
}

program('everything that closed blobs say', async ({ open, note }) => {
  const blobs = open()
  const plain = await blobs.put(letters(200_000))
  const mapped = await write(blobs.createWriteStream({ blockMap: true }), ['a', 'b'])
  await blobs.close()
  for (const call of [
    () => blobs.get(plain), () => blobs.get(plain, { start: 4 }), () => blobs.put('x'), () => blobs.put('again'), () => blobs.clear(plain), () => blobs.get(mapped), () => blobs.getBlockMap(mapped), () => blobs.getByteLength(mapped),
    () => collect(blobs.createReadStream(plain)), () => blobs.batch().put(letters(3)), () => blobs.snapshot().ready(), () => blobs.ready(), () => blobs.close()
  ]) note(await outcomeOf(call), blobs.locked)
  const stream = blobs.createWriteStream()
  const failed = new Promise((resolve) => stream.once('error', resolve))
  await write(stream, ['x'])
  note((await failed).code, blobs.locked)
})

program('blobs of which blocks are not here', async ({ open, core, note }) => {
  const blobs = open({ blockSize: 10 })
  const plain = await blobs.put(letters(45))
  const small = await blobs.put(letters(5))
  const mapped = await write(blobs.createWriteStream({ dedup: true }), ['aaa', 'bbb', 'aaa'])
  await core.clear(2)
  for (const options of [{ wait: false }, { timeout: 5 }]) {
    for (const range of [{}, { start: 1, length: 3 }, { start: 22 }, { start: 40 }]) note(options, range, await outcome(blobs.get(plain, { ...options, ...range })), await outcome(collect(blobs.createReadStream(plain, { ...options, ...range }))))
  }
  await core.clear(mapped.blockOffset - 1)
  for (const options of [{ wait: false }, { timeout: 5 }]) note(options, await outcome(blobs.get(mapped, options)), await outcome(collect(blobs.createReadStream(mapped, options))), await outcome(blobs.get(mapped, { ...options, end: 1 })))
  note(await outcome(blobs.clear(small)), await outcome(blobs.clear(small, { diff: true })), await outcome(blobs.get(small, { wait: false })))
})

program('contents and ids of every kind', async ({ open, core, note }) => {
  const blobs = open({ blockSize: 8 })
  note(blobs.blockSize, blobs.snapshot().blockSize)
  for (const content of ['text', letters(20), new Uint8Array([1, 2, 3]), [1, 2], '']) {
    const id = await blobs.put(content)
    note(id, await blobs.get(id))
  }
  for (const content of [null, undefined, 5, {}]) note((await outcome(blobs.put(content))).error?.name)
  note(blobs.locked, core.length, await blobs.put(letters(20), { blockSize: 3 }), await blobs.put(letters(20), { blockSize: 0 }))
  for (const id of [null, undefined]) note((await outcome(blobs.get(id))).error?.name)
  const nothing = { blockOffset: 0, blockLength: 0, byteOffset: 0, byteLength: 0 }
  note(await outcome(blobs.get(nothing)), await outcome(collect(blobs.createReadStream(nothing))))
  note(await outcomeOf(() => blobs.monitor()), blobs._monitors.size)
  const monitors = [blobs.monitor(nothing), blobs.monitor(nothing)]
  note(blobs._monitors.size, monitors[0].peers, core.listenerCount('upload'))
  for (const monitor of monitors) monitor.close()
  note(blobs._monitors.size, core.listenerCount('upload'))
})

program('events of streams, and when blocks are appended', async ({ open, core, note }) => {
  const blobs = open()
  const writing = blobs.createWriteStream()
  const events = []
  for (const name of ['open', 'drain', 'finish', 'close', 'error']) writing.on(name, (error) => events.push([name, error?.message, { ...writing.id }]))
  note(writing.id, writing.core === core, writing.write('abc'), writing.write(letters(20_000)), writing._writableState.highWaterMark)
  writing.end()
  await closed(writing)
  note(events.splice(0), core.length)
  const reading = blobs.createReadStream(writing.id)
  note(reading.id === writing.id, reading.core === core, reading._readableState.highWaterMark)
  for (const name of ['open', 'data', 'end', 'close', 'error', 'readable']) reading.on(name, (data) => events.push([name, data?.byteLength]))
  await closed(reading)
  note(events, core.sessions.length)
  const narrow = blobs.createWriteStream({ highWaterMark: 10 })
  note(narrow._writableState.highWaterMark, narrow.write('x'), narrow.write(letters(20)))
  narrow.end()
  await closed(narrow)
  note(blobs.createReadStream(writing.id, { highWaterMark: 5 })._readableState.highWaterMark)
  const lengths = []
  core.on('append', () => lengths.push(core.length))
  for (const blocks of [20, 16, 1]) await blobs.put(letters(65536 * blocks))
  await write(blobs.createWriteStream(), Array.from({ length: 35 }, () => 'x'))
  note(lengths)
})

program('batches, empty and full', async ({ open, core, note }) => {
  const blobs = open({ blockSize: 10 })
  const batch = blobs.batch()
  note(batch.blobs === blobs, batch.blocks, batch.bytes, await outcome(batch.flush()), core.length)
  const ids = [await batch.put(letters(25)), await batch.put(letters(0)), await batch.put(letters(3))]
  note(ids, await batch.get(ids[2]), batch.blocks.length, batch.bytes)
  await batch.flush()
  for (const id of ids) note(await blobs.get(id), await batch.get(id))
  note(core.length, batch.blocks, batch.bytes)
})

program('what is no bytes ends a stream of writes', async ({ open, note }) => {
  const blobs = open()
  for (const chunk of [5, {}, true]) {
    const stream = blobs.createWriteStream()
    const failed = new Promise((resolve) => stream.once('error', resolve))
    const over = closed(stream)
    stream.end(chunk)
    note((await failed).name)
    await over
    note(blobs.locked, await blobs.get(await blobs.put('after it')))
  }
})

program('ids that are none', async ({ open, core, note }) => {
  const blobs = open()
  await blobs.put(letters(10))
  const said = async (call) => (await outcomeOf(call)).error?.name
  for (const id of [{}, 0, 'x', [], null, undefined, { blockOffset: 0 }]) note(await said(() => blobs.get(id)), await said(() => blobs.clear(id)))
  note(await blobs.get({ blockOffset: 0, blockLength: 1 }), core.length)
  const view = blobs.snapshot()
  note(await outcomeOf(() => collect(view.createReadStream({ blockOffset: 5, blockLength: 1, byteOffset: 10, byteLength: 1 }, { wait: false }))))
  await view.close()
})
