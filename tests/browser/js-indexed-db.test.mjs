// What a core asks of IndexedDB when it reads.

import assert from 'node:assert/strict'
import test from 'node:test'

import { openPage, servePackage, startBrowser } from './support/browser.mjs'

test('gets that wait share transactions, and what was read lately comes from memory', async (t) => {
  const { url } = await servePackage(t)
  const { page, problems } = await openPage(await startBrowser(t), url)

  const found = await page.evaluate(async () => {
    const { default: Hypercore } = await import('/hypertab/browser/hypercore.js')
    const { indexedDb } = await import('/hypertab/browser/storage.js')
    const COUNT = 800
    const block = (index) => new Uint8Array(65536).fill(index % 251)
    const isRight = (bytes, index) => bytes.byteLength === 65536 && bytes.every((byte) => byte === index % 251)

    // More than stays in memory.
    let core = new Hypercore(indexedDb('reads'))
    for (let i = 0; i < COUNT; i += 50) await core.append(Array.from({ length: 50 }, (_, at) => block(i + at)))
    await core.close()
    core = new Hypercore(indexedDb('reads'))
    await core.ready()

    let transactions = 0
    const rows = []
    const { transaction } = IDBDatabase.prototype
    IDBDatabase.prototype.transaction = function (...args) {
      transactions++
      return transaction.apply(this, args)
    }
    const { get } = IDBObjectStore.prototype
    IDBObjectStore.prototype.get = function (key) {
      rows.push(key)
      return get.call(this, key)
    }
    const read = async (indexes) => {
      transactions = 0
      rows.length = 0
      const blocks = await Promise.all(indexes.map((index) => core.get(index)))
      return { right: blocks.every((bytes, at) => isRight(bytes, indexes[at])), transactions, rows: rows.length, distinct: new Set(rows).size }
    }
    const few = Array.from({ length: 100 }, (_, at) => (at * 37) % 200)
    const first = await read(few)
    const again = await read(few)
    const all = await read(Array.from({ length: COUNT }, (_, index) => index))
    const oneByOne = []
    for (let index = 0; index < COUNT; index += 97) oneByOne.push(isRight(await core.get(index), index))
    await core.close()
    return { first, again, all, oneByOne }
  })

  assert.deepEqual(problems, [])
  assert.ok(found.first.right && found.again.right && found.all.right && found.oneByOne.every(Boolean))
  assert.ok(found.first.transactions > 0 && found.first.transactions <= 20, `${found.first.transactions} transactions for a hundred gets`)
  assert.equal(found.first.rows, found.first.distinct, 'no row is fetched for each of those who wait for it')
  assert.equal(found.again.transactions, 0)
  assert.ok(found.all.transactions > 0 && found.all.transactions < 80, `${found.all.transactions} transactions for 800 gets`)
})

test('an append waits for the browser only, and a peer hears of it when it is on the disk', async (t) => {
  const { url } = await servePackage(t)
  const { page, problems } = await openPage(await startBrowser(t), url)

  const found = await page.evaluate(async () => {
    const { default: Hypercore } = await import('/hypertab/browser/hypercore.js')
    const { indexedDb, memory } = await import('/hypertab/browser/storage.js')
    const core = new Hypercore(indexedDb('written'))
    await core.ready()
    const happened = []
    const { transaction } = IDBDatabase.prototype
    IDBDatabase.prototype.transaction = function (stores, mode, options) {
      const begun = transaction.call(this, stores, mode, options)
      if (mode === 'readwrite') begun.addEventListener('complete', () => happened.push(begun.durability))
      return begun
    }

    for (let i = 0; i < 3; i++) {
      await core.append('alone')
      happened.push('answered')
    }
    const alone = happened.splice(0)
    // Browsers make a file of it, which the log of their database says nothing about.
    await core.append(new Uint8Array(65536).fill(1))
    happened.push('answered')
    const large = happened.splice(0)
    const other = new Hypercore(indexedDb('closed'))
    await other.append('last')
    happened.splice(0)
    await other.close()
    const closing = happened.splice(0)

    const clone = new Hypercore(memory(), core.key)
    await clone.ready()
    const [ours, theirs] = [core.replicate(true), clone.replicate(false)]
    ours.pipe(theirs).pipe(ours)
    const heard = async (length) => {
      while (clone.length < length) await new Promise((resolve) => clone.once('append', resolve))
    }
    await heard(4)
    const met = happened.splice(0)

    const rounds = []
    for (let length = 5; length < 8; length++) {
      const hears = heard(length).then(() => happened.push('heard'))
      await core.append('together')
      happened.push('answered')
      await hears
      rounds.push(happened.splice(0))
    }
    await core.close()
    return { alone, large, closing, met, rounds }
  })

  assert.deepEqual(problems, [])
  assert.deepEqual(found.alone, ['relaxed', 'answered', 'relaxed', 'answered', 'relaxed', 'answered'])
  assert.deepEqual(found.large, ['strict', 'answered'])
  assert.equal(found.closing.at(-1), 'strict')
  assert.ok(found.met.includes('strict'), found.met.join())
  for (const round of found.rounds) {
    assert.equal(round[0], 'relaxed')
    const heard = round.indexOf('heard')
    assert.ok(round.slice(1, heard).includes('strict'), round.join())
  }
})

