// What upstream's drives, mirrors, blobs and subs came to, done again with the package's classes from the same primary
// key: every key, block, tree hash, signature, listing, difference and count is the same.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import test from 'node:test'

import b4a from 'b4a'
import Corestore from 'hypertab/corestore'
import Hyperbee from 'hypertab/hyperbee'
import Hyperblobs from 'hypertab/hyperblobs'
import Hypercore from 'hypertab/hypercore'
import Hyperdrive from 'hypertab/hyperdrive'
import crypto from 'hypercore-crypto'

import { defer } from './support/cleanup.mjs'
import { collect } from './support/drives.mjs'
import { temporaryFolder } from './support/folder.mjs'

const load = (name) => JSON.parse(readFileSync(new URL(`../vectors/${name}.json`, import.meta.url), 'utf8'))
const hex = (bytes) => bytes === null ? null : b4a.toString(bytes, 'hex')
const pattern = (length, seed) => Buffer.from(Uint8Array.from({ length }, (_, i) => i * 7 + (i >>> 8) * 13 + seed))
const contentOf = (op) => op.pattern ? pattern(...op.pattern) : Buffer.from(op.utf8)
const entry = (found) => found && { seq: found.seq, key: found.key, value: found.value }
const plain = (value) => JSON.parse(JSON.stringify(value))

const basic = load('hyperdrive-basic')

test('a drive is written as upstream writes it, and read the same', async (t) => {
  const { drive } = await written(t)

  await sameCores(drive, { db: basic.core, blobs: basic.blobsCore })
  const { baseKey, encoded } = basic.blobsManifestInput
  assert.equal(hex(drive.key), baseKey)
  assert.equal(hex((await drive.getBlobs()).core.manifest ? Hypercore.key(Hyperdrive.getContentManifest(drive.core.manifest, drive.core.key)) : null), basic.blobsCore.key)
  assert.deepEqual(plain(Hypercore.parseManifest(Buffer.from(encoded, 'hex'))), plain(Hypercore.parseManifest(Hyperdrive.getContentManifest(drive.core.manifest, drive.core.key))))
  await sameBlocks(drive, basic)
  assert.equal(drive.version, basic.version)
  assert.deepEqual((await collect(drive.entries())).map(entry), basic.entries)
  for (const { folder, options, keys } of basic.lists) {
    assert.deepEqual((await collect(drive.list(folder, options))).map(({ key }) => key), keys, `${folder} ${JSON.stringify(options)}`)
  }
  for (const { folder, names } of basic.readdirs) assert.deepEqual(await collect(drive.readdir(folder)), names, folder)
  for (const { version, folder, entries } of basic.diffs) {
    const found = (await collect(drive.diff(version, folder))).map(({ left, right }) => ({ left: entry(left), right: entry(right) }))
    assert.deepEqual(found, entries, `${version} ${folder}`)
  }
  for (const { version, keys, hello } of basic.checkouts) {
    const old = drive.checkout(version)
    assert.deepEqual((await collect(old.list('/'))).map(({ key }) => key), keys)
    assert.equal(hex(await old.get('/hello.txt')), hello)
    await old.close()
  }
  for (const { path, key, get, getFollow } of basic.follow) {
    assert.equal((await drive.entry(path, { follow: true }))?.key ?? null, key, path)
    assert.deepEqual([hex(await drive.get(path)), hex(await drive.get(path, { follow: true }))], [get, getFollow], path)
  }
  await assert.rejects(drive.entry('/loop', { follow: true }), { message: basic.followLoopError })
  for (const { path, options, data, chunks } of basic.reads) {
    const parts = await collect(drive.createReadStream(path, options))
    assert.equal(hex(Buffer.concat(parts)), data, path)
    assert.deepEqual(parts.map(({ byteLength }) => byteLength), chunks, path)
  }
  for (const { input, output, error } of basic.normalize) {
    if (error === undefined) assert.equal(Hyperdrive.normalizePath(input), output, input)
    else assert.throws(() => Hyperdrive.normalizePath(input), { message: error }, input)
  }
  for (const { version, length } of basic.blobsLengthAt) assert.equal(await drive.getBlobsLength(version), length)
})

test('a drive is mirrored as upstream mirrors it', async (t) => {
  const mirrored = load('hyperdrive-mirror')
  const { drive, store } = await written(t)
  const copy = new Hyperdrive(store.namespace('mirror'))
  defer(t, () => copy.close())
  await copy.ready()
  await copy.put('/old.txt', Buffer.from('removed by prune'))
  await copy.put('/hello.txt', Buffer.from('outdated'))
  await copy.put('/exact', pattern(65536, 2))

  for (const { options, diff, count, bytesAdded, bytesRemoved, dbLength } of mirrored.runs) {
    const mirror = drive.mirror(copy, options)
    const found = await collect(mirror)
    assert.deepEqual(found, diff, JSON.stringify(options))
    assert.deepEqual({ ...mirror.count }, count)
    assert.deepEqual([mirror.bytesAdded, mirror.bytesRemoved, copy.core.length], [bytesAdded, bytesRemoved, dbLength])
  }

  await sameCores(copy, mirrored.dst)
  await sameBlocks(copy, mirrored)
})

test('an encrypted drive is written as upstream writes it', async (t) => {
  const vectors = load('hyperdrive-encrypted')
  const store = newStore(t, vectors)
  const drive = new Hyperdrive(store.namespace('encrypted'), { encryptionKey: Buffer.from(vectors.encryptionKey, 'hex') })
  defer(t, () => drive.close())
  await drive.ready()
  for (const op of vectors.ops) await drive.put(op.path, contentOf(op))

  await sameCores(drive, vectors)
  await sameBlocks(drive, vectors)
  assert.deepEqual((await collect(drive.entries())).map(entry), vectors.entries)
  const { path, options, data } = vectors.range
  assert.equal(hex(Buffer.concat(await collect(drive.createReadStream(path, options)))), data)
})

