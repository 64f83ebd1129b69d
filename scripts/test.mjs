// Sets up, builds and runs every test: npm test
//
//   npm test                      everything
//   npm test -- interop browser   these suites only
//
// Each suite's whole output is in artifacts/logs. One suite of rust and one of Node run at the same time.

import { spawn } from 'node:child_process'
import { createWriteStream, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { finished } from 'node:stream/promises'

import { build, buildDemo, typescriptCompiler } from './build.mjs'
import { buildBindgen, buildNativePrograms, buildStorageSuite } from './lib/cargo.mjs'
import { Failure, main, root, say } from './lib/run.mjs'
import { ensureBrowsers, ensureNetworkPrograms, ensureNode, ensureNpm, ensureRust } from './setup.mjs'

/** What `core` is built for to show that it needs no operating system. */
const BARE_TARGETS = ['wasm32v1-none', 'thumbv7em-none-eabihf']

/** Longest that one program of a suite may run, and longest that one JavaScript test file may. */
const PROGRAM_MS = 60 * 60_000
const TEST_FILE_MS = 10 * 60_000

/** Test files that run at the same time: they wait, too, for each other, for the disk and for a browser to start. */
const FILES_AT_ONCE = 3

/** How much of a failed suite's output is repeated at the end, in lines: of its end, and of each failure of a test file. */
const LINES_SHOWN = 150
const LINES_OF_FAILURE = 60

const logs = join(root, 'artifacts', 'logs')

// `steps` are programs; each counts as one test unless `count` reads the numbers from its output.
const suites = {
  format: { lane: 'rust', steps: () => [cargo('fmt', '--all', '--check')] },
  rust: { lane: 'rust', steps: () => [{ ...cargo('test', '--workspace', '--all-features', '--locked', '--no-fail-fast'), count: countRust }] },
  clippy: {
    lane: 'rust',
    steps: () => [
      cargo('clippy', '--workspace', '--all-targets', '--all-features', '--locked', '--', '--deny=warnings'),
      cargo('clippy', '-p', 'hypertab-wasm', '--target', 'wasm32-unknown-unknown', '--locked', '--', '--deny=warnings')
    ]
  },
  'bare-metal': {
    lane: 'rust',
    targets: BARE_TARGETS,
    // A library is not linked: whether it compiles there is all there is to know.
    steps: () => BARE_TARGETS.flatMap((target) => [
      cargo('check', '-p', 'hypertab-core', '--target', target, '--locked'),
      cargo('check', '-p', 'hypertab-core', '--target', target, '--locked', '--features', 'dht,drive')
    ])
  },
  types: {
    lane: 'node',
    needs: ['package'],
    steps: () => ['wasm', 'web-demo', 'scripts'].map((folder) => node(typescriptCompiler, '--noEmit', '--project', folder))
  },
  interop: { lane: 'node', needs: ['package', 'programs', 'storage-suite', 'network'], steps: () => nodeTests('interop') },
  browser: { lane: 'node', needs: ['package', 'programs', 'storage-suite', 'demo', 'browser'], steps: () => nodeTests('browser') }
}

for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(130))

await main(async () => {
  const names = chosenSuites()
  rmSync(logs, { recursive: true, force: true })
  mkdirSync(logs, { recursive: true })
  const chosen = names.map((name) => suites[name])
  ensureNode()
  await ensureRust(['wasm32-unknown-unknown', ...chosen.flatMap((suite) => suite.targets ?? [])])
  const { programs, everything } = prepare(new Set(chosen.flatMap((suite) => suite.needs ?? [])))
  const results = (await Promise.all([
    runLane('rust', names, programs),
    runLane('node', names, everything)
  ])).flat()
  const broken = results.filter(({ failed }) => failed > 0).map(({ name }) => ({ name, lines: linesOf(name) }))
  for (const { name, lines } of broken) showEnd(name, lines)
  // Last, for whoever keeps only the end of this output.
  for (const { name, lines } of broken) showFailures(name, lines)
  const sum = (field) => results.reduce((total, result) => total + result[field], 0)
  console.log(`\n${sum('passed')} passed, ${sum('failed')} failed`)
  process.exitCode = sum('failed') === 0 ? 0 : 1
})

function chosenSuites () {
  const wanted = process.argv.slice(2)
  const unknown = wanted.filter((name) => !(name in suites))
  if (unknown.length > 0) throw new Failure(`there is no suite ${unknown.join(', ')}; there are ${Object.keys(suites).join(', ')}`)
  return Object.keys(suites).filter((name) => wanted.length === 0 || wanted.includes(name))
}

// What comes over the network comes while cargo builds. No test waits for a build: a lane starts once all that it needs is there.
function prepare (needs) {
  const npm = needs.size > 0 ? ensureNpm() : Promise.resolve()
  const programs = preparePrograms(needs)
  const everything = Promise.all([programs, npm, preparePackage(needs, npm), prepareStorageSuite(needs), prepareMachine(needs)])
  return { programs, everything }
}

// Cargo builds one thing at a time for this machine: before the lane of rust keeps it for minutes.
async function preparePrograms (needs) {
  if (needs.has('package')) await buildBindgen()
  if (!needs.has('programs')) return
  say('building the native programs')
  process.env.HYPERTAB_PROGRAMS = await buildNativePrograms()
}

