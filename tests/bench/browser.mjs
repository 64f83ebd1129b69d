// Times the built npm package in a browser: node browser.mjs chromium|firefox indexed-db|opfs page|worker
//
// Prints one line a figure: name, value, unit, with tabs between. Figures named limit-... are what the browser does without the package.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { serveCore } from './serve.mjs'
import { benchFiles, ENGINES, runInTab } from './tab.mjs'

const [engine, store, place] = process.argv.slice(2)
if (!ENGINES.includes(engine)) throw new Error(`say which browser: ${ENGINES.join(' or ')}`)
if (store !== 'indexed-db' && store !== 'opfs') throw new Error('say which storage: indexed-db or opfs')
if (place !== 'worker' && (place !== 'page' || store === 'opfs')) throw new Error('say where: page or worker, for opfs worker')

const program = `
  import { Corestore } from '/hypertab/browser/corestore.js'
  import { Hyperbee } from '/hypertab/browser/hyperbee.js'
  import { Hypercore } from '/hypertab/browser/hypercore.js'
  import { Hyperdrive } from '/hypertab/browser/hyperdrive.js'
  import { indexedDb, memory, opfs } from '/hypertab/browser/storage.js'
  import { limits } from '/limits.js'
  import { measure } from '/workloads.js'

  export async function run ({ store, remote, small }) {
    let names = 0
    const make = { 'indexed-db': indexedDb, opfs }[store]
    const figures = await measure({ Corestore, Hyperbee, Hypercore, Hyperdrive, place: () => make('bench-' + names++), remote, small })
    return [...figures, ...await limits({ Hypercore, memory: () => memory(), store, remote })]
  }
`
const folder = mkdtempSync(join(tmpdir(), 'hypertab-bench-'))
const upstream = await serveCore(join(folder, 'upstream'))
try {
  const { remote, small } = upstream
  const figures = await runInTab(benchFiles(program), { store, remote, small }, { engine, inWorker: place === 'worker' })
  for (const [name, value, unit] of figures) console.log(`${name}\t${value.toPrecision(5)}\t${unit}`)
} finally {
  await upstream.close()
  rmSync(folder, { recursive: true, force: true })
}
