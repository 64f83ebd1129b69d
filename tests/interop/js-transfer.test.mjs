// Stores that move to another storage, to a file, and back.

import assert from 'node:assert/strict'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'node:test'

import { copyStore, Corestore, exportStore, folder, Hyperbee, Hypercore, importStore, memory, Storage } from 'hypertab'

import { temporaryFolder } from './support/folder.mjs'

test('a store is exported to a file, opened from it, and imported', async (t) => {
  const from = memory()
  const store = new Corestore(from)
  const mine = store.namespace('app').get({ name: 'mine', valueEncoding: 'utf-8' })
  await mine.append(['a', 'b', 'c', 'd'])
  await mine.truncate(3)
  await mine.append(['e'])
  await mine.setUserData('name', 'value')
  const bee = new Hyperbee(store.get({ name: 'bee' }), { keyEncoding: 'utf-8', valueEncoding: 'utf-8' })
  for (let i = 0; i < 50; i++) await bee.put(`key ${i}`, `value ${i}`)
  // Of this one, only some blocks are here.
  const original = new Hypercore(memory(), { valueEncoding: 'utf-8' })
  await original.append(Array.from({ length: 100 }, (_, i) => `theirs ${i}`))
  const theirs = store.get({ key: original.key, valueEncoding: 'utf-8' })
  await theirs.ready()
  const [one, other] = [original.replicate(true), theirs.replicate(false)]
  for (const stream of [one, other]) stream.on('error', () => {})
  one.pipe(other).pipe(one)
  assert.equal(await theirs.get(7), 'theirs 7')
  await theirs.download({ start: 90, end: 95 }).done()
  one.destroy()
  const { primaryKey } = store
  const keys = [mine.id, bee.core.id]
  await store.close()

  const copied = []
  const pieces = []
  for await (const piece of exportStore(from, { onprogress: (progress) => copied.push(progress) })) pieces.push(piece)
  const check = async (storage) => {
    const store = new Corestore(storage)
    await store.ready()
    assert.deepEqual(store.primaryKey, primaryKey)
    const again = store.namespace('app').get({ name: 'mine', valueEncoding: 'utf-8' })
    const beeAgain = new Hyperbee(store.get({ name: 'bee' }), { keyEncoding: 'utf-8', valueEncoding: 'utf-8' })
    await Promise.all([again.ready(), beeAgain.ready()])
    assert.deepEqual([again.id, beeAgain.core.id], keys)
    assert.deepEqual([again.length, again.fork, again.writable], [4, 1, true])
    assert.deepEqual([await again.get(2), await again.get(3), (await again.getUserData('name')).toString()], ['c', 'e', 'value'])
    assert.equal((await beeAgain.get('key 49')).value, 'value 49')
    const theirsAgain = store.get({ key: original.key, valueEncoding: 'utf-8' })
    await theirsAgain.ready()
    const here = []
    for (let index = 0; index < 100; index++) if (await theirsAgain.has(index)) here.push(index)
    assert.deepEqual(here, [7, 90, 91, 92, 93, 94])
    assert.deepEqual([theirsAgain.length, theirsAgain.writable, await theirsAgain.get(94)], [100, false, 'theirs 94'])
    await again.append('more')
    assert.equal(again.length, 5)
    await store.close()
  }
  const bytes = Buffer.concat(pieces).byteLength
  assert.deepEqual(copied, [{ bytes, cores: 3, blocks: 61 }])

  const imported = memory()
  const told = []
  await importStore(pieces, imported, { onprogress: (progress) => told.push(progress) })
  assert.deepEqual(told.at(-1), { bytes, cores: 3, blocks: 61 })
  await check(imported)
  const moved = folder(join(temporaryFolder(t), 'moved'))
  await copyStore(from, moved)
  await check(moved)
})

test('an import of what is no store fails, and changes nothing', async () => {
  const to = memory()
  await assert.rejects(importStore([Buffer.from('this is no store'.repeat(1000))], to))
  assert.equal(await to.isEmpty(), true)
})

