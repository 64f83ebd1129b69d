// Builds the npm package `hypertab` into wasm/dist: npm run build
//
//   wasm/dist/engine/     the engine and its bindings, made by cargo and wasm-bindgen
//   wasm/dist/browser/    the API for pages and workers, from wasm/js
//   wasm/dist/node/       the same for Node, Bun and Deno
//   wasm/dist/types/      its types
//   wasm/dist/THIRD-PARTY-NOTICES.txt   what others wrote of it, and their licences
//
//   npm run build -- js   makes only the API anew, around the engine that is there

import { cpSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'

import { bundleApi, shrinkBindings, typesOfRequirable } from './lib/bundle.mjs'
import { buildBindgen, cargoBuild, cargoBuildProgram } from './lib/cargo.mjs'
import { dropUnreached, writeTypesForRequire } from './lib/declarations.mjs'
import { bundledPackages, compiledCrates, noticesOf } from './lib/notices.mjs'
import { Failure, main, root, run, say } from './lib/run.mjs'
import { packageSizes, sizeTable } from './lib/sizes.mjs'
import { ensureTools } from './setup.mjs'

const dist = join(root, 'wasm', 'dist')
const engine = join(dist, 'engine')
/** What the engine is compiled for. */
const WASM = 'wasm32-unknown-unknown'
const engineWasm = join(engine, 'hypertab_bg.wasm')

/** The pinned compiler, as a script for Node. */
export const typescriptCompiler = join(root, 'node_modules', 'typescript', 'bin', 'tsc')

/**
 * Builds the npm package.
 *
 * @param {Promise<void>} [npm] the npm packages that it is bundled with, where they are still being installed
 */
export async function build (npm) {
  say('building the engine for wasm')
  // Together: the end of the engine takes one processor only.
  const [input, bindgen] = await Promise.all([buildWasm(), buildBindgen(), npm])
  rmSync(dist, { recursive: true, force: true })
  await run(bindgen, [input, engine], { failure: 'wasm-bindgen refused the engine; it says why above' })
  checkImports()
  await shrinkBindings()
  await buildApi()
  say(`sizes of what is loaded:\n${sizeTable(packageSizes())}`)
}

/** Builds the JavaScript of the npm package, its types and its notices. */
async function buildApi () {
  say('compiling the TypeScript API')
  for (const folder of ['browser', 'node', 'types']) rmSync(join(dist, folder), { recursive: true, force: true })
  const [metafiles, crates] = await Promise.all([
    bundleApi(),
    compiledCrates('hypertab-wasm', WASM),
    run('node', [typescriptCompiler, '--project', 'wasm'], {
      failure: 'the TypeScript API does not compile; the compiler says why above'
    })
  ])
  writeTypesForRequire(join(dist, 'types'), typesOfRequirable())
  // Declarations that are written by hand are not emitted.
  cpSync(join(root, 'wasm', 'js', 'engine', 'hypertab.d.ts'), join(dist, 'types', 'engine', 'hypertab.d.ts'))
  dropUnreached(join(root, 'wasm'))
  writeFileSync(join(dist, 'THIRD-PARTY-NOTICES.txt'), noticesOf(
    'hypertab has code of these packages in it, which are under licences of their own: those that follow.',
    { 'Packages of npm, in dist/browser and dist/node': bundledPackages(metafiles), 'Crates of Rust, in dist/engine': crates }
  ))
}

/** Builds the relay for real use and returns the path of the program. */
export async function buildRelay () {
  say('building the relay')
  return await cargoBuildProgram('hypertab-relay', ['--release', '-p', 'hypertab-relay'])
}

/** Builds the demo page into web-demo/dist; the package must have been built. */
export async function buildDemo () {
  say('building the demo page')
  await run('npm', ['run', '--silent', 'build', '--workspace', 'web-demo', '--', '--logLevel', 'warn'], {
    failure: 'the demo page does not build; Vite says why above'
  })
}

async function buildWasm () {
  const { wasm } = await cargoBuild([
    '--profile', 'wasm',
    '--target', WASM,
    '-p', 'hypertab-wasm',
    '--config', `target.${WASM}.rustflags=${JSON.stringify(remapPaths())}`
  ])
  const input = wasm.find((file) => file.endsWith('hypertab_wasm.wasm'))
  if (!input) throw new Failure('cargo made no hypertab_wasm.wasm; wasm/Cargo.toml needs crate-type = ["cdylib", "rlib"]')
  return input
}

// Panic messages hold source paths: without this, the module differs by machine and names its folders.
function remapPaths () {
  const cargoHome = process.env.CARGO_HOME ?? join(homedir(), '.cargo')
  return [`--remap-path-prefix=${cargoHome}=cargo`, `--remap-path-prefix=${join(root, '.')}=.`]
}

// A crate that expects a C library leaves imports from `env`, which no browser can answer.
function checkImports () {
  const module = new WebAssembly.Module(readFileSync(engineWasm))
  const foreign = WebAssembly.Module.imports(module).filter(({ module }) => module !== './hypertab_bg.js')
  if (foreign.length === 0) return
  const names = foreign.map(({ module, name }) => `${module}.${name}`).join(', ')
  throw new Failure(`the engine imports what a browser does not have: ${names}`)
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  await main(async () => {
    await ensureTools()
    if (process.argv[2] === 'js') await buildApi()
    else await build()
  })
}
