// What was closed is forgotten, in the tab that asked for it and in the one that has the store: however often it is opened, no map or set of the
// package gets larger.

import assert from 'node:assert/strict'
import test from 'node:test'
import { setTimeout } from 'node:timers/promises'

import { openPage, servePackage, startBrowser } from './support/browser.mjs'

/** How often each thing is opened and closed. */
const TIMES = 60

/** How long what nobody uses may stay, in milliseconds: a store keeps cores open for a while. */
const PATIENCE = 30_000

/** Runs on a page before anything else: keeps count of what is in maps and sets. */
function countEntries () {
  const all = []
  for (const name of ['Map', 'Set']) {
    globalThis[name] = class extends globalThis[name] {
      constructor (...args) {
        super(...args)
        all.push(new WeakRef(this))
      }
    }
  }
  globalThis.entries = () => {
    const sizes = all.flatMap((ref) => ref.deref()?.size ?? [])
    return sizes.reduce((sum, size) => sum + size, 0)
  }
}

/** Runs on a page: opens the store. */
async function open ([entry, name]) {
  globalThis.kit = await import(`/hypertab/browser/${entry}.js`)
  globalThis.store = new kit.Corestore(name)
  await store.ready()
  const core = globalThis.core = store.get({ name: 'stays open' })
  await core.append('x')
}

/** Runs on a page: opens things and closes them, each so often. */
async function openAndClose (times) {
  const things = {
    async core (at) {
      const other = store.get({ name: `core ${at}` })
      await other.append('x')
      await other.close()
    },
    async snapshot () {
      const snapshot = core.snapshot()
      await snapshot.get(0)
      await snapshot.close()
    },
    async branch () {
      const branch = core.session({ name: 'branch' })
      await branch.ready()
      await branch.close()
    },
    async atom () {
      const atom = core.core.storage.createAtom()
      const inside = core.session({ atom })
      await inside.append('x')
      await atom.flush()
      await inside.close()
    },
    async bee (at) {
      const bee = new kit.Hyperbee(store.get({ name: `bee ${at}` }), { keyEncoding: 'utf-8' })
      await bee.put('a', 'b')
      const snapshot = bee.snapshot()
      await snapshot.get('a')
      await snapshot.close()
      await bee.close()
    },
    async drive (at) {
      const drive = new kit.Hyperdrive(store.namespace(`drive ${at}`))
      await drive.put('/a', new Uint8Array(10))
      await drive.get('/a')
      await drive.close()
    },
    async 'core that is replicated' (at) {
      const theirs = new kit.Hypercore(kit.memory())
      await theirs.append(['a', 'b'])
      const ours = store.get({ key: theirs.key })
      await ours.ready()
      const streams = [theirs.replicate(true), ours.replicate(false)]
      for (const stream of streams) stream.on('error', () => {})
      streams[0].pipe(streams[1]).pipe(streams[0])
      await ours.get(1)
      const closed = streams.map((stream) => new Promise((resolve) => stream.on('close', resolve)))
      for (const stream of streams) stream.destroy()
      await Promise.all(closed)
      await ours.close()
      await theirs.close()
    },
    async store (at) {
      const other = new kit.Corestore(`store ${at}`)
      await other.get({ name: 'x' }).append('y')
      await other.close()
    }
  }
  for (const [name, thing] of Object.entries(things)) {
    for (let at = 0; at < times; at++) await thing(`${name} ${globalThis.count = (globalThis.count ?? 0) + 1}`)
  }
}

test('what was closed is forgotten', async (t) => {
  const { url } = await servePackage(t)
  const context = await startBrowser(t, { isOwn: true })
  await context.addInitScript(countEntries)
  for (const [how, entries] of [['alone', ['index']], ['through another tab', ['index', 'index']], ['with a worker', ['worker']]]) {
    await t.test(how, async () => {
      const pages = []
      for (const entry of entries) {
        const { page } = await openPage(context, url)
        await page.evaluate(open, [entry, how])
        pages.push(page)
      }
      const sessions = await Promise.all(pages.map((page) => context.newCDPSession(page)))
      const count = async () => {
        for (const cdp of sessions) await cdp.send('HeapProfiler.collectGarbage')
        return await Promise.all(pages.map((page) => page.evaluate(() => globalThis.entries())))
      }
      await pages.at(-1).evaluate(openAndClose, 2)
      const before = await count()

      await pages.at(-1).evaluate(openAndClose, TIMES)

      let grown
      for (const start = performance.now(); performance.now() - start < PATIENCE; await setTimeout(500)) {
        grown = (await count()).map((entries, at) => entries - before[at])
        if (grown.every((entries) => entries < TIMES / 2)) break
      }
      assert.ok(grown.every((entries) => entries < TIMES / 2), `${grown.join(' and ')} entries more`)
      await Promise.all(pages.map((page) => page.close()))
    })
  }
})
