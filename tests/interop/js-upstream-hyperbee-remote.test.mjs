// Bees that are read over the wire: upstream writes and ours reads, and the reverse, and what a lookup costs.

import assert from 'node:assert/strict'
import test from 'node:test'

import Hypercore from 'hypercore'
import Hyperbee from 'hyperbee'
import HypertabCore from 'hypertab/hypercore'
import Hypertab from 'hypertab/hyperbee'

import { collect, sameBeePairs } from './support/bees.mjs'
import { defer } from './support/cleanup.mjs'
import { eventually } from './support/both.mjs'
import { temporaryFolder } from './support/folder.mjs'

const text = { keyEncoding: 'utf-8', valueEncoding: 'utf-8' }
const key = (i) => `key-${String(i).padStart(7, '0')}`

for (const encryption of [undefined, { key: Buffer.alloc(32, 9) }]) {
  sameBeePairs(`a peer's bee is read while it goes on writing${encryption ? ', encrypted' : ''}`, async ({ createBeeA, createBeeB, replicate, note }) => {
    const a = await createBeeA(text, { encryption })
    const batch = a.batch()
    for (let i = 0; i < 2000; i++) await batch.put(key(i), `value ${i}`)
    await batch.flush()
    const b = await createBeeB(text, a.core.key, { encryption })
    replicate(a.core, b.core)
    await eventually(() => b.version === a.version)
    note(await b.getHeader(), await b.get(key(1234)), await b.get('nothing'), b.writable)
    note((await collect(b.createReadStream({ gte: key(500), limit: 100 }))).map((entry) => entry.value))
    note((await collect(b.createReadStream({ reverse: true, limit: 30 }))).map((entry) => entry.value))
    const version = a.version
    const writing = (async () => {
      for (let i = 0; i < 60; i++) {
        await a.put(key(i * 30), `changed ${i}`)
        if (i % 3 === 0) await a.del(key(i * 30 + 1))
      }
    })()
    const old = b.checkout(version)
    note(await Promise.all([5, 600, 1999].map((i) => old.get(key(i)))), (await collect(old.createReadStream({ lt: key(40) }))).length)
    await writing
    await eventually(() => b.version === a.version)
    note((await collect(b.createDiffStream(version))).map(({ left, right }) => [left?.value, right?.value]))
    note((await collect(b.createHistoryStream({ gte: -5 }))).map(({ type, key }) => [type, key]))
    note((await collect(b.createReadStream())).length)
    await old.close()
  })
}

for (const [order, place] of Object.entries({ sorted: (i) => i, mixed: (i) => i * 7919 % 20_000 })) {
  test(`a lookup of a peer of upstream takes two round trips, and at most twelve blocks, of keys that were put ${order}`, async (t) => {
    const bee = await remote(t, 20_000, { Bee: Hyperbee, Core: Hypercore }, place)
    const cost = await measure(bee, 20_000)
    t.diagnostic(`from upstream's end: ${JSON.stringify(cost)}`)
    assert.ok(cost.tripsToKeys > 0 && cost.tripsToKeys <= 2, `${cost.tripsToKeys} round trips`)
    // Which two keys are beside the place of one that is not there, nobody says.
    assert.ok(cost.trips <= 3, `${cost.trips} round trips`)
    assert.ok(cost.blocks <= 12, `${cost.blocks} blocks`)
  })
}

test('a lookup of a peer of ours takes two round trips, and at most twelve blocks', async (t) => {
  const bee = await remote(t, 20_000, { Bee: Hypertab, Core: HypertabCore })
  const cost = await measure(bee, 20_000)
  t.diagnostic(`from our end: ${JSON.stringify(cost)}`)
  assert.ok(cost.trips <= 2, `${cost.trips} round trips`)
  assert.ok(cost.blocks <= 12, `${cost.blocks} blocks`)
})

test('a lookup of a peer that gives no hints comes to the same', async (t) => {
  const core = new Hypercore(temporaryFolder(t))
  const silent = new Hyperbee(core, { ...text, extension: false })
  defer(t, () => silent.close())
  const batch = silent.batch()
  for (let i = 0; i < 3000; i++) await batch.put(key(i), `value ${i}`)
  await batch.flush()
  const bee = (await reader(t, core)).bee
  for (const i of [0, 1500, 2999]) assert.equal((await bee.get(key(i))).value, `value ${i}`)
  assert.equal(await bee.get('nothing'), null)
  assert.equal((await collect(bee.createReadStream({ gte: key(2900) }))).length, 100)
})

