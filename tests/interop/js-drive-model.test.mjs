// A drive against a Map: whatever is done, both say the same, also after a crash in the middle of it.
//
// A crash is a copy of the folder at some moment of a change, which is opened in its place: it has all of the change, or nothing.
//
// HYPERTAB_DRIVE_STEPS is how many steps there are, and HYPERTAB_SEED which ones.

import assert from 'node:assert/strict'
import { cpSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import test from 'node:test'

import Corestore from 'hypertab/corestore'
import Hyperdrive from 'hypertab/hyperdrive'

import { temporaryFolder } from './support/folder.mjs'

const STEPS = Number(process.env.HYPERTAB_DRIVE_STEPS ?? 2000)
const SEED = Number(process.env.HYPERTAB_SEED ?? 1)

/** Versions that are kept to look at again, and content that a file has at most, in bytes. */
const KEPT = 24
const MOST = 3000

test(`a drive and a map, ${STEPS} steps from seed ${SEED}`, async (t) => {
  const random = generator(SEED)
  const below = (limit) => Math.floor(random() * limit)
  const pick = (list) => list[below(list.length)]
  const root = temporaryFolder(t)
  let folder = join(root, '0')
  let copies = 0
  const crashes = { kept: 0, lost: 0 }
  const encryptionKey = below(2) === 0 ? Buffer.alloc(32, 5) : null
  const open = async () => {
    const drive = new Hyperdrive(new Corestore(folder), { encryptionKey })
    await drive.ready()
    return drive
  }

  let drive = await open()
  let files = new Map()
  /** Copies of the map by version. */
  const versions = new Map([[Math.max(drive.version, 1), new Map()]])
  const path = () => '/' + Array.from({ length: 1 + below(3) }, () => pick(['a', 'b', 'c', 'dir', 'dir-x', 'ü'])).join('/')
  const content = () => Buffer.alloc(below(MOST), String(below(1e9)))

  const put = async (to, model, name) => {
    const bytes = content()
    const options = { executable: below(4) === 0, metadata: below(3) === 0 ? { n: below(100) } : null }
    if (below(3) > 0) {
      await to.put(name, bytes, options)
    } else {
      const stream = to.createWriteStream(name, { ...options, dedup: below(2) === 0 })
      const closed = new Promise((resolve, reject) => stream.on('error', reject).on('close', resolve))
      for (let i = 0; i < bytes.byteLength; i += 1000) stream.write(bytes.subarray(i, i + 1000))
      stream.end()
      await closed
    }
    model.set(name, { bytes, linkname: null, ...options })
  }
  const change = async (to, model) => {
    const name = path()
    const kind = below(10)
    if (kind < 6) {
      await put(to, model, name)
    } else if (kind < 8) {
      const gone = model.size > 0 && below(4) > 0 ? pick([...model.keys()]) : name
      await to.del(gone)
      model.delete(gone)
    } else {
      const linkname = path()
      await to.symlink(name, linkname)
      model.set(name, { bytes: null, linkname, executable: false, metadata: null })
    }
  }
  const keep = () => {
    versions.set(Math.max(drive.version, 1), new Map(files))
    while (versions.size > KEPT) versions.delete(pick([...versions.keys()]))
  }

  const crash = async () => {
    const before = { folder, version: drive.version }
    const changed = new Map(files)
    const pending = change(drive, changed)
    for (let turns = below(12); turns > 0; turns--) await new Promise((resolve) => setImmediate(resolve))
    folder = join(root, String(++copies))
    cpSync(before.folder, folder, { recursive: true })
    await pending
    await drive.close()
    rmSync(before.folder, { recursive: true })
    drive = await open()
    const isKept = drive.version > before.version
    if (isKept) files = changed
    crashes[isKept ? 'kept' : 'lost']++
    await sameAll(drive, files)
    keep()
  }

  for (let step = 0; step < STEPS; step++) {
    const kind = below(100)
    try {
      if (kind < 55) {
        await change(drive, files)
        keep()
      } else if (kind < 60) {
        const batch = drive.batch()
        const changed = new Map(files)
        for (let i = below(6); i > 0; i--) await change(batch, changed)
        await same(batch, changed, path())
        if (below(4) > 0) {
          await batch.flush()
          files = changed
        } else {
          await batch.close()
        }
        keep()
      } else if (kind < 80) {
        await same(drive, files, path())
      } else if (kind < 85) {
        await sameList(drive, files, pick(['/', '/dir', '/a', '/ü', '/dir/a']))
      } else if (kind < 89) {
        const [version, model] = pick([...versions])
        const old = drive.checkout(version)
        await sameList(old, model, '/')
        await same(old, model, path())
        await old.close()
      } else if (kind < 93) {
        const [version, model] = pick([...versions])
        await sameDifference(drive, files, version, model)
      } else if (kind < 96) {
        for (const [name, { bytes }] of [...files].slice(0, 3)) {
          if (!bytes?.byteLength) continue
          const [start, length] = [below(bytes.byteLength), below(bytes.byteLength)]
          assert.deepEqual(Buffer.from(await drive.get(name, { start, length })), bytes.subarray(start, start + length))
        }
      } else if (kind < 97) {
        const all = [...versions].filter(([version]) => version <= drive.version)
        const [version, model] = pick(all)
        if (below(3) === 0 && version < drive.version) {
          await drive.truncate(version)
          files = new Map(model)
          // Content of versions before is cut, too, where it lies behind what this one needs.
          for (const known of [...versions.keys()]) if (known !== version) versions.delete(known)
        }
      } else if (kind < 98) {
        if (below(2) === 0) {
          await crash()
        } else {
          await drive.close()
          drive = await open()
        }
      } else {
        await sameAll(drive, files)
      }
    } catch (error) {
      error.message = `step ${step} of seed ${SEED}: ${error.message}`
      await drive.close().catch(() => {})
      throw error
    }
  }
  await sameAll(drive, files)
  await drive.close()
  t.diagnostic(`crashes that kept what was being done: ${crashes.kept}, that lost it: ${crashes.lost}`)
})

async function same (drive, files, name) {
  const expected = files.get(name)
  const entry = await drive.entry(name)
  assert.equal(entry !== null, expected !== undefined, name)
  assert.equal(await drive.exists(name), expected !== undefined)
  const found = await drive.get(name)
  if (!expected) return assert.equal(found, null)
  const { executable, linkname, metadata } = entry.value
  assert.deepEqual({ executable, linkname, metadata }, { executable: expected.executable, linkname: expected.linkname, metadata: expected.metadata }, name)
  assert.deepEqual(found && Buffer.from(found), expected.bytes)
}

async function sameList (drive, files, folder) {
  const prefix = folder === '/' ? '/' : folder + '/'
  const expected = [...files.keys()].filter((name) => name.startsWith(prefix)).sort(order)
  const found = []
  for await (const { key } of drive.list(folder)) found.push(key)
  assert.deepEqual(found, expected, folder)
  const children = []
  for await (const name of drive.readdir(folder)) children.push(name)
  const direct = new Set(expected.map((name) => name.slice(prefix.length).split('/')[0]))
  assert.deepEqual([...new Set(children)].sort(order), [...direct].sort(order), folder)
}

async function sameDifference (drive, files, version, model) {
  const found = new Map()
  for await (const { left, right } of drive.diff(version, '/')) found.set((left ?? right).key, [left !== null, right !== null])
  for (const name of new Set([...files.keys(), ...model.keys()])) {
    const isSame = files.get(name) === model.get(name)
    assert.deepEqual(found.get(name), isSame ? undefined : [files.has(name), model.has(name)], name)
    found.delete(name)
  }
  assert.equal(found.size, 0)
}

async function sameAll (drive, files) {
  await sameList(drive, files, '/')
  for (const name of files.keys()) await same(drive, files, name)
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
