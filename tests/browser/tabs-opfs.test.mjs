// Workers of three tabs share a store in a file. Its owner is frozen while all write: another one goes on, and when the owner wakes up in
// the middle of its own writes, none of them reaches the file.

import assert from 'node:assert/strict'
import test from 'node:test'

import { openPage, servePackage, startBrowser } from './support/browser.mjs'
import { keepAppending, readAll, stopAppending } from './support/tabs.mjs'

const WORKER = `
  import { Hypercore, opfs } from '/hypertab/browser/index.js'
  Object.assign(globalThis, { Hypercore, opfs, answered: [], acknowledge: (text, length) => { answered.push([text, length]) } })
  postMessage('loaded')
`

test('a frozen owner of a file loses it to another worker, and writes nothing into it any more', { timeout: 120_000 }, async (t) => {
  const { url } = await servePackage(t, { '/opener.js': { type: 'text/javascript', body: WORKER } })
  const context = await startBrowser(t)
  const workers = []
  for (let i = 0; i < 3; i++) workers.push(await openWorker(context, url, `tab${i}`))

  for (let round = 0; round < 3; round++) {
    await new Promise((resolve) => { setTimeout(resolve, 300) })
    const owner = await ownerOf(workers)
    const others = workers.filter((worker) => worker !== owner)
    const counts = await Promise.all(others.map(countOf))
    const start = performance.now()
    const frozen = owner.evaluate(freeze, 3000)
    for (const [at, other] of others.entries()) {
      while (await countOf(other) < counts[at] + 10) assert.ok(performance.now() - start < 15_000, 'nobody took the store over')
    }
    t.diagnostic(`others went on after ${Math.round(performance.now() - start)} ms`)
    await frozen
  }
  await Promise.all(workers.map((worker) => worker.evaluate(stopAppending)))

  const answered = (await Promise.all(workers.map((worker) => worker.evaluate(() => answered)))).flat()
  const contents = await Promise.all(workers.map((worker) => worker.evaluate(readAll)))
  for (const other of contents) assert.deepEqual(other, contents[0])
  assert.equal(new Set(contents[0]).size, contents[0].length, 'nothing is there twice')
  for (const [text, length] of answered) assert.equal(contents[0][length - 1], text, `${text} was answered with ${length}`)
  assert.ok(answered.length > 30)
  t.diagnostic(`${answered.length} answered, ${contents[0].length} stored`)

  // What is in the file is what everybody saw.
  const owner = await ownerOf(workers)
  await Promise.all(workers.filter((worker) => worker !== owner).map((worker) => worker.evaluate(() => core.close())))
  await owner.evaluate(() => core.close())
  assert.deepEqual(await owner.evaluate(async () => {
    globalThis.core = new Hypercore(opfs('shared'), { valueEncoding: 'utf-8' })
    await core.ready()
    return core.length
  }), contents[0].length)
  assert.deepEqual(await owner.evaluate(readAll), contents[0])
})

test('a file that takes nothing more is full', async (t) => {
  const { url } = await servePackage(t, { '/opener.js': { type: 'text/javascript', body: WORKER } })
  const worker = await openWorker(await startBrowser(t), url, 'full')

  await worker.evaluate(stopAppending)

  const found = await worker.evaluate(async () => {
    const core = new Hypercore(opfs('full'))
    await core.append('one')
    const { write } = FileSystemSyncAccessHandle.prototype
    FileSystemSyncAccessHandle.prototype.write = () => 0
    const error = await core.append(new Uint8Array(100_000)).catch((error) => error)
    FileSystemSyncAccessHandle.prototype.write = write
    return [error.cause?.code, core.length, new TextDecoder().decode(await core.get(0))]
  })
  assert.deepEqual(found, ['STORAGE_FULL', 1, 'one'])
})

async function openWorker (context, url, name) {
  const { page } = await openPage(context, url)
  const started = page.waitForEvent('worker')
  await page.evaluate(() => new Promise((resolve) => {
    globalThis.worker = new Worker('/opener.js', { type: 'module' })
    worker.onmessage = resolve
  }))
  const worker = await started
  await worker.evaluate(async () => {
    globalThis.core = new Hypercore(opfs('shared'), { valueEncoding: 'utf-8' })
    await core.ready()
  })
  await worker.evaluate(keepAppending, [name, 1])
  return worker
}

/** Runs in a worker: as browsers freeze, between two tasks. A debugger would stop it inside of one. */
function freeze (milliseconds) {
  return new Promise((resolve) => {
    setTimeout(() => {
      const end = performance.now() + milliseconds
      while (performance.now() < end);
      resolve()
    })
  })
}

function countOf (worker) {
  return worker.evaluate(() => answered.length)
}

async function ownerOf (workers) {
  for (;;) {
    const owns = await Promise.all(workers.map((worker) => worker.evaluate(() => core.core.db.isOwner)))
    if (owns.includes(true)) return workers[owns.indexOf(true)]
  }
}
