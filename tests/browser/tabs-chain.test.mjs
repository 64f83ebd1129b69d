// Workers that work through another tab: page, worker, and the tab that has the store.

import assert from 'node:assert/strict'
import test from 'node:test'

import Corestore from 'corestore'

import { defer } from '../interop/support/cleanup.mjs'
import { temporaryFolder } from '../interop/support/folder.mjs'
import { startRelay } from '../interop/support/relay.mjs'
import { createSwarm, startTestnet } from '../interop/support/testnet.mjs'
import { openPage, servePackage, startBrowser } from './support/browser.mjs'
import { BusyTabs } from './support/busy-tabs.mjs'
import { ends, keepBusy, random, stopBusy } from './support/tabs.mjs'

const SEED = Number(process.env.HYPERTAB_SEED ?? Date.now() % 1_000_000)

/** Runs on a page: opens what a peer has, and a log of its own. */
async function openBoth ([entry, key]) {
  const { Corestore } = await import(`/hypertab/browser/${entry}.js`)
  globalThis.store = new Corestore('shared')
  globalThis.core = store.get({ key, valueEncoding: 'utf-8' })
  globalThis.mine = store.get({ name: 'mine', valueEncoding: 'utf-8' })
  await Promise.all([core.ready(), mine.ready()])
  return mine.id
}

/** Runs on a page: joins the swarm of a log. */
async function joinSwarm ([entry, relay]) {
  const { DHT, Hyperswarm } = await import(`/hypertab/browser/${entry}.js`)
  globalThis.swarm = new Hyperswarm({ dht: new DHT({ relay, webrtc: false }) })
  swarm.on('connection', (connection) => {
    connection.on('error', () => {})
    store.replicate(connection)
  })
  swarm.join(core.discoveryKey)
  await swarm.flush()
}

for (const others of ['nobody else', 'a third tab']) {
  test(`a worker that works through another tab replicates in a swarm, also when the tab is gone and ${others} waits for the store`, { timeout: 120_000 }, async (t) => {
    const { bootstrap } = await startTestnet(t)
    const { url: relay } = await startRelay(t, { bootstrap, args: ['--allow-private'] })
    const native = new Corestore(temporaryFolder(t))
    defer(t, () => native.close())
    const theirs = native.get({ name: 'theirs' })
    await theirs.append(Array.from({ length: 300 }, (_, i) => `block ${i}`))
    const swarm = createSwarm(t, { bootstrap })
    swarm.on('connection', (connection) => {
      connection.on('error', () => {})
      native.replicate(connection)
    })
    await swarm.join(theirs.discoveryKey).flushed()

    const { url } = await servePackage(t)
    const context = await startBrowser(t)
    const { page: owner } = await openPage(context, url)
    await owner.evaluate(openBoth, ['index', theirs.id])
    if (others === 'a third tab') await (await openPage(context, url)).page.evaluate(openBoth, ['index', theirs.id])
    const { page, problems } = await openPage(context, url)
    const mineId = await page.evaluate(openBoth, ['worker', theirs.id])
    await page.evaluate(joinSwarm, ['worker', relay])

    assert.equal(await page.evaluate(() => core.get(299)), 'block 299')
    assert.equal(await owner.evaluate(() => core.get(299, { wait: false })), 'block 299')
    assert.equal(await owner.evaluate(() => core.get(7)), 'block 7')
    const mine = native.get({ key: mineId, valueEncoding: 'utf-8' })
    await page.evaluate(() => mine.append('one'))
    assert.equal(await mine.get(0), 'one')
    await owner.evaluate(() => mine.append('two'))
    assert.equal(await mine.get(1), 'two')
    // The peers are those of the connections of this tab.
    const peers = await page.evaluate(() => core.peers.map(({ stream, remotePublicKey }) => [
      swarm.connections.has(stream), [...remotePublicKey].map((byte) => byte.toString(16).padStart(2, '0')).join('')
    ]))
    assert.deepEqual(peers, [[true, swarm.keyPair.publicKey.toString('hex')]])

    // While something is under way in both directions.
    const download = page.evaluate(() => core.download({ start: 0, end: 300 }).done())
    const append = page.evaluate(() => mine.append('three'))
    await ends.crash(owner)
    await Promise.all([download, append])
    assert.equal(await page.evaluate(() => core.contiguousLength), 300)
    assert.equal(await mine.get(2), 'three')
    await theirs.append('block 300')
    assert.equal(await page.evaluate(() => core.get(300)), 'block 300')
    assert.equal(await page.evaluate(() => swarm.connections.size), 1)
    assert.deepEqual(problems, [])
  })
}

