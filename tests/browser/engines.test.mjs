// What must hold in every engine: meeting a peer in Node, coming back without a network, a browser that is killed while it
// writes, and a disk that is full.

import assert from 'node:assert/strict'
import { randomInt } from 'node:crypto'
import { once } from 'node:events'
import test from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'

import { WebSocketServer } from 'ws'

import { defer } from '../interop/support/cleanup.mjs'
import { startRelay } from '../interop/support/relay.mjs'
import { startTestnet } from '../interop/support/testnet.mjs'
import { servePackage } from './support/browser.mjs'
import { startReader, startWriter } from './support/demo.mjs'
import { engines } from './support/engines.mjs'
import { noQuota } from './support/webkit.mjs'

for (const [engine, start] of Object.entries(engines)) {
  test(`${engine}: a page and a peer in Node replicate both ways, and what came stays without a network`, async (t) => {
    const { bootstrap } = await startTestnet(t)
    const relay = await startRelay(t, { bootstrap, args: ['--allow-private'] })
    const { writer, key, announce } = await startWriter(t, bootstrap, ['one', 'two', 'three'])
    await announce()
    const { url } = await servePackage(t)
    const page = await (await start(t)).open(url)

    assert.deepEqual(await page.evaluate(follow, key, relay.url, 3), ['one', 'two', 'three'])
    const own = await page.evaluate(publish)
    const reader = await startReader(t, own)
    await reader.ask('swarm', { bootstrap })
    assert.equal(Buffer.from((await reader.ask('get', { index: 1 })).hex, 'hex').toString(), 'page 1')

    // Offline: the peer is unheard, and what is here still reads.
    const listen = new URL(relay.url).host
    await relay.process.kill()
    await page.reload()
    assert.deepEqual(await page.evaluate(readAlone, key), ['one', 'two', 'three'])

    // And back: the page follows again by itself as soon as there is a relay.
    const followed = page.evaluate(follow, key, relay.url, 4)
    await writer.ask('append', { blocks: ['four'] })
    await startRelay(t, { listen, bootstrap, args: ['--allow-private'] })
    assert.deepEqual(await followed, ['one', 'two', 'three', 'four'])
  })

  test(`${engine}: large blocks read back, and are there after a reload`, async (t) => {
    const { url } = await servePackage(t)
    const page = await (await start(t)).open(url)
    assert.equal(await page.evaluate(readLarge, true), 6)
    await page.reload()
    assert.equal(await page.evaluate(readLarge, false), 6)
  })

  test(`${engine}: killed at random moments while it writes, it has lost nothing that was announced`, async (t) => {
    const announced = await startLedger(t)
    const { url } = await servePackage(t)
    let browser = await start(t)
    let least = 0
    for (let round = 0; round < 3; round++) {
      const page = await browser.open(url)
      const length = await page.evaluate(check)
      assert.ok(length >= least, `round ${round}: ${length} of ${least} blocks came back`)
      await page.evaluate(write, announced.url)
      const moment = randomInt(50, 1500)
      await announced.more()
      await sleep(moment)
      browser = await browser.crash()
      t.diagnostic(`round ${round}: killed ${moment} ms after the first block, ${announced.length} announced`)
      least = announced.length
    }
    const page = await browser.open(url)
    assert.ok(await page.evaluate(check) >= least)
  })
}

for (const engine of ['firefox', 'webkit']) {
  test(`${engine}: a write that finds its store taken stores nothing, and is made again once the store is back`, async (t) => {
    const { url } = await servePackage(t)
    const page = await (await engines[engine](t)).open(url)
    // The first write of an owner has a number, those that go on from it have none.
    for (const isFirst of [true, false]) {
      const { ends, blocks } = await page.evaluate(writeTaken, isFirst)
      assert.deepEqual(ends, ['abort'])
      assert.deepEqual(blocks, ['before', 'after'])
    }
  })

  test(`${engine}: a full disk is an error that loses nothing`, { skip: engine === 'webkit' && noQuota }, async (t) => {
    const { url } = await servePackage(t)
    const browser = await engines[engine](t, { quota: 24 * 1024 * 1024 })
    const page = await browser.open(url)
    const { code, cause, length } = await page.evaluate(fill)
    assert.deepEqual({ code, cause }, { code: 'WRITE_FAILED', cause: 'STORAGE_FULL' })
    assert.ok(length > 4)
    // WebKit opens no database on a disk without any room.
    await browser.makeRoom?.()
    const kept = await page.evaluate(check, 'full')
    assert.ok(kept >= length, `${kept} of ${length} blocks are there after it`)
    await page.reload()
    assert.ok(await page.evaluate(check, 'full') >= length)
  })
}

/** Takes what pages say they have made durable. */
async function startLedger (t) {
  const server = new WebSocketServer({ host: '127.0.0.1', port: 0 })
  await once(server, 'listening')
  defer(t, () => new Promise((resolve) => {
    for (const client of server.clients) client.terminate()
    server.close(resolve)
  }))
  const ledger = { length: 0, url: `ws://127.0.0.1:${server.address().port}`, more: () => once(server, 'more') }
  server.on('connection', (socket) => {
    socket.on('error', () => {})
    socket.on('message', (length) => {
      ledger.length = Math.max(ledger.length, Number(length))
      server.emit('more')
    })
  })
  return ledger
}

// What follows runs in pages.

async function readLarge (isNew) {
  const { Hypercore } = await import('/hypertab/browser/index.js')
  const core = new Hypercore('large')
  const block = (index) => new Uint8Array(500_000).map((_, at) => (at * 7 + index) % 251)
  if (isNew) for (let index = 0; index < 6; index += 2) await core.append([block(index), block(index + 1)])
  await core.ready()
  let right = 0
  for (let index = 0; index < core.length; index++) {
    const found = await core.get(index, { wait: false })
    const expected = block(index)
    if (found?.byteLength === expected.byteLength && found.every((byte, at) => byte === expected[at])) right++
  }
  await core.close()
  return right
}

