// Several tabs and workers with one store: each works as if it had it alone, whichever of them is gone.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'node:test'

import Corestore from 'corestore'

import { root } from '../../scripts/lib/run.mjs'
import { defer } from '../interop/support/cleanup.mjs'
import { temporaryFolder } from '../interop/support/folder.mjs'
import { openPage, servePackage, startBrowser } from './support/browser.mjs'
import { serveStore } from './support/store-server.mjs'
import { appendAll, openLog, readAll } from './support/tabs.mjs'

test('three tabs have a log open, and each sees what the others append', async (t) => {
  const { url } = await servePackage(t)
  const context = await startBrowser(t)
  const tabs = await Promise.all([0, 1, 2].map(() => openPage(context, url)))

  const opened = await Promise.all(tabs.map(({ page }) => page.evaluate(openLog, 'shared')))
  const lengths = await Promise.all(tabs.map(({ page }, tab) => page.evaluate(appendAll, [['a', 'b', 'c'].map((text) => `${tab}${text}`), tab === 1])))
  const contents = await Promise.all(tabs.map(({ page }) => page.evaluate(async () => {
    if (core.length < 9) await new Promise((resolve) => core.on('append', () => { if (core.length === 9) resolve() }))
    const texts = []
    for (let index = 0; index < core.length; index++) texts.push(await core.get(index))
    return { texts, byteLength: core.byteLength, contiguousLength: core.contiguousLength, has: await core.has(0, 9) }
  })))

  assert.equal(opened.filter(({ isOwner }) => isOwner).length, 1)
  assert.equal(new Set(opened.map(({ key }) => key)).size, 1)
  assert.deepEqual(lengths.flat().sort((a, b) => a - b), [1, 2, 3, 4, 5, 6, 7, 8, 9])
  for (const { texts, ...rest } of contents) {
    assert.deepEqual(texts, contents[0].texts)
    assert.deepEqual(rest, { byteLength: 18, contiguousLength: 9, has: true })
  }
  assert.deepEqual([...contents[0].texts].sort(), ['0a', '0b', '0c', '1a', '1b', '1c', '2a', '2b', '2c'])
  for (const { problems } of tabs) assert.deepEqual(problems, [])
})

test('when the owner closes, another tab has the store, with what is under way', async (t) => {
  const { url } = await servePackage(t)
  const context = await startBrowser(t)
  const [{ page: owner }, { page: other }] = [await openPage(context, url), await openPage(context, url)]
  assert.equal((await owner.evaluate(openLog, 'shared')).isOwner, true)
  await owner.evaluate(appendAll, [['one'], false])
  assert.deepEqual((({ length, isOwner }) => ({ length, isOwner }))(await other.evaluate(openLog, 'shared')), { length: 1, isOwner: false })

  await owner.close()
  const lengths = await other.evaluate(appendAll, [['two', 'three'], true])

  assert.deepEqual(lengths, [2, 3])
  assert.deepEqual(await other.evaluate(readAll), ['one', 'two', 'three'])
  assert.equal(await other.evaluate(() => core.core.db.isOwner), true)
})

