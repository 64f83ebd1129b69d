// Atoms whose store moves to another tab: what was written in them goes on there, and is stored once; or whoever flushes hears that it is not.

import assert from 'node:assert/strict'
import test from 'node:test'

import { openPage, servePackage, startBrowser } from './support/browser.mjs'
import { ends, fallSilent, random } from './support/tabs.mjs'

const SEED = Number(process.env.HYPERTAB_SEED ?? Date.now() % 1_000_000)

/** Runs on a page: opens two logs of a store that other tabs have open, too. */
async function openLogs ([entry, name]) {
  const { Corestore } = await import(`/hypertab/browser/${entry}.js`)
  globalThis.store = new Corestore(name)
  globalThis.logs = ['one', 'two'].map((name) => store.get({ name, valueEncoding: 'utf-8' }))
  await Promise.all(logs.map((log) => log.ready()))
  return store.storage.isOwner
}

/** Runs on a page: writes in an atom in every way, and keeps it as `atom`, with its sessions. */
async function writeInAtom () {
  globalThis.branch = logs[0].session({ name: 'branch', valueEncoding: 'utf-8' })
  await branch.ready()
  globalThis.atom = store.storage.createAtom()
  globalThis.inside = [...logs, branch].map((log) => log.session({ atom, valueEncoding: 'utf-8' }))
  await Promise.all(inside.map((session) => session.ready()))
  globalThis.heard = []
  for (const [at, session] of inside.entries()) {
    for (const name of ['append', 'truncate', 'close']) session.on(name, () => { heard.push([at, name, session.length]) })
  }
  const bytes = new TextEncoder().encode('c')
  await inside[0].append([bytes, 'd'])
  // What was appended is the program's again.
  bytes[0] = 0
  await inside[0].setUserData('name', 'value')
  await inside[2].append('e')
  await inside[1].append(['v', 'w', 'x'])
  await inside[1].truncate(2)
  await inside[1].append('y')
  return [...inside, ...logs, branch].map(({ length, fork }) => [length, fork])
}

/** Runs on a page: what both logs and the branch hold, outside of the atom. */
async function readLogs () {
  const texts = async (log) => {
    const list = []
    for (let index = 0; index < log.length; index++) list.push(await log.get(index, { wait: false }))
    return list
  }
  const stored = logs[0].session({ name: 'branch', valueEncoding: 'utf-8' })
  await stored.ready()
  const found = [await texts(logs[0]), await texts(logs[1]), await texts(stored), new TextDecoder().decode(await logs[0].getUserData('name') ?? undefined)]
  await stored.close()
  return found
}

const WRITTEN = [[4, 0], [3, 1], [3, 0], [2, 0], [1, 0], [2, 0]]
const BEFORE = [['a', 'b'], ['u'], ['a', 'b'], '']
const STORED = [['a', 'b', 'c', 'd'], ['u', 'v', 'y'], ['a', 'b', 'e'], 'value']

async function openTabs (t, name, entry = 'index') {
  const { url } = await servePackage(t)
  const context = await startBrowser(t)
  const [owner, other] = [await openPage(context, url), await openPage(context, url)]
  assert.equal(await owner.page.evaluate(openLogs, ['index', name]), true)
  await owner.page.evaluate(async () => {
    await logs[0].append(['a', 'b'])
    await logs[1].append('u')
  })
  await other.page.evaluate(openLogs, [entry, name])
  return { owner: owner.page, other: other.page, problems: other.problems, third: async () => (await openPage(context, url)).page }
}

for (const [way, entry] of [['close', 'index'], ['crash', 'index'], ['freeze', 'index'], ['crash', 'worker']]) {
  test(`what another tab wrote in an atom goes on after the owner's end by ${way}${entry === 'worker' ? ', where a worker works through it' : ''}`, async (t) => {
    const { owner, other, problems, third } = await openTabs(t, 'atoms', entry)
    assert.deepEqual(await other.evaluate(writeInAtom), WRITTEN)
    const heard = await other.evaluate(() => heard)

    await ends[way](owner)
    assert.deepEqual(await other.evaluate(async () => {
      const { length } = await inside[2].append('f')
      await inside[2].truncate(3)
      return [length, await inside[0].get(2), await inside[1].get(2)]
    }), [4, 'c', 'y'])
    assert.deepEqual(await other.evaluate(() => heard), [...heard, [2, 'append', 4], [2, 'truncate', 3]], 'nothing is told twice')
    assert.deepEqual(await other.evaluate(readLogs), BEFORE)
    await other.evaluate(() => atom.flush())

    const page = await third()
    await page.evaluate(openLogs, ['index', 'atoms'])
    for (const tab of [other, page]) assert.deepEqual(await tab.evaluate(readLogs), STORED)
    // It is an atom as before.
    assert.deepEqual(await other.evaluate(async () => {
      await inside[1].append('z')
      await atom.flush()
      return [logs[1].length, await logs[1].get(3)]
    }), [4, 'z'])
    assert.deepEqual(problems, [])
  })
}