test('blobs are written as upstream writes them', async (t) => {
  const vectors = load('hyperdrive-blobs')
  const core = newStore(t, vectors).get({ name: 'blobs' })
  const blobs = new Hyperblobs(core, { blockSize: vectors.blockSize })
  await blobs.ready()
  assert.equal(hex(core.key), vectors.key)
  const batched = vectors.blobs.filter(({ batch }) => batch)
  for (const blob of vectors.blobs) {
    if (blob.batch && blob !== batched[0]) continue
    if (blob.batch) {
      const batch = blobs.batch()
      for (const { pattern: content, id } of batched) assert.deepEqual(await batch.put(pattern(...content)), id)
      await batch.flush()
    } else if (blob.blockMap) {
      const stream = blobs.createWriteStream({ blockMap: true })
      await writeAll(stream, blob.chunks)
      assert.deepEqual(stream.id, blob.id)
    } else {
      assert.deepEqual(await blobs.put(pattern(...blob.pattern)), blob.id)
    }
  }

  assert.deepEqual(await stored(core), vectors.blocks)
  for (const { blob, options, data } of vectors.reads) assert.equal(hex(await blobs.get(vectors.blobs[blob].id, options)), data)
})

test('a bee of JSON and its sub are written as upstream writes them', async (t) => {
  const { name, keyEncoding, valueEncoding, blocks, treeHash, entries, subEntries } = load('hyperbee-variants').trees.find(({ subEntries }) => subEntries)
  const core = new Hypercore(temporaryFolder(t))
  const bee = new Hyperbee(core, { keyEncoding, valueEncoding })
  defer(t, () => bee.close())
  const sub = bee.sub('s', { valueEncoding: 'utf-8' })
  for (const [, key, value] of entries) await bee.put(key, value)
  for (const [, key, value] of subEntries) await sub.put(key, value)

  assert.deepEqual(await stored(core), blocks, name)
  assert.equal(hex(await core.treeHash()), treeHash)
  const found = await Promise.all(entries.map(([, key]) => bee.get(key)))
  assert.deepEqual(found.map(({ seq, key, value }) => [seq, key, value]), entries)
  assert.deepEqual((await collect(sub.createReadStream())).map(({ seq, key, value }) => [seq, key, value]), subEntries)
})

function newStore (t, { primaryKey }) {
  const store = new Corestore(temporaryFolder(t), { primaryKey: Buffer.from(primaryKey, 'hex'), unsafe: true })
  defer(t, () => store.close())
  return store
}

/** The drive after all steps of the vectors; each is checked to append as much as upstream's. */
async function written (t) {
  const store = newStore(t, basic)
  const drive = new Hyperdrive(store.session())
  defer(t, () => drive.close())
  await drive.ready()
  const blobs = await drive.getBlobs()
  const apply = async (to, { op, path, linkname, metadata, executable, ...rest }) => {
    const options = { ...(executable && { executable }), ...(metadata && { metadata }) }
    if (op === 'put') await to.put(path, contentOf(rest), options)
    else if (op === 'symlink') await to.symlink(path, linkname, options)
    else if (op === 'del') await to.del(path)
    else if (op === 'putEntry') await to.putEntry(path, (await to.entry(rest.entryOf)).value)
    else if (op === 'writeStream') await writeAll(to.createWriteStream(path, { ...options, ...(rest.dedup && { dedup: true }) }), rest.chunks)
    else throw new Error(`no step ${op}`)
  }
  for (const op of basic.ops) {
    if (op.op === 'batch') {
      const batch = drive.batch()
      for (const one of op.ops) await apply(batch, one)
      await batch.flush()
    } else {
      await apply(drive, op)
    }
    assert.deepEqual([drive.core.length, blobs.core.length], [op.db, op.blobs], JSON.stringify(op))
  }
  return { drive, store }
}

async function writeAll (stream, chunks) {
  const closed = new Promise((resolve, reject) => stream.on('error', reject).on('close', resolve))
  for (const chunk of chunks) stream.write(Buffer.from(chunk))
  stream.end()
  await closed
}

async function sameCores (drive, { db, blobs }) {
  for (const [core, expected] of [[drive.core, db], [(await drive.getBlobs()).core, blobs]]) {
    const { length, byteLength } = core
    const found = { key: hex(core.key), discoveryKey: hex(core.discoveryKey), id: core.id, length, byteLength, treeHash: hex(await core.treeHash()), signature: hex(core.core.state.signature) }
    const { manifest, ...rest } = expected
    assert.ok(manifest)
    assert.deepEqual(found, rest)
  }
}

async function sameBlocks (drive, { dbBlocks, blobBlocks }) {
  assert.deepEqual(await stored(drive.core), dbBlocks)
  const { core } = await drive.getBlobs()
  const found = (await stored(core)).map((block) => {
    const bytes = Buffer.from(block, 'hex')
    return bytes.byteLength <= 200 ? { hex: block } : { length: bytes.byteLength, hash: hex(crypto.hash(bytes)) }
  })
  assert.deepEqual(found, blobBlocks)
}

/** The blocks of a core as they are stored. */
async function stored (core) {
  return await Promise.all(Array.from({ length: core.length }, async (_, i) => hex(await core.get(i, { raw: true }))))
}
