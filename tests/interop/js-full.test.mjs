// A disk that fills up: the program is told which failure it was, and what is stored can be read and served.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import fs from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import test from 'node:test'

import { Corestore, decodeId, destroyStorage, folder, Hypercore, Hyperdrive, memory } from 'hypertab'

import { eventually } from './support/both.mjs'
import { defer } from './support/cleanup.mjs'
import { temporaryFolder } from './support/folder.mjs'
import { createCore, seed } from './support/upstream.mjs'

test('a full disk refuses what is appended and gives what it has', async (t) => {
  const disk = limitDisk(t)
  const core = new Hypercore(temporaryFolder(t), { valueEncoding: 'utf-8' })
  defer(t, () => core.close())
  await core.append(['one', 'two'])
  const session = core.session()
  const snapshot = core.snapshot()
  await session.ready()
  await snapshot.ready()
  const told = once(core, 'storage-full')

  disk.isFull = true
  const error = await core.append('three').then(() => null, (error) => error)
  assert.equal(error.code, 'WRITE_FAILED')
  assert.equal(error.cause.code, 'STORAGE_FULL')
  assert.equal((await told)[0].cause.code, 'STORAGE_FULL')
  assert.equal(core.length, 2)
  assert.equal(await core.get(1), 'two')
  assert.equal(String(await session.get(0)), 'one')
  assert.equal(String(await snapshot.get(1)), 'two')
  assert.deepEqual([core.opened, core.writable, await core.has(0, 2), core.contiguousLength], [true, true, true, 2])
  const again = await core.append('three').then(() => null, (error) => error)
  assert.equal(again.cause.code, 'STORAGE_FULL')

  disk.isFull = false
  await eventually(() => core.append('three').then(() => true, () => false))
  assert.deepEqual([core.length, await core.get(2)], [3, 'three'])

  const reader = await createCore(t, { key: core.key })
  const streams = [core.replicate(true), reader.replicate(false)]
  for (const stream of streams) stream.on('error', () => {})
  defer(t, () => streams.forEach((stream) => stream.destroy()))
  streams[0].pipe(streams[1]).pipe(streams[0])
  assert.equal(String(await reader.get(0)), 'one')
})

test('a disk that fills up during a download ends it, and keeps what came', async (t) => {
  const disk = limitDisk(t)
  const theirs = await createCore(t)
  await seed(theirs, 20, 1024)
  const core = new Hypercore(temporaryFolder(t), theirs.key)
  defer(t, () => core.close())
  await core.ready()
  let times = 0
  core.on('storage-full', () => { times++ })
  const streams = [core.replicate(true), theirs.replicate(false)]
  for (const stream of streams) stream.on('error', () => {})
  defer(t, () => streams.forEach((stream) => stream.destroy()))
  streams[0].pipe(streams[1]).pipe(streams[0])
  await core.download({ start: 0, end: 10 }).done()

  disk.isFull = true
  const failure = await core.download({ start: 0, end: 20 }).done().catch((error) => error)
  assert.equal(failure.cause.code, 'STORAGE_FULL')
  assert.equal((await core.get(3)).byteLength, 1024)
  assert.equal(await core.get(15, { wait: false }), null)
  await eventually(() => core.peers.length === 0)
  assert.deepEqual([times, core.opened, core.length, core.contiguousLength], [1, true, 20, 10])
})

test('a drive, and a core that could not be opened for want of room, go on when there is some', async (t) => {
  const disk = limitDisk(t)
  const store = new Corestore(temporaryFolder(t))
  defer(t, () => store.close())
  const drive = new Hyperdrive(store.namespace('drive'))
  await drive.put('/a', 'a')
  const core = store.get({ name: 'core' })
  await core.append('one')

  disk.isFull = true
  const isFull = ({ cause }) => cause?.code === 'STORAGE_FULL'
  await assert.rejects(core.append('two'), isFull)
  await assert.rejects(drive.put('/b', 'b'), isFull)
  const late = store.get({ name: 'late' })
  await assert.rejects(late.ready(), isFull)

  disk.isFull = false
  await eventually(() => drive.put('/b', 'b').then(() => true, () => false))
  assert.deepEqual([String(await drive.get('/a')), String(await drive.get('/b'))], ['a', 'b'])
  const again = store.get({ name: 'late' })
  await again.append('three')
  assert.deepEqual([again.length, String(await again.get(0))], [1, 'three'])
})

test('a store is deleted by its path', async (t) => {
  const path = temporaryFolder(t)
  const core = new Hypercore(path)
  await core.append('gone soon')
  await assert.rejects(destroyStorage(path), { code: 'STORAGE_LOCKED' })
  await core.close()
  await destroyStorage(path)
  assert.equal(fs.existsSync(path), false)
  const fresh = new Hypercore(path)
  await fresh.ready()
  assert.deepEqual([fresh.length, fresh.key.equals(core.key)], [0, false])
  await fresh.close()
  const storage = memory()
  const open = new Hypercore(storage)
  await open.ready()
  await assert.rejects(destroyStorage(storage), { code: 'STORAGE_IN_USE' })
  await open.close()
  await destroyStorage(storage)
})

test('a key that cannot be read is refused with what is wrong', () => {
  assert.throws(() => decodeId('abc'), /Invalid Hypercore key: it has 3 characters/)
  assert.throws(() => decodeId('l'.repeat(52)), /"l" is not in z-base-32/)
  assert.throws(() => decodeId('g'.repeat(64)), /"g" is no hexadecimal digit/)
  assert.throws(() => decodeId(5), /of type number/)
})

/** A disk that refuses to grow while it is full. */
function limitDisk (t) {
  const disk = { isFull: false }
  const { writeSync } = fs
  fs.writeSync = (descriptor, ...args) => {
    if (disk.isFull && args[0] instanceof Uint8Array) throw Object.assign(new Error('ENOSPC: no space left on device'), { code: 'ENOSPC' })
    return writeSync(descriptor, ...args)
  }
  syncBuiltinESMExports()
  t.after(() => {
    fs.writeSync = writeSync
    syncBuiltinESMExports()
  })
  return disk
}
