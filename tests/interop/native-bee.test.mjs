// The native engine as a reader of upstream's bee, over TCP: what a lookup finds, and how many blocks it fetches.

import assert from 'node:assert/strict'
import test from 'node:test'

import Hyperbee from 'hyperbee'
import Hypercore from 'hypercore'

import { eventually } from './support/both.mjs'
import { defer } from './support/cleanup.mjs'
import { startCorePeer } from './support/core-peer.mjs'
import { temporaryFolder } from './support/folder.mjs'
import { serve } from './support/tcp.mjs'

const text = { keyEncoding: 'utf-8', valueEncoding: 'utf-8' }
const key = (i) => `key-${String(i).padStart(7, '0')}`

/** Milliseconds in which blocks come late. */
const LATE = 200

test('the native engine looks keys up in a bee of upstream', async (t) => {
  const core = new Hypercore(temporaryFolder(t))
  const bee = new Hyperbee(core, text)
  defer(t, () => bee.close())
  const count = 20_000
  for (let start = 0; start < count; start += 1000) {
    const batch = bee.batch()
    for (let i = start; i < start + 1000; i++) await batch.put(key(i * 7919 % count), `value ${i}`)
    await batch.flush()
  }
  const { peer } = await startCorePeer(t, { key: core.key.toString('hex') })
  const port = await serve(t, (socket) => {
    const stream = core.replicate(false, { keepAlive: false })
    for (const end of [socket, stream]) end.on('error', () => {})
    socket.pipe(stream).pipe(socket)
  })
  await peer.ask('connect', { port })
  await eventually(async () => (await peer.ask('info')).length === count + 1)

  const blocks = []
  for (let i = 0; i < LOOKUPS; i++) {
    await peer.ask('clear', { start: 0, end: count + 1 })
    await peer.ask('bee')
    const before = await peer.ask('downloads')
    const place = i * 104_729 % count
    const found = await peer.ask('lookup', { key: i % 4 === 3 ? `${key(place)}x` : key(place) })
    await new Promise((resolve) => setTimeout(resolve, LATE))
    assert.equal(found === null, i % 4 === 3)
    if (found) assert.equal(found.value, (await bee.get(key(place))).value)
    blocks.push((await peer.ask('downloads')).count - before.count)
  }
  t.diagnostic(`blocks of a lookup: ${blocks}`)
  assert.ok(Math.max(...blocks) <= MOST_OF_SEARCH, `${blocks}`)
})

const LOOKUPS = 8

/** What a search without hints comes to: up to six nodes, and up to four keys that are compared with in each. */
const MOST_OF_SEARCH = 6 * (1 + 4)
