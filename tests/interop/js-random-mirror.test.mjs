// Random programs over drives and folders that are mirrored into each other, run with upstream's classes and with ours: every answer,
// and what each of them has afterwards, is the same.
//
// HYPERTAB_SEED begins with other programs, and HYPERTAB_RANDOM is how many there are.

import { mkdirSync } from 'node:fs'
import { Transform } from 'node:stream'
import { join } from 'node:path'
import test from 'node:test'

import { outcome, plain } from './support/both.mjs'
import { defer } from './support/cleanup.mjs'
import { collect, kits } from './support/drives.mjs'
import { temporaryFolder } from './support/folder.mjs'
import { assertSameNotes } from './support/notes.mjs'
import { randomOf } from './support/torn-file.mjs'

const SEED = Number(process.env.HYPERTAB_SEED ?? 1)
const COUNT = Number(process.env.HYPERTAB_RANDOM ?? 8)
const STEPS = 40

const NAMES = ['/a', '/b.txt', '/dir/c', '/dir/sub/d.txt', '/dir/sub/e', '/z', '/dir2/f', '/é ü', '/A', '/dir/.hidden', '/dir.x']

for (let seed = SEED; seed < SEED + COUNT; seed++) {
  test(`program ${seed}`, async (t) => {
    const expected = await play(t, kits.upstream, seed)
    const found = await play(t, kits.hypertab, seed)
    assertSameNotes(expected, found, `HYPERTAB_SEED=${seed}`)
  })
}

