// Folders that a corestore 6 has left: names, keys and blocks are all there, and the files stay as they were.

import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'node:test'

import LegacyStore from 'corestore-v6'
import HypertabStore from 'hypertab/corestore'

import { defer } from './support/cleanup.mjs'
import { temporaryFolder } from './support/folder.mjs'

async function collect (stream) {
  const all = []
  for await (const data of stream) all.push(data.toString('hex'))
  return all.sort()
}

/** A folder with cores of every kind. */
async function legacyFolder (t) {
  const path = temporaryFolder(t)
  const store = new LegacyStore(path)
  await store.ready()
  const main = store.get({ name: 'main' })
  await main.append(Array.from({ length: 40 }, (_, i) => `main ${i}`))
  await main.clear(3, 5)
  const inner = store.namespace('inner').get({ name: 'main' })
  await inner.append('inner')
  await inner.truncate(0)
  await inner.append(['again', 'and again'])
  const empty = store.get({ name: 'empty' })
  await empty.ready()
  const other = new LegacyStore(temporaryFolder(t))
  const theirs = other.get({ name: 'theirs' })
  await theirs.append(['x', 'y', 'z'])
  const copy = store.get(theirs.key)
  const stream = store.replicate(true)
  stream.pipe(other.replicate(false)).pipe(stream)
  await copy.get(1)
  const expected = {}
  for (const [name, core] of Object.entries({ main, inner, empty, copy })) expected[name] = await describe(core)
  const primaryKey = store.primaryKey.toString('hex')
  await other.close()
  await store.close()
  return { path, expected, primaryKey }
}

function filesOf (path) {
  const files = {}
  for (const entry of readdirSync(path, { recursive: true, withFileTypes: true })) {
    const name = join(entry.parentPath, entry.name)
    if (entry.isFile() && /primary-key|oplog|tree|bitfield|data$/.test(name)) files[name.slice(path.length)] = readFileSync(name).toString('hex')
  }
  return files
}

/** What is the same whatever opens a core. */
async function describe (core) {
  const blocks = []
  for (let i = 0; i < core.length; i++) blocks.push(await core.has(i) ? `${await core.get(i)}` : null)
  const { length, fork, writable, byteLength, contiguousLength } = core
  return { key: core.key.toString('hex'), length, fork, writable, byteLength, contiguousLength, blocks }
}

test('a folder of corestore 6 opens with its names, keys and blocks', async (t) => {
  const { path, expected, primaryKey } = await legacyFolder(t)
  const before = filesOf(path)

  const store = new HypertabStore(path)
  defer(t, () => store.close())
  const inner = store.namespace('inner')
  const cores = {
    main: store.get({ name: 'main' }),
    inner: inner.get({ name: 'main' }),
    empty: store.get({ name: 'empty' }),
    copy: store.get(expected.copy.key)
  }
  for (const [name, core] of Object.entries(cores)) {
    await core.ready()
    assert.deepEqual(await describe(core), expected[name], name)
    assert.equal(await core.getUserData('corestore/name'), null)
  }
  assert.equal(store.primaryKey.toString('hex'), primaryKey)
  assert.equal((await collect(store.list())).length, 4)
  assert.deepEqual(await collect(store.list(inner.ns)), [cores.inner.discoveryKey.toString('hex')])
  assert.equal((await cores.inner.append('new')).length, 3)
  assert.deepEqual(filesOf(path), before)
})

test('an imported store is opened again without the old files being read', async (t) => {
  const { path, expected } = await legacyFolder(t)
  let store = new HypertabStore(path)
  const main = store.get({ name: 'main' })
  await main.append('new')
  await store.close()

  store = new HypertabStore(path)
  defer(t, () => store.close())
  const again = store.get({ name: 'main' })
  await again.ready()
  assert.equal(again.length, expected.main.length + 1)
  assert.equal(`${await again.get(40)}`, 'new')
  const copy = store.get(expected.copy.key)
  await copy.ready()
  assert.equal(copy.length, 3)
  assert.equal(`${await copy.get(1)}`, 'y')
  assert.equal(await copy.get(0, { wait: false }), null)
})

test('another primary key than the old one is refused', async (t) => {
  const { path } = await legacyFolder(t)
  const store = new HypertabStore(path, { primaryKey: Buffer.alloc(32, 7), unsafe: true })
  await assert.rejects(store.ready(), { message: 'Another corestore is stored here' })
  await store.close()
})