async function follow (key, relay, count) {
  const { Hypercore, Hyperswarm } = await import('/hypertab/browser/index.js')
  window.core = new Hypercore('copy', key, { valueEncoding: 'utf-8' })
  await window.core.ready()
  const swarm = window.swarm = new Hyperswarm({ relay })
  swarm.on('connection', (connection) => {
    window.core.replicate(connection)
    window.own?.replicate(connection)
  })
  swarm.join(window.core.discoveryKey, { server: false })
  const blocks = []
  for (let index = 0; index < count; index++) blocks.push(await window.core.get(index))
  return blocks
}

async function publish () {
  const { Hypercore } = await import('/hypertab/browser/index.js')
  const core = window.own = new Hypercore('own')
  await core.append(['page 0', 'page 1'])
  await window.swarm.join(core.discoveryKey, { client: false }).flushed()
  return core.key.reduce((hex, byte) => hex + byte.toString(16).padStart(2, '0'), '')
}

async function readAlone (key) {
  const { Hypercore } = await import('/hypertab/browser/index.js')
  const core = new Hypercore('copy', key, { valueEncoding: 'utf-8' })
  await core.ready()
  const blocks = []
  for (let index = 0; index < core.length; index++) blocks.push(await core.get(index, { wait: false }))
  await core.close()
  return blocks
}

/** Writes to a store that somebody else has claimed. Returns how transactions ended in which something failed, and what there is. */
async function writeTaken (isFirst) {
  const { Hypercore, indexedDB: storeIn } = await import('/hypertab/browser/index.js')
  const name = `taken-${isFirst}`
  const open = () => new Hypercore(storeIn(name), { valueEncoding: 'utf-8' })
  let core = open()
  await core.append('before')
  if (isFirst) {
    await core.close()
    core = open()
    await core.ready()
  }
  const database = await new Promise((resolve, reject) => {
    const request = indexedDB.open(name)
    request.onsuccess = () => resolve(request.result)
    request.onerror = () => reject(request.error)
  })
  const ask = (question) => new Promise((resolve, reject) => {
    const transaction = database.transaction(['log', 'meta'], 'readwrite')
    const request = question(transaction.objectStore('log'), transaction.objectStore('meta'))
    transaction.oncomplete = () => resolve(request.result)
    transaction.onabort = () => reject(transaction.error)
  })
  const keys = await ask((log) => log.getAllKeys())
  const [lowest, highest] = [keys[0], keys.at(-1)]
  const { length } = await ask((log) => log.get(highest))
  const owner = await ask((log, meta) => meta.get(2))
  // The number of the next write, and the place where the log goes on, as whoever claims the store takes them.
  await ask((log, meta) => {
    meta.put(owner.map((byte) => 255 - byte), 2)
    // A mark of the claim before has no length.
    if (length !== undefined) {
      meta.put([highest + length], 5)
      log.add(true, highest + length)
    }
    return log.add(true, lowest - 1)
  })
  const ends = []
  const { transaction } = IDBDatabase.prototype
  IDBDatabase.prototype.transaction = function (...args) {
    const begun = transaction.apply(this, args)
    let failed = false
    begun.addEventListener('error', () => { failed = true })
    for (const end of ['complete', 'abort']) begun.addEventListener(end, () => { if (failed) ends.push(end) })
    return begun
  }
  try {
    await core.append('after')
    return { ends, blocks: [await core.get(0), await core.get(1)] }
  } finally {
    IDBDatabase.prototype.transaction = transaction
  }
}

/** Reads everything back; block n says n. */
async function check (name = 'killed') {
  const { Hypercore } = await import('/hypertab/browser/index.js')
  const core = new Hypercore(name)
  await core.ready()
  for (let index = 0; index < core.length; index++) {
    const block = await core.get(index, { wait: false })
    const found = block === null ? null : new DataView(block.buffer, block.byteOffset).getUint32(0)
    if (found !== index) throw new Error(`block ${index} says ${found}`)
  }
  const { length } = core
  await core.close()
  return length
}

/** Goes on writing after it has returned. */
async function write (url) {
  const { Hypercore } = await import('/hypertab/browser/index.js')
  const core = new Hypercore('killed')
  await core.ready()
  const ledger = new WebSocket(url)
  await new Promise((resolve) => { ledger.onopen = resolve })
  const block = (index) => {
    const bytes = new Uint8Array(64 + index % 5000)
    new DataView(bytes.buffer).setUint32(0, index)
    return bytes
  }
  ;(async () => {
    for (;;) {
      // Single blocks and batches.
      const next = core.length
      await (next % 3 === 0 ? core.append([block(next), block(next + 1), block(next + 2)]) : core.append(block(next)))
      ledger.send(core.length)
    }
  })()
}

async function fill () {
  const { Hypercore } = await import('/hypertab/browser/index.js')
  const core = new Hypercore('full')
  await core.ready()
  let length = 0
  try {
    for (;;) {
      const bytes = crypto.getRandomValues(new Uint8Array(65536))
      const big = new Uint8Array(1024 * 1024)
      for (let at = 0; at < big.length; at += bytes.length) big.set(bytes, at)
      new DataView(big.buffer).setUint32(0, length)
      length = (await core.append(big)).length
      if (length > 200) throw new Error('it is never full')
    }
  } catch (error) {
    const { code, cause } = error
    await core.close().catch(() => {})
    return { code, cause: cause?.code, length }
  }
}