test('a flush that the owner stored and could not answer any more is not done twice', async (t) => {
  const { owner, other, problems } = await openTabs(t, 'answers')
  assert.deepEqual(await other.evaluate(writeInAtom), WRITTEN)

  await owner.evaluate(fallSilent)
  const flushing = other.evaluate(() => atom.flush())
  await owner.evaluate(async () => { while (logs[0].length < 4 || logs[1].length < 3) await new Promise((resolve) => setTimeout(resolve, 5)) })
  await ends.crash(owner)
  await flushing

  assert.deepEqual(await other.evaluate(readLogs), STORED)
  assert.deepEqual(await other.evaluate(async () => {
    await inside[0].append('e')
    await atom.flush()
    const names = []
    for await (const { key } of logs[0].state.storage.createUserDataStream()) names.push(key)
    return [logs[0].length, await logs[0].get(4), names]
  }), [5, 'e', ['name']])
  assert.deepEqual(problems, [])
})

test('an atom over a log that others have changed when it moves is lost, and its flush says so', async (t) => {
  const { owner, other, third, problems } = await openTabs(t, 'changed')
  assert.deepEqual(await other.evaluate(writeInAtom), WRITTEN)
  const page = await third()
  await page.evaluate(openLogs, ['index', 'changed'])

  await page.evaluate(() => logs[1].append('theirs'))
  await ends.crash(owner)
  const found = await other.evaluate(async () => {
    const { code } = await atom.flush().catch((error) => error)
    return [code, inside.map(({ closed }) => closed), (await logs[0].session({ atom }).ready().catch((error) => error)).code]
  })

  assert.deepEqual(found, ['ATOM_LOST', [true, true, true], 'ATOM_LOST'])
  assert.deepEqual(await other.evaluate(readLogs), [['a', 'b'], ['u', 'theirs'], ['a', 'b'], ''])
  assert.deepEqual(problems, [])
})

test('an owner that froze has its own atoms when it works through another tab', async (t) => {
  const { owner, other, problems } = await openTabs(t, 'frozen')
  assert.deepEqual(await owner.evaluate(writeInAtom), WRITTEN)

  const wake = await ends.freeze(owner)
  await other.evaluate(() => logs[0].setUserData('theirs', 'x'))
  assert.equal(await other.evaluate(() => store.storage.isOwner), true)
  await wake()
  await owner.evaluate(() => atom.flush())

  assert.equal(await owner.evaluate(() => store.storage.isOwner), false)
  for (const tab of [owner, other]) assert.deepEqual(await tab.evaluate(readLogs), STORED)
  assert.deepEqual(problems, [])
})

test(`atoms are stored whole and once while owners crash at any moment (HYPERTAB_SEED=${SEED})`, { timeout: 120_000 }, async (t) => {
  const below = random(SEED)
  const { url } = await servePackage(t)
  const context = await startBrowser(t)
  const open = async () => {
    const { page } = await openPage(context, url)
    await page.evaluate(openLogs, ['index', 'crashing'])
    return page
  }
  let victims = [await open(), await open()]
  const page = await open()
  await page.evaluate(() => {
    globalThis.rounds = 0
    globalThis.failures = []
    globalThis.stopped = false
    globalThis.writing = (async () => {
      const own = ['own one', 'own two'].map((name) => store.get({ name, valueEncoding: 'utf-8' }))
      while (!stopped && failures.length === 0) {
        const round = rounds++
        try {
          const atom = store.storage.createAtom()
          const inside = own.map((log) => log.session({ atom, valueEncoding: 'utf-8' }))
          const first = await inside[0].append([`${round}`, `${round}`])
          const second = await inside[1].append(`${round}`)
          await atom.flush()
          if (first.length !== 2 * round + 2 || second.length !== round + 1) failures.push(`lengths ${first.length} and ${second.length} in round ${round}`)
          await Promise.all(inside.map((session) => session.close()))
        } catch (error) {
          failures.push(`round ${round}: ${error?.code} ${error?.stack}`)
        }
      }
      const texts = []
      for (const log of own) {
        const list = []
        for (let index = 0; index < log.length; index++) list.push(await log.get(index, { wait: false }))
        texts.push(list)
      }
      return { failures, rounds, texts }
    })()
  })
  for (let round = 0; round < 6; round++) {
    await new Promise((resolve) => { setTimeout(resolve, 50 + below(300)) })
    const before = await page.evaluate(() => rounds)
    await ends.crash(victims[0])
    victims = [victims[1], await open()]
    await page.evaluate(async (before) => { while (rounds < before + 2 && failures.length === 0) await new Promise((resolve) => setTimeout(resolve, 5)) }, before)
  }
  const { failures, rounds, texts } = await page.evaluate(() => {
    globalThis.stopped = true
    return writing
  })

  assert.deepEqual(failures, [])
  const numbers = Array.from({ length: rounds }, (_, round) => `${round}`)
  assert.deepEqual(texts, [numbers.flatMap((text) => [text, text]), numbers])
  t.diagnostic(`${rounds} atoms`)
})
