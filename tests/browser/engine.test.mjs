// The built engine in a page, as a browser loads it, and the browser that the other tests stand on.

import assert from 'node:assert/strict'
import test from 'node:test'

import { openPage, servePackage, startBrowser } from './support/browser.mjs'
import { temporaryFolder } from '../interop/support/folder.mjs'

test('the engine starts in a page without a complaint', async (t) => {
  const server = await servePackage(t)
  const context = await startBrowser(t)
  const { page, problems } = await openPage(context, server.url)

  const exports = await page.evaluate(async () => {
    const { default: init } = await import('/hypertab/engine/hypertab.js')
    return Object.keys(await init({ module_or_path: '/hypertab/engine/hypertab_bg.wasm' }))
  })

  assert.ok(exports.includes('memory'), `the engine exports ${exports}`)
  assert.deepEqual(problems, [])
})

test('what a page stores is there for the next browser with its profile', async (t) => {
  const server = await servePackage(t)
  const profile = temporaryFolder(t)
  const first = await startBrowser(t, { profile })
  const { page } = await openPage(first, server.url)
  await page.evaluate(store, 'kept')
  await first.close()

  const second = await startBrowser(t, { profile })
  const { page: later } = await openPage(second, server.url)

  assert.equal(await later.evaluate(store), 'kept')
})

// Runs in the page: puts a value into IndexedDB, or reads it without one.
function store (value) {
  return new Promise((resolve, reject) => {
    const opening = indexedDB.open('test', 1)
    opening.onupgradeneeded = () => opening.result.createObjectStore('values')
    opening.onerror = () => reject(opening.error)
    opening.onsuccess = () => {
      const database = opening.result
      const transaction = database.transaction('values', 'readwrite', { durability: 'strict' })
      const values = transaction.objectStore('values')
      const request = value === undefined ? values.get('key') : values.put(value, 'key')
      transaction.oncomplete = () => { database.close(); resolve(request.result) }
      transaction.onerror = () => reject(transaction.error)
    }
  })
}