test('peers are let go when the disk fails, and hear nothing of what it has not got', async (t) => {
  const { url } = await servePackage(t)
  const { page } = await openPage(await startBrowser(t), url)

  const found = await page.evaluate(async () => {
    const { default: Hypercore } = await import('/hypertab/browser/hypercore.js')
    const { indexedDb, memory } = await import('/hypertab/browser/storage.js')
    const core = new Hypercore(indexedDb('failing'))
    await core.append('before')
    const clone = new Hypercore(memory(), core.key)
    await clone.ready()
    const [ours, theirs] = [core.replicate(true), clone.replicate(false)]
    ours.on('error', () => {})
    theirs.on('error', () => {})
    const closed = new Promise((resolve) => ours.on('close', resolve))
    ours.pipe(theirs).pipe(ours)
    while (clone.length < 1) await new Promise((resolve) => clone.once('append', resolve))

    const { transaction } = IDBDatabase.prototype
    IDBDatabase.prototype.transaction = function (stores, mode, options) {
      const begun = transaction.call(this, stores, mode, options)
      if (begun.durability === 'strict') begun.commit = () => { begun.abort() }
      return begun
    }
    const answered = await core.append('never heard of')
    await closed
    // An aborted transaction means that there was no room: the next write tries anew.
    const after = await core.append('after')
    await core.close()
    return [answered.length, clone.length, after.length]
  })

  assert.deepEqual(found, [2, 1, 3])
})

test('a file of a drive and its entry are stored in one transaction, in the order of the puts', async (t) => {
  const { url } = await servePackage(t)
  const { page, problems } = await openPage(await startBrowser(t), url)

  const found = await page.evaluate(async () => {
    const { Corestore } = await import('/hypertab/browser/corestore.js')
    const { Hyperdrive } = await import('/hypertab/browser/hyperdrive.js')
    const { indexedDb } = await import('/hypertab/browser/storage.js')
    const drive = new Hyperdrive(new Corestore(indexedDb('drive')))
    await drive.ready()
    await drive.put('/first', 'made')
    let writes = 0
    const { transaction } = IDBDatabase.prototype
    IDBDatabase.prototype.transaction = function (stores, mode, options) {
      if (mode === 'readwrite') writes++
      return transaction.call(this, stores, mode, options)
    }

    for (let i = 0; i < 10; i++) await drive.put(`/one/${i}`, `one ${i}`)
    const oneByOne = writes
    const large = new Uint8Array(3_000_000).fill(7)
    await Promise.all([
      ...Array.from({ length: 10 }, (_, i) => drive.put(`/many/${i}`, `many ${i}`)),
      drive.put('/large', large), drive.put('/empty', '')
    ])
    const text = async (path) => new TextDecoder().decode(await drive.get(path))
    const right = [await text('/first'), await text('/empty'), (await drive.get('/large')).byteLength]
    for (let i = 0; i < 10; i++) right.push(await text(`/one/${i}`) === `one ${i}`, await text(`/many/${i}`) === `many ${i}`)
    await drive.close()
    return { oneByOne, right }
  })

  assert.deepEqual(problems, [])
  assert.equal(found.oneByOne, 10)
  assert.deepEqual(found.right, ['made', '', 3_000_000, ...Array(20).fill(true)])
})

test('bytes that are there and cannot be read are an error, and not the end of the log', async (t) => {
  const { url } = await servePackage(t)
  const { page, problems } = await openPage(await startBrowser(t), url)
  await page.evaluate(async () => {
    const { default: Hypercore } = await import('/hypertab/browser/hypercore.js')
    const { indexedDb } = await import('/hypertab/browser/storage.js')
    const core = new Hypercore(indexedDb('unread'))
    for (let value = 0; value < 5; value++) await core.append(new Uint8Array(200_000).fill(value))
  })
  // A log that was not closed is read again when it opens.
  await page.reload()

  const found = await page.evaluate(async () => {
    const { default: Hypercore } = await import('/hypertab/browser/hypercore.js')
    const { indexedDb } = await import('/hypertab/browser/storage.js')
    const { arrayBuffer } = Blob.prototype
    let refused = 0
    Blob.prototype.arrayBuffer = function () {
      refused++
      return Promise.reject(new DOMException('not now', 'NotReadableError'))
    }
    let core = new Hypercore(indexedDb('unread'))
    const failure = await core.ready().then(() => core.length, (error) => error.cause?.code ?? error.code)
    await core.close().catch(() => {})
    Blob.prototype.arrayBuffer = arrayBuffer

    core = new Hypercore(indexedDb('unread'))
    await core.ready()
    const right = []
    for (let value = 0; value < core.length; value++) right.push((await core.get(value)).every((byte) => byte === value))
    await core.close()
    return { refused: refused > 0, failure, right }
  })

  assert.deepEqual(problems, [])
  assert.deepEqual(found, { refused: true, failure: 'STORAGE_READ_FAILED', right: Array(5).fill(true) })
})
