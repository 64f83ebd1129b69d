// The engine in a worker, with the same classes on the page.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'node:test'

import { root } from '../../scripts/lib/run.mjs'
import { openPage, servePackage, startBrowser } from './support/browser.mjs'

test('the classes work with the engine in a worker, and what they stored is there for a page without one', async (t) => {
  const { url } = await servePackage(t)
  const { page, problems } = await openPage(await startBrowser(t), url)

  const found = await page.evaluate(async () => {
    const { Corestore, Hyperbee, Hypercore, Hyperdrive, memory } = await import('/hypertab/browser/worker.js')
    const store = new Corestore('store')
    const core = store.get({ name: 'log', valueEncoding: 'json' })
    const events = []
    core.on('append', () => events.push(core.length))
    await core.append([{ n: 1 }, { n: 2 }])
    const snapshot = core.snapshot()
    await snapshot.ready()
    await core.append({ n: 3 })
    await core.truncate(2)
    const bee = new Hyperbee(store.get({ name: 'bee' }), { keyEncoding: 'utf-8', valueEncoding: 'json' })
    const batch = bee.batch()
    for (let i = 0; i < 100; i++) await batch.put(`key ${String(i).padStart(2, '0')}`, i)
    await batch.flush()
    const values = []
    for await (const { value } of bee.createReadStream({ gte: 'key 97' })) values.push(value)
    const drive = new Hyperdrive(store)
    await drive.put('/hello.txt', new TextEncoder().encode('hello'))
    const missing = await core.get(1, { timeout: 1 }).then((value) => value, (error) => error.code)
    const wrong = await new Hypercore(memory(), { createIfMissing: false }).ready().then(() => 'opened', (error) => `${error.name} ${error.code}`)
    const sync = [core.length, core.fork, core.byteLength, core.contiguousLength, core.writable, core.key.byteLength]
    const reader = new Hypercore(memory(), core.key, { valueEncoding: 'json' })
    const [one, other] = [core.replicate(true), reader.replicate(false)]
    one.pipe(other).pipe(one)
    for (const stream of [one, other]) stream.on('error', () => {})
    const last = await reader.get(1)
    // How peers are doing is told with a small delay.
    while (reader.peers[0].remoteLength < 2) await new Promise((resolve) => setTimeout(resolve, 10))
    const peers = [core.peers.length, reader.peers.length, reader.peers[0].remoteLength]
    const text = new TextDecoder().decode(await drive.get('/hello.txt'))
    one.destroy()
    const length = snapshot.length
    await reader.close()
    await store.close()
    return { events, values, missing, wrong, sync, last, peers, text, length }
  })
  await page.reload()
  const after = await page.evaluate(async () => {
    const { Corestore } = await import('/hypertab/browser/index.js')
    const core = new Corestore('store').get({ name: 'log', valueEncoding: 'json' })
    await core.ready()
    return [core.length, await core.get(1)]
  })

  assert.deepEqual(found.events, [2, 3])
  assert.deepEqual(found.values, [97, 98, 99])
  assert.deepEqual(found.missing, { n: 2 })
  assert.equal(found.wrong, 'HypercoreError STORAGE_EMPTY')
  assert.deepEqual(found.sync.slice(0, 2), [2, 1])
  assert.deepEqual(found.sync.slice(3), [2, true, 32])
  assert.deepEqual(found.last, { n: 2 })
  assert.deepEqual(found.peers, [1, 1, 2])
  assert.equal(found.text, 'hello')
  assert.equal(found.length, 2)
  assert.deepEqual(after, [2, { n: 2 }])
  assert.deepEqual(problems, [])
})

test('a page with a worker and one without share a store', async (t) => {
  const { url } = await servePackage(t)
  const context = await startBrowser(t)
  const [{ page: first }, { page: second }] = [await openPage(context, url), await openPage(context, url)]
  const open = async (entry) => {
    const { Hypercore } = await import(`/hypertab/browser/${entry}.js`)
    globalThis.core = new Hypercore('shared', { valueEncoding: 'utf-8' })
    await core.ready()
  }
  const append = (text) => core.append(text).then(({ length }) => length)
  const read = async () => {
    const texts = []
    for (let index = 0; index < core.length; index++) texts.push(await core.get(index))
    return texts
  }

  await first.evaluate(open, 'index')
  await second.evaluate(open, 'worker')
  assert.deepEqual([await first.evaluate(append, 'a'), await second.evaluate(append, 'b')], [1, 2])
  // The worker takes over.
  await first.close()
  assert.equal(await second.evaluate(append, 'c'), 3)
  const { page: third } = await openPage(context, url)
  await third.evaluate(open, 'worker')
  assert.equal(await third.evaluate(append, 'd'), 4)
  assert.deepEqual(await second.evaluate(read), ['a', 'b', 'c', 'd'])
  assert.deepEqual(await third.evaluate(read), ['a', 'b', 'c', 'd'])
})

test('a page has a file of the origin as its storage, through the worker', async (t) => {
  const { url } = await servePackage(t)
  const { page } = await openPage(await startBrowser(t), url)

  const lengths = []
  for (let round = 0; round < 2; round++) {
    lengths.push(await page.evaluate(async () => {
      const { Hypercore, opfs } = await import('/hypertab/browser/worker.js')
      const core = new Hypercore(opfs('log'))
      await core.append('x')
      return core.length
    }))
    await page.reload()
  }

  assert.deepEqual(lengths, [1, 2])
})

test('a worker whose engine cannot be loaded tells the page', async (t) => {
  // The page has its own; beside the modules are bytes that only look like one.
  const { url } = await servePackage(t, {
    '/good.wasm': { type: 'application/wasm', body: readFileSync(join(root, 'wasm', 'dist', 'engine', 'hypertab_bg.wasm')) },
    '/hypertab/engine/hypertab_bg.wasm': { type: 'application/wasm', body: Buffer.from([0, 0x61, 0x73, 0x6d, 9, 9, 9, 9]) }
  })
  const { page, problems } = await openPage(await startBrowser(t), url)

  const code = await page.evaluate(async () => {
    const { Corestore, ready } = await import('/hypertab/browser/worker.js')
    await ready('/good.wasm')
    return await new Corestore('store').ready().then(() => 'opened', (error) => error.code)
  })
  assert.equal(code, 'ENGINE_FAILED')
  assert.ok(problems.some((problem) => problem.includes('the worker of the engine failed')), problems.join('\n'))
})

test('a worker without its script tells the page what is missing', async (t) => {
  const { url } = await servePackage(t, { '/hypertab/browser/worker-host.js': { type: 'text/html', body: '<!doctype html>' } })
  const { page, problems } = await openPage(await startBrowser(t), url)

  const code = await page.evaluate(async () => {
    const { Corestore } = await import('/hypertab/browser/worker.js')
    return await new Corestore('store').ready().then(() => 'opened', (error) => error.code)
  })
  assert.equal(code, 'ENGINE_FAILED')
  assert.ok(problems.some((problem) => problem.includes('hypertab/worker-host, could not be loaded')), problems.join('\n'))
})
