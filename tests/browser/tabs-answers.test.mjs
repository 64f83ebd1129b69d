// Owners that end after they have stored what another tab asked for, and before they could say so.

import assert from 'node:assert/strict'
import test from 'node:test'

import { openPage, servePackage, startBrowser } from './support/browser.mjs'
import { ends, fallSilent, openLog, readAll } from './support/tabs.mjs'

/** Writes, each with what it answers: run on a page, where `core` is the log and `branch` a branch of it. */
const WRITES = [
  ['append', () => core.append(['d', 'e']), { length: 5, byteLength: 5 }, ['a', 'b', 'c', 'd', 'e']],
  ['a part of a branch that is committed, and then more', () => Promise.all([core.commit(branch, { length: 4 }), core.commit(branch)]), [{ length: 4, byteLength: 4 }, { length: 5, byteLength: 5 }], ['a', 'b', 'c', 'x', 'y']],
  ['a branch that is committed', () => core.commit(branch), { length: 5, byteLength: 5 }, ['a', 'b', 'c', 'x', 'y']],
  ['truncate', () => core.truncate(1), null, ['a']],
  ['setUserData', () => core.setUserData('name', 'value'), null, ['a', 'b', 'c']]
]

/** Runs on a page: a branch of the log with blocks of its own. */
async function openBranch () {
  globalThis.branch = core.session({ name: 'branch', valueEncoding: 'utf-8' })
  await branch.ready()
  await branch.append(['x', 'y'])
}

/** Runs on a page: whether the log is another one than it was, or has the user data. */
async function isDone () {
  return (core.length !== 3 && core.length !== 4) || await core.getUserData('name') !== null
}

test('what an owner stored and could not answer any more is neither lost nor done twice', { timeout: 120_000 }, async (t) => {
  const { url } = await servePackage(t)
  const context = await startBrowser(t)
  for (const [at, [what, write, answer, blocks]] of WRITES.entries()) {
    const { page: owner } = await openPage(context, url)
    await owner.evaluate(openLog, `log-${at}`)
    await owner.evaluate(() => core.append(['a', 'b', 'c']))
    const { page, problems } = await openPage(context, url)
    assert.equal((await page.evaluate(openLog, `log-${at}`)).isOwner, false)
    await page.evaluate(openBranch)

    await owner.evaluate(fallSilent)
    const writing = page.evaluate(write)
    while (!(await owner.evaluate(isDone))) await new Promise((resolve) => { setTimeout(resolve, 10) })
    await ends.crash(owner)

    assert.deepEqual(await writing ?? null, answer, what)
    assert.deepEqual(await page.evaluate(readAll), blocks, what)
    assert.equal(await page.evaluate(() => core.core.db.isOwner), true)
    assert.deepEqual(problems, [])
    await page.close()
  }
})

/** Runs on a page: appends one block after the other, and notes where the log does not show what was answered. */
async function appendAndLook (entry) {
  const { Hypercore } = await import(`/hypertab/browser/${entry}.js`)
  globalThis.core = new Hypercore(`answered-${entry}`, { valueEncoding: 'utf-8' })
  await core.ready()
  globalThis.stopped = false
  globalThis.behind = []
  globalThis.writing = (async () => {
    for (let count = 0; !stopped; count++) {
      const { length } = await core.append(`${count}`)
      if (core.length < length) behind.push(`${core.length} instead of ${length}`)
    }
  })()
}

/** Runs on a page: takes a store away from its owner, as somebody who waited for it in vain, and leaves it to who comes next. */
async function takeAway (name) {
  await navigator.locks.request(`hypertab-lock:hypertab:${name}`, { steal: true }, () => new Promise((resolve) => { setTimeout(resolve, 50) }))
}

for (const entry of ['index', 'worker']) {
  test(`what was answered is shown, also when the store of ${entry}.js was taken away meanwhile`, { timeout: 60_000 }, async (t) => {
    const { url } = await servePackage(t)
    const context = await startBrowser(t)
    const { page: thief } = await openPage(context, url)
    const { page, problems } = await openPage(context, url)
    await page.evaluate(appendAndLook, entry)

    for (let round = 0; round < 10; round++) {
      await thief.evaluate(takeAway, `answered-${entry}`)
      // It has the store back, and goes on.
      const length = await page.evaluate(() => core.length)
      await page.waitForFunction((length) => core.length > length + 5, length)
    }
    const behind = await page.evaluate(async () => {
      stopped = true
      await writing
      return behind
    })
    assert.deepEqual(behind, [])
    assert.deepEqual(problems, [])
  })
}
