// A drive against a folder on the disk: whatever is done, both say the same, also after a crash in the middle of it.
//
// A crash is a copy of the store's folder at some moment of a change, which is opened in its place: it has all of the change, or nothing.
//
// HYPERTAB_DRIVE_STEPS is how many steps there are, and HYPERTAB_SEED which ones.

import assert from 'node:assert/strict'
import { cpSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import test from 'node:test'

import Corestore from 'hypertab/corestore'
import Hyperdrive from 'hypertab/hyperdrive'

import { temporaryFolder } from './support/folder.mjs'
import { ModelFolder } from './support/model-folder.mjs'

const STEPS = Number(process.env.HYPERTAB_DRIVE_STEPS ?? 2000)
const SEED = Number(process.env.HYPERTAB_SEED ?? 1)

/** Versions that are kept to look at again, of how many changes one is, and content that a file has at most, in bytes. */
const KEPT = 24
const KEPT_OF = 16
const MOST = 3000

test(`a drive and a folder, ${STEPS} steps from seed ${SEED}`, async (t) => {
  const random = generator(SEED)
  const below = (limit) => Math.floor(random() * limit)
  const pick = (list) => list[below(list.length)]
  const root = temporaryFolder(t)
  let folder = join(root, '0')
  let copies = 0
  const next = () => join(root, String(++copies))
  const crashes = { kept: 0, lost: 0 }
  const encryptionKey = below(2) === 0 ? Buffer.alloc(32, 5) : null
  const open = async () => {
    const drive = new Hyperdrive(new Corestore(folder), { encryptionKey })
    await drive.ready()
    return drive
  }

  let drive = await open()
  const model = new ModelFolder(next())
  /** Copies of the model by version. */
  const versions = new Map([[Math.max(drive.version, 1), model.copy(next())]])
  const path = () => '/' + Array.from({ length: 1 + below(3) }, () => pick(['a', 'b', 'c', 'dir', 'dir-x', 'ü'])).join('/')
  const content = () => Buffer.alloc(below(MOST), String(below(1e9)))

  const put = async (to, model, name) => {
    const bytes = content()
    const options = { executable: below(4) === 0, metadata: below(3) === 0 ? { n: below(100) } : null }
    if (below(3) > 0) {
      await to.put(name, bytes, options)
    } else {
      // Parts are looked for in the content before, which has to be here.
      const stream = to.createWriteStream(name, { ...options, dedup: below(2) === 0 && !model.read(name)?.isCleared })
      const closed = new Promise((resolve, reject) => stream.on('error', reject).on('close', resolve))
      for (let i = 0; i < bytes.byteLength; i += 1000) stream.write(bytes.subarray(i, i + 1000))
      stream.end()
      await closed
    }
    model.put(name, bytes, options)
  }
  const change = async (to, model) => {
    const name = path()
    const kind = below(10)
    if (kind < 6) {
      await put(to, model, name)
    } else if (kind < 8) {
      const names = model.names()
      const gone = names.length > 0 && below(4) > 0 ? pick(names) : name
      await to.del(gone)
      model.del(gone)
    } else {
      const linkname = path()
      await to.symlink(name, linkname)
      model.symlink(name, linkname)
    }
  }
  const clear = async () => {
    const names = model.names()
    const name = names.length > 0 ? pick(names) : path()
    const file = model.read(name)
    if (file?.isCleared) return
    await drive.clear(name)
    if (file?.bytes?.byteLength > 0) model.clear(name)
  }
  const forget = (version) => {
    versions.get(version).remove()
    versions.delete(version)
  }
  const keep = () => {
    const version = Math.max(drive.version, 1)
    if (!versions.has(version)) versions.set(version, model.copy(next()))
    while (versions.size > KEPT) forget(pick([...versions.keys()]))
  }
  const crash = async () => {
    const before = { folder, version: drive.version }
    const saved = model.copy(next())
    const pending = change(drive, model)
    for (let turns = below(12); turns > 0; turns--) await new Promise((resolve) => setImmediate(resolve))
    folder = next()
    cpSync(before.folder, folder, { recursive: true })
    await pending
    await drive.close()
    rmSync(before.folder, { recursive: true })
    drive = await open()
    const isKept = drive.version > before.version
    if (!isKept) model.restore(saved)
    saved.remove()
    crashes[isKept ? 'kept' : 'lost']++
    await sameAll(drive, model, pick)
    keep()
  }

  for (let step = 0; step < STEPS; step++) {
    const kind = below(100)
    try {
      if (kind < 53) {
        await change(drive, model)
        if (below(KEPT_OF) === 0) keep()
      } else if (kind < 55) {
        await clear()
      } else if (kind < 60) {
        const batch = drive.batch()
        const saved = model.copy(next())
        for (let i = below(6); i > 0; i--) await change(batch, model)
        await same(batch, model, path())
        if (below(4) > 0) {
          await batch.flush()
        } else {
          await batch.close()
          model.restore(saved)
        }
        saved.remove()
        if (below(KEPT_OF) === 0) keep()
      } else if (kind < 80) {
        await same(drive, model, path())
      } else if (kind < 85) {
        await sameList(drive, model, pick(['/', '/dir', '/a', '/ü', '/dir/a']))
      } else if (kind < 89) {
        const [version, model] = pick([...versions])
        const old = drive.checkout(version)
        await sameList(old, model, '/')
        await same(old, model, path())
        if (below(16) === 0) await sameAll(old, model, pick)
        await old.close()
      } else if (kind < 93) {
        const [version, other] = pick([...versions])
        await sameDifference(drive, model, version, other)
      } else if (kind < 96) {
        for (const name of model.names().slice(0, 3)) {
          const { bytes, isCleared } = model.read(name)
          if (!bytes?.byteLength || isCleared) continue
          const [start, length] = [below(bytes.byteLength), below(bytes.byteLength)]
          assert.deepEqual(Buffer.from(await drive.get(name, { start, length, wait: false })), bytes.subarray(start, start + length))
        }
      } else if (kind < 97) {
        const all = [...versions].filter(([version]) => version <= drive.version)
        const [version, other] = pick(all)
        if (below(3) === 0 && version < drive.version) {
          await drive.truncate(version)
          model.restore(other)
          // Content of versions before is cut, too, where it lies behind what this one needs.
          for (const known of [...versions.keys()]) if (known !== version) forget(known)
        }
      } else if (kind < 98) {
        if (below(2) === 0) {
          await crash()
        } else {
          await drive.close()
          drive = await open()
          await sameAll(drive, model, pick)
        }
      } else {
        await sameAll(drive, model, pick)
      }
    } catch (error) {
      error.message = `step ${step} of seed ${SEED}: ${error.message}`
      await drive.close().catch(() => {})
      throw error
    }
  }
  await sameAll(drive, model, pick)
  await drive.close()
  t.diagnostic(`crashes that kept what was being done: ${crashes.kept}, that lost it: ${crashes.lost}`)
})

async function same (drive, model, name) {
  const expected = model.read(name)
  const entry = await drive.entry(name)
  assert.equal(entry !== null, expected !== null, name)
  assert.equal(await drive.exists(name), expected !== null)
  if (expected === null) return assert.equal(await drive.get(name), null)
  sameEntry(entry, expected)
  // Nobody else has what is not here.
  const get = drive.get(name, { wait: false })
  if (expected.isCleared) return await assert.rejects(get, { code: 'BLOCK_NOT_AVAILABLE' }, name)
  const found = await get
  assert.deepEqual(found && Buffer.from(found), expected.bytes, name)
}

function sameEntry ({ key, value: { executable, linkname, metadata } }, expected) {
  assert.deepEqual({ executable, linkname, metadata }, { executable: expected.executable, linkname: expected.linkname, metadata: expected.metadata }, key)
}

async function sameList (drive, model, folder) {
  const found = []
  for await (const { key } of drive.list(folder)) found.push(key)
  assert.deepEqual(found, model.names(folder).sort(order), folder)
  const [, children] = model.folders().find(([name]) => name === folder) ?? [folder, []]
  await sameChildren(drive, folder, children)
}

async function sameChildren (drive, folder, children) {
  const found = []
  for await (const name of drive.readdir(folder)) found.push(name)
  assert.deepEqual([...new Set(found)].sort(order), children.sort(order), folder)
}

async function sameDifference (drive, model, version, other) {
  const found = new Map()
  for await (const { left, right } of drive.diff(version, '/')) found.set((left ?? right).key, [left !== null, right !== null])
  const [left, right] = [model.inodes(), other.inodes()]
  for (const name of new Set([...left.keys(), ...right.keys()])) {
    const isSame = left.get(name) === right.get(name)
    assert.deepEqual(found.get(name), isSame ? undefined : [left.has(name), right.has(name)], name)
    found.delete(name)
  }
  assert.equal(found.size, 0)
}

async function sameAll (drive, model, pick) {
  const names = model.names().sort(order)
  const found = []
  for await (const entry of drive.entries()) {
    found.push(entry.key)
    sameEntry(entry, model.read(entry.key) ?? assert.fail(`${entry.key} is in the drive alone`))
  }
  assert.deepEqual(found, names)
  const folders = model.folders()
  for (let i = 0; i < 6; i++) await sameChildren(drive, ...pick(folders))
  for (const name of names) await same(drive, model, name)
}

// Bees sort by the bytes of UTF-8.
function order (a, b) {
  return Buffer.compare(Buffer.from(a), Buffer.from(b))
}

function generator (seed) {
  let state = (seed * 2654435761) >>> 0 || 1
  return () => {
    state ^= state << 13
    state >>>= 0
    state ^= state >>> 17
    state ^= state << 5
    state >>>= 0
    return state / 2 ** 32
  }
}
