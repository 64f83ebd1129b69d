// What a core answers at once is the same where another tab, or a worker, has its store.

import assert from 'node:assert/strict'
import test from 'node:test'

import { openPage, servePackage, startBrowser } from './support/browser.mjs'

const LENGTH = 70_000

/**
 * Runs on a page: the same random steps with a core in a store that somebody else has, and with one in the memory of this page. Returns
 * where they were not the same.
 */
async function compare ([entry, name, length, steps]) {
  const { Hypercore, memory } = await import(`/hypertab/browser/${entry}.js`)
  const { Hypercore: Local, memory: here } = await import('/hypertab/browser/index.js')
  const original = new Local(here())
  await original.ready()
  const elsewhere = new Hypercore(name ?? memory(), original.key)
  await elsewhere.ready()
  // Before this page has so much to do that another one may take it for gone.
  const isOwner = elsewhere.core.db.isOwner
  for (let at = 0; at < length; at += 10_000) await original.append(Array.from({ length: 10_000 }, (_, i) => new TextEncoder().encode(`${at + i}`)))
  const local = new Local(here(), original.key)
  const streams = [elsewhere, local].map((core) => {
    const [one, other] = [original.replicate(true), core.replicate(false)]
    for (const stream of [one, other]) stream.on('error', () => {})
    one.pipe(other).pipe(one)
    return one
  })
  for (const core of [elsewhere, local]) await core.get(length - 1)
  let seed = 7
  const random = (bound) => {
    seed = (seed * 1103515245 + 12345) % 2147483648
    return Math.floor(seed / 2147483648 * bound)
  }
  const differences = []
  const same = (what, ask) => {
    const [a, b] = [ask(elsewhere), ask(local)].map((value) => JSON.stringify(value instanceof Uint8Array ? [...value] : value))
    if (a !== b && differences.length < 10) differences.push(`${what}: ${a?.slice(0, 80)} elsewhere, ${b?.slice(0, 80)} here`)
  }
  for (let step = 0; step < steps; step++) {
    // Many near each other, at the start, at the edges of pages.
    const start = [random(length), random(50), 32_768 * random(3) - random(5), 50_000 + random(200)][random(4)]
    const first = Math.max(0, Math.min(length - 1, start))
    const end = Math.min(length, first + 1 + random(60))
    for (const core of [elsewhere, local]) {
      if (step % 5 === 4) await core.clear(first, end)
      else if (step % 5 === 3) await core.get(first)
      else await core.download({ start: first, end }).done()
    }
    same(`get after step ${step}`, (core) => core.core.bitfield.get(first))
    same('contiguousLength', (core) => core.contiguousLength)
    for (let at = 0; at < 6; at++) {
      const from = [random(length), first, end, Math.max(0, first - 1), 0, length - 1][at]
      for (const value of [true, false]) {
        same(`findFirst ${value} ${from} after step ${step}`, (core) => core.core.bitfield.findFirst(value, from))
        same(`findLast ${value} ${from} after step ${step}`, (core) => core.core.bitfield.findLast(value, from))
      }
      same(`count from ${from}`, (core) => core.core.bitfield.countSet(from, 5000))
      same(`has from ${from}`, (core) => core.core.has(from, from + 3))
    }
  }
  same('all of it', (core) => core.core.bitfield.toBuffer(length))
  same('a page', (core) => core.core.bitfield.getBitfield(40_000)?.bitfield)
  for (const core of [elsewhere, local]) while (core.peers[0]?.remoteLength !== length) await new Promise((resolve) => setTimeout(resolve, 10))
  same('what a peer has', (core) => [core.peers[0].remoteContiguousLength, core.peers[0].remoteBitfield.count(0, length, true), core.peers[0].remoteBitfield.findFirst(true, 0)])

  // What is computed there.
  const proof = await original.proof({ upgrade: { start: 0, length } })
  const heads = await Promise.all([elsewhere, local].map(async (core) => {
    const { hash, ...head } = await core.verifyFullyRemote(proof)
    return JSON.stringify([head, [...hash()]])
  }))
  if (heads[0] !== heads[1]) differences.push(`verifyFullyRemote: ${heads}`)
  proof.upgrade.signature[3] ^= 1
  const errors = await Promise.all([elsewhere, local].map((core) => core.verifyFullyRemote(proof).then(() => 'verified', (error) => `${error.name} ${error.message}`)))
  if (errors[0] !== errors[1] || errors[0] === 'verified') differences.push(`verifyFullyRemote: ${errors}`)
  const hashes = await Promise.all([elsewhere, local].map(async (core) => {
    const snapshot = core.snapshot()
    await snapshot.ready()
    return [...await snapshot.treeHash()].join()
  }))
  if (hashes[0] !== hashes[1]) differences.push(`treeHash of a snapshot: ${hashes}`)
  const missing = await Promise.all([elsewhere, local].map(async (core) => [await core.missingNodes(2 * 55_555), await core.has(0, length), await core.seek(100_000)].join()))
  if (missing[0] !== missing[1]) differences.push(`missingNodes: ${missing}`)

  for (const stream of streams) stream.destroy()
  const pages = new Set(Array.from({ length: Math.ceil(length / 32_768) }, (_, page) => page).filter((page) => local.core.bitfield.getBitfield(page * 32_768))).size
  await Promise.all([elsewhere, local, original].map((core) => core.close()))
  return { differences, isOwner, pages }
}

