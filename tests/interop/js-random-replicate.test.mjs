// Random programs over a log, a copy of it and a copy of both, whose links come and go, with upstream's class and ours at each place: every
// answer is the same. The log is not cut: among upstream's own a program that cuts it did not end, one time in some hundred.
//
// HYPERTAB_SEED begins with other programs, and HYPERTAB_RANDOM is how many there are.

import test from 'node:test'

import crypto from 'hypercore-crypto'

import { eventually, implementations, outcome, within } from './support/both.mjs'
import { defer } from './support/cleanup.mjs'
import { temporaryFolder } from './support/folder.mjs'
import { assertSameNotes } from './support/notes.mjs'
import { play } from './support/scene.mjs'
import { randomOf } from './support/torn-file.mjs'

const SEED = Number(process.env.HYPERTAB_SEED ?? 1)
const COUNT = Number(process.env.HYPERTAB_RANDOM ?? 4)
const STEPS = 40

/** Who writes, who has a copy of it, and who has a copy from both. Not upstream's: every fifth time or so a block that it waits for is not asked for. */
const CASTS = [['upstream', 'upstream', 'hypertab'], ['hypertab', 'upstream', 'hypertab'], ['upstream', 'hypertab', 'hypertab'], ['hypertab', 'hypertab', 'hypertab']]

const PAIRS = [['writer', 'copier'], ['copier', 'reader'], ['writer', 'reader']]

for (let seed = SEED; seed < SEED + COUNT; seed++) {
  test(`program ${seed}`, { timeout: 120_000 }, async (t) => {
    const expected = await upstreams(t, seed)
    for (const cast of CASTS) {
      const found = await run(t, cast, seed)
      assertSameNotes(expected, found.slice(0, expected.length), `HYPERTAB_SEED=${seed}, ${cast.join(' to ')}`)
    }
  })
}

/** What upstream's say among themselves, up to where they wait. */
async function upstreams (t, seed) {
  let notes = []
  for (let round = 0; round < 3; round++) {
    const found = await run(t, ['upstream', 'upstream', 'upstream'], seed)
    const end = found.findIndex(([, , value]) => value === 'waits')
    if (end === -1) return found
    if (end > notes.length) notes = found.slice(0, end)
  }
  return notes
}

async function run (t, cast, seed) {
  const classes = cast.map((name) => implementations[name])
  return await play(classes, (scene) => program(scene, classes, randomOf(seed)), { folder: () => temporaryFolder(t), defer: (step) => { defer(t, step) } })
}

async function program ({ folder, note, replicate, defer }, [Writer, Copier, Reader], below) {
  const pick = (list) => list[below(list.length)]
  const open = async (Class, key, options) => {
    const core = new Class(folder(), key, options)
    defer(() => core.close())
    await core.ready()
    return core
  }
  const keyPair = crypto.keyPair(Buffer.alloc(32, 1 + below(200)))
  const encryption = below(3) === 0 ? { key: Buffer.alloc(32, 9) } : null
  const writer = await open(Writer, null, { keyPair, encryption })
  // In the middle is somebody who cannot read what is encrypted.
  const copier = await open(Copier, writer.key)
  const reader = await open(Reader, writer.key, { encryption })
  const cores = { writer, copier, reader }
  const links = {}
  let snapshot = null

  const link = async (one, other) => {
    const name = `${one}-${other}`
    if (links[name]) await links[name].end()
    links[name] = replicate(cores[one], cores[other])
    await eventually(() => [one, other].every((name) => cores[name].peers.length > 0))
  }
  /** Until everybody knows of everything. */
  const settle = async () => {
    for (const [one, other] of PAIRS) if (!links[`${one}-${other}`]) await link(one, other)
    await eventually(() => [copier, reader].every((core) => core.length === writer.length), 'copies that are as new')
  }
  await settle()

  const bytes = () => below(6) === 0 ? Buffer.alloc(below(20_000), below(9)) : Buffer.from(`block ${below(1000)}`)
  const index = () => below(Math.max(1, writer.length))
  const range = () => {
    const start = index()
    return { start, end: Math.min(start + 1 + below(5), writer.length) }
  }
  const collect = async (stream) => {
    const all = []
    for await (const data of stream) all.push(data)
    return all
  }

  const ways = {
    append: () => writer.append(bytes()),
    batch: () => writer.append(Array.from({ length: below(40) }, bytes)),
    get: () => writer.length === 0 ? null : reader.get(index()),
    raw: () => writer.length === 0 ? null : copier.get(index(), { raw: true }),
    many: async () => {
      const wanted = Array.from({ length: writer.length && below(20) }, index)
      return await Promise.all(wanted.map((index) => reader.get(index)))
    },
    timed: () => reader.get(writer.length + below(3), { timeout: 20 }),
    late: () => writer.get(index(), { wait: false }),
    has: () => writer.has(index(), index()),
    download: async () => {
      const { start, end } = range()
      await pick([copier, reader]).download({ start, end }).done()
    },
    blocks: async () => {
      if (writer.length === 0) return null
      await reader.download({ blocks: [index(), index()] }).done()
    },
    all: async () => {
      await copier.download({ start: 0, end: writer.length }).done()
    },
    seek: () => reader.seek(below(writer.byteLength - writer.length * writer.padding + 1)),
    hash: async () => [await reader.treeHash(), await copier.treeHash(), await writer.treeHash(below(writer.length + 1))],
    clear: async () => {
      const { start, end } = range()
      const core = pick([copier, reader])
      // What it remembers of this is over.
      for (let i = start; i < end; i++) await core.has(i)
      await core.clear(start, end)
      return start < end && await core.has(start)
    },
    stream: async () => await collect(reader.createReadStream({ ...range(), ...(below(2) === 0 && { reverse: true }) })),
    bytes: async () => {
      const length = reader.byteLength - reader.length * reader.padding
      const byteOffset = below(length + 1)
      return Buffer.concat(await collect(reader.createByteStream({ byteOffset, byteLength: below(length - byteOffset + 1) })))
    },
    snapshot: async () => {
      await snapshot?.close()
      snapshot = reader.snapshot()
      await snapshot.ready()
      return [snapshot.length, snapshot.byteLength, snapshot.fork]
    },
    shown: async () => {
      if (snapshot === null || snapshot.length === 0) return null
      return await snapshot.get(below(snapshot.length))
    },
    data: async () => {
      await reader.setUserData('key', bytes())
      return await reader.getUserData('key')
    },
    again: () => link(...pick(PAIRS)),
    part: async () => {
      const name = pick(PAIRS).join('-')
      await links[name].end()
      delete links[name]
      // Whatever is wanted comes over the other ways, or once it is linked again.
      if (writer.length > 0) return await Promise.all([reader.get(index()), settle()]).then(([block]) => block)
    }
  }
  const kinds = Object.keys(ways)

  for (let step = 0; step < STEPS; step++) {
    const kind = pick(kinds)
    const { value = null, error } = await within(5000, outcome(ways[kind]()))
    await settle()
    note(step, kind, value, error ? [error.name, error.code, error.message] : null, writer.length, writer.byteLength, reader.byteLength)
  }
  const local = async (core) => {
    const found = []
    for (let i = 0; i < core.length; i++) found.push(await core.has(i) ? await core.get(i, { raw: true, wait: false }) : null)
    return found
  }
  note(await local(writer))
  // Which blocks came along with others depends on who asked first.
  for (const core of [copier, reader]) note((await local(core)).every((block, i) => block === null || i < writer.length))
}
