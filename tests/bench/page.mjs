// What the package costs a page: node page.mjs chromium|firefox
//
// Prints one line a figure: name, value, unit, with tabs between. Each is measured in a browser that was never started before.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { serveCore } from './serve.mjs'
import { smoothness } from './smooth.mjs'
import { benchFiles, ENGINES, runInTab } from './tab.mjs'

const [engine] = process.argv.slice(2)
if (!ENGINES.includes(engine)) throw new Error(`say which browser: ${ENGINES.join(' or ')}`)

// From the start of the navigation, with nothing cached, to a block that was verified.
const START = `
  import { Hypercore } from '/hypertab/browser/hypercore.js'
  import { indexedDb } from '/hypertab/browser/storage.js'
  import { overWebSocket } from '/workloads.js'

  export async function run ({ small }) {
    const core = new Hypercore(indexedDb('start'), small.key)
    const opening = overWebSocket(small.url)
    await core.ready()
    const link = await opening
    link.replicate(core.replicate(true, { keepAlive: false }))
    await core.get(0)
    return [['start-to-first-block', performance.now(), 'ms']]
  }
`

// A number out, and 32 bytes in and out with a hash between.
const BORDER = `
  import { Hypercore } from '/hypertab/browser/hypercore.js'
  import { memory } from '/hypertab/browser/storage.js'
  import { coreLength, discoveryKey } from '/hypertab/engine/hypertab.js'

  export async function run () {
    const core = new Hypercore(memory())
    await core.ready()
    const { handle } = core.core
    const best = (count, call) => {
      let least = Infinity
      for (let round = 0; round < 10; round++) {
        const start = performance.now()
        for (let i = 0; i < count; i++) call()
        least = Math.min(least, (performance.now() - start) / count * 1000)
      }
      return least
    }
    return [
      ['border-call', best(200_000, () => coreLength(handle)), 'µs'],
      ['border-call-32-bytes', best(50_000, () => discoveryKey(core.key)), 'µs']
    ]
  }
`

const folder = mkdtempSync(join(tmpdir(), 'hypertab-bench-'))
const upstream = await serveCore(join(folder, 'upstream'))
try {
  const { remote, small } = upstream
  const measured = (program) => runInTab(benchFiles(program), { remote, small }, { engine })
  for (const figures of [await measured(START), await measured(BORDER), await smoothness(remote, { engine, bytes: 1e9 })]) {
    for (const [name, value, unit] of figures) console.log(`${name}\t${value.toPrecision(4)}\t${unit}`)
  }
} finally {
  await upstream.close()
  rmSync(folder, { recursive: true, force: true })
}
