// Times the built npm package in Chromium, in IndexedDB on a page and in OPFS in a worker: node browser.mjs indexed-db|opfs
//
// Prints one line a figure: name, value, unit, with tabs between. Figures named limit-... are what the browser does without the package.

import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { root } from '../../scripts/lib/run.mjs'
import { serveCore } from './serve.mjs'
import { runInTab } from './tab.mjs'

const store = process.argv[2]
if (store !== 'indexed-db' && store !== 'opfs') throw new Error('say which storage: indexed-db or opfs')

const program = `
  import { Corestore } from '/hypertab/browser/corestore.js'
  import { Hyperbee } from '/hypertab/browser/hyperbee.js'
  import { Hypercore } from '/hypertab/browser/hypercore.js'
  import { Hyperdrive } from '/hypertab/browser/hyperdrive.js'
  import { indexedDb, memory, opfs } from '/hypertab/browser/storage.js'
  import { limits } from '/limits.js'
  import { measure, overWebSocket } from '/workloads.js'

  export async function run ({ store, url, remote }) {
    let names = 0
    const make = { 'indexed-db': indexedDb, opfs }[store]
    const figures = await measure({
      Corestore, Hyperbee, Hypercore, Hyperdrive, place: () => make('bench-' + names++), remote: { ...remote, open: () => overWebSocket(url) }
    })
    return [...figures, ...await limits({ Hypercore, memory: () => memory(), store, url, remote })]
  }
`
const script = (name) => ({ type: 'text/javascript', body: readFileSync(join(import.meta.dirname, name), 'utf8') })

const folder = mkdtempSync(join(tmpdir(), 'hypertab-bench-'))
const upstream = await serveCore(join(folder, 'upstream'))
try {
  const figures = await runInTab({
    '/hypertab/': join(root, 'wasm', 'dist'),
    '/program.js': { type: 'text/javascript', body: program },
    '/limits.js': script('limits.mjs'),
    '/workloads.js': script('workloads.mjs')
  }, { store, url: upstream.url, remote: upstream.remote }, { inWorker: store === 'opfs' })
  for (const [name, value, unit] of figures) console.log(`${name}\t${value.toPrecision(5)}\t${unit}`)
} finally {
  await upstream.close()
  rmSync(folder, { recursive: true, force: true })
}
