// Where the npm package keeps cores in Node: folders with one writer, memory, and storages made for upstream.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { existsSync, readdirSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { hostname } from 'node:os'
import { join } from 'node:path'
import test from 'node:test'

import CoreStorage from 'hypercore-storage'
import { Corestore, exportStore, folder, Hypercore, importStore, memory } from 'hypertab'

import { defer } from './support/cleanup.mjs'
import { temporaryFolder } from './support/folder.mjs'
import { startProcess } from './support/process.mjs'
import { sameWithBothStores } from './support/stores.mjs'
import { connect, listen } from './support/tcp.mjs'
import { block, createCore, forgeBlocks, seed, summary } from './support/upstream.mjs'

test('a folder has one writer', async (t) => {
  const path = temporaryFolder(t)
  const core = new Hypercore(path)
  await core.append('a')
  const second = new Hypercore(path)
  await assert.rejects(second.ready(), { code: 'STORAGE_LOCKED' })
  assert.equal(second.closed, false)
  await assert.rejects(second.close(), { code: 'STORAGE_LOCKED' })
  await core.close()
  assert.deepEqual(readdirSync(path), ['store'])
  const third = new Hypercore(path)
  await third.ready()
  assert.equal(third.length, 1)
  await third.close()
})

test('another process has the folder until it ends, however it ends', async (t) => {
  const path = temporaryFolder(t)
  const program = `
    const { Hypercore } = require('hypertab')
    const core = new Hypercore(${JSON.stringify(path)})
    core.append('from there').then(() => console.log(JSON.stringify({ event: 'open' })))
    setInterval(() => {}, 1000)
  `
  const child = startProcess(t, 'node', ['-e', program], { cwd: import.meta.dirname })
  await child.next('open')
  await assert.rejects(new Hypercore(path).ready(), { code: 'STORAGE_LOCKED' })
  await child.kill()
  assert.ok(existsSync(join(path, 'lock')))
  const core = new Hypercore(path)
  await core.append('and here')
  assert.equal(core.length, 2)
  await core.close()
})

test('a lock of another machine is respected', async (t) => {
  const path = temporaryFolder(t)
  writeFileSync(join(path, 'lock'), '1 elsewhere\n')
  await assert.rejects(new Hypercore(path).ready(), /process 1 on elsewhere/)
  writeFileSync(join(path, 'lock'), `${process.pid} ${hostname()}\n`)
  const core = new Hypercore(path)
  await core.ready()
  await core.close()
})

test('memory is kept as long as its storage is held', async () => {
  const storage = memory()
  const core = new Hypercore(storage)
  await core.append(['a', 'b'])
  const { key } = core
  await core.close()
  const again = new Hypercore(storage)
  await again.ready()
  assert.deepEqual([again.length, again.key], [2, key])
  await again.close()
  const fresh = new Hypercore(memory())
  await fresh.ready()
  assert.notDeepEqual(fresh.key, key)
  await fresh.close()
})

test('one storage holds several cores', async (t) => {
  const path = temporaryFolder(t)
  const storage = folder(path)
  const first = new Hypercore(storage)
  await first.append('first')
  const second = new Hypercore(storage, Buffer.alloc(32, 7))
  await second.ready()
  assert.equal(storage.users, 2)
  await first.close()
  assert.equal(second.opened, true)
  await second.close()
  assert.equal(existsSync(join(path, 'lock')), false)
  const again = new Hypercore(folder(path), first.key)
  assert.equal(String(await again.get(0)), 'first')
  await again.close()
})

test('what is only read takes nothing in that would be lost', async (t) => {
  const path = temporaryFolder(t)
  const core = new Hypercore(path)
  await core.append('kept')
  const storage = folder(path, { readOnly: true })
  const reader = new Hypercore(storage)
  defer(t, () => reader.close())
  assert.equal(String(await reader.get(0)), 'kept')
  assert.equal(reader.writable, false)
  const branch = reader.session({ name: 'branch', writable: true })
  for (const change of [
    () => reader.append('lost'), () => reader.append('lost', { keyPair: core.keyPair }), () => reader.truncate(0), () => reader.clear(0), () => reader.setUserData('name', 'lost'),
    () => branch.append('lost'), () => importStore(exportStore(core.core.db), storage)
  ]) await assert.rejects(change, { code: 'SESSION_NOT_WRITABLE' })
  await assert.rejects(new Hypercore(storage, Buffer.alloc(32, 7)).ready(), { code: 'STORAGE_EMPTY' })
  await assert.rejects(new Hypercore(storage, null, { overwrite: true }).append('lost'), { code: 'SESSION_NOT_WRITABLE' })
  assert.deepEqual([core.length, await core.getUserData('name')], [1, null])
  await core.close()
})

