// A store that is larger than what may be in memory goes to a file and comes back, through whatever has it.

import assert from 'node:assert/strict'
import test from 'node:test'

import { openPage, servePackage, startBrowser } from './support/browser.mjs'

const MIB = 1 << 20
const SIZE = 64

/** Bytes that may be on their way: pieces of a MiB, in the streams between the store and the file. */
const BOUND = 6 * MIB

/** Runs on a page: fills a store, and keeps it open. */
async function fill ([name, size]) {
  const { Corestore } = await import('/hypertab/browser/index.js')
  globalThis.store = new Corestore(name)
  const core = store.get({ name: 'large' })
  for (let i = 0; i < size; i++) await core.append(Array.from({ length: 16 }, (_, at) => new Uint8Array(1 << 16).fill(i * 16 + at)))
  await store.get({ name: 'small' }).append('small')
  return [core.id, core.core.db.isOwner]
}

/** Runs on a page: exports a store to a file of the page's own, and imports that; returns the most bytes that were on their way. */
async function roundTrip ([entry, from, to]) {
  const { exportStore, importStore, indexedDb, opfs, Corestore } = await import(`/hypertab/browser/${entry}.js`)
  const storages = { indexedDb, opfs }
  const [kind, name] = to.split(':')
  let [made, written, most] = [0, 0, 0]
  const folder = await navigator.storage.getDirectory()
  const handle = await folder.getFileHandle(`${name}.hypertab`, { create: true })
  const sink = await handle.createWritable()
  const progress = []
  await exportStore(from, {
    onprogress: ({ bytes, cores }) => {
      progress.push(cores)
      made = bytes
      most = Math.max(most, made - written)
    }
  }).stream().pipeTo(new WritableStream({
    async write (piece) {
      await sink.write(piece)
      written += piece.byteLength
    },
    close: () => sink.close()
  }))
  const file = await handle.getFile()
  let [taken, done, mostIn] = [0, 0, 0]
  const counted = file.stream().pipeThrough(new TransformStream({
    transform (chunk, controller) {
      taken += chunk.byteLength
      mostIn = Math.max(mostIn, taken - done)
      controller.enqueue(chunk)
    }
  }))
  await importStore(counted, storages[kind](name), { onprogress: ({ bytes }) => { done = bytes } })
  const store = new Corestore(storages[kind](name))
  const core = store.get({ name: 'large' })
  await core.ready()
  const block = await core.get(core.length - 1, { wait: false })
  const found = {
    length: core.length,
    contiguousLength: core.contiguousLength,
    writable: core.writable,
    last: block.every((byte) => byte === block[0]) && block[0],
    small: new TextDecoder().decode(await store.get({ name: 'small' }).get(0))
  }
  await store.close()
  return { size: file.size, made, done, most, mostIn, cores: progress.at(-1), found }
}

test('a store of 64 MiB goes to a file and back with a few MiB in memory: through its owner, another tab and a worker', async (t) => {
  const { url } = await servePackage(t)
  const context = await startBrowser(t)
  const { page: owner } = await openPage(context, url)
  context.setDefaultTimeout(120_000)
  const [, isOwner] = await owner.evaluate(fill, ['source', SIZE])
  assert.equal(isOwner, true)

  const { page: other } = await openPage(context, url)
  const trips = [
    [owner, ['index', 'source', 'indexedDb:at-owner']],
    [other, ['index', 'source', 'indexedDb:at-another']],
    [other, ['worker', 'source', 'opfs:at-worker']]
  ]
  for (const [page, args] of trips) {
    const { size, made, done, most, mostIn, cores, found } = await page.evaluate(roundTrip, args)
    t.diagnostic(`${args[2]}: ${Math.max(most, mostIn) / MIB} MiB at once`)
    assert.deepEqual(found, { length: SIZE * 16, contiguousLength: SIZE * 16, writable: true, last: 255, small: 'small' })
    assert.deepEqual([made, done, cores], [size, size, 2])
    assert.ok(size > SIZE * MIB && size < SIZE * MIB * 1.01, `${size} bytes in the file`)
    assert.ok(most < BOUND && mostIn < BOUND, `${most} bytes out and ${mostIn} bytes in were on their way`)
  }
})

test('a tab that is closed in the middle of an import leaves the store as it was; an owner that is, lets it go on', async (t) => {
  const { url } = await servePackage(t)
  const context = await startBrowser(t)
  const { page: first } = await openPage(context, url)
  context.setDefaultTimeout(120_000)
  await first.evaluate(fill, ['source', 12])
  const begin = async () => {
    const { exportStore, importStore, indexedDb } = await import('/hypertab/browser/index.js')
    const pieces = []
    for await (const piece of exportStore('source')) pieces.push(piece)
    const more = Promise.withResolvers()
    globalThis.goOn = more.resolve
    const slowly = async function * () {
      for (const [at, piece] of pieces.entries()) {
        if (at === 8) {
          isHalf.resolve()
          await more.promise
        }
        yield piece
      }
    }
    const isHalf = Promise.withResolvers()
    globalThis.importing = importStore(slowly(), indexedDb('target')).then(() => 'imported', (error) => error.code)
    await isHalf.promise
  }
  const look = async () => {
    const { indexedDb } = await import('/hypertab/browser/index.js')
    const storage = indexedDb('target')
    const cores = []
    for await (const { discoveryKey } of storage.createCoreStream()) cores.push(discoveryKey.byteLength)
    const seed = await storage.getSeed()
    await storage.close()
    return { cores: cores.length, seed: seed !== null }
  }

  // Who imports is gone: the owner of the store, here.
  const { page: gone } = await openPage(context, url)
  await gone.evaluate(begin)
  await gone.close()
  assert.deepEqual(await first.evaluate(look), { cores: 0, seed: false })

  // Who has the store is gone while another tab imports through it.
  const { page: owner } = await openPage(context, url)
  const isOwner = await owner.evaluate(async () => {
    const { Corestore, indexedDb } = await import('/hypertab/browser/index.js')
    globalThis.held = new Corestore(indexedDb('target'))
    await held.ready()
    return held.storage.isOwner
  })
  assert.equal(isOwner, true)
  await first.evaluate(begin)
  await owner.close()
  assert.equal(await first.evaluate(() => {
    goOn()
    return importing
  }), 'imported')
  assert.deepEqual(await first.evaluate(look), { cores: 2, seed: true })
})
