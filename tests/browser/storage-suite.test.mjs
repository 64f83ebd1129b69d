// The suite of all storage backends on those of a browser: IndexedDB on a page, and OPFS in a worker.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'node:test'

import { storageSuite } from '../../scripts/lib/cargo.mjs'
import { root } from '../../scripts/lib/run.mjs'
import { openPage, servePackage, startBrowser } from './support/browser.mjs'

const script = (...path) => ({ type: 'text/javascript', body: readFileSync(join(root, 'tests', ...path), 'utf8') })
const ROUTES = {
  '/suite/': await storageSuite(),
  '/storage-suite.js': script('browser', 'support', 'storage-suite.mjs'),
  '/torn-file.js': script('interop', 'support', 'torn-file.mjs'),
  '/worker.js': {
    type: 'text/javascript',
    body: `
      import { runSuite } from '/storage-suite.js'
      let questions = 0
      const waiting = new Map()
      const ask = (question, value) => new Promise((resolve) => {
        waiting.set(++questions, resolve)
        postMessage({ ask: questions, question, value })
      })
      onmessage = ({ data }) => {
        if (data.answer) return waiting.get(data.answer)(data.value)
        runSuite(data.job, ask).then((value) => postMessage({ done: true, value }), (error) => postMessage({ error: String(error) }))
      }
      postMessage({ ready: true })
    `
  }
}

for (const store of ['indexed-db', 'opfs']) {
  test(`${store} behaves like an ordered map, with crashes`, async (t) => {
    const { run } = await start(t, store)
    for (let seed = 1; seed <= 4; seed++) await run('random', seed, 300)
  })

  test(`${store} passes every case`, async (t) => {
    const { run } = await start(t, store)
    await run('cases')
  })

  test(`${store} has one owner at a time`, async (t) => {
    const { run } = await start(t, store)
    await run('fence')
  })

  test(`${store} without room fails a commit and keeps the rest`, async (t) => {
    const { run } = await start(t, store)
    assert.equal(await run('full'), true)
  })

  test(`${store} keeps every answered commit when its page is killed in the midst of one`, async (t) => {
    for (let seed = 1; seed <= 3; seed++) {
      const { context, url, page, run, answered } = await start(t, store)
      const killed = new Promise((resolve) => { page.on('crash', resolve) })
      run('write', seed).catch(() => {})
      await answered(20 * seed)
      const session = await context.newCDPSession(page)
      session.send('Page.crash').catch(() => {})
      await killed
      const count = await answered()
      const other = await openStore(context, url, store)
      const kept = await other.run('check', seed, count)
      assert.ok(kept >= count, `${kept} of ${count} commits`)
    }
  })
}

async function start (t, store) {
  const { url } = await servePackage(t, ROUTES)
  const context = await startBrowser(t)
  return { context, url, ...await openStore(context, url, store) }
}

async function openStore (context, url, store) {
  const { page, problems } = await openPage(context, url)
  let most = 0
  let wake = () => {}
  const session = await context.newCDPSession(page)
  await page.exposeFunction('ask', async (question, value) => {
    if (question === 'setFull') {
      await session.send('Storage.overrideQuotaForOrigin', { origin: url, ...value ? { quotaSize: 1 } : {} })
      return true
    }
    most = value
    wake()
  })
  const run = async (name, seed = 1, count = 0) => {
    // A module that panics answers no more; what it says is a problem of the page.
    const job = { store, name: `suite-${name === 'check' ? 'write' : name}-${seed}`, test: name, seed, count }
    const panic = new Promise((resolve, reject) => { page.on('console', (message) => { if (message.type() === 'error') reject(new Error(message.text())) }) })
    panic.catch(() => {})
    return await Promise.race([panic, page.evaluate(runJob, job)])
  }
  const answered = async (count = 0) => {
    while (most < count) await new Promise((resolve) => { wake = resolve })
    return most
  }
  return { page, problems, run, answered }
}

async function runJob (job) {
  if (job.store !== 'opfs') {
    const { runSuite } = await import('/storage-suite.js')
    return await runSuite(job, (question, value) => globalThis.ask(question, value))
  }
  return await new Promise((resolve, reject) => {
    const worker = new Worker('/worker.js', { type: 'module' })
    worker.onerror = (event) => reject(new Error(event.message))
    worker.onmessage = async ({ data }) => {
      if (data.ready) worker.postMessage({ job })
      else if (data.ask) worker.postMessage({ answer: data.ask, value: await globalThis.ask(data.question, data.value) })
      else if (data.error) reject(new Error(data.error))
      else resolve(data.value)
      if (data.done || data.error) worker.terminate()
    }
  })
}
