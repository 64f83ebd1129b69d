// Random programs over a bee, its branches, versions, parts and batches, run with upstream's class and with ours: every answer is
// the same.
//
// HYPERTAB_SEED begins with other programs, and HYPERTAB_RANDOM is how many there are.

import test from 'node:test'

import { beeOf } from './support/bees.mjs'
import { blocksOf, collect } from './support/bee-scene.mjs'
import { implementations, plain } from './support/both.mjs'
import { defer } from './support/cleanup.mjs'
import { temporaryFolder } from './support/folder.mjs'
import { assertSameNotes } from './support/notes.mjs'
import { randomOf } from './support/torn-file.mjs'

const SEED = Number(process.env.HYPERTAB_SEED ?? 1)
const COUNT = Number(process.env.HYPERTAB_RANDOM ?? 12)
const STEPS = 60

/** Views that are kept to look at again. */
const KEPT = 6

for (let seed = SEED; seed < SEED + COUNT; seed++) {
  test(`program ${seed}`, async (t) => {
    const expected = await play(t, implementations.upstream, seed)
    const found = await play(t, implementations.hypertab, seed)
    assertSameNotes(expected, found, `HYPERTAB_SEED=${seed}`)
  })
}

async function play (t, Hypercore, seed) {
  const below = randomOf(seed)
  const Bee = beeOf(Hypercore)
  const notes = []
  const core = new Hypercore(temporaryFolder(t), below(3) === 0 ? { encryption: { key: Buffer.alloc(32, 3) } } : {})
  defer(t, () => core.close())
  await core.ready()
  const range = 5 + below(200)
  const options = { keyEncoding: 'utf-8', valueEncoding: below(4) === 0 ? 'json' : 'utf-8', alwaysDuplicate: below(3) > 0 }
  const bee = new Bee(core, options)
  // It stays: what empties a bee within a batch, upstream cannot read.
  await bee.put('z', 'last')
  /** Those that can be written, and those that only show something. */
  const writers = [bee, bee.sub('part')]
  const views = []
  /** Versions by log that something ended with: within a batch there is no tree. */
  const ends = new Map([[core, [2]]])
  const logs = new Map(writers.map((writer) => [writer, core]))
  const versionOf = (reader) => {
    const known = ends.get(logs.get(reader)).filter((version) => version <= reader.version)
    return known[below(known.length)] ?? 2
  }

  const key = () => `k${String(below(range)).padStart(3, '0')}`
  const value = () => below(6) === 0 ? null : `v${below(4)}${'x'.repeat(below(5) === 0 ? below(300) : 0)}`
  const bounds = () => {
    const found = {}
    if (below(2) === 0) found[below(2) === 0 ? 'gt' : 'gte'] = key()
    if (below(2) === 0) found[below(2) === 0 ? 'lt' : 'lte'] = key()
    if (below(3) === 0) found.reverse = true
    if (below(3) === 0) found.limit = below(12)
    return found
  }
  // Only what there is: upstream waits for blocks behind a version, and has none before the first one.
  const history = (version) => {
    const found = {}
    if (below(2) === 0) found[['gt', 'gte', 'since'][below(3)]] = below(2) === 0 ? below(version) : -below(version - 1)
    if (below(2) === 0) found[['lt', 'lte', 'end'][below(3)]] = below(2) === 0 ? below(version) : -below(version - 1)
    if (below(3) === 0) found.reverse = true
    if (below(3) === 0) found.limit = below(12)
    return found
  }
  const cas = () => {
    const answer = below(2) === 0
    return below(3) === 0 ? { cas: (prev, next) => answer || prev?.value !== next?.value } : undefined
  }
  const keep = async (view, of) => {
    await view.ready()
    logs.set(view, logs.get(of))
    views.push(view)
    if (views.length > KEPT) await views.shift().close()
    return view.version
  }

  const ways = {
    put: async (writer) => { await writer.put(key(), value(), cas()) },
    del: async (writer) => { await writer.del(key(), cas()) },
    batch: async (writer) => {
      const batch = writer.batch()
      const seen = []
      for (let i = below(60); i >= 0; i--) {
        if (below(4) === 0) await batch.del(key(), cas())
        else await batch.put(key(), value(), cas())
        if (below(20) === 0) seen.push(await batch.get(key()), await collect(batch.createReadStream(bounds())))
      }
      seen.push(batch.length, batch.version)
      if (below(6) === 0) await batch.close()
      else await batch.flush()
      return seen
    },
    truncate: async (writer) => {
      // A branch loses what it shares with a log that is cut below it.
      if (below(4) > 0 || (logs.get(writer) === core && writers.length > 2)) return null
      const length = versionOf(writer)
      // What upstream's shows of a version that is cut is whatever its cache has.
      while (views.length > 0) await views.pop().close()
      await writer.core.truncate(length)
      ends.set(logs.get(writer), ends.get(logs.get(writer)).filter((version) => version <= length))
      // Upstream's keeps blocks that were cut off in parts that were made before.
      writers[1] = bee.sub('part')
      logs.set(writers[1], core)
      return length
    },
    branch: async () => {
      if (writers.length > 3) return null
      const session = core.session({ name: `branch ${notes.length}` })
      await session.ready()
      const branch = new Bee(session, options)
      await branch.ready()
      writers.push(branch)
      logs.set(branch, session)
      ends.set(session, ends.get(core).filter((version) => version <= branch.version))
      return branch.version
    },
    get: async (_writer, reader) => await reader.get(key()),
    peek: async (_writer, reader) => await reader.peek(bounds()),
    range: async (_writer, reader) => await collect(reader.createReadStream(bounds())),
    resume: async (_writer, reader) => {
      const given = { ...bounds(), limit: -1 }
      const iterator = reader.createRangeIterator(given)
      await iterator.open()
      const seen = []
      for (let i = below(30); i >= 0; i--) seen.push((await iterator.next())?.key)
      const { checkpoint, ended } = iterator.snapshot()
      await iterator.close()
      return [seen, ended, checkpoint, ended ? [] : await collect(reader.createReadStream({ ...given, checkpoint }))]
    },
    history: async (_writer, reader) => await collect(reader.createHistoryStream(history(reader.version))),
    diff: async (_writer, reader) => await collect(reader.createDiffStream(versionOf(reader), bounds())),
    seq: async (_writer, reader) => reader.version > 1 ? await reader.getBySeq(1 + below(reader.version - 1)) : null,
    checkout: async (writer) => await keep(writer.checkout(versionOf(writer)), writer),
    snapshot: async (writer) => await keep(writer.snapshot(), writer),
    deeper: async (_writer, reader) => await keep(below(2) === 0 ? reader.snapshot() : reader.checkout(versionOf(reader)), reader)
  }
  const names = Object.keys(ways)

  for (let step = 0; step < STEPS; step++) {
    const name = names[below(names.length)]
    const writer = writers[below(writers.length)]
    const readers = [...writers, ...views]
    const reader = readers[below(readers.length)]
    const outcome = await ways[name](writer, reader).then(plain, () => ({ failed: true }))
    ends.get(logs.get(writer)).push(writer.version)
    notes.push([step, name, writers.indexOf(writer), readers.indexOf(reader), outcome, writer.version, core.length, core.byteLength])
  }
  for (const writer of writers) notes.push([await blocksOf(writer.core)])
  for (const view of views) await view.close()
  return notes
}