test('a file that is damaged or ends early is refused wherever that is, and changes nothing', async () => {
  const from = memory()
  const store = new Corestore(from)
  for (const name of ['one', 'other']) await store.get({ name }).append(Array.from({ length: 5 }, (_, i) => Buffer.alloc(50, i)))
  await store.close()
  const file = Buffer.concat(await piecesOf(exportStore(from)))

  const to = memory()
  const target = new Corestore(to)
  const mine = target.get({ name: 'mine' })
  await mine.append('mine')
  const { primaryKey } = target
  const unchanged = async () => {
    assert.deepEqual(await to.getSeed(), primaryKey)
    assert.equal((await listOf(to.createCoreStream())).length, 1)
    assert.equal((await listOf(to.createAliasStream())).length, 1)
  }
  for (let at = 0; at < file.length; at += 37) {
    await assert.rejects(importStore([file.subarray(0, at)], to), { code: 'FILE_DAMAGED' })
    const flipped = Buffer.from(file)
    flipped[at] ^= 1
    await assert.rejects(importStore([flipped], to), { code: at < 16 ? 'NOT_A_STORE' : 'FILE_DAMAGED' })
  }
  await assert.rejects(importStore([file, Buffer.from('more')], to), { code: 'FILE_DAMAGED' })
  await unchanged()
  assert.equal((await mine.get(0)).toString(), 'mine')

  await importStore([file], to)
  assert.equal((await listOf(to.createCoreStream())).length, 3)
  await target.close()
})

test('an import that is given up, also while it waits for more, changes nothing, and can be begun again', async () => {
  const from = memory()
  const store = new Corestore(from)
  const core = store.get({ name: 'core' })
  for (let i = 0; i < 8; i++) await core.append(Array.from({ length: 16 }, () => Buffer.alloc(1 << 15, i)))
  await store.close()
  const pieces = await piecesOf(exportStore(from))
  assert.ok(pieces.length >= 4)

  const to = memory()
  const given = new AbortController()
  const reason = new Error('enough')
  let cancelled = null
  const stalled = new ReadableStream({
    start (controller) { controller.enqueue(pieces[0]) },
    cancel (reason) { cancelled = reason ?? true }
  })
  const importing = importStore(stalled, to, {
    signal: given.signal, onprogress: ({ blocks }) => { if (blocks > 0) setTimeout(() => given.abort(reason), 10) }
  })
  await assert.rejects(importing, reason)
  assert.equal(cancelled, true)
  assert.equal(await to.isEmpty(), true)
  const failing = async function * () {
    yield pieces[0]
    throw new Error('unplugged')
  }
  await assert.rejects(importStore(failing(), to), { message: 'unplugged' })
  assert.equal(await to.isEmpty(), true)
  await assert.rejects(importStore(pieces, to, { signal: AbortSignal.abort(reason) }), reason)
  await assert.rejects(piecesOf(exportStore(from, { signal: AbortSignal.abort(reason) })), reason)

  // Two at once wait for each other.
  await Promise.all([importStore(new Blob(pieces), to), importStore(new Response(exportStore(from).stream()), to)])
  const again = new Corestore(to)
  const copy = again.get({ name: 'core' })
  await copy.ready()
  assert.deepEqual([copy.length, copy.contiguousLength, copy.writable], [128, 128, true])
  assert.deepEqual(await copy.get(127), Buffer.alloc(1 << 15, 7))
  await again.close()
})

