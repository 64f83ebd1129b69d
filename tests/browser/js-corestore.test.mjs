// Stores of cores in a page: kept in IndexedDB, replicated with upstream's Corestore in Node over a WebSocket.

import assert from 'node:assert/strict'
import test from 'node:test'

import Corestore from 'corestore'

import { defer } from '../interop/support/cleanup.mjs'
import { temporaryFolder } from '../interop/support/folder.mjs'
import { openPage, servePackage, startBrowser } from './support/browser.mjs'
import { serveStore } from './support/store-server.mjs'

test('a store in a page is there after a reload, with its names and its key', async (t) => {
  const { url } = await servePackage(t)
  const { page, problems } = await openPage(await startBrowser(t), url)

  const before = await page.evaluate(async () => {
    const { Corestore } = await import('/hypertab/browser/index.js')
    const store = new Corestore('store')
    // At once: the engine is not even there yet.
    const core = store.namespace('app').get({ name: 'log', valueEncoding: 'utf-8' })
    await core.append(['a', 'b'])
    await store.get({ name: 'other' }).append('x')
    const key = [...store.primaryKey]
    const again = await (async () => {
      const second = new Corestore('store')
      const other = second.namespace('app').get({ name: 'log', valueEncoding: 'utf-8' })
      await other.append('c')
      const key = [...second.primaryKey]
      await second.close()
      return { key, length: core.length, id: other.id }
    })()
    await store.close()
    return { id: core.id, key, again }
  })
  await page.reload()
  const after = await page.evaluate(async (id) => {
    const { default: Corestore } = await import('/hypertab/browser/corestore.js')
    const store = new Corestore('store')
    const byId = store.get({ key: id, valueEncoding: 'utf-8' })
    const byName = store.namespace('app').get({ name: 'log', valueEncoding: 'utf-8' })
    await Promise.all([byId.ready(), byName.ready()])
    const names = []
    for await (const { alias } of store.storage.createAliasStream()) names.push(alias.name)
    return {
      id: byName.id, key: [...store.primaryKey], length: byName.length, last: await byId.get(1), writable: byId.writable,
      shared: byId.core === byName.core, names: names.sort(), bytes: byId.key.constructor.name
    }
  }, before.id)

  assert.deepEqual(before.again, { key: before.key, length: 3, id: before.id })
  assert.deepEqual(after, {
    id: before.id, key: before.key, length: 3, last: 'b', writable: true, shared: true, names: ['log', 'other'], bytes: 'Uint8Array'
  })
  assert.deepEqual(problems, [])
})

test('cores of both sides travel between a page and upstream\'s Corestore', async (t) => {
  const path = temporaryFolder(t)
  let store = new Corestore(path)
  const keys = []
  for (let i = 0; i < 50; i++) {
    const core = store.get({ name: `core-${i}` })
    await core.append(`from Node ${i}`)
    keys.push(core.id)
  }
  await store.close()
  // None of them is open when the page asks.
  store = new Corestore(path)
  await store.ready()
  defer(t, () => store.close())
  const address = await serveStore(t, store)
  const { url } = await servePackage(t)
  const { page, problems } = await openPage(await startBrowser(t), url)

  const { blocks, id } = await page.evaluate(async ({ address, keys }) => {
    const { Corestore } = await import('/hypertab/browser/index.js')
    const store = new Corestore('store')
    await store.ready()
    const socket = new WebSocket(address)
    socket.binaryType = 'arraybuffer'
    await new Promise((resolve, reject) => { socket.onopen = resolve; socket.onerror = reject })
    const stream = store.replicate(true)
    socket.onmessage = ({ data }) => { stream.write(new Uint8Array(data)) }
    stream.on('data', (data) => { socket.send(data) })
    const own = store.get({ name: 'own', valueEncoding: 'utf-8' })
    await own.append(['from the page', 'and more'])
    const blocks = await Promise.all(keys.map((key) => store.get({ key, valueEncoding: 'utf-8' }).get(0)))
    window.store = store
    return { blocks, id: own.id }
  }, { address, keys })
  const there = store.get({ key: id })

  assert.deepEqual(blocks, keys.map((_, i) => `from Node ${i}`))
  assert.equal(`${await there.get(1)}`, 'and more')
  await page.evaluate(async () => { await window.store.close() })
  assert.deepEqual(problems, [])
})
