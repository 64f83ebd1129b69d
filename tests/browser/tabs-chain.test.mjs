// Workers that work through another tab: page, worker, and the tab that has the store.

import assert from 'node:assert/strict'
import test from 'node:test'

import Corestore from 'corestore'

import { defer } from '../interop/support/cleanup.mjs'
import { temporaryFolder } from '../interop/support/folder.mjs'
import { startRelay } from '../interop/support/relay.mjs'
import { createSwarm, startTestnet } from '../interop/support/testnet.mjs'
import { openPage, servePackage, startBrowser } from './support/browser.mjs'
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
      await page.evaluate(keepBusy, ['worker', name, below(1_000_000)])
      return page
    }
    let pages = []
    for (let i = 0; i < 3; i++) pages.push(await open())

    for (let round = 0; round < 5; round++) {
      await new Promise((resolve) => { setTimeout(resolve, below(400)) })
      // Whoever it is: sooner or later it has the store.
      const victim = pages[0]
      const others = pages.slice(1)
      const start = performance.now()
      await ends[way](victim)
      const countOf = (page) => [...answered.keys()].filter((text) => text.startsWith(`${nameOf.get(page)}:`)).length
      const counts = others.map(countOf)
      while (others.some((page, at) => countOf(page) < counts[at] + 10)) {
        await new Promise((resolve) => { setTimeout(resolve, 5) })
        if (performance.now() - start < 20_000) continue
        assert.fail(`nobody took the store over: ${JSON.stringify(await Promise.all(others.map((page) => page.evaluate(() => globalThis.failures))))}`)
      }
      t.diagnostic(`${way}: others went on after ${Math.round(performance.now() - start)} ms`)
      pages = [...others, await open()]
    }
    const ended = await Promise.all(pages.map((page) => page.evaluate(stopBusy)))
    for (const { failures } of ended) assert.deepEqual(failures, [])
    const places = new Map()
    for (const [index, text] of ended[0].texts.entries()) {
      assert.ok(text !== null && !places.has(text), `${text} is there twice`)
      places.set(text, index)
    }
    for (const [text, length] of answered) assert.equal(places.get(text), length - 1, `${text} was answered with ${length}`)
    for (const { texts } of ended) assert.deepEqual(texts, ended[0].texts)
    assert.ok(answered.size > 20)
    t.diagnostic(`${answered.size} answered, ${ended[0].texts.length} stored`)
  })
}
