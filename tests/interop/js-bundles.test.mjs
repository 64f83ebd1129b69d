// Programs that esbuild makes one file of, for Node and for browsers, whatever the format: `require` gives the class, and the engine
// is found. What is for browsers runs in Node here, which has all that this program needs of one.

import assert from 'node:assert/strict'
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'node:test'

import { root, run } from '../../scripts/lib/run.mjs'
import { temporaryFolder } from './support/folder.mjs'

const REQUIRES = `
const Hypercore = require('hypertab/hypercore')
const Corestore = require('hypertab/corestore')
const Hyperbee = require('hypertab/hyperbee')
const HypercoreError = require('hypertab/hypercore/errors')
const DefaultEncryption = require('hypertab/hypercore/lib/default-encryption')
const { ByteStream } = require('hypertab/hypercore/lib/streams.js')
const { memory } = require('hypertab/storage')
const named = require('hypertab')
const classes = [Hypercore === named.Hypercore, Corestore === named.Corestore, Hyperbee === named.Hyperbee, typeof HypercoreError, typeof DefaultEncryption, typeof ByteStream]
`
const IMPORTS = `
import Hypercore from 'hypertab/hypercore'
import Corestore from 'hypertab/corestore'
import Hyperbee from 'hypertab/hyperbee'
import HypercoreError from 'hypertab/hypercore/errors'
import DefaultEncryption from 'hypertab/hypercore/lib/default-encryption'
import { ByteStream } from 'hypertab/hypercore/lib/streams.js'
import { memory } from 'hypertab/storage'
import * as named from 'hypertab'
const classes = [Hypercore === named.Hypercore, Corestore === named.Corestore, Hyperbee === named.Hyperbee, typeof HypercoreError, typeof DefaultEncryption, typeof ByteStream]
`
const PROGRAM = `
async function main () {
  const store = new Corestore(memory())
  const bee = new Hyperbee(store.get({ name: 'bee' }), { keyEncoding: 'utf-8', valueEncoding: 'json' })
  await bee.put('a', 1)
  const core = new Hypercore(memory())
  const isClass = (value) => typeof value === 'function' && String(value).startsWith('class')
  const otherwise = Object.keys(named).filter((name) => isClass(named[name]) && named[name].name !== name)
  const names = [core.constructor.name, core.createReadStream().constructor.name, class extends Hypercore {}.name, otherwise.join()]
  await core.append(['x', 'y'])
  console.log(JSON.stringify([...classes, ...names, (await bee.get('a')).value, core.length]))
  await core.close()
  await store.close()
}
main()
`
// Shorter names are for what nobody sees.
const NAMES = ['Hypercore', 'ReadStream', '', 'Protomux']
const EXPECTED = [true, true, true, 'function', 'function', 'function', ...NAMES, 1, 2]

const LEVEL_REQUIRES = `
const BeeLevel = require('hypertab/level')
const { Corestore, Hyperbee, memory } = { ...require('hypertab'), ...require('hypertab/storage') }
`
const LEVEL_IMPORTS = `
import BeeLevel from 'hypertab/level'
import { Corestore, Hyperbee } from 'hypertab'
import { memory } from 'hypertab/storage'
`
const LEVEL_PROGRAM = `
async function main () {
  const store = new Corestore(memory())
  const level = new BeeLevel(new Hyperbee(store.get({ name: 'level' })), { valueEncoding: 'json' })
  await level.put('a', 1)
  console.log(JSON.stringify([await level.get('a'), await level.keys().all()]))
  await level.close()
  await store.close()
}
main()
`

for (const [what, sources, expected] of [
  ['a program', [REQUIRES + PROGRAM, IMPORTS + PROGRAM], EXPECTED],
  ['a program with hypertab/level', [LEVEL_REQUIRES + LEVEL_PROGRAM, LEVEL_IMPORTS + LEVEL_PROGRAM], [1, ['a']]]
]) {
  test(`esbuild makes one file of ${what}`, async (t) => {
    const { build } = await import('esbuild')
    const folder = temporaryFolder(t)
    mkdirSync(join(folder, 'node_modules'))
    symlinkSync(join(root, 'wasm'), join(folder, 'node_modules', 'hypertab'))
    writeFileSync(join(folder, 'requires.cjs'), sources[0])
    writeFileSync(join(folder, 'imports.mjs'), sources[1])
    // Without a bundler, it is the same.
    for (const source of ['requires.cjs', 'imports.mjs']) assert.deepEqual(JSON.parse(await run('node', [source], { cwd: folder, capture: true })), expected)
    for (const [platform, format] of [['node', 'cjs'], ['node', 'iife'], ['node', 'esm'], ['browser', 'cjs'], ['browser', 'iife'], ['browser', 'esm']]) {
      for (const source of ['requires.cjs', 'imports.mjs']) {
        await t.test(`${source} for ${platform} as ${format}`, async () => {
          const outfile = join(folder, 'built', `${platform}-${format}-${source}.${format === 'esm' ? 'mjs' : 'cjs'}`)
          await build({ absWorkingDir: folder, entryPoints: [source], bundle: true, platform, format, outfile, logLevel: 'error' })
          const printed = await run('node', [outfile], { cwd: folder, capture: true })
          assert.deepEqual(JSON.parse(printed), expected)
        })
      }
    }
  })
}
