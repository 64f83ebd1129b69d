// Random programs over a drive, its versions and batches, mirrors to another drive and to a folder, run with upstream's drives and
// with ours: every answer is the same, and so is every block.
//
// HYPERTAB_SEED begins with other programs, and HYPERTAB_RANDOM is how many there are.

import assert from 'node:assert/strict'
import test from 'node:test'

import { outcome, within } from './support/both.mjs'
import { defer } from './support/cleanup.mjs'
import { collect, kits, noise, tree, write } from './support/drives.mjs'
import { playDrives } from './support/drive-scene.mjs'
import { temporaryFolder } from './support/folder.mjs'
import { randomOf } from './support/torn-file.mjs'

const SEED = Number(process.env.HYPERTAB_SEED ?? 1)
const COUNT = Number(process.env.HYPERTAB_RANDOM ?? 6)
const STEPS = 50

/** Versions that are kept to look at again. */
const KEPT = 5

for (let seed = SEED; seed < SEED + COUNT; seed++) {
  test(`program ${seed}`, async (t) => {
    const [expected, found] = [await play(t, kits.upstream, seed), await play(t, kits.hypertab, seed)]
    const at = expected.findIndex((note, at) => text(note) !== text(found[at]))
    assert.equal(at, -1, `step ${at} of HYPERTAB_SEED=${seed}:\n${expected.slice(Math.max(0, at - 12), at + 1).map(short).join('\n')}\n${short(found[at])}`)
    assert.equal(found.length, expected.length, `HYPERTAB_SEED=${seed}`)
  })
}

/** A folder has another name each time. */
const text = (note) => JSON.stringify(note)?.replace(/hypertab-\w{6}/g, 'FOLDER')

const short = (note) => JSON.stringify(note)?.replace(/(buffer|bytes):([0-9a-f]{40})[0-9a-f]+/g, '$1:$2…')

async function play (t, kit, seed) {
  return await playDrives([kit], (scene) => program(scene, randomOf(seed)), { folder: () => temporaryFolder(t), defer: (step) => { defer(t, step) } })
}

