// Tabs that the browser freezes while they own a store: another tab goes on, and the one that wakes up has lost the store and works through the other.

import assert from 'node:assert/strict'
import test from 'node:test'
import { setTimeout } from 'node:timers/promises'

import { servePackage } from './support/browser.mjs'
import { startFreezer } from './support/freezer.mjs'
import { keepAppending, readAll, stopAppending } from './support/tabs.mjs'

/** Runs on a page: opens a log in IndexedDB, or in a file that a worker of the page has. */
async function open (kind) {
  globalThis.freezes = 0
  document.addEventListener('freeze', () => { freezes++ })
  const { Hypercore } = await import(`/hypertab/browser/${kind === 'opfs' ? 'worker' : 'index'}.js`)
  const storage = await import('/hypertab/browser/storage.js')
  globalThis.core = new Hypercore(storage[kind]('shared'), { valueEncoding: 'utf-8' })
  await core.ready()
  globalThis.answered = []
  globalThis.acknowledge = (text, length) => { answered.push([text, length]) }
}

test('a tab that the browser freezes loses its store in a file, and writes nothing into it when it wakes up', { timeout: 120_000 }, async (t) => {
  const { url } = await servePackage(t)
  const browser = await startFreezer(t)
  const tabs = []
  for (let i = 0; i < 3; i++) {
    tabs.push(await browser.open(url))
    await tabs.at(-1).evaluate(open, 'opfs')
  }
  for (const [at, tab] of tabs.entries()) await tab.evaluate(keepAppending, [`tab${at}`, 1])
  const countOf = (tab) => tab.evaluate(() => answered.length)
  const goOn = async (tab, since) => { while (await countOf(tab) < since + 10) await setTimeout(5) }

  // The third one is seen, and so cannot be frozen.
  for (const [frozen, ...others] of [tabs, [tabs[1], tabs[0], tabs[2]]]) {
    const before = await Promise.all(others.map(countOf))
    const wake = await frozen.freeze()
    const start = performance.now()
    for (const [at, other] of others.entries()) await goOn(other, before[at])
    t.diagnostic(`others went on after ${Math.round(performance.now() - start)} ms`)
    await wake()
    await goOn(frozen, await countOf(frozen))
    assert.equal(await frozen.evaluate(() => freezes), 1)
  }
  for (const tab of tabs) await tab.evaluate(stopAppending)

  const contents = []
  for (const tab of tabs) contents.push(await tab.evaluate(readAll))
  for (const other of contents) assert.deepEqual(other, contents[0])
  assert.equal(new Set(contents[0]).size, contents[0].length, 'nothing is there twice')
  for (const tab of tabs) {
    for (const [text, length] of await tab.evaluate(() => answered)) assert.equal(contents[0][length - 1], text, `${text} was answered with ${length}`)
  }
  t.diagnostic(`${contents[0].length} stored`)
})

test('a tab that the browser freezes loses its store in IndexedDB, although it still hears the others', { timeout: 120_000 }, async (t) => {
  const { url } = await servePackage(t)
  const browser = await startFreezer(t)
  const [frozen, other] = [await browser.open(url), await browser.open(url)]
  for (const tab of [frozen, other]) await tab.evaluate(open, 'indexedDb')
  await frozen.evaluate(() => core.append('before'))
  assert.deepEqual([await frozen.evaluate(() => core.core.db.isOwner), await other.evaluate(() => core.core.db.isOwner)], [true, false])

  // No browser freezes a tab in the middle of a transaction, which would keep everybody from the database.
  await setTimeout(1000)
  const wake = await frozen.freeze()
  const start = performance.now()
  assert.equal(await other.evaluate(async () => (await core.append('while it is frozen')).length), 2)
  t.diagnostic(`the other one went on after ${Math.round(performance.now() - start)} ms`)
  assert.equal(await other.evaluate(() => core.core.db.isOwner), true)
  await wake()

  assert.equal(await frozen.evaluate(async () => (await core.append('after')).length), 3)
  assert.deepEqual([await frozen.evaluate(() => freezes), await frozen.evaluate(() => core.core.db.isOwner)], [1, false])
  for (const tab of [frozen, other]) assert.deepEqual(await tab.evaluate(readAll), ['before', 'while it is frozen', 'after'])
})
