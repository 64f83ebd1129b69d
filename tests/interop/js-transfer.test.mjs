// Stores that move to another storage, to a file, and back.

import assert from 'node:assert/strict'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'node:test'

import { copyStore, Corestore, exportStore, folder, Hyperbee, Hypercore, importStore, memory } from 'hypertab'

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
  for await (const piece of exportStore(from, { onprogress: ({ blocks }) => copied.push(blocks) })) pieces.push(piece)
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
  assert.deepEqual(copied.sort((a, b) => a - b), [4, 6, 51])

  // The file is the one of a folder.
  const path = temporaryFolder(t)
  mkdirSync(path, { recursive: true })
  writeFileSync(join(path, 'store'), Buffer.concat(pieces))
  await check(folder(path))
  const imported = memory()
  await importStore(pieces, imported)
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
