// Owners that end at any moment while all tabs write: nothing that was answered is lost, and nothing is there twice.

import assert from 'node:assert/strict'
import test from 'node:test'

import { openPage, servePackage, startBrowser } from './support/browser.mjs'
import { ends, keepAppending, openLog, random, readAll, stopAppending } from './support/tabs.mjs'

const SEED = Number(process.env.HYPERTAB_SEED ?? Date.now() % 1_000_000)

for (const [way, rounds] of [['close', 3], ['crash', 3], ['freeze', 3]]) {
  test(`an owner's end by ${way} loses nothing and does nothing twice (HYPERTAB_SEED=${SEED})`, { timeout: 120_000 }, async (t) => {
    const below = random(SEED)
    const { url } = await servePackage(t)
    const context = await startBrowser(t)
    const answered = new Map()
    await context.exposeFunction('acknowledge', (text, length) => { answered.set(text, length) })
    const nameOf = new Map()
    let names = 0
    const open = async () => {
      const { page } = await openPage(context, url)
      const name = `tab${names++}`
      nameOf.set(page, name)
      await page.evaluate(openLog, 'shared')
      await page.evaluate(keepAppending, [name, 1 + below(4)])
      return page
    }
    let pages = []
    for (let i = 0; i < 3; i++) pages.push(await open())

    for (let round = 0; round < rounds; round++) {
      await new Promise((resolve) => { setTimeout(resolve, 200 + below(300)) })
      const owner = await ownerOf(pages)
      const others = pages.filter((page) => page !== owner)
      const start = performance.now()
      let wake = await ends[way](owner)
      // A browser freezes no tab that is in the middle of a transaction, since nobody else could go on.
      while (wake && await others[0].evaluate(isBlocked)) {
        await wake()
        wake = await ends[way](owner)
      }
      // The others go on.
      const countOf = (page) => [...answered.keys()].filter((text) => text.startsWith(`${nameOf.get(page)}:`)).length
      const counts = others.map(countOf)
      // What was on its way to this process, and then some.
      while (others.some((page, at) => countOf(page) < counts[at] + 10)) {
        await new Promise((resolve) => { setTimeout(resolve, 5) })
        if (performance.now() - start > 15_000) assert.fail(`nobody took the store over: ${JSON.stringify(await Promise.all(others.map((page) => page.evaluate(describe))))}`)
      }
      t.diagnostic(`${way}: others went on after ${Math.round(performance.now() - start)} ms`)
      if (wake) {
        await new Promise((resolve) => { setTimeout(resolve, below(500)) })
        await wake()
      } else {
        pages = [...others, await open()]
      }
    }
    await Promise.all(pages.map((page) => page.evaluate(stopAppending)))

    const contents = await Promise.all(pages.map((page) => page.evaluate(readAll)))
    const places = new Map()
    for (const [index, text] of contents[0].entries()) {
      assert.ok(text !== null && !places.has(text), `${text} is there twice`)
      places.set(text, index)
    }
    for (const [text, length] of answered) assert.equal(places.get(text), length - 1, `${text} was answered with ${length}`)
    for (const other of contents) assert.deepEqual(other, contents[0])
    assert.ok(answered.size > 20)
    t.diagnostic(`${answered.size} answered, ${contents[0].length} stored`)
  })
}

/** Runs on a page: whether a transaction of another tab keeps everybody from the database. */
async function isBlocked () {
  const [{ name }] = await indexedDB.databases()
  const db = await new Promise((resolve, reject) => {
    const opening = indexedDB.open(name)
    opening.onsuccess = () => { resolve(opening.result) }
    opening.onerror = () => { reject(opening.error) }
  })
  const [store] = db.objectStoreNames
  const free = new Promise((resolve) => {
    const transaction = db.transaction(store, 'readwrite')
    transaction.objectStore(store).count()
    transaction.oncomplete = () => { resolve(false) }
  })
  const isBlocked = await Promise.race([free, new Promise((resolve) => { setTimeout(resolve, 1000, true) })])
  db.close()
  return isBlocked
}

/** Runs on a page: how its store is. */
async function describe () {
  const { locks } = navigator
  const { held, pending } = await locks.query()
  const names = (list) => list.map(({ name, clientId }) => `${name} ${clientId.slice(0, 4)}`)
  const failed = await Promise.race([writing.then(() => null, (error) => `${error.code} ${error.cause?.code} ${error.stack}`), new Promise((resolve) => { setTimeout(resolve, 50) })])
  return { failed, isOwner: core.core.db.isOwner, isMoving: core.core.db.isMoving, isResuming: !!core.core.resuming, length: core.length, held: names(held), pending: names(pending) }
}

async function ownerOf (pages) {
  const owns = await Promise.all(pages.map((page) => page.evaluate(() => core.core.db.isOwner)))
  return pages[owns.indexOf(true)]
}
