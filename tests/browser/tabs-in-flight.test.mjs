// What was on its way between a tab and the owner of its store when that crashed: blocks that were fetched are told, messages to peers
// are gone with the peers, and a snapshot says which blocks it does not have any more.

import assert from 'node:assert/strict'
import test from 'node:test'

import { openPage, servePackage, startBrowser } from './support/browser.mjs'
import { ends, fallSilent } from './support/tabs.mjs'

/** Runs on a page: makes a log in memory, and keeps it as `theirs`. */
async function makeLog (length) {
  const { Hypercore, memory } = await import('/hypertab/browser/index.js')
  globalThis.theirs = new Hypercore(memory(), { valueEncoding: 'utf-8' })
  await theirs.append(Array.from({ length }, (_, i) => `block ${i}`))
  return theirs.id
}

/** Runs on a page: opens a copy of a log and a log of its own, and notes what it is told. */
async function openStore (key) {
  const { Corestore } = await import('/hypertab/browser/index.js')
  globalThis.store = new Corestore('shared')
  globalThis.clone = store.get({ key, valueEncoding: 'utf-8' })
  globalThis.mine = store.get({ name: 'mine', valueEncoding: 'utf-8' })
  await Promise.all([clone.ready(), mine.ready()])
  globalThis.downloads = []
  for (const log of [clone, mine]) log.on('download', (index, byteLength, peer) => { downloads.push([log === clone ? 'clone' : 'mine', index, byteLength, peer !== null]) })
  globalThis.peers = []
  for (const name of ['peer-add', 'peer-remove']) clone.on(name, () => { peers.push(name) })
}

/** Runs on a page: has the copy replicate with the log in memory. */
async function replicate () {
  const streams = [theirs.replicate(true), clone.replicate(false)]
  for (const stream of streams) stream.on('error', () => {})
  streams[0].pipe(streams[1]).pipe(streams[0])
  await clone.update({ wait: true })
}

test('blocks that were stored, and of which the owner could not tell, are told', async (t) => {
  const { url } = await servePackage(t)
  const context = await startBrowser(t)
  const [{ page: owner }, { page, problems }] = [await openPage(context, url), await openPage(context, url)]
  const key = await owner.evaluate(makeLog, 70_000)
  await owner.evaluate(openStore, key)
  await page.evaluate(openStore, key)
  await owner.evaluate(replicate)
  await owner.evaluate(() => clone.get(40_000))
  await page.evaluate(async () => { while (downloads.length < 1) await new Promise((resolve) => setTimeout(resolve, 5)) })

  await owner.evaluate(fallSilent)
  await owner.evaluate(async () => {
    for (const index of [0, 1, 33_000, 40_001, 69_999]) await clone.get(index)
    await mine.append(['one', 'two'])
  })
  await ends.crash(owner)
  await page.evaluate(async () => { while (downloads.length < 6 || mine.length < 2) await new Promise((resolve) => setTimeout(resolve, 5)) })
  // Whatever else is told comes first.
  await page.evaluate(() => clone.get(69_999))

  const told = await page.evaluate(() => downloads)
  assert.deepEqual(told[0], ['clone', 40_000, 'block 40000'.length, true])
  assert.deepEqual(told.slice(1), [0, 1, 33_000, 40_001, 69_999].map((index) => ['clone', index, `block ${index}`.length, false]))
  assert.deepEqual(problems, [])
})

test('messages to peers end where peers are removed, and go on where they are added', async (t) => {
  const { url } = await servePackage(t)
  const context = await startBrowser(t)
  const [{ page: owner }, { page, problems }] = [await openPage(context, url), await openPage(context, url)]
  const key = await page.evaluate(makeLog, 10)
  await owner.evaluate(openStore, key)
  await page.evaluate(openStore, key)
  await page.evaluate(async () => {
    globalThis.got = []
    theirs.registerExtension('numbers', { encoding: 'json', onmessage: (message) => { got.push(message) } })
    globalThis.numbers = clone.registerExtension('numbers', { encoding: 'json' })
  })
  await page.evaluate(replicate)
  await page.evaluate(async () => {
    // Until the other end has said that it takes them.
    while (got.length === 0) {
      numbers.broadcast(-1)
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
  })

  await owner.evaluate(fallSilent)
  await page.evaluate(() => { for (let i = 0; i < 5; i++) numbers.broadcast(i) })
  await ends.crash(owner)
  await page.evaluate(async () => {
    while (peers.length < 3) await new Promise((resolve) => setTimeout(resolve, 5))
    for (let i = 5; got.at(-1) < 5; i++) {
      numbers.broadcast(i)
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
  })

  assert.deepEqual(await page.evaluate(() => peers), ['peer-add', 'peer-remove', 'peer-add'])
  const got = (await page.evaluate(() => got)).filter((message) => message >= 0)
  assert.deepEqual(got, [...new Set(got)].sort((a, b) => a - b), 'in order, and none twice')
  assert.deepEqual(problems, [])
})

test('a snapshot of a log that was cut says which blocks went with the owner', async (t) => {
  const { url } = await servePackage(t)
  const context = await startBrowser(t)
  const [{ page: owner }, { page, problems }] = [await openPage(context, url), await openPage(context, url)]
  await owner.evaluate(async () => {
    const { Hypercore } = await import('/hypertab/browser/index.js')
    await new Hypercore('shared', { valueEncoding: 'utf-8' }).append(['a', 'b', 'c'])
  })
  await page.evaluate(async () => {
    const { Hypercore } = await import('/hypertab/browser/index.js')
    globalThis.core = new Hypercore('shared', { valueEncoding: 'utf-8' })
    globalThis.snapshot = core.snapshot({ valueEncoding: 'utf-8' })
    await snapshot.ready()
    await core.truncate(1)
    await core.append(['x', 'y', 'z'])
  })
  /** Runs on the page: what the snapshot shows. */
  const look = async () => {
    const outcome = (promise) => promise.then((value) => value, (error) => error.code)
    const blocks = [0, 1, 2].flatMap((index) => [outcome(snapshot.get(index)), outcome(snapshot.get(index, { wait: false }))])
    return [snapshot.length, ...await Promise.all([...blocks, outcome(snapshot.seek(1)), outcome(snapshot.has(1))])]
  }
  assert.deepEqual(await page.evaluate(look), [3, 'a', 'a', 'b', 'b', 'c', 'c', [1, 0], true])

  await ends.crash(owner)
  await page.evaluate(() => core.append('more'))

  const gone = 'SNAPSHOT_NOT_AVAILABLE'
  assert.deepEqual(await page.evaluate(look), [3, 'a', 'a', gone, gone, gone, gone, gone, false])
  assert.deepEqual(problems, [])
})
