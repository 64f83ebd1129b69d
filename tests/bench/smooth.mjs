// Whether a page stays smooth while bulk replicates through `hypertab/worker`: node smooth.mjs chromium|firefox [--gigabyte]
//
// Prints one line a figure: name, value, unit, with tabs between. 262 MB, or a gigabyte, into OPFS.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'

import { serveCore } from './serve.mjs'
import { benchFiles, ENGINES, runInTab } from './tab.mjs'

/** Bytes without the flag. */
const SHORT = 2.5e8

// The page looks how long each task takes, how long it waits for a turn, and how far frames are apart.
const PROGRAM = `
  import { Hypercore, opfs } from '/hypertab/browser/worker.js'
  import { replicate } from '/workloads.js'

  export async function run ({ remote, bytes }) {
    let longestTask = 0
    const isObserved = PerformanceObserver.supportedEntryTypes.includes('longtask')
    if (isObserved) {
      new PerformanceObserver((list) => {
        for (const { duration } of list.getEntries()) longestTask = Math.max(longestTask, duration)
      }).observe({ type: 'longtask' })
    }
    const waits = []
    const turns = new MessageChannel()
    let last = performance.now()
    turns.port1.onmessage = () => {
      waits.push(performance.now() - last)
      setTimeout(() => { last = performance.now(); turns.port2.postMessage(null) }, 4)
    }
    turns.port2.postMessage(null)
    const gaps = []
    let shown = null
    const onframe = (now) => {
      if (shown !== null) gaps.push(now - shown)
      shown = now
      requestAnimationFrame(onframe)
    }
    requestAnimationFrame(onframe)

    const copies = Math.ceil(bytes / (remote.length * remote.size))
    let seconds = 0
    for (let copy = 0; copy < copies; copy++) seconds += await replicate({ Hypercore, place: () => opfs('copy-' + copy), remote })
    const size = copies * remote.length * remote.size
    const again = new Hypercore(opfs('copy-' + (copies - 1)))
    await again.ready()
    const stored = again.contiguousLength
    await again.close()

    for (const list of [waits, gaps]) list.sort((a, b) => a - b)
    const p99 = (list) => list[Math.floor(list.length * 0.99)]
    return {
      stored,
      figures: [
        ['replicate-in-a-worker', size / seconds / 1e6, 'MB/s'],
        // Browsers tell of tasks from 50 ms on: 0 is none that long.
        ...isObserved ? [['longest-task', longestTask, 'ms']] : [],
        ['wait-for-a-turn-p99', p99(waits), 'ms'],
        ['wait-for-a-turn-longest', waits.at(-1), 'ms'],
        ['between-frames-p99', p99(gaps), 'ms'],
        ['between-frames-longest', gaps.at(-1), 'ms']
      ]
    }
  }
`

/**
 * Replicates so many bytes, and returns what the page had of it.
 *
 * @param {import('./workloads.mjs').Remote} remote
 * @param {{ engine?: string, bytes?: number }} [options]
 * @returns {Promise<[name: string, value: number, unit: string][]>}
 */
export async function smoothness (remote, { engine = 'chromium', bytes = SHORT } = {}) {
  const { stored, figures } = await runInTab(benchFiles(PROGRAM), { remote, bytes }, { engine })
  if (stored !== remote.length) throw new Error(`${stored} of ${remote.length} blocks are stored`)
  return figures
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const [engine, flag] = process.argv.slice(2)
  if (!ENGINES.includes(engine)) throw new Error(`say which browser: ${ENGINES.join(' or ')}`)
  const folder = mkdtempSync(join(tmpdir(), 'hypertab-bench-'))
  const upstream = await serveCore(join(folder, 'upstream'))
  try {
    const figures = await smoothness(upstream.remote, { engine, bytes: flag === '--gigabyte' ? 1e9 : SHORT })
    for (const [name, value, unit] of figures) console.log(`${name}\t${value.toPrecision(4)}\t${unit}`)
  } finally {
    await upstream.close()
    rmSync(folder, { recursive: true, force: true })
  }
}
