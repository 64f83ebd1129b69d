// The declarations of the package hold in a strict project that checks them, too, and say what keys and values a bee has.

import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'node:test'

import { typescriptCompiler } from '../../scripts/build.mjs'
import { root } from '../../scripts/lib/run.mjs'

const PROGRAM = `
import { Corestore, Hyperbee, Hyperdrive, Hyperswarm, type BeeEntry } from 'hypertab'
import Hypercore from 'hypertab/hypercore'
import Hyperblobs from 'hypertab/hyperblobs'

const store = new Corestore('types')
const bee = new Hyperbee<string, { n: number }>(store.get({ name: 'bee' }), { keyEncoding: 'utf-8', valueEncoding: 'json' })
const entry: BeeEntry<string, { n: number }> | null = await bee.get('a')
export const found: number | undefined = entry?.value.n
for await (const { key } of bee.createReadStream({ gt: 'a' })) { const text: string = key; console.log(text) }
for await (const { left, right } of bee.createDiffStream(1)) console.log(left?.value.n, right?.key.length)
await bee.put('a', { n: 1 }, { cas: (prev, next) => prev.value.n !== next.value.n })
await bee.batch().put('b', { n: 2 })
const part = bee.sub<number, string>('part')
await part.put(7, 'seven')
// @ts-expect-error a key is a string here
await bee.get(5)
// @ts-expect-error and a value has a number
await bee.put('a', { n: 'one' })

const core: Hypercore = store.get({ name: 'core' })
export const hotswaps: number = core.core!.replicator.stats.hotswaps
export const first: number = core.core!.bitfield.firstUnset(0)
core.on('append', () => {})
const drive = new Hyperdrive(store.namespace('drive'))
export const content: Uint8Array | null = await drive.get('/a')
for await (const { key, value } of drive.list('/', { recursive: false })) console.log(key.length, value.blob?.byteLength)
for await (const { left, right } of drive.diff(1, '/')) console.log(left?.key, right?.value.linkname)
for await (const name of drive.readdir('/')) console.log(name.length)
for await (const bytes of drive.createReadStream('/a')) console.log(bytes.byteLength)
for await (const [now, before] of drive.watch('/')) console.log(now.version - before.version)
for await (const block of core.createReadStream()) console.log(block.anything)
for await (const bytes of core.createByteStream()) console.log(bytes.byteLength)
{
  await using session = core.session()
  await session.ready()
}
export const blobs = new Hyperblobs(core)
new Hyperswarm({ relay: 'wss://relay.example' }).on('connection', (stream) => { store.replicate(stream) })
`

test('a strict project takes the declarations', (t) => {
  // From here the compiler finds the package as a program of the workspace would.
  mkdirSync(join(root, 'artifacts'), { recursive: true })
  const folder = mkdtempSync(join(root, 'artifacts', 'types-'))
  t.after(() => { rmSync(folder, { recursive: true }) })
  writeFileSync(join(folder, 'package.json'), '{ "type": "module" }')
  writeFileSync(join(folder, 'program.ts'), PROGRAM)
  const { stdout } = spawnSync(process.execPath, [
    typescriptCompiler, '--noEmit', '--strict', '--skipLibCheck', 'false', '--module', 'nodenext', '--moduleResolution', 'nodenext',
    '--target', 'es2022', '--lib', 'es2023,dom,dom.iterable,dom.asynciterable', '--types', 'node', join(folder, 'program.ts')
  ], { encoding: 'utf8', cwd: root })
  assert.equal(stdout, '')
})
