// Times the built npm package in Chromium, in IndexedDB on a page and in OPFS in a worker: node browser.mjs indexed-db|opfs
//
// Prints one line a figure: name, value, unit, with tabs between.

import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { chromium } from 'playwright-core'

import { root } from '../../scripts/lib/run.mjs'
import { serveStatic } from '../../scripts/lib/static-server.mjs'
import { ensureBrowser } from '../../scripts/setup.mjs'
import { serveCore } from './serve.mjs'

const store = process.argv[2]
if (store !== 'indexed-db' && store !== 'opfs') throw new Error('say which storage: indexed-db or opfs')

// One module for the page and for the worker: OPFS is fast only in a worker, IndexedDB is what a page has.
const program = `
  import { Hypercore } from '/hypertab/browser/hypercore.js'
  import { indexedDb, opfs } from '/hypertab/browser/storage.js'
  import { measure, overWebSocket } from '/workloads.js'
  let names = 0
  const make = { 'indexed-db': indexedDb, opfs }
  const run = ({ store, url, remote }) => measure({
    Hypercore,
    place: () => make[store]('bench-' + names++),
    remote: { ...remote, open: () => overWebSocket(url) }
  })
  globalThis.run = run
  if (!globalThis.document) {
    onmessage = ({ data }) => run(data).then((figures) => postMessage({ figures }), (error) => postMessage({ error: String(error.stack) }))
    postMessage({ ready: true })
  }
`
const page = `<!doctype html><title>bench</title><script type="module">
  import '/program.js'
  globalThis.inWorker = (job) => new Promise((resolve, reject) => {
    const worker = new Worker('/program.js', { type: 'module' })
    worker.onerror = (event) => reject(new Error(event.message))
    worker.onmessage = ({ data }) => {
      if (data.ready) worker.postMessage(job)
      else if (data.error) reject(new Error(data.error))
      else resolve(data.figures)
    }
  })
</script>`

const folder = mkdtempSync(join(tmpdir(), 'hypertab-bench-'))
const upstream = await serveCore(join(folder, 'upstream'))
const files = await serveStatic({
  '/hypertab/': join(root, 'wasm', 'dist'),
  '/': { type: 'text/html', body: page },
  '/program.js': { type: 'text/javascript', body: program },
  '/workloads.js': { type: 'text/javascript', body: readFileSync(join(import.meta.dirname, 'workloads.mjs'), 'utf8') }
})
const context = await chromium.launchPersistentContext(join(folder, 'profile'), {
  executablePath: await ensureBrowser(),
  args: [...(process.getuid?.() === 0 ? ['--no-sandbox'] : []), '--disable-background-networking', '--disable-gpu', '--no-first-run']
})
try {
  const tab = await context.newPage()
  await tab.goto(files.url)
  await tab.waitForFunction(() => 'inWorker' in globalThis)
  const job = { store, url: upstream.url, remote: upstream.remote }
  const figures = await tab.evaluate((job) => job.store === 'opfs' ? globalThis.inWorker(job) : globalThis.run(job), job)
  for (const [name, value, unit] of figures) console.log(`${name}\t${value.toPrecision(5)}\t${unit}`)
} finally {
  await context.close()
  await files.close()
  await upstream.close()
  rmSync(folder, { recursive: true, force: true })
}
