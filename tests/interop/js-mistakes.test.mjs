// What a newcomer gets wrong is said in words, at once.

import assert from 'node:assert/strict'
import test from 'node:test'

import { Corestore, Hyperbee, Hypercore, Hyperdrive, Hyperswarm, importStore, memory, Retention } from 'hypertab'

test('what is missing, or is something else, is named', async () => {
  assert.throws(() => new Hyperbee(), /^TypeError: a bee needs a core$/)
  assert.throws(() => new Hyperdrive(), /^TypeError: a drive needs a Corestore$/)
  assert.throws(() => new Hyperdrive(memory()), /^TypeError: a drive needs a Corestore$/)
  assert.throws(() => new Retention(new Corestore(memory())), /^RangeError: the limit is a number of bytes$/)
  for (const file of ['store.hypertab', 5, {}, null]) {
    await assert.rejects(importStore(file, memory()), /^TypeError: a store comes from a Blob, a Response, a stream or pieces$/)
  }
})

test('a storage of another copy of the package is told from what is none', async () => {
  const other = await import(new URL('browser/storage.js', new URL('../', import.meta.resolve('hypertab'))).href)

  const refused = /^TypeError: the storage is of another copy of hypertab; take it from the one that opens it$/
  assert.throws(() => new Corestore(other.memory()), refused)
  await assert.rejects(new Hypercore(other.memory()).ready(), refused)
  assert.throws(() => new Corestore({}), /^TypeError: storage must be a path or a storage object/)
})

test('a topic has 32 bytes', async () => {
  const swarm = new Hyperswarm({ relay: 'ws://127.0.0.1:9' })
  for (const topic of [undefined, 'a topic', new Uint8Array(31)]) {
    assert.throws(() => swarm.join(topic), /^Error: Topic is required and must be a 32-byte buffer$/)
  }
  await swarm.destroy()
})
