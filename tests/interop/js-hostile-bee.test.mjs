// Bees of somebody who lies about their trees.

import assert from 'node:assert/strict'
import test from 'node:test'

import Hyperbee from 'hypertab/hyperbee'
import Hypercore from 'hypertab/hypercore'
import { memory } from 'hypertab/storage'

import { eventually } from './support/both.mjs'
import { defer } from './support/cleanup.mjs'

/** A block with a node that is its own only child, in fields of Protocol Buffers: the levels, and the key `a`. */
const CIRCLE = Buffer.from([0x0a, 6, 0x0a, 4, 0x12, 2, 1, 0, 0x12, 1, 0x61])

test('a tree that leads in a circle ends every walk with an error', async (t) => {
  const bee = new Hyperbee(new Hypercore(memory()))
  defer(t, () => bee.close())
  await bee.put('a', '')
  await bee.core.truncate(1)
  await bee.core.append(CIRCLE)

  const walks = {
    get: () => bee.get('b'),
    links: () => bee.batch().links(Buffer.from('b'), 7),
    scan: async () => { for await (const entry of bee.createReadStream()) assert.fail(`there is ${entry.key}`) }
  }
  for (const [name, walk] of Object.entries(walks)) await assert.rejects(walk, { code: 'DECODING_ERROR' }, name)
})

test('a peer that names blocks which nobody has', async (t) => {
  const core = new Hypercore(memory())
  const owner = new Hyperbee(core, { extension: false })
  defer(t, () => owner.close())
  const batch = owner.batch()
  for (let i = 0; i < 500; i++) await batch.put(`${i}`, '')
  await batch.flush()
  await core.clear(1, 400)
  const bee = new Hyperbee(new Hypercore(memory(), core.key))
  defer(t, () => bee.close())
  await bee.ready()
  let marked = false
  const marks = { encoding: 'utf-8', onmessage: () => { marked = true } }
  bee.core.registerExtension('mark', marks)
  const mark = core.registerExtension('mark', marks)
  const hints = core.registerExtension('hyperbee', {})
  const own = bee.core.replicate(false)
  const theirs = core.replicate(true)
  own.pipe(theirs).pipe(own)
  defer(t, () => { own.destroy(); theirs.destroy() })
  await eventually(() => bee.version === core.length && core.peers.length === 1)
  const named = (seq) => hints.send(Buffer.from([0x0a, 8, 8, 1, 0x10, 1, 0x1a, 2, 0x80 | (seq & 127), seq >> 7]), core.peers[0])
  for (let i = 0; i < 300; i++) named(1 + i)
  for (let i = 0; i < 50; i++) named(10_000 + i)
  mark.send('all of it', core.peers[0])
  await eventually(() => marked)
  await eventually(() => bee.core.activeRequests.length === 64)
  assert.deepEqual(await bee.core.get(450), await core.get(450))
})

test('streams that are destroyed at once hold nothing', async (t) => {
  const bee = new Hyperbee(new Hypercore(memory()))
  defer(t, () => bee.close())
  await bee.put('a', 'b')
  const sessions = bee.core.sessions.length
  const batch = bee.snapshot()
  const streams = [
    () => bee.createReadStream(), () => bee.createHistoryStream(), () => bee.createHistoryStream({ live: true }), () => bee.createDiffStream(1),
    () => batch.createReadStream(), () => bee.createReadStream({ signal: AbortSignal.abort() })
  ]
  await batch.ready()
  const before = bee.core.sessions.length
  for (const open of streams) {
    for (const moment of [null, Promise.resolve(), new Promise((resolve) => setTimeout(resolve))]) {
      const stream = open()
      stream.on('error', () => {})
      await moment
      stream.destroy()
    }
  }
  assert.throws(() => bee.createHistoryStream({ live: true, reverse: true }), { message: 'Cannot have both live and reverse enabled' })
  await eventually(() => bee.core.sessions.length === before && bee._batches.length === 0 && batch._batches.length === 0)
  await batch.close()
  assert.equal(bee.core.sessions.length, sessions)
})