async function program ({ kit, store, drive: open, localdrive, note, defer }, below) {
  const pick = (list) => list[below(list.length)]
  const encrypted = below(3) === 0
  const drive = await open(...(encrypted ? [null, { encryptionKey: Buffer.alloc(32, 4) }] : []))
  const target = new kit.Hyperdrive(store().namespace('target'))
  defer(() => target.close())
  await target.ready()
  const disk = localdrive()
  const views = []

  const names = Array.from({ length: 3 + below(20) }, () => {
    const parts = Array.from({ length: 1 + below(3) }, () => pick(['a', 'b', 'c', 'a.txt', 'b c', 'é', 'a-b', 'A']))
    return `/${parts.join('/')}`
  })
  const path = () => below(25) === 0 ? pick(['/', '', 'a', './a/../b', '/none', '//a//b', 'b/']) : pick(names)
  const folder = () => pick(['/', '/a', '/b', 'c', '/a/b', '/é/', '', '/none'])
  const content = () => below(5) === 0 ? noise(below(8) === 0 ? 150_000 + below(100_000) : below(5000), 1 + below(50)) : `text ${below(6)}`
  const kept = () => ({ ...(below(4) === 0 && { executable: below(2) === 0 }), ...(below(4) === 0 && { metadata: pick([null, { a: 1 }, 'm', [1]]) }) })
  /** Versions by drive that something ended with: within a batch there is no tree. */
  const ends = new Map([[drive, [drive.version]], [target, [target.version]]])
  const origins = new Map([[drive, drive], [target, target]])
  const versionOf = (of) => pick(ends.get(origins.get(of)).filter((version) => version <= of.version))
  const waiting = () => below(2) === 0 ? { wait: false } : { timeout: 100 }
  // Beyond the end of a file upstream gives the bytes of the next one, or waits for them.
  const bounds = (size) => {
    const found = {}
    if (size === 0) return found
    if (below(3) === 0) found.start = below(size)
    const left = size - (found.start ?? 0)
    if (below(3) === 0) found.end = (found.start ?? 0) + below(left)
    else if (below(3) === 0) found.length = below(left + 1)
    return found
  }
  const range = () => {
    const found = {}
    if (below(3) === 0) found[pick(['gt', 'gte'])] = pick(names)
    if (below(3) === 0) found[pick(['lt', 'lte'])] = pick(names)
    if (below(4) === 0) found.reverse = true
    if (below(4) === 0) found.limit = below(6)
    return found
  }
  const ignored = () => below(3) > 0 ? {} : { ignore: below(2) === 0 ? pick(names) : [pick(names), folder()] }
  const keep = async (of, version) => {
    const view = of.checkout(version)
    await view.ready()
    origins.set(view, origins.get(of))
    views.push(view)
    if (views.length > KEPT) await views.shift().close()
    return view.version
  }
  const mirrored = () => ({
    ...(below(3) === 0 && { prune: below(2) === 0 }), ...(below(4) === 0 && { dryRun: true }), ...(below(4) === 0 && { prefix: below(2) === 0 ? folder() : [folder(), folder()] }),
    ...(below(4) === 0 && { includeEquals: true }), ...(below(4) === 0 && { batch: true }), ...(below(5) === 0 && { ignore: pick(names) }),
    ...(below(5) === 0 && { filter: (key) => !key.endsWith('b') }), ...(below(6) === 0 && { metadataEquals: () => true }), ...(below(6) === 0 && { transformers: [] })
  })

  const ways = {
    put: (to) => to.put(path(), content(), kept()),
    again: (to) => to.put(path(), content()),
    // With a name that is none, upstream's ends the program.
    write: (to) => write(to.createWriteStream(pick(names), kept()), Array.from({ length: below(5) }, () => below(2) === 0 ? `chunk ${below(9)}` : noise(below(70_000), 3))),
    del: (to) => to.del(path()),
    symlink: (to) => to.symlink(path(), below(4) === 0 ? pick(['none', '../a', 'a']) : pick(names)),
    putEntry: (to) => to.putEntry(path(), pick([{ metadata: { x: 1 } }, { linkname: '/a' }, { executable: true }])),
    batch: async (to) => {
      if (to !== drive) return null
      const batch = drive.batch()
      for (let i = below(6); i >= 0; i--) await ways[pick(['put', 'del', 'symlink'])](batch)
      const seen = [await collect(batch.list(folder())), await outcome(batch.get(path())), batch.version]
      if (below(5) === 0) await batch.close()
      else await batch.flush()
      return seen
    },
    clear: async (to) => {
      const name = path()
      // Upstream's fails where there is no content.
      if (to === target || !(await to.entry(name))?.value.blob) return null
      return await to.clear(name, ...(below(2) === 0 ? [{ diff: true }] : []))
    },
    truncate: async (to) => {
      if (below(4) > 0) return null
      // What upstream's shows of a version that is cut is whatever its cache has.
      while (views.length > 0) await views.pop().close()
      const version = versionOf(to)
      await to.truncate(version)
      ends.set(to, ends.get(to).filter((end) => end <= version))
      return version
    },
    get: (_to, from) => from.get(path(), { ...waiting(), ...(below(4) === 0 && { follow: true }) }),
    entry: (_to, from) => from.entry(path(), below(3) === 0 ? { follow: true } : waiting()),
    exists: (_to, from) => from.exists(path()),
    has: (_to, from) => from.has(below(2) === 0 ? path() : folder()),
    list: async (_to, from) => await collect(from.list(folder(), { ...ignored(), ...(below(3) === 0 && { recursive: false }), ...(below(5) === 0 && { reverse: true }), ...(below(5) === 0 && { limit: below(5) }) })),
    readdir: async (_to, from) => await collect(from.readdir(folder())),
    entries: async (_to, from) => await collect(from.entries(range(), below(3) > 0 ? {} : { ignore: (key) => key.startsWith('/a') })),
    diff: async (_to, from) => await collect(from.diff(versionOf(from), ...(below(2) === 0 ? [folder()] : []))),
    length: (_to, from) => from.getBlobsLength(...(below(2) === 0 ? [versionOf(from)] : [])),
    stream: async (_to, from) => {
      const name = path()
      // Of what was cleared, upstream's stream waits for a peer.
      if (!await from.has(name)) return null
      const size = (await from.entry(name))?.value.blob?.byteLength ?? 0
      return Buffer.concat(await collect(from.createReadStream(name, bounds(size))))
    },
    compare: async (_to, from) => {
      const [a, b] = [await from.entry(pick(names)), await drive.entry(pick(names))]
      return a && b ? drive.compare(a, b) : null
    },
    checkout: (to) => keep(to, versionOf(to)),
    deeper: (_to, from) => keep(from, versionOf(from)),
    mirror: async (to, from) => {
      if (from === target || to === target) return null
      for await (const { key, value } of from.list('/')) if (!value.linkname && !await from.has(key)) return null
      const mirror = from.mirror(below(2) === 0 ? target : disk, mirrored())
      const steps = await outcome(collect(mirror))
      return [steps, { ...mirror.count }, mirror.bytesAdded, mirror.bytesRemoved]
    },
    target: () => tree(target),
    disk: () => tree(disk),
    download: async (_to, from) => {
      if (!await from.has(folder())) return null
      return await from.download(folder()).done()
    }
  }
  const kinds = Object.keys(ways)

  for (let step = 0; step < STEPS; step++) {
    const kind = pick(kinds)
    const to = below(8) === 0 ? target : drive
    const readers = [drive, target, ...views]
    const from = pick(readers)
    const { value = null, error } = await within(2000, outcome(ways[kind](to, from)))
    for (const [of, versions] of ends) versions.push(of.version)
    note(step, kind, readers.indexOf(from), value, error ? [error.name, error.code, error.message] : null, drive.version, drive.core.length, drive.blobs.core.length, drive.blobs.core.byteLength, target.version)
  }
  for (const of of [drive, target]) note(await blocksOf(of.core), await blocksOf(of.blobs.core))
  for (const view of views) await view.close()
}

/** What a core holds of each block. */
async function blocksOf (core) {
  const blocks = []
  for (let i = 0; i < core.length; i++) blocks.push(await core.get(i, { wait: false, raw: true }))
  return blocks
}
