// Files of stores that somebody has made up, with checksums that fit: each is taken in or refused, and a store that was there stays as it was.
// HYPERTAB_SEED begins with other files, and HYPERTAB_FORGED is how many there are.

import assert from 'node:assert/strict'
import test from 'node:test'

import crypto from 'hypercore-crypto'
import { Corestore, exportStore, importStore, memory } from 'hypertab'

import { randomOf } from './support/torn-file.mjs'

const SEED = Number(process.env.HYPERTAB_SEED ?? 1)
const COUNT = Number(process.env.HYPERTAB_FORGED ?? 150)
const MAGIC = Buffer.from('hypertab store 1')

test('no file of made up frames breaks a store', { timeout: 600_000 }, async () => {
  const frames = framesOf(await exported())
  for (let seed = SEED; seed < SEED + COUNT; seed++) {
    const file = fileOf(forged(frames, randomOf(seed)))
    const to = memory()
    const store = new Corestore(to)
    const mine = store.get({ name: 'mine' })
    await mine.append(['a', 'b'])
    await mine.setUserData('name', Buffer.from('mine'))
    const { primaryKey } = store
    const before = await listOf(to.createCoreStream())
    let refusal = null
    try {
      await importStore([file], to)
    } catch (error) {
      refusal = error
    }
    const replay = `HYPERTAB_SEED=${seed}`
    if (refusal !== null) {
      assert.equal(refusal.code, 'FILE_DAMAGED', `${replay}: ${refusal.stack}`)
      assert.deepEqual(await listOf(to.createCoreStream()), before, replay)
      assert.deepEqual(await to.getSeed(), primaryKey, replay)
    }
    assert.deepEqual([mine.length, String(await mine.get(1)), String(await mine.getUserData('name'))], [2, 'b', 'mine'], replay)
    await mine.append('c')
    // Whatever was taken in can be opened.
    for (const { discoveryKey } of await listOf(to.createCoreStream())) {
      const core = store.get({ discoveryKey })
      await core.ready()
      for (let index = 0; index < Math.min(core.length, 20); index++) await core.get(index, { wait: false })
      await core.close()
    }
    await store.close()
  }
})

/** A store with a log that was cut, a log of which some blocks are here, and what belongs to them. */
async function exported () {
  const from = memory()
  const store = new Corestore(from)
  const cut = store.get({ name: 'cut' })
  await cut.append(Array.from({ length: 9 }, (_, i) => `block ${i}`))
  await cut.truncate(5)
  await cut.append(['again', ''])
  await cut.setUserData('of', Buffer.from('cut'))
  const sparse = store.get({ name: 'sparse' })
  await sparse.append(Array.from({ length: 20 }, () => Buffer.alloc(30, 1)))
  await sparse.clear(3, 17)
  await store.close()
  const pieces = []
  for await (const piece of exportStore(from)) pieces.push(piece)
  return Buffer.concat(pieces)
}

/** The bodies of a file's frames: kind and payload. */
function framesOf (file) {
  const frames = []
  for (let at = MAGIC.length; at < file.length;) {
    const length = file.readUInt32LE(at)
    frames.push(file.subarray(at + 12, at + 12 + length))
    at += 12 + length
  }
  return frames
}

function fileOf (frames) {
  const parts = [MAGIC]
  let chain = crypto.hash(MAGIC)
  for (const body of frames) {
    chain = crypto.hash([chain, body])
    const length = Buffer.alloc(4)
    length.writeUInt32LE(body.length)
    parts.push(length, chain.subarray(0, 8), body)
  }
  return Buffer.concat(parts)
}

/** Frames of which a few were changed, left out, doubled or swapped. */
function forged (frames, below) {
  const list = frames.slice()
  for (let changes = 1 + below(3); changes > 0; changes--) {
    const at = below(list.length)
    const how = below(10)
    if (how === 0) list.splice(at, 1)
    else if (how === 1) list.splice(below(list.length), 0, list[at])
    else if (how === 2) [list[at], list[below(list.length)]] = [list[below(list.length)], list[at]]
    else list[at] = changed(list[at], below)
    if (list.length === 0) return list
  }
  return list
}

function changed (body, below) {
  const at = below(body.length)
  const some = Buffer.from(body)
  switch (below(5)) {
    case 0:
      some[at] ^= 1 << below(8)
      return some
    case 1:
      // Numbers of every size begin with one of these.
      some[at] = [0, 1, 0xfc, 0xfd, 0xfe, 0xff][below(6)]
      return some
    case 2:
      return Buffer.concat([body.subarray(0, at), Buffer.from([[0xff, ...Array(8).fill(below(256))], [0xfe, 255, 255, 255, 127], [0]][below(3)]), body.subarray(at)])
    case 3:
      return body.subarray(0, Math.max(1, at))
    default:
      return Buffer.concat([body.subarray(0, Math.max(1, at)), body.subarray(at + 1 + below(4))])
  }
}

async function listOf (stream) {
  const list = []
  for await (const entry of stream) list.push(entry)
  return list
}