for (const way of ['close', 'crash']) {
  test(`pages whose workers work through another tab hear nothing of its end by ${way} (HYPERTAB_SEED=${SEED})`, { timeout: 180_000 }, async (t) => {
    const below = random(SEED)
    const tabs = await BusyTabs.start(t, async (page, name) => {
      await page.evaluate(keepBusy, ['worker', name, below(1_000_000)])
    })
    let pages = await tabs.openAll(3)

    for (let round = 0; round < 5; round++) {
      await new Promise((resolve) => { setTimeout(resolve, below(400)) })
      // Whoever it is: sooner or later it has the store.
      const victim = pages[0]
      const others = pages.slice(1)
      await ends[way](victim)
      t.diagnostic(`${way}: others went on after ${Math.round(await tabs.goOn(others, 20_000, () => globalThis.failures))} ms`)
      pages = [...others, await tabs.open()]
    }
    const ended = await Promise.all(pages.map((page) => page.evaluate(stopBusy)))
    for (const { failures } of ended) assert.deepEqual(failures, [])
    t.diagnostic(tabs.check(ended.map(({ texts }) => texts)))
  })
}

/** Runs on a page: opens a log, a branch that all tabs have open, and a bee that is watched. */
async function openShared (entry) {
  const { Corestore, Hyperbee } = await import(`/hypertab/browser/${entry}.js`)
  globalThis.store = new Corestore('shared')
  globalThis.core = store.get({ name: 'log', valueEncoding: 'utf-8' })
  await core.ready()
  globalThis.branch = core.session({ name: 'branch', valueEncoding: 'utf-8' })
  await branch.ready()
  globalThis.appends = []
  branch.on('append', () => { appends.push(branch.length) })
  globalThis.bee = new Hyperbee(store.get({ name: 'bee' }), { keyEncoding: 'utf-8', valueEncoding: 'utf-8' })
  await bee.ready()
  globalThis.changes = []
  globalThis.watcher = bee.watch()
  void (async () => { for await (const [current] of watcher) changes.push(current.version) })()
}

test('tabs with workers share a branch and a bee, also when the one that has the store closes it and comes back', { timeout: 60_000 }, async (t) => {
  const { url } = await servePackage(t)
  const context = await startBrowser(t)
  const pages = []
  for (let i = 0; i < 3; i++) {
    const { page } = await openPage(context, url)
    await page.evaluate(openShared, 'worker')
    pages.push(page)
  }
  let expected = 0
  let version = 1
  /** All of them write to both at once; everybody sees and hears of it. */
  const write = async (pages) => {
    const lengths = await Promise.all(pages.map((page, at) => page.evaluate(async (at) => {
      const lengths = []
      for (let i = 0; i < 5; i++) {
        lengths.push((await branch.append(`${at}/${i}`)).length)
        await bee.put(`${at}/${i}`, 'value')
      }
      return lengths
    }, at)))
    const all = Array.from({ length: 5 * pages.length }, (_, i) => expected + i + 1)
    assert.deepEqual(lengths.flat().sort((a, b) => a - b), all)
    expected += all.length
    version += all.length
    const seen = await Promise.all(pages.map((page) => page.evaluate(async ([length, version]) => {
      while (branch.length < length || appends.at(-1) !== length || changes.at(-1) !== version) await new Promise((resolve) => setTimeout(resolve, 5))
      const texts = []
      for (let index = 0; index < branch.length; index++) texts.push(await branch.get(index))
      const keys = []
      for await (const { key } of bee.createReadStream()) keys.push(key)
      return { texts, keys, length: core.length, version: bee.version, isOrdered: appends.every((length, at) => at === 0 || length >= appends[at - 1]) }
    }, [expected, version])))
    for (const other of seen) assert.deepEqual(other, seen[0])
    assert.equal(seen[0].texts.length, expected)
    assert.ok(seen[0].isOrdered)
    assert.equal(seen[0].length, 0)
  }

  await write(pages)
  await pages[0].evaluate(() => store.close())
  await write(pages.slice(1))
  await pages[0].evaluate(openShared, 'worker')
  await write(pages)
  await pages[1].close()
  await write([pages[0], pages[2]])
})