test('bees, drives and branches of several tabs never mix their blocks', async (t) => {
  const { url } = await servePackage(t)
  const context = await startBrowser(t)
  const pages = [(await openPage(context, url)).page, (await openPage(context, url)).page, (await openPage(context, url)).page]
  const write = async (tab) => {
    const { Corestore, Hyperbee, Hyperdrive } = await import('/hypertab/browser/index.js')
    globalThis.store = new Corestore('shared')
    globalThis.bee = new Hyperbee(store.get({ name: 'bee' }), { keyEncoding: 'utf-8', valueEncoding: 'utf-8' })
    globalThis.drive = new Hyperdrive(store)
    await Promise.all([bee.ready(), drive.ready()])
    const branch = store.get({ name: 'bee' }).session({ name: `branch${tab}` })
    await branch.append('only here')
    for (let i = 0; i < 10; i++) {
      await bee.put(`${tab}/${i}`, `value ${i}`)
      await drive.put(`/${tab}/${i}.bin`, new Uint8Array(200_000).fill(tab * 16 + i))
    }
    const batch = bee.batch()
    for (let i = 0; i < 10; i++) await batch.put(`batch/${tab}/${i}`, 'b')
    await batch.flush()
    return new TextDecoder().decode(await branch.get(branch.length - 1))
  }
  const read = async () => {
    const [keys, files] = [[], []]
    await bee.update()
    for await (const { key } of bee.createReadStream()) keys.push(key)
    for (let tab = 0; tab < 3; tab++) {
      for (let i = 0; i < 10; i++) {
        const bytes = await drive.get(`/${tab}/${i}.bin`)
        files.push(bytes?.byteLength === 200_000 && bytes.every((byte) => byte === tab * 16 + i))
      }
    }
    return { keys, files: files.filter(Boolean).length, blocks: [bee.core.length, drive.core.length] }
  }

  assert.deepEqual(await Promise.all(pages.map((page, tab) => page.evaluate(write, tab))), Array(3).fill('only here'))
  const found = []
  for (const page of pages) found.push(await page.evaluate(read))

  assert.equal(found[0].keys.length, 60)
  assert.equal(found[0].files, 30)
  for (const other of found) assert.deepEqual(other, found[0])
})

test('a branch that several tabs let start over at once is one branch for all of them', async (t) => {
  const { url } = await servePackage(t)
  const context = await startBrowser(t)
  const pages = [(await openPage(context, url)).page, (await openPage(context, url)).page, (await openPage(context, url)).page]
  const open = async () => {
    const { Corestore } = await import('/hypertab/browser/index.js')
    globalThis.log = new Corestore('shared').get({ name: 'log', valueEncoding: 'utf-8' })
    await log.ready()
    globalThis.old = log.session({ name: 'x', valueEncoding: 'utf-8' })
  }
  // Each time it has what its session starts with; the others may go on from there, or start over.
  const startOver = async (tab) => {
    const sessions = []
    for (let round = 0; round < 8; round++) {
      const session = log.session({ name: 'x', overwrite: true, checkout: 1 + (tab + round) % 4, valueEncoding: 'utf-8' })
      await session.append(`${tab}:${round}`)
      sessions.push(session)
    }
    for (const session of sessions) await session.close()
  }
  const read = async () => {
    await log.ready()
    const session = log.session({ name: 'x', valueEncoding: 'utf-8' })
    await session.ready()
    const texts = []
    for (let index = 0; index < session.length; index++) texts.push(await session.get(index, { wait: false }))
    await session.close()
    return texts
  }

  await pages[0].evaluate(open)
  await pages[0].evaluate(() => log.append(['a', 'b', 'c', 'd']))
  for (const page of pages.slice(1)) await page.evaluate(open)
  await Promise.all(pages.map((page) => page.evaluate(() => old.append('of its own'))))
  await Promise.all(pages.map((page, tab) => page.evaluate(startOver, tab)))
  const before = await pages[0].evaluate(read)
  await Promise.all(pages.map((page, tab) => page.evaluate((tab) => old.append([`last ${tab}`, `last ${tab}`]), tab)))

  const found = await Promise.all(pages.map((page) => page.evaluate(read)))
  const own = before.findIndex((text) => /^[0-9]:/.test(text))
  assert.deepEqual(before.slice(0, own), ['a', 'b', 'c', 'd'].slice(0, own), 'it starts as the log does')
  assert.ok(own > 0 && before.slice(own).every((text) => /^[0-9]:/.test(text)), `what was appended follows: ${before}`)
  assert.deepEqual(found[0].slice(0, before.length), before)
  assert.deepEqual(found[0].slice(before.length).sort(), ['last 0', 'last 0', 'last 1', 'last 1', 'last 2', 'last 2'])
  for (const other of found) assert.deepEqual(other, found[0])
  await pages[0].close()
  assert.deepEqual(await pages[1].evaluate(read), found[0], 'where the store is then')
})

