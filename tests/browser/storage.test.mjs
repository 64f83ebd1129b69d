// Room for stores: what the browser says of it, what happens without it, and stores that move from one kind to another.

import assert from 'node:assert/strict'
import test from 'node:test'

import { openPage, servePackage, startBrowser } from './support/browser.mjs'

test('the browser is asked to keep stores, and says how much room there is', async (t) => {
  const { url } = await servePackage(t)
  const context = await startBrowser(t)
  const { page } = await openPage(context, url)

  const { status, persisted, after } = await page.evaluate(async () => {
    const { persistStorage, storageStatus } = await import('/hypertab/browser/storage.js')
    return { status: await storageStatus(), persisted: await persistStorage(), after: await storageStatus() }
  })

  assert.equal(typeof status.persisted, 'boolean')
  assert.equal(after.persisted, persisted)
  assert.ok(status.quota > status.usage && status.usage >= 0)
  assert.equal(status.deletedAfterDays, null)
})

test('Safari’s rule is told: seven days without a visit, unless the page is on the home screen', async (t) => {
  const { url } = await servePackage(t)
  const context = await startBrowser(t)
  const agents = {
    'Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.4 Safari/605.1.15': 7,
    'Mozilla/5.0 (iPhone; CPU iPhone OS 18_4 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/136.0.7103.42 Mobile/15E148 Safari/604.1': 7,
    'Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/136.0.0.0 Mobile Safari/537.36': null,
    'Mozilla/5.0 (Macintosh; Intel Mac OS X 10.15; rv:138.0) Gecko/20100101 Firefox/138.0': null
  }
  const daysFor = async (userAgent, isInstalled) => {
    const page = await context.newPage()
    await page.addInitScript(({ userAgent, isInstalled }) => {
      Object.defineProperty(navigator, 'userAgent', { value: userAgent })
      if (isInstalled) Object.defineProperty(navigator, 'standalone', { value: true })
    }, { userAgent, isInstalled })
    await page.goto(url)
    const days = await page.evaluate(async () => (await (await import('/hypertab/browser/storage.js')).storageStatus()).deletedAfterDays)
    await page.close()
    return days
  }
  for (const [userAgent, days] of Object.entries(agents)) {
    assert.equal(await daysFor(userAgent, false), days, userAgent)
    assert.equal(await daysFor(userAgent, true), null, userAgent)
  }
})

test('a disk that is full loses nothing that was answered, and writing goes on when there is room', async (t) => {
  const { url } = await servePackage(t)
  const context = await startBrowser(t)
  const { page } = await openPage(context, url)
  const { page: other } = await openPage(context, url)
  const cdp = await context.newCDPSession(page)
  const quota = (bytes) => cdp.send('Storage.overrideQuotaForOrigin', { origin: url, ...(bytes === null ? {} : { quotaSize: bytes }) })
  const open = async () => {
    const { Hypercore } = await import('/hypertab/browser/index.js')
    globalThis.core = new Hypercore('full')
    await core.ready()
    return core.core.db.isOwner
  }
  const fill = async () => {
    const block = new Uint8Array(256 << 10)
    const noise = () => { for (let at = 0; at < block.length; at += 65536) crypto.getRandomValues(block.subarray(at, at + 65536)) }
    let answered = core.length
    try {
      for (let i = 0; i < 200; i++) {
        noise()
        answered = (await core.append(block.slice())).length
      }
    } catch (error) {
      return { answered, code: error.code, cause: error.cause?.code }
    }
    return { answered }
  }
  const read = async () => {
    let count = 0
    for (let index = 0; index < core.length; index++) if ((await core.get(index, { wait: false }))?.byteLength === 256 << 10) count++
    return [core.length, count]
  }

  // Before anything is open: the browser goes by what there was then.
  await quota(8 << 20)
  assert.deepEqual([await page.evaluate(open), await other.evaluate(open)], [true, false])
  const full = await page.evaluate(fill)
  assert.equal(full.cause ?? full.code, 'STORAGE_FULL')
  assert.ok(full.answered > 0)
  // For whoever works through it as well.
  const [length, count] = await page.evaluate(read)
  assert.deepEqual([length, count], [full.answered, full.answered])
  const otherFull = await other.evaluate(fill)
  assert.equal(otherFull.cause ?? otherFull.code, 'STORAGE_FULL')
  await quota(null)
  const after = await other.evaluate(() => core.append(new Uint8Array(256 << 10)).then(({ length }) => length))
  assert.ok(after > full.answered)
  assert.deepEqual(await other.evaluate(read), [after, after])
  assert.equal(await page.evaluate(async () => {
    while (core.length < 1) await new Promise((resolve) => setTimeout(resolve, 10))
    return (await core.append(new Uint8Array(256 << 10))).length
  }), after + 1)
})

test('a store moves from a database to a file of the origin and back', async (t) => {
  const { url } = await servePackage(t)
  const { page } = await openPage(await startBrowser(t), url)

  const found = await page.evaluate(async () => {
    const { copyStore, Corestore, destroyStorage, indexedDB, opfs } = await import('/hypertab/browser/worker.js')
    const store = new Corestore(indexedDB('one'))
    const core = store.get({ name: 'log', valueEncoding: 'utf-8' })
    await core.append(['a', 'b', 'c'])
    const { id } = core
    await store.close()
    await copyStore(indexedDB('one'), opfs('two'))
    await destroyStorage(indexedDB('one'))
    await copyStore(opfs('two'), indexedDB('three'))
    const again = new Corestore(indexedDB('three')).get({ name: 'log', valueEncoding: 'utf-8' })
    await again.append('d')
    return [again.id === id, again.length, await again.get(2)]
  })

  assert.deepEqual(found, [true, 4, 'c'])
})
