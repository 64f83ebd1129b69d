// A log that is cut where nobody hears of it, because the tab that has the store is about to lose it: what others tell once the store is theirs.

import assert from 'node:assert/strict'
import test from 'node:test'

import { openPage, servePackage, startBrowser } from './support/browser.mjs'
import { fallSilent, openLog } from './support/tabs.mjs'

/** Runs on a page: notes what is told of the log, or of a branch, and takes a snapshot of it. */
async function listen (name) {
  if (name) globalThis.core = core.session({ name, valueEncoding: 'utf-8' })
  await core.ready()
  globalThis.told = []
  core.on('append', () => { told.push(['append', core.length]) })
  core.on('truncate', (length, fork) => { told.push(['truncate', length, fork]) })
  globalThis.snapshot = core.snapshot({ valueEncoding: 'utf-8' })
  await snapshot.ready()
}

/** Runs on a page: cuts the log, and appends to it. */
async function cut ([length, values, name]) {
  if (name) globalThis.core = core.session({ name, valueEncoding: 'utf-8' })
  await core.ready()
  await core.truncate(length)
  if (values.length > 0) await core.append(values)
}

/** Runs on a page: what was told once the store is its own, and what the log and the snapshot have. */
async function look () {
  const read = async (core, length) => await Promise.all(Array.from({ length }, (_, index) => core.get(index, { wait: false }).catch(({ code }) => code)))
  await core.setUserData('moved', 'yes')
  return { isOwner: core.core.db.isOwner, told: told.splice(0), log: await read(core, core.length), snapshot: await read(snapshot, snapshot.length) }
}

const cases = [
  ['is shorter', [3, []], { told: [['truncate', 3, 1]], log: ['a', 'b', 'c'], snapshot: ['a', 'b', 'c', 'SNAPSHOT_NOT_AVAILABLE', 'SNAPSHOT_NOT_AVAILABLE'] }],
  ['is as long again', [4, ['E']], { told: [['truncate', 4, 1], ['append', 5]], log: ['a', 'b', 'c', 'd', 'E'], snapshot: ['a', 'b', 'c', 'd', 'SNAPSHOT_NOT_AVAILABLE'] }],
  ['is longer, and shares what is certain', [4, ['E', 'F', 'G', 'H']], {
    told: [['truncate', 4, 1], ['append', 8]], log: ['a', 'b', 'c', 'd', 'E', 'F', 'G', 'H'], snapshot: ['a', 'b', 'c', 'd', 'SNAPSHOT_NOT_AVAILABLE']
  }],
  ['is a branch, and grew', [5, ['f']], { told: [['truncate', 5, 1], ['append', 6]], log: ['a', 'b', 'c', 'd', 'e', 'f'], snapshot: ['a', 'b', 'c', 'd', 'e'] }, 'branch'],
  ['is a branch, and is as long again', [4, ['E']], {
    told: [['truncate', 4, 1], ['append', 5]], log: ['a', 'b', 'c', 'd', 'E'], snapshot: ['a', 'b', 'c', 'd', 'SNAPSHOT_NOT_AVAILABLE']
  }, 'branch'],
  ['is shorter, and its first blocks are others', [1, ['B', 'C', 'D']], {
    told: [['truncate', 0, 1], ['append', 4]], log: ['a', 'B', 'C', 'D'], snapshot: Array(5).fill('SNAPSHOT_NOT_AVAILABLE')
  }]
]

test('what is told of a log that was cut while its store moved', async (t) => {
  const { url } = await servePackage(t)
  const context = await startBrowser(t)
  for (const [at, [how, change, expected, branch]] of cases.entries()) {
    await t.test(`that ${how}`, async () => {
      const [owner, other] = [(await openPage(context, url)).page, (await openPage(context, url)).page]
      await owner.evaluate(openLog, `forks-${at}`)
      await owner.evaluate(() => core.append(['a', 'b', 'c', 'd', 'e']))
      await other.evaluate(openLog, `forks-${at}`)
      await other.evaluate(listen, branch)

      await owner.evaluate(fallSilent)
      await owner.evaluate(cut, [...change, branch])

      assert.deepEqual(await other.evaluate(look), { isOwner: true, ...expected })
      await Promise.all([owner.close(), other.close()])
    })
  }
})

test('who signs a log is known while its store moves', async (t) => {
  const { url } = await servePackage(t)
  const context = await startBrowser(t)
  const [owner, other] = [(await openPage(context, url)).page, (await openPage(context, url)).page]
  await owner.evaluate(openLog, 'signers')
  await other.evaluate(openLog, 'signers')
  await owner.evaluate(fallSilent)

  const seen = await other.evaluate(async () => {
    const seen = new Set()
    const { port1, port2 } = new MessageChannel()
    const asked = new Promise((resolve) => {
      port1.onmessage = () => {
        const { core: inside } = core
        if (!inside.resuming && seen.size > 0) return resolve()
        if (inside.resuming) {
          try {
            seen.add(inside.manifest?.signers.length ?? null)
          } catch (error) {
            seen.add(error.message)
          }
        }
        port2.postMessage(null)
      }
    })
    port2.postMessage(null)
    await asked
    return [...seen]
  })

  assert.deepEqual(seen, [1])
})
