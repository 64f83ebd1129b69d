// Times built packages on one page of Chromium, in turn: node tests/bench/turns.mjs FOLDER...
//
// A folder is that of a package, with its `dist`, as `wasm`. Prints µs of each command, awaited before the next, over IndexedDB: medians of the
// turns of each package, and of the ratios to the first one's. What else the machine does slows all of them down alike.

import { resolve } from 'node:path'

import { benchFiles, runInTab } from './tab.mjs'

const folders = process.argv.slice(2)
if (folders.length === 0) throw new Error('say which packages: folders with a dist')

const program = `
  import { block } from '/workloads.js'

  const KEYS = 20_000
  const key = (i) => 'key-' + String(i % KEYS).padStart(10, '0')

  async function open (folder) {
    const load = (name) => import('/' + folder + '/browser/' + name + '.js')
    const [{ Hypercore }, { Hyperbee }, { indexedDb }] = await Promise.all(['hypercore', 'hyperbee', 'storage'].map(load))
    const core = new Hypercore(indexedDb(folder + '-core'))
    const bee = new Hyperbee(new Hypercore(indexedDb(folder + '-bee')), { keyEncoding: 'utf-8', valueEncoding: 'utf-8' })
    const bytes = block(0, 1024)
    for (let i = 0; i < 200; i++) await core.append(bytes)
    const batch = bee.batch()
    for (let i = 0; i < KEYS; i++) await batch.put(key(i), 'value-' + i)
    await batch.flush()
    return { core, bee, bytes, puts: 0 }
  }

  const commands = {
    'core.get': [500, ({ core }, i) => core.get(i % 200)],
    'core.has': [5000, ({ core }, i) => core.has(i % 200)],
    'bee.get': [500, ({ bee }, i) => bee.get(key(i))],
    'core.append': [25, ({ core, bytes }) => core.append(bytes)],
    'bee.put': [25, (version) => version.bee.put('single-' + version.puts++, 'v')]
  }

  export async function run ({ folders, turns }) {
    const versions = []
    for (const folder of folders) versions.push(await open(folder))
    const figures = []
    for (const [name, [count, command]] of Object.entries(commands)) {
      const took = versions.map(() => [])
      for (let turn = -1; turn < turns; turn++) {
        const order = [...versions.keys()]
        for (const at of turn & 1 ? order.reverse() : order) {
          const start = performance.now()
          for (let i = 0; i < count; i++) await command(versions[at], i)
          // The first turn is for the compiler.
          if (turn >= 0) took[at].push((performance.now() - start) / count * 1000)
        }
      }
      figures.push([name, took])
    }
    return figures
  }
`
const names = folders.map((_, i) => `version-${i}`)
const routes = Object.fromEntries(folders.map((folder, i) => [`/${names[i]}/`, resolve(folder, 'dist')]))
const median = (list) => [...list].sort((a, b) => a - b)[list.length >> 1]
for (const [name, took] of await runInTab({ ...benchFiles(program), ...routes }, { folders: names, turns: 40 })) {
  const [first] = took
  const ratios = took.map((of) => median(of.map((value, turn) => value / first[turn])).toFixed(2))
  console.log(`${name}\t${took.map((of) => median(of).toPrecision(3)).join(' | ')} µs\t${ratios.join(' | ')}`)
}
