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

test('a worker that is held up while it writes, until another one has read what it wrote, does not write it once more', { timeout: 120_000 }, async (t) => {
  const { url } = await servePackage(t, { '/opener.js': { type: 'text/javascript', body: WORKER } })
  const context = await startBrowser(t)
  const [owner, other] = [await openWorker(context, url, 'owner'), await openWorker(context, url, 'other')]
  for (const worker of [owner, other]) await worker.evaluate(stopAppending)
  assert.deepEqual([await owner.evaluate(() => core.core.db.isOwner), await other.evaluate(() => core.core.db.isOwner)], [true, false])

  await owner.evaluate(holdUpWrite, [3000, false])
  const appends = [owner, other].map((worker, at) => worker.evaluate((text) => core.append(text).then(({ length }) => [text, length]), `text ${at}`))
  const answers = await Promise.all(appends)
  assert.deepEqual([await owner.evaluate(() => core.core.db.isOwner), await other.evaluate(() => core.core.db.isOwner)], [false, true])
  await assertOnce([owner, other], answers)
})

test('a worker that is held up in front of a write does it where nobody else has written since', { timeout: 120_000 }, async (t) => {
  const { url } = await servePackage(t, { '/opener.js': { type: 'text/javascript', body: WORKER } })
  const context = await startBrowser(t)
  const [owner, other] = [await openWorker(context, url, 'owner'), await openWorker(context, url, 'other')]
  for (const worker of [owner, other]) await worker.evaluate(stopAppending)

  await owner.evaluate(holdUpWrite, [3000, true])
  const append = (worker, text) => worker.evaluate((text) => core.append(text).then(({ length }) => [text, length]), text)
  const late = append(owner, 'late')
  const answers = []
  for (let i = 0; i < 20; i++) answers.push(await append(other, `text ${i}`))
  answers.push(await late)
  await assertOnce([owner, other], answers)

  // Nobody closes it: what is in the file is what everybody saw.
  for (const page of context.pages()) await page.close()
  const next = await openWorker(context, url, 'next')
  await next.evaluate(stopAppending)
  await assertOnce([next], answers)
})

test('a page whose worker is held up while it writes has it written once', { timeout: 120_000 }, async (t) => {
  const { url } = await servePackage(t)
  const context = await startBrowser(t)
  const tabs = []
  for (let i = 0; i < 2; i++) {
    const { page } = await openPage(context, url)
    const started = page.waitForEvent('worker')
    await page.evaluate(async () => {
      const { Hypercore } = await import('/hypertab/browser/worker.js')
      const { opfs } = await import('/hypertab/browser/storage.js')
      globalThis.core = new Hypercore(opfs('shared'), { valueEncoding: 'utf-8' })
      await core.append('first')
    })
    tabs.push({ page, worker: await started })
  }
  const pages = tabs.map(({ page }) => page)
  assert.deepEqual(await Promise.all(pages.map((page) => page.evaluate(() => core.length))), [2, 2])

  await tabs[0].worker.evaluate(holdUpWrite, [3000, false])
  const answers = await Promise.all(pages.map((page, at) => page.evaluate((text) => core.append(text).then(({ length }) => [text, length]), `text ${at}`)))
  await assertOnce(pages, answers)
})

test('a file that takes nothing more is full', async (t) => {
  const worker = await openIdleWorker(t, 'full')

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

test('a file that 32 others still have is refused, and opened once there are 31', async (t) => {
  const worker = await openIdleWorker(t, 'crowd')

  const found = await worker.evaluate(async () => {
    const first = new Hypercore(opfs('crowd'))
    await first.append('one')
    await first.close()
    // As workers have it that are frozen.
    const leave = []
    for (let at = 0; at < 32; at++) await new Promise((entered) => navigator.locks.request('hypertab-file:crowd', { mode: 'shared' }, () => new Promise((left) => { entered(leave.push(left)) })))
    const refused = await new Hypercore(opfs('crowd')).ready().catch((error) => error.code)
    leave.pop()()
    const core = new Hypercore(opfs('crowd'))
    await core.append('two')
    await core.close()
    for (const left of leave) left()
    const alone = new Hypercore(opfs('crowd'))
    await alone.ready()
    return [refused, alone.length, new TextDecoder().decode(await alone.get(1))]
  })
  assert.deepEqual(found, ['STORAGE_NOT_AVAILABLE', 2, 'two'])
})

/** One that writes nothing by itself. */
async function openIdleWorker (t, name) {
  const { url } = await servePackage(t, { '/opener.js': { type: 'text/javascript', body: WORKER } })
  const worker = await openWorker(await startBrowser(t), url, name)
  await worker.evaluate(stopAppending)
  return worker
}

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

/** Runs in a worker: has the next write return late, when it has written, or write late. */
function holdUpWrite ([milliseconds, isBefore]) {
  const { write } = FileSystemSyncAccessHandle.prototype
  FileSystemSyncAccessHandle.prototype.write = function (bytes, options) {
    FileSystemSyncAccessHandle.prototype.write = write
    const written = isBefore ? null : write.call(this, bytes, options)
    const end = performance.now() + milliseconds
    while (performance.now() < end);
    return written ?? write.call(this, bytes, options)
  }
}

/** Everybody sees the same, each text once, and those that were answered where it was said. */
async function assertOnce (realms, answers) {
  const contents = await Promise.all(realms.map((realm) => realm.evaluate(readAll)))
  for (const other of contents) assert.deepEqual(other, contents[0])
  for (const [text, length] of answers) {
    assert.equal(contents[0][length - 1], text, `${text} was answered with ${length}: ${contents[0]}`)
    assert.equal(contents[0].filter((other) => other === text).length, 1, `${text} is there once: ${contents[0]}`)
  }
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