test('cores that are there already get what they lack', async () => {
  const original = new Hypercore(memory(), { valueEncoding: 'utf-8' })
  await original.append(['a', 'b', 'c', 'd', 'e'])
  const fetch = async (storage, indices) => {
    const core = new Hypercore(storage, original.key, { valueEncoding: 'utf-8' })
    await core.ready()
    const [one, other] = [original.replicate(true), core.replicate(false)]
    for (const stream of [one, other]) stream.on('error', () => {})
    one.pipe(other).pipe(one)
    for (const index of indices) await core.get(index)
    one.destroy()
    await core.setUserData(`from ${indices[0]}`, 'value')
    await core.close()
  }
  const [from, to] = [memory(), memory()]
  await fetch(to, [2])
  await original.append(['f', 'g'])
  // Of what it has, nobody can go on with five blocks, before it has the sixth.
  await fetch(from, [0, 1, 6])
  await importStore(exportStore(from), to)
  const before = new Hypercore(to, original.key)
  await before.ready()
  assert.equal(before.length, 5)
  assert.deepEqual(await Promise.all([0, 1, 2, 3, 4].map((i) => before.has(i))), [true, true, true, false, false])
  await before.close()
  await fetch(from, [5])
  await importStore(exportStore(from), to)
  const core = new Hypercore(to, original.key, { valueEncoding: 'utf-8' })
  await core.ready()
  assert.deepEqual(await Promise.all(Array.from({ length: 7 }, (_, i) => core.has(i))), [true, true, true, false, false, true, true])
  assert.equal(core.length, 7)
  for (const name of ['from 0', 'from 2', 'from 5']) assert.equal((await core.getUserData(name)).toString(), 'value')
  await core.close()
  // The other way round, where more is known already.
  const again = memory()
  await copyStore(from, again)
  await copyStore(to, again)
  await copyStore(memory(), again)
})

test('any blocks of a log of any length move', async () => {
  for (const length of [1, 2, 3, 7, 8, 13, 31, 64, 100, 517]) {
    const original = new Hypercore(memory())
    await original.append(Array.from({ length }, (_, i) => Buffer.from(`block ${i}`)))
    const from = memory()
    const core = new Hypercore(from, original.key)
    await core.ready()
    const wanted = Array.from({ length }, (_, i) => i).filter((i) => (i * 7919 + length) % 5 < 2 || i % 16 > 12)
    const [one, other] = [original.replicate(true), core.replicate(false)]
    for (const stream of [one, other]) stream.on('error', () => {})
    one.pipe(other).pipe(one)
    await core.update({ wait: true })
    await core.download({ blocks: wanted }).done()
    one.destroy()
    await core.close()
    const to = memory()
    await copyStore(from, to)
    const copy = new Hypercore(to, original.key)
    await copy.ready()
    assert.equal(copy.length, length)
    for (let i = 0; i < length; i++) {
      assert.equal(await copy.has(i), wanted.includes(i), `${i} of ${length}`)
      if (wanted.includes(i)) assert.equal((await copy.get(i)).toString(), `block ${i}`)
    }
    assert.deepEqual(await copy.treeHash(), await original.treeHash())
    await copy.close()
  }
})

test('no more of a file is made than is taken', async () => {
  const from = memory()
  const core = new Hypercore(from)
  for (let i = 0; i < 24; i++) await core.append([Buffer.alloc(1 << 20, i)])
  let made = 0
  const stream = exportStore(from, { onprogress: ({ bytes }) => { made = bytes } }).stream()
  const reader = stream.getReader()
  await reader.read()
  await reader.read()
  await new Promise((resolve) => { setTimeout(resolve, 200) })
  assert.ok(made < 4 << 20, `${made} bytes were made`)
  await reader.cancel()
  await core.close()
  assert.equal(from.users, 0)
})

async function piecesOf (exported) {
  const pieces = []
  for await (const piece of exported) pieces.push(piece)
  return pieces
}

async function listOf (stream) {
  const list = []
  for await (const entry of stream) list.push(entry)
  return list
}

test('an import that cannot have its turn lets go of the storage', async () => {
  const { opener } = memory()
  const target = new Storage('locked', { open: () => opener.open(), lock: async () => { throw new Error('no lock is to be had') } })

  await assert.rejects(importStore([], target), /no lock/)
  assert.deepEqual([target.users, target.opened], [0, false])
})