test('hints that are wrong cost time only', async (t) => {
  const core = new Hypercore(temporaryFolder(t))
  const owner = new Hyperbee(core, { ...text, extension: false })
  defer(t, () => owner.close())
  const batch = owner.batch()
  for (let i = 0; i < 3000; i++) await batch.put(key(i), `value ${i}`)
  await batch.flush()
  let lies = 0
  const extension = core.registerExtension('hyperbee', {
    onmessage: (_message, peer) => {
      lies++
      // cache: blocks 3000, 1, 7, 2999, 5 and one that there is not
      extension.send(Buffer.from([0x0a, 0x10, 0x08, 1, 0x10, 0xff, 0x7f, 0x1a, 9, 0xb8, 0x17, 1, 7, 0xb7, 0x17, 5, 0xfe, 0x7f]), peer)
      extension.send(Buffer.from('nonsense'), peer)
    }
  })
  const bee = (await reader(t, core)).bee
  for (const i of [0, 1500, 2999]) assert.equal((await bee.get(key(i))).value, `value ${i}`)
  assert.equal(await bee.get('nothing'), null)
  assert.ok(lies > 0)
})

// Upstream's 2.27 gives the entry of the old put again: the way to where the key was leads through a node of that put.
test('a deleted key stays away after writes beside it', async (t) => {
  const core = new HypertabCore(temporaryFolder(t))
  const bee = new Hypertab(core, text)
  defer(t, () => bee.close())
  for (const name of ['0', '1', '2', '3', '5', '6', '7', '8', '4', '05']) await bee.put(name, name)
  await bee.del('4')
  assert.equal(await bee.get('4'), null)
  await bee.put('06', '06')
  assert.equal(await bee.get('4'), null)
  const copy = await reader(t, core)
  assert.equal(await copy.bee.get('4'), null)
  await bee.put('4', 'again')
  assert.equal((await bee.get('4')).value, 'again')
})

/** A bee of `count` keys, put in some order, and an empty copy of ours at a distance. */
async function remote (t, count, { Bee, Core }, place = (i) => i * 7919 % count) {
  const core = new Core(temporaryFolder(t))
  const bee = new Bee(core, text)
  defer(t, () => bee.close())
  for (let start = 0; start < count; start += 1000) {
    const batch = bee.batch()
    for (let i = start; i < Math.min(count, start + 1000); i++) await batch.put(key(place(i)), `value ${i}`)
    await batch.flush()
  }
  return await reader(t, core, true)
}

/** Our bee over a copy of a core. Step by step, messages wait until their sender has nothing more to say. */
async function reader (t, core, isStepwise = false) {
  const copy = new HypertabCore(temporaryFolder(t), core.key)
  const bee = new Hypertab(copy, text)
  defer(t, () => bee.close())
  await bee.ready()
  const [owner, own] = [core.replicate(true, { keepAlive: false }), copy.replicate(false, { keepAlive: false })]
  const way = { bee, trips: 0 }
  const directions = [{ from: own, to: owner, waiting: [] }, { from: owner, to: own, waiting: [] }]
  let last = Date.now()
  for (const { from, to, waiting } of directions) {
    from.on('error', () => {})
    from.on('data', (data) => {
      last = Date.now()
      if (isStepwise) waiting.push(data)
      else to.write(data)
    })
  }
  const timer = setInterval(() => {
    if (Date.now() - last < QUIET) return
    const next = directions.find(({ waiting }) => waiting.length > 0)
    if (!next) return
    if (next.from === own) way.trips++
    last = Date.now()
    for (const data of next.waiting.splice(0)) next.to.write(data)
  }, 5)
  defer(t, () => { clearInterval(timer); owner.destroy(); own.destroy() })
  await eventually(() => bee.version === core.length && bee.version > 1)
  return way
}

/** What lookups cost at most: blocks, and times the way there and back. */
async function measure (way, count) {
  const { bee } = way
  const worst = { trips: 0, tripsToKeys: 0, blocks: 0, meanTrips: 0, meanBlocks: 0 }
  const lookups = 12
  for (let i = 0; i < lookups; i++) {
    // Nothing that an earlier lookup fetched is of use.
    await bee.core.clear(0, bee.core.length)
    bee.blocks.clear()
    await new Promise((resolve) => setTimeout(resolve, 6 * QUIET))
    let blocks = 0
    const onblock = () => { blocks++ }
    bee.core.on('download', onblock)
    const place = i * 104_729 % count
    const wanted = i % 4 === 3 ? `${key(place)}x` : key(place)
    way.trips = 0
    const found = await bee.get(wanted)
    const { trips } = way
    assert.equal(found?.key, i % 4 === 3 ? undefined : wanted)
    // What comes late counts too.
    await new Promise((resolve) => setTimeout(resolve, 4 * QUIET))
    bee.core.off('download', onblock)
    worst.trips = Math.max(worst.trips, trips)
    if (found) worst.tripsToKeys = Math.max(worst.tripsToKeys, trips)
    worst.blocks = Math.max(worst.blocks, blocks)
    worst.meanTrips += trips / lookups
    worst.meanBlocks += blocks / lookups
  }
  return worst
}

/** Milliseconds without a message after which a sender has nothing more to say. */
const QUIET = 100
