// The border of the engine: every export is known to travel to an engine elsewhere, or to only compute.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'node:test'
import { runInNewContext } from 'node:vm'

import Corestore from 'hypertab/corestore'
import Hypercore from 'hypertab/hypercore'
import Hyperdrive from 'hypertab/hyperdrive'
import { memory } from 'hypertab/storage'

import { root } from '../../scripts/lib/run.mjs'

/** Exports without a handle of something that is open, or that are only called in the engine that the handle is of. */
const COMPUTES = /^(start|pollEvents|revision|handleTimeout|writeCommits|gatherCommits|settleStore|coreStagedLength|openFileStore|openIndexedDbStore|openImportedCore|coreImportRange|coreImportBytes|decodeRecord|encodeRecord|contentManifest|encodeBlockMap|decodeBlockMap|Chunker|Bee\w+|bee\w+|TrieWalk|trieHeader|namedKeyPair|childNamespace|keyPair|discoveryKey|hash|keyedHash|sign|verify|randomBytes|xsalsa20|encryptBlock|decryptBlock)$/

test('every export of the engine travels or only computes', () => {
  const read = (name) => readFileSync(join(root, 'wasm', 'js', ...name.split('/')), 'utf8')
  const border = /export interface Engine \{\n([^]*?)\n\}\n/.exec(read('binding.ts'))[1]
  const names = [...border.matchAll(/^ {2}(\w+)\??(?: \(|:)/gm)].map(([, name]) => name)
  const table = new Set(read('remote/table.ts').match(/\w+/g))

  assert.ok(names.length > 100)
  assert.deepEqual(names.filter((name) => !COMPUTES.test(name) && !table.has(name)), [])
})

test('a manifest with numbers that would be rounded is refused', () => {
  const beyond = Uint8Array.of(0xff, 0, 0, 0, 0, 0, 0, 0x20, 0)
  const most = Uint8Array.of(0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x1f, 0)
  const manifest = (length) => Buffer.concat([Buffer.of(1, 2, 0, 0, 0), Buffer.alloc(32, 7), length])

  assert.equal(Hypercore.parseManifest(manifest(most)).prologue.length, Number.MAX_SAFE_INTEGER)
  assert.throws(() => Hypercore.parseManifest(manifest(beyond)), /exceeds max safe integer/)
  assert.throws(() => Hypercore.parseManifest(Buffer.concat([Buffer.of(1, 0, 0), beyond, Buffer.of(0)])), /exceeds max safe integer/)
})

test('what is no text is refused, and the engine goes on', async () => {
  const store = new Corestore(memory())
  const core = store.get({ name: 'text' })
  await core.append('block')

  for (const wrong of [7, {}, true, Symbol('name'), ['name']]) {
    for (const call of [
      () => store.get({ name: wrong }).ready(), () => core.session({ name: wrong }).ready(), () => core.setUserData(wrong, 'x'), () => core.getUserData(wrong)
    ]) await assert.rejects(async () => await call(), (error) => error.code !== 'ENGINE_FAILED', String(wrong))
  }
  assert.equal(String(await core.get(0)), 'block')
  await store.close()
})

test('bytes of another realm, as of a frame or of a test with globals of jsdom, are bytes', async () => {
  const [block, ...others] = runInNewContext('[Uint8Array.of(1, 2), Uint8Array.of(3), new Uint8Array(32).fill(4)]')
  assert.ok(!(block instanceof Uint8Array))
  const store = new Corestore(memory())
  const core = store.get({ name: 'bytes' })

  await core.append(block)
  await core.append(others)
  const drive = new Hyperdrive(store.namespace('drive'))
  await drive.put('/a', block)
  await core.setUserData('a', block)

  assert.deepEqual(await Promise.all([0, 1, 2].map((index) => core.get(index))), [Buffer.of(1, 2), Buffer.of(3), Buffer.alloc(32, 4)])
  assert.deepEqual(await drive.get('/a'), Buffer.of(1, 2))
  assert.deepEqual(await core.getUserData('a'), Buffer.of(1, 2))
  const other = store.get({ key: others[1] })
  await other.ready()
  assert.deepEqual(other.key, Buffer.alloc(32, 4))
  await store.close()
})
