// Owners that end at any moment while all tabs write: nothing that was answered is lost, and nothing is there twice.

import test from 'node:test'

import { BusyTabs } from './support/busy-tabs.mjs'
import { ends, keepAppending, openLog, random, readAll, stopAppending } from './support/tabs.mjs'

const SEED = Number(process.env.HYPERTAB_SEED ?? Date.now() % 1_000_000)

for (const [way, rounds] of [['close', 3], ['crash', 3], ['freeze', 3]]) {
  test(`an owner's end by ${way} loses nothing and does nothing twice (HYPERTAB_SEED=${SEED})`, { timeout: 120_000 }, async (t) => {
    const below = random(SEED)
    const tabs = await BusyTabs.start(t, async (page, name) => {
      await page.evaluate(openLog, 'shared')
      await page.evaluate(keepAppending, [name, 1 + below(4)])
    })
    let pages = await tabs.openAll(3)

    for (let round = 0; round < rounds; round++) {
      await new Promise((resolve) => { setTimeout(resolve, 200 + below(300)) })
      const owner = await ownerOf(pages)
      const others = pages.filter((page) => page !== owner)
      let wake = await ends[way](owner)
      // A browser freezes no tab that is in the middle of a transaction, since nobody else could go on.
      while (wake && await others[0].evaluate(isBlocked)) {
        await wake()
        wake = await ends[way](owner)
      }
      t.diagnostic(`${way}: others went on after ${Math.round(await tabs.goOn(others, 15_000, describe))} ms`)
      if (wake) {
        await new Promise((resolve) => { setTimeout(resolve, below(500)) })
        await wake()
      } else {
        pages = [...others, await tabs.open()]
      }
    }
    await Promise.all(pages.map((page) => page.evaluate(stopAppending)))

    t.diagnostic(tabs.check(await Promise.all(pages.map((page) => page.evaluate(readAll)))))
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
