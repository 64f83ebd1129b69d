// Cargo, asked for the files it produced instead of guessing where they are.

import { dirname, join } from 'node:path'

import { run, root, Failure } from './run.mjs'

/**
 * Runs `cargo build` and returns the paths of what it built, by kind.
 *
 * @param {string[]} args everything after `cargo build`
 * @returns {Promise<{ executables: Map<string, string>, wasm: string[] }>} executables by target name
 */
export async function cargoBuild (args, env = {}) {
  const stdout = await run('cargo', ['build', '--quiet', '--locked', '--message-format=json-render-diagnostics', ...args], {
    capture: true,
    env,
    failure: 'cargo could not build the Rust part; the compiler says why above'
  })
  const executables = new Map()
  const wasm = []
  for (const line of stdout.split('\n')) {
    if (!line.startsWith('{')) continue
    const message = JSON.parse(line)
    if (message.reason !== 'compiler-artifact') continue
    if (message.executable) executables.set(message.target.name, message.executable)
    wasm.push(...message.filenames.filter((file) => file.endsWith('.wasm')))
  }
  return { executables, wasm }
}

/**
 * The workspace with all its features, as `cargo test` has it in its suite: whatever is built for this machine with them is built once.
 * The whole workspace is named for its features alone: of a crate that is no program, and no part of one, nothing is built.
 */
const WORKSPACE = ['--workspace', '--all-features']

/** @type {Promise<string> | undefined} */
let bindgen

/** Builds the program that makes a package of the engine, and returns its path. */
export async function buildBindgen () {
  // Once: to ask cargo again is to wait for whatever it builds at that time.
  bindgen ??= cargoBuildProgram('hypertab-bindgen', WORKSPACE)
  return await bindgen
}

/** Builds one program of the workspace and returns its path. */
export async function cargoBuildProgram (name, args) {
  const { executables } = await cargoBuild(['--bin', name, ...args])
  const path = executables.get(name)
  if (!path) throw new Failure(`cargo built ${name} without saying where it put the program`)
  return path
}

/** Programs of the workspace that tests and benches start, by name, and the package that each belongs to. */
const nativePrograms = {
  'hypertab-relay': 'hypertab-relay',
  'dht-node': 'hypertab-tests',
  'hypertab-peer': 'hypertab-tests',
  'ip-path': 'hypertab-tests',
  'relay-load': 'hypertab-tests',
  'udx-path': 'hypertab-tests',
  'udx-peer': 'hypertab-tests'
}

const built = new Map()

/**
 * Returns the path of a native program for a test, with the checks of a debug build: from the folder HYPERTAB_PROGRAMS, where `npm test`
 * has built it, else from cargo.
 *
 * @param {keyof typeof nativePrograms} name
 */
export async function nativeProgram (name) {
  return await programOf(name, WORKSPACE)
}

/**
 * Returns the path of a native program for a bench, as it is shipped: from the folder HYPERTAB_PROGRAMS, where `npm run bench` has built
 * it, else from cargo.
 *
 * @param {keyof typeof nativePrograms} name
 */
export async function releaseProgram (name) {
  return await programOf(name, ['--release', '-p', nativePrograms[name]])
}

async function programOf (name, args) {
  if (process.env.HYPERTAB_PROGRAMS) return join(process.env.HYPERTAB_PROGRAMS, name)
  if (!built.has(name)) built.set(name, cargoBuildProgram(name, args))
  return await built.get(name)
}

/** Builds every native program that tests start, and returns the folder that holds them. */
export async function buildNativePrograms () {
  return await buildPrograms(WORKSPACE)
}

/** Builds every native program that benches start, as they are shipped, and returns the folder that holds them. */
export async function buildReleasePrograms () {
  return await buildPrograms(['--release', ...[...new Set(Object.values(nativePrograms))].flatMap((name) => ['-p', name])])
}

async function buildPrograms (args) {
  const { executables } = await cargoBuild([...args, ...Object.keys(nativePrograms).flatMap((name) => ['--bin', name])])
  return dirname(executables.get('hypertab-relay'))
}

/** Builds the engine with the suite of all storage backends, for tests alone, and returns the folder that holds it. */
export async function buildStorageSuite () {
  const { wasm } = await cargoBuild(['-p', 'hypertab-wasm', '--target', 'wasm32-unknown-unknown', '--features', 'conformance'])
  const input = wasm.find((file) => file.endsWith('hypertab_wasm.wasm'))
  if (!input) throw new Failure('cargo made no hypertab_wasm.wasm with the suite of storage backends')
  const folder = join(root, 'artifacts', 'storage-suite')
  await run(await buildBindgen(), [input, folder], { failure: 'wasm-bindgen refused the storage suite; it says why above' })
  return folder
}

let suite

/** The folder of the storage suite: HYPERTAB_STORAGE_SUITE, where `npm test` has built it, else built now. */
export async function storageSuite () {
  suite ??= process.env.HYPERTAB_STORAGE_SUITE ?? buildStorageSuite()
  return await suite
}
