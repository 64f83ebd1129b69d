// Times our engine and upstream's on the same workloads, in turn, in one run: npm run bench [-- --rounds N] [name ...]
//
//   npm run bench:browser       the npm package in Node, Chromium and Firefox, beside upstream in Node; -- chromium for one browser
//   npm run bench:browser -- smooth   only whether a page stays smooth while 262 MB replicate in a worker; --gigabyte for more
//   npm run bench:relay         the relay, beside upstream's; --tabs 1000,10000 for how many idle tabs
//   npm run bench:udx           one UDX stream, ours and upstream's at either end
//   npm run bench:udx -- fair   one of either beside a TCP stream in the same queue (root on Linux); the congestion control of TCP may follow
//
// Prints one table with the medians and their ratio. Machines differ and are noisy: read the ratios.

import { execFileSync } from 'node:child_process'
import { join } from 'node:path'

import { buildReleasePrograms, cargoBuild } from './lib/cargo.mjs'
import { main, root, say } from './lib/run.mjs'
import { build } from './build.mjs'
import { ENGINES } from '../tests/bench/tab.mjs'
import { ensureBrowser, ensureNode, ensureNpm, ensureOther, ensureRust } from './setup.mjs'

const CASES = ['append-single-1k', 'append-batch-1k', 'append-batch-64k', 'replicate-1k', 'replicate-64k', 'bee', 'drive', 'remote', 'drive-million', 'open']

const FEWER_IS_BETTER = ['ms', 'blocks', 'trips', 'KiB']

await main(async () => {
  const args = process.argv.slice(2)
  const at = args.indexOf('--rounds')
  const rounds = at < 0 ? 3 : Number(args.splice(at, 2)[1])
  const cases = args.length > 0 ? args : CASES
  ensureNode()
  await ensureRust(args[0] === 'browser' ? undefined : [])
  await ensureNpm()
  if (args[0] === 'browser') return await benchPackage(rounds, args.slice(1))
  if (args[0] === 'relay') return await benchRelay(rounds, args.slice(1))
  if (args[0] === 'udx') return await (args[1] === 'fair' ? benchFairness(rounds, args.slice(2)) : benchUdx(rounds))
  const unknown = cases.filter((name) => !CASES.includes(name))
  if (unknown.length > 0) throw new Error(`there is no ${unknown.join(', ')} to time; there are ${CASES.join(', ')}`)
  say('building the bench')
  const { executables } = await cargoBuild(['--release', '-p', 'hypertab-tests', '--bin', 'hypertab-bench'])
  const ours = executables.get('hypertab-bench') ?? ''
  const upstream = [process.execPath, join(root, 'tests', 'bench', 'upstream.cjs')]
  const figures = new Map()
  for (let round = 1; round <= rounds; round++) {
    for (const name of cases) {
      say(`round ${round} of ${rounds}: ${name}`)
      collect(figures, 'ours', [ours, name])
      collect(figures, 'upstream', [...upstream, name])
      if (name.startsWith('append') || name === 'drive') collect(figures, 'forced', [ours, '--forced', name])
    }
  }
  const limits = new Map()
  collect(limits, 'ours', [ours, 'limits'])
  print(figures, limits)
})

/** The package where it runs: its wasm in Node on files, and in browsers on IndexedDB and OPFS, on a page and in a worker. */
async function benchPackage (rounds, only) {
  await build()
  const named = ENGINES.filter((engine) => only.includes(engine))
  const engines = named.length > 0 ? named : ENGINES
  await Promise.all(engines.map((engine) => engine === 'firefox' ? ensureOther('Firefox') : ensureBrowser()))
  const bench = (name) => join(root, 'tests', 'bench', name)
  const title = (engine) => engine[0].toUpperCase() + engine.slice(1)
  const inBrowser = (engine) => [['IndexedDB', 'page'], ['IndexedDB', 'worker'], ['OPFS', 'worker']].map(([store, place]) =>
    [`${title(engine)}, ${store}, ${place}`, [bench('browser.mjs'), engine, store === 'OPFS' ? 'opfs' : 'indexed-db', place]])
  if (only.includes('smooth')) {
    const flags = only.filter((option) => option.startsWith('--'))
    return printSides('what a page has of it', await inTurn(rounds, engines.map((engine) => [title(engine), [bench('smooth.mjs'), engine, ...flags]])))
  }
  const figures = await inTurn(rounds, [
    ['wasm in Node, folder', [bench('package.mjs')]],
    ...engines.flatMap(inBrowser),
    ['upstream in Node', [bench('upstream.cjs'), ...CASES.filter((name) => /^append|^replicate|^bee|^drive$|^open/.test(name))]]
  ])
  const pages = await inTurn(rounds, engines.map((engine) => [title(engine), [bench('page.mjs'), engine]]))
  printSides('workload', figures)
  printSides('what a page has of it', pages)
}

/** Runs each side once a round. */
async function inTurn (rounds, sides) {
  const figures = new Map()
  for (let round = 1; round <= rounds; round++) {
    for (const [side, args] of sides) {
      say(`round ${round} of ${rounds}: ${side}`)
      collect(figures, side, [process.execPath, ...args])
    }
  }
  return { figures, sides: sides.map(([side]) => side) }
}