test('a tab that works through another replicates with a peer in Node over a socket of its own', async (t) => {
  const store = new Corestore(temporaryFolder(t))
  defer(t, () => store.close())
  const theirs = store.get({ name: 'theirs' })
  await theirs.append(Array.from({ length: 300 }, (_, i) => `block ${i}`))
  const address = await serveStore(t, store)
  const { url } = await servePackage(t)
  const context = await startBrowser(t)
  const [{ page: owner }, { page: other }] = [await openPage(context, url), await openPage(context, url)]
  const open = async ([key, address]) => {
    const { Corestore } = await import('/hypertab/browser/index.js')
    globalThis.store = new Corestore('shared')
    globalThis.core = store.get({ key, valueEncoding: 'utf-8' })
    globalThis.mine = store.get({ name: 'mine', valueEncoding: 'utf-8' })
    await Promise.all([core.ready(), mine.ready()])
    if (address) {
      const stream = store.replicate(true)
      const socket = new WebSocket(address)
      socket.binaryType = 'arraybuffer'
      socket.onmessage = ({ data }) => { stream.write(new Uint8Array(data)) }
      socket.onopen = () => stream.on('data', (data) => socket.send(data))
      stream.on('error', () => {})
    }
    return mine.id
  }

  await owner.evaluate(open, [theirs.id, null])
  const mineId = await other.evaluate(open, [theirs.id, address])
  assert.equal(await other.evaluate(() => core.get(299)), 'block 299')
  assert.equal(await owner.evaluate(() => core.get(299, { wait: false })), 'block 299')
  // The owner asks for more, which comes over the other's socket.
  assert.equal(await owner.evaluate(() => core.get(7)), 'block 7')
  // And what the owner writes reaches the peer.
  await owner.evaluate(() => mine.append(['one', 'two']))
  const mine = store.get({ key: mineId, valueEncoding: 'utf-8' })
  assert.equal(await mine.get(1), 'two')

  // The connection stays where it is when the owner is gone.
  await owner.close()
  await other.evaluate(() => mine.append('three'))
  assert.equal(await mine.get(2), 'three')
  assert.equal(await other.evaluate(() => core.get(123)), 'block 123')
})

test('tabs of two versions of the package say so, and leave each other alone', async (t) => {
  const { url } = await servePackage(t)
  const context = await startBrowser(t)
  const [{ page: owner }, { page: other }] = [await openPage(context, url), await openPage(context, url)]
  const { version } = JSON.parse(readFileSync(join(root, 'wasm', 'package.json'), 'utf8'))

  // What a tab of another version hears from one of this.
  assert.equal((await owner.evaluate(openLog, 'shared')).isOwner, true)
  const answer = await other.evaluate(() => new Promise((resolve) => {
    const channel = new BroadcastChannel('hypertab-store:indexed-db:hypertab:shared')
    channel.onmessage = ({ data }) => { if (data.to === 'me') resolve(data) }
    channel.postMessage({ say: 'hello', from: 'me', version: '99.0.0' })
  }))
  assert.deepEqual(answer, { say: 'stranger', to: 'me', version })
  assert.deepEqual(await owner.evaluate(appendAll, [['one'], false]), [1])

  // And the other way around.
  const error = await owner.evaluate(async () => {
    const { Corestore } = await import('/hypertab/browser/index.js')
    const name = 'hypertab:theirs'
    await new Promise((resolve) => { navigator.locks.request(`hypertab-lock:${name}`, () => new Promise(() => { resolve() })) })
    const channel = new BroadcastChannel(`hypertab-store:indexed-db:${name}`)
    channel.onmessage = ({ data }) => { if (data.say === 'hello') channel.postMessage({ say: 'stranger', to: data.from, version: '99.0.0' }) }
    const { code, message } = await new Corestore('theirs').ready().catch((error) => error)
    return { code, message }
  })
  assert.equal(error.code, 'STORAGE_OTHER_VERSION')
  assert.match(error.message, /version 99\.0\.0 .*load that tab again/)
})