test('a storage of upstream\'s stands for its folder', async (t) => {
  const storage = new CoreStorage(temporaryFolder(t))
  defer(t, () => storage.close())
  const core = new Hypercore(storage)
  await core.append('kept')
  await core.close()
  const again = new Hypercore(storage)
  assert.equal(String(await again.get(0)), 'kept')
  await again.close()
})

test('the classes come by require as upstream\'s do', () => {
  const require = createRequire(import.meta.url)
  assert.equal(require('hypertab/hypercore'), Hypercore)
  assert.equal(require('hypertab').Hypercore, Hypercore)
  assert.equal(typeof require('hypertab/corestore'), 'function')
  assert.equal(typeof require('hypertab/hyperswarm'), 'function')
  assert.equal(typeof require('hypertab/dht').keyPair, 'function')
})

test('a program ends when nothing is left to do', async (t) => {
  const program = `
    const { Hypercore, memory } = require('hypertab')
    const a = new Hypercore(memory())
    const b = new Hypercore(memory(), Buffer.alloc(32, 1))
    a.append('x').then(() => b.ready())
    const s1 = a.replicate(true), s2 = a.replicate(false)
    s1.pipe(s2).pipe(s1)
  `
  const child = startProcess(t, 'node', ['-e', program], { cwd: import.meta.dirname })
  assert.deepEqual(await child.exited, { code: 0, signal: null })
})

test('much comes from upstream over TCP into a folder, and goes on from there', async (t) => {
  const theirs = await createCore(t)
  await seed(theirs, 3000, 1024)
  const ours = new Hypercore(temporaryFolder(t), theirs.key)
  defer(t, () => ours.close())
  await ours.ready()
  await connect(t, ours, await listen(t, theirs))
  await ours.download({ start: 0, end: 3000 }).done()
  assert.deepEqual(await summary(ours), await summary(theirs))
  assert.deepEqual(await ours.get(2999), block(2999, 1024))

  const reader = await createCore(t, { key: theirs.key })
  await connect(t, reader, await listen(t, ours))
  await reader.download({ start: 0, end: 3000 }).done()
  assert.deepEqual(await summary(reader), await summary(theirs))
})

test('a forged block is refused and told', async (t) => {
  const liar = await createCore(t)
  await seed(liar, 10, 64)
  forgeBlocks(liar, (index) => index === 7)
  const reader = new Hypercore(memory(), liar.key)
  defer(t, () => reader.close())
  await reader.ready()
  const refused = once(reader, 'verification-error')
  await connect(t, reader, await listen(t, liar))
  assert.deepEqual(await reader.get(3), block(3, 64))
  await assert.rejects(reader.get(7, { timeout: 1000 }), { code: 'REQUEST_TIMEOUT' })
  const [error, request, , peer] = await refused
  assert.equal(error.code, 'INVALID_CHECKSUM')
  assert.deepEqual(request.block, { index: 7 })
  assert.equal(peer.remotePublicKey.byteLength, 32)
  assert.equal(await reader.has(7), false)
})

test('an audit that is left early keeps no core open', async (t) => {
  const store = new Corestore(memory())
  defer(t, () => store.close())
  for (const name of ['a', 'b']) {
    const core = store.get({ name })
    await core.append('x')
    await core.close()
  }

  for await (const { audit } of store.audit()) {
    assert.equal(audit.droppedBlocks, 0)
    break
  }
  assert.deepEqual(store.sessions.list(), [])
})

// Not among programs that run in a page, too: there is no database of RocksDB.
sameWithBothStores('storage of the program’s own is free once its store is closed', async ({ note, folder, Corestore }) => {
  const RocksDB = createRequire(createRequire(import.meta.url).resolve('hypercore-storage'))('rocksdb-native')
  const opened = async (storage) => {
    await storage.ready()
    return storage
  }
  for (const create of [(path) => opened(new CoreStorage(path)), (path) => new RocksDB(path), (path) => new CoreStorage(new RocksDB(path))]) {
    const path = folder()
    for (let i = 0; i < 2; i++) {
      const storage = await create(path)
      const store = new Corestore(storage, { primaryKey: Buffer.alloc(32, 5), unsafe: true })
      const core = store.get({ name: 'a' })
      await core.append(String(i))
      await storage.ready()
      note(storage.opened, storage.closed, core.length, await core.get(0))
      await store.close()
      note(storage.closed)
    }
  }
})