function printSides (title, { figures, sides }) {
  console.log(`\n| ${[title, ...sides, 'unit'].join(' | ')} |\n|${' --- |'.repeat(sides.length + 2)}`)
  for (const [name, figure] of figures) {
    const columns = sides.map((side) => short(median(figure[side] ?? [])))
    console.log(`| ${[name, ...columns, figure.unit].join(' | ')} |`)
  }
}

/** One stream between all pairs of ends in turn. */
async function benchUdx (rounds) {
  process.env.HYPERTAB_PROGRAMS ??= await buildReleasePrograms()
  const pairs = [['ours', 'ours'], ['ours', 'upstream'], ['upstream', 'ours'], ['upstream', 'upstream']]
  const figures = new Map()
  for (let round = 1; round <= rounds; round++) {
    for (const [from, to] of pairs) {
      say(`round ${round} of ${rounds}: ${from} to ${to}`)
      collect(figures, `${from} → ${to}`, [process.execPath, join(root, 'tests', 'bench', 'udx.mjs'), from, to])
    }
  }
  const columns = pairs.map(([from, to]) => `${from} → ${to}`)
  console.log(`\n| UDX stream | ${columns.join(' | ')} | unit |\n| --- |${' --- |'.repeat(columns.length + 1)}`)
  for (const [name, figure] of figures) {
    console.log(`| ${[name, ...columns.map((pair) => short(median(figure[pair]))), figure.unit].join(' | ')} |`)
  }
}

/** A stream of ours, and one of upstream's in turn, beside one of TCP. */
async function benchFairness (rounds, control) {
  process.env.HYPERTAB_PROGRAMS ??= await buildReleasePrograms()
  const bench = join(root, 'tests', 'bench', 'fairness.mjs')
  printSides('streams that share a path', await inTurn(rounds, ['ours', 'upstream'].map((side) => [side, [bench, side, ...control]])))
}

/** Both relays in turn, each with the same load, and with upstream's clients and a peer of upstream's. */
async function benchRelay (rounds, options) {
  process.env.HYPERTAB_PROGRAMS ??= await buildReleasePrograms()
  const figures = new Map()
  for (let round = 1; round <= rounds; round++) {
    for (const side of ['ours', 'upstream']) {
      say(`round ${round} of ${rounds}: ${side}`)
      collect(figures, side, [process.execPath, join(root, 'tests', 'bench', 'relay.mjs'), side, ...options])
    }
  }
  console.log('\n| relay | ours | upstream | ratio | unit |\n| --- | --- | --- | --- | --- |')
  for (const [name, { unit, ours, upstream }] of figures) {
    const ratio = unit.includes('/s') ? median(ours) / median(upstream) : median(upstream) / median(ours)
    const shown = Number.isFinite(ratio) ? `${ratio.toFixed(1)} ×` : ''
    console.log(`| ${[name, short(median(ours)), short(median(upstream)), shown, unit].join(' | ')} |`)
  }
}

/** @param {string[]} command */
function collect (figures, side, command) {
  const [program = '', ...args] = command
  const output = execFileSync(program, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] })
  for (const line of output.split('\n').filter((line) => line !== '')) {
    const [name, value, unit] = line.split('\t')
    const figure = figures.get(name) ?? { unit, ours: [], upstream: [], forced: [] }
    figure[side] = [...figure[side] ?? [], Number(value)]
    figures.set(name, figure)
  }
}

function print (figures, limits) {
  console.log('\n| workload | ours | upstream | ratio | ours, forced to disk | unit |\n| --- | --- | --- | --- | --- | --- |')
  for (const [name, { unit, ours, upstream, forced }] of figures) {
    const ratio = FEWER_IS_BETTER.includes(unit) ? median(upstream) / median(ours) : median(ours) / median(upstream)
    const columns = [name, short(median(ours)), short(median(upstream)), upstream.length > 0 ? `${ratio.toFixed(1)} ×` : '', short(median(forced)), unit]
    console.log(`| ${columns.join(' | ')} |`)
  }
  console.log('\n| limit of one core | value | unit |\n| --- | --- | --- |')
  for (const [name, { unit, ours }] of limits) console.log(`| ${name} | ${short(median(ours))} | ${unit} |`)
  console.log('\n| workload | of its limit |\n| --- | --- |')
  for (const [name, { ours }] of figures) {
    // The end of a replication that receives opens every byte and hashes it, besides what both ends do with the system.
    for (const limit of name === 'replicate-64k' ? ['limit-receive-64k', `limit-${name}`] : [`limit-${name}`]) {
      const values = limits.get(limit)?.ours
      if (values && ours) console.log(`| ${name} | 1 / ${(median(values) / median(ours)).toFixed(2)}${limit === `limit-${name}` ? '' : ` of ${limit}`} |`)
    }
  }
}

function median (values) {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.floor(sorted.length / 2)]
}

function short (value) {
  if (value === undefined) return ''
  return value >= 100 ? Math.round(value).toLocaleString('en') : value.toPrecision(3)
}