async function play (t, kit, seed) {
  const below = randomOf(seed)
  const pick = (list) => list[below(list.length)]
  const notes = []
  const folders = []
  const note = (...values) => {
    const text = folders.reduce((text, folder, at) => text.replaceAll(folder, `FOLDER${at}`), JSON.stringify(values.map(plain)))
    notes.push(JSON.parse(text))
  }
  const store = new kit.Corestore(temporaryFolder(t), { primaryKey: Buffer.alloc(32, 5), unsafe: true })
  defer(t, () => store.close())
  /** What folders keep beside files. */
  const kept = []

  const open = async (_, at) => {
    if (below(2) === 0) {
      const drive = new kit.Hyperdrive(store.namespace(`drive ${at}`))
      defer(t, () => drive.close())
      await drive.ready()
      return drive
    }
    const map = new Map()
    const metadata = { get: (key) => map.get(key) ?? null, put: async (key, value) => { map.set(key, value) }, del: async (key) => { map.delete(key) } }
    kept.push(map)
    folders.push(temporaryFolder(t))
    return new kit.Localdrive(folders.at(-1), pick([{}, { metadata }, { atomic: true }, { followLinks: true }, { metadata, followExternalLinks: true }]))
  }
  const drives = [await open(null, 0), await open(null, 1), await open(null, 2)]
  const isFolder = (drive) => drive instanceof kit.Localdrive

  const content = () => pick([() => Buffer.from('x'.repeat(below(5))), () => Buffer.from(`c${below(4)}`), () => Buffer.alloc(70_000 + below(3), below(3))])()
  const tree = async (drive) => {
    const files = []
    for await (const { key, value } of drive.list('/')) {
      files.push([key, value.executable, value.linkname, value.metadata, value.blob?.byteLength, value.blob ? String(await drive.get(key)).slice(0, 20) : null])
    }
    return files.sort(([a], [b]) => a < b ? -1 : 1)
  }

  const mirrored = async (drive) => {
    const to = pick(drives.filter((other) => other !== drive))
    const options = {}
    const maybe = (of, name, value) => { if (below(of) === 0) options[name] = value() }
    maybe(3, 'dryRun', () => true)
    maybe(3, 'prune', () => false)
    maybe(3, 'includeEquals', () => true)
    maybe(4, 'batch', () => true)
    maybe(4, 'prefix', () => pick(['/dir', '/', 'dir/sub', '/a', ['/dir/sub', '/a'], '/none', ['/dir', '/dir/sub']]))
    maybe(4, 'filter', () => pick([(key) => key.endsWith('txt'), () => false, (key) => !key.startsWith('/dir/')]))
    maybe(4, 'ignore', () => pick(['/dir', ['/dir/sub', '/a'], (key) => key === '/z', 'dir/c', '/dir/']))
    maybe(6, 'entries', () => pick([['/a', '/dir/c'], ['/b.txt'], ['dir/c', '/z']]))
    maybe(6, 'metadataEquals', () => pick([() => true, () => false]))
    maybe(8, 'preload', () => false)
    maybe(8, 'progress', () => true)
    maybe(6, 'transformers', () => [(key) => key.endsWith('txt') ? new Transform({ transform (data, _, done) { done(null, String(data).toUpperCase()) } }) : null])
    // Upstream fails on the name of a file that is not there.
    if (options.entries) {
      const there = await Promise.all(options.entries.map((name) => drive.exists(name)))
      options.entries = options.entries.filter((_, at) => there[at])
    }
    const mirror = drive.mirror(to, options)
    const steps = []
    const { error } = await outcome((async () => { for await (const step of mirror) steps.push(step) })())
    // A folder lists in any order.
    if (isFolder(drive) || isFolder(to)) steps.sort(({ key: a, op: c }, { key: b, op: d }) => a + c < b + d ? -1 : 1)
    return [drives.indexOf(to), Object.keys(options), steps, mirror.count, mirror.bytesAdded, mirror.bytesRemoved, mirror.finished, error?.message]
  }

  const ways = {
    put: [8, (drive, name) => drive.put(name, content(), pick([undefined, { executable: true }, { metadata: { m: below(2) } }, { metadata: null }, { executable: true, metadata: 'x' }]))],
    del: [2, (drive, name) => drive.del(name)],
    symlink: [2, (drive, name) => drive.symlink(name, pick([...NAMES, 'b.txt', '/none', './c']))],
    get: [2, (drive, name) => drive.get(name, pick([undefined, { follow: true }]))],
    entry: [2, async (drive, name) => {
      const entry = await drive.entry(name, pick([undefined, { follow: true }]))
      return entry && [entry.key, entry.value.executable, entry.value.linkname, entry.value.metadata, entry.value.blob?.byteLength]
    }],
    exists: [1, (drive, name) => drive.exists(name)],
    readdir: [2, async (drive) => (await collect(drive.readdir(pick(['/', '/dir', '/dir/sub', '/none', 'dir', '/dir/', '/a'])))).sort()],
    list: [2, async (drive) => {
      const options = pick([undefined, { ignore: '/dir/sub' }, { ignore: ['/a', 'dir/c'] }, { recursive: false }, { ignore: (key) => key.endsWith('txt') }])
      return (await collect(drive.list(pick(['/', '/dir', 'dir/sub', '/none', '/a']), options))).map(({ key }) => key).sort()
    }],
    folder: [1, (drive) => { if (isFolder(drive)) mkdirSync(join(drive.root, pick(['empty', 'dir/empty', 'q/w'])), { recursive: true }) }],
    mirror: [8, mirrored]
  }
  const total = Object.values(ways).reduce((sum, [weight]) => sum + weight, 0)

  for (let step = 0; step < STEPS; step++) {
    const drive = pick(drives)
    const name = pick(NAMES)
    let draw = below(total)
    const [kind, [, run]] = Object.entries(ways).find(([, [weight]]) => (draw -= weight) < 0)
    const { value = null, error } = await outcome((async () => await run(drive, name))())
    note(step, drives.indexOf(drive), kind, name, value, error ? [error.name, error.code, error.message] : null)
    for (const drive of drives) note(step, isFolder(drive), await outcome(tree(drive)).then(({ value, error }) => value ?? [error.code, error.message]))
    note(kept.map((map) => [...map].sort(([a], [b]) => a < b ? -1 : 1)))
  }
  for (const drive of drives) if (!isFolder(drive)) note(drive.version, drive.blobs?.core.length)
  return notes
}