test('the blocks that are here, proofs and hashes: in a tab that works through another one, and with the engine in a worker', { timeout: 150_000 }, async (t) => {
  const { url } = await servePackage(t)
  const context = await startBrowser(t)
  context.setDefaultTimeout(120_000)
  const { page: owner } = await openPage(context, url)
  await owner.evaluate(async () => {
    const { Hypercore } = await import('/hypertab/browser/index.js')
    globalThis.mine = new Hypercore('shared')
    await mine.ready()
  })
  const { page } = await openPage(context, url)

  const other = await page.evaluate(compare, ['index', 'shared', LENGTH, 60])
  assert.deepEqual(other, { differences: [], isOwner: false, pages: 3 })
  const worker = await page.evaluate(compare, ['worker', null, LENGTH, 25])
  assert.deepEqual(worker.differences, [])
  // The worker itself works through the other tab.
  const { page: third } = await openPage(context, url)
  const both = await third.evaluate(compare, ['worker', 'shared', LENGTH, 20])
  assert.deepEqual(both.differences, [])
})

test('a core whose owner makes everything else in a worker, which it started later, replicates with another tab', { timeout: 60_000 }, async (t) => {
  const { url } = await servePackage(t)
  const context = await startBrowser(t)
  const { page: owner } = await openPage(context, url)
  await owner.evaluate(async () => {
    const { Hypercore } = await import('/hypertab/browser/index.js')
    globalThis.mine = new Hypercore('shared')
    await mine.ready()
    const { Hypercore: InWorker, memory } = await import('/hypertab/browser/worker.js')
    globalThis.other = new InWorker(memory())
    await other.append('in the worker')
  })
  for (const entry of ['index', 'worker']) {
    const { page } = await openPage(context, url)
    const read = await page.evaluate(async (entry) => {
      const { Hypercore, memory } = await import(`/hypertab/browser/${entry}.js`)
      const { Hypercore: Local, memory: here } = await import('/hypertab/browser/index.js')
      const original = entry === 'worker' ? new Hypercore(memory()) : new Local(here())
      await original.append(['a', 'b', 'c'])
      const elsewhere = new Hypercore('shared', original.key)
      await elsewhere.ready()
      const [one, other] = [original.replicate(true), elsewhere.replicate(false)]
      for (const stream of [one, other]) stream.on('error', () => {})
      one.pipe(other).pipe(one)
      const block = await elsewhere.get(2, { timeout: 10_000 }).catch((error) => new TextEncoder().encode(error.code))
      one.destroy()
      await Promise.all([elsewhere.close(), original.close()])
      return new TextDecoder().decode(block)
    }, entry)
    assert.equal(read, 'c', entry)
    await page.close()
  }
})

test('a core goes over a stream whose first core was closed before its handshake, in a tab that works through another one', { timeout: 60_000 }, async (t) => {
  const { url } = await servePackage(t)
  const context = await startBrowser(t)
  const { page: owner } = await openPage(context, url)
  await owner.evaluate(async () => {
    const { Hypercore } = await import('/hypertab/browser/index.js')
    globalThis.mine = new Hypercore('shared')
    await mine.ready()
  })
  const { page } = await openPage(context, url)
  const read = await page.evaluate(async () => {
    const { Hypercore, memory } = await import('/hypertab/browser/index.js')
    const original = new Hypercore(memory())
    await original.append(['a', 'b', 'c'])
    const [first, second] = [new Hypercore('shared'), new Hypercore('shared', original.key)]
    await Promise.all([first.ready(), second.ready()])
    const [one, other] = [original.replicate(true), first.replicate(false)]
    for (const stream of [one, other]) stream.on('error', () => {})
    second.replicate(other)
    await first.close()
    one.pipe(other).pipe(one)
    const block = await second.get(2, { timeout: 10_000 }).catch((error) => new TextEncoder().encode(error.code))
    one.destroy()
    return new TextDecoder().decode(block)
  })
  assert.equal(read, 'c')
})

test('a writer that works through another tab sees what it cleared and truncated, and so does who opens it later', async (t) => {
  const { url } = await servePackage(t)
  const context = await startBrowser(t)
  const { page: owner } = await openPage(context, url)
  const open = async () => {
    const { Hypercore } = await import('/hypertab/browser/index.js')
    globalThis.core = new Hypercore('shared')
    await core.ready()
    globalThis.held = () => Array.from({ length: 12 }, (_, index) => core.core.bitfield.get(index) ? 1 : 0).join('')
    return [held(), core.core.db.isOwner]
  }
  /** Runs on a page: the same of the session, which remembers what is here. */
  const has = async () => (await Promise.all(Array.from({ length: 12 }, (_, index) => core.has(index)))).map(Number).join('')
  await owner.evaluate(open)
  const { page } = await openPage(context, url)
  await page.evaluate(open)
  await page.evaluate(() => core.append('a'))
  assert.equal(await owner.evaluate(has), '100000000000')
  await page.evaluate(() => core.clear(0))
  assert.equal(await owner.evaluate(has), '000000000000')
  await page.evaluate(() => core.truncate(0))

  const found = await page.evaluate(async () => {
    const seen = []
    await core.append(Array.from({ length: 10 }, (_, i) => new Uint8Array([i])))
    seen.push(held())
    await core.clear(2, 4)
    seen.push(held())
    await core.append(new Uint8Array([10]))
    seen.push(held())
    await core.truncate(7)
    seen.push(held())
    await core.clear(0)
    seen.push(held(), core.core.bitfield.findFirst(true, 0), core.core.bitfield.findLast(true, 20), core.core.bitfield.count(0, 12, true))
    return seen
  })
  assert.deepEqual(found, ['111111111100', '110011111100', '110011111110', '110011100000', '010011100000', 1, 6, 4])
  const { page: late } = await openPage(context, url)
  assert.deepEqual(await late.evaluate(open), ['010011100000', false])
  assert.equal(await owner.evaluate(() => held()), '010011100000')
  for (const tab of [owner, page, late]) assert.equal(await tab.evaluate(has), '010011100000')
})