async function preparePackage (needs, npm) {
  if (needs.has('package')) await build(npm)
  if (needs.has('demo')) await buildDemo()
}

async function prepareStorageSuite (needs) {
  if (!needs.has('storage-suite')) return
  say('building the suite of storage backends')
  process.env.HYPERTAB_STORAGE_SUITE = await buildStorageSuite()
}

// One after the other: apt installs one thing at a time.
async function prepareMachine (needs) {
  if (needs.has('browser')) [process.env.CHROME_PATH, process.env.HEADLESS_SHELL_PATH] = await ensureBrowsers()
  if (needs.has('network')) await ensureNetworkPrograms()
}

async function runLane (lane, names, ready) {
  const results = []
  const chosen = names.filter((name) => suites[name].lane === lane)
  if (chosen.length === 0) return results
  await ready
  say(`running ${chosen.join(', ')}`)
  for (const name of chosen) results.push(await runSuite(name))
  return results
}

async function runSuite (name) {
  const start = performance.now()
  const log = createWriteStream(join(logs, `${name}.log`))
  const total = { name, passed: 0, failed: 0, skipped: 0 }
  for (const step of suites[name].steps()) {
    const { code, output } = await runStep(step, log)
    const counted = step.count?.(output) ?? { passed: code === 0 ? 1 : 0, failed: 0, skipped: 0 }
    if (code !== 0 && counted.failed === 0) counted.failed = 1
    for (const field of ['passed', 'failed', 'skipped']) total[field] += counted[field]
  }
  if (total.passed + total.failed === 0) {
    log.write('this suite ran no tests, which counts as a failure\n')
    total.failed = 1
  }
  log.end()
  await finished(log)
  const seconds = ((performance.now() - start) / 1000).toFixed(1)
  const numbers = `${total.passed} passed, ${total.failed} failed${total.skipped > 0 ? `, ${total.skipped} skipped` : ''}`
  console.log(`${total.failed === 0 ? 'ok    ' : 'FAILED'} ${name.padEnd(10)} ${seconds.padStart(7)} s  ${numbers}`)
  return total
}

// Programs get a process group of their own, so that a timeout ends their children too.
async function runStep ({ program, args }, log) {
  log.write(`$ ${program} ${args.join(' ')}\n`)
  const grouped = process.platform !== 'win32'
  const child = spawn(program, args, { cwd: root, detached: grouped, stdio: ['ignore', 'pipe', 'pipe'] })
  const end = () => {
    try {
      grouped ? process.kill(-child.pid, 'SIGKILL') : child.kill('SIGKILL')
    } catch {}
  }
  const timer = setTimeout(() => { log.write(`stopped after ${PROGRAM_MS / 60_000} minutes\n`); end() }, PROGRAM_MS)
  process.on('exit', end)
  let output = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text) => { output += text; log.write(text) })
  }
  const code = await new Promise((resolve) => {
    child.on('error', (error) => { log.write(`${error.message}\n`); resolve(1) })
    child.on('close', (code) => resolve(code ?? 1))
  })
  clearTimeout(timer)
  process.off('exit', end)
  return { code, output }
}

function cargo (...args) {
  return { program: 'cargo', args }
}

function node (...args) {
  return { program: process.execPath, args }
}

function nodeTests (folder) {
  const files = readdirSync(join(root, 'tests', folder), { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.test.mjs'))
    .map((file) => join('tests', folder, file))
    .sort()
  if (files.length === 0) return []
  return [{
    ...node('--test', `--test-concurrency=${FILES_AT_ONCE}`, `--test-timeout=${TEST_FILE_MS}`, '--test-reporter=tap', ...files),
    count: countTap
  }]
}

function countRust (output) {
  const total = { passed: 0, failed: 0, skipped: 0 }
  for (const [, passed, failed, ignored] of output.matchAll(/^test result: \w+\. (\d+) passed; (\d+) failed; (\d+) ignored/gm)) {
    total.passed += Number(passed)
    total.failed += Number(failed)
    total.skipped += Number(ignored)
  }
  return total
}

function countTap (output) {
  const number = (what) => Number(new RegExp(`^# ${what} (\\d+)$`, 'm').exec(output)?.[1] ?? 0)
  return { passed: number('pass'), failed: number('fail') + number('cancelled'), skipped: number('skipped') + number('todo') }
}

function linesOf (name) {
  return readFileSync(join(logs, `${name}.log`), 'utf8').trimEnd().split('\n')
}

function showEnd (name, lines) {
  const shown = lines.slice(-LINES_SHOWN)
  console.log(`\n--- ${name}: ${shown.length < lines.length ? `the last ${LINES_SHOWN} lines of ` : ''}artifacts/logs/${name}.log`)
  console.log(shown.join('\n'))
}

function showFailures (name, lines) {
  const failures = failuresOf(lines)
  if (failures.length > 0) console.log(`\n--- ${name}: what failed\n${failures.join('\n')}`)
}

/** The reports of failed tests in a log of TAP, or the lines that name them in one of cargo. */
function failuresOf (lines) {
  return lines.flatMap((line, start) => {
    if (/^test .* \.\.\. FAILED$/.test(line)) return [line]
    if (!/^ *not ok /.test(line)) return []
    const end = lines.findIndex((line, index) => index > start && /^ *\.\.\.$/.test(line))
    return lines.slice(start, Math.min(end < 0 ? lines.length : end, start + LINES_OF_FAILURE))
  })
}
