// The declarations of the package hold in a strict project that checks them, too, and say what keys and values a bee has.

import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'node:test'

import { typescriptCompiler } from '../../scripts/build.mjs'
import { root } from '../../scripts/lib/run.mjs'

const PROGRAM = `
import { Corestore, DHT, Hyperbee, Hyperdrive, Hyperswarm, type BeeEntry } from 'hypertab'
import Hypercore from 'hypertab/hypercore'
import Hyperblobs from 'hypertab/hyperblobs'
import Hypertrie, { type TrieNode } from 'hypertab/hypertrie'
import { pipeline } from 'streamx'

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
const list = store.get<{ n: number }>({ name: 'list', valueEncoding: 'json' })
await list.append([{ n: 1 }, { n: 2 }])
export const item: number | undefined = (await list.get(0))?.n
export const text: string = await list.get(0, { valueEncoding: 'utf-8' })
for await (const { n } of list.snapshot().createReadStream()) console.log(n.toFixed())
// @ts-expect-error a block has a number
await list.session().append({ n: 'one' })
const drive = new Hyperdrive(store.namespace('drive'))
export const content: Uint8Array | null = await drive.get('/a')
for await (const { key, value } of drive.list('/', { recursive: false })) console.log(key.length, value.blob?.byteLength)
for await (const { left, right } of drive.diff(1, '/')) console.log(left?.key, right?.value.linkname)
for await (const name of drive.readdir('/')) console.log(name.length)
for await (const bytes of drive.createReadStream('/a')) console.log(bytes.byteLength)
for await (const [now, before] of drive.watch('/')) console.log(now.version - before.version)
for await (const block of core.createReadStream()) console.log(block.anything)
for await (const bytes of core.createByteStream()) console.log(bytes.byteLength)
bee.createReadStream().on('data', ({ key, value }) => { console.log(key.length, value.n) }).on('end', () => {}).once('error', (error) => { console.log(error.message) })
part.createHistoryStream().on('data', ({ seq, type, key }) => { console.log(seq.toFixed(), type.length, key.toFixed()) })
bee.createDiffStream(1).once('data', ({ left, right }) => { console.log(left?.value.n, right?.key.length) })
// @ts-expect-error a value is an object, not text
bee.createReadStream().on('data', ({ value }: { value: string }) => { console.log(value) })
core.createReadStream({ live: true }).on('data', (block) => { console.log(block.anything) })
core.createByteStream().on('data', (bytes) => { console.log(bytes.byteLength) })
drive.createReadStream('/a').on('data', (bytes) => { console.log(bytes.byteLength) }).on('close', () => {})
// @ts-expect-error files are bytes
drive.createReadStream('/a').on('data', (text: string) => { console.log(text) })
drive.list('/').on('data', ({ key, value }) => { console.log(key.length, value.executable) })
drive.readdir('/').on('data', (name) => { console.log(name.length) })
drive.diff(1, '/').on('data', ({ left }) => { console.log(left?.key) })
export const chunk: Uint8Array | null = drive.createReadStream('/a').read()
core.createReadStream().pipe(core.createWriteStream())
pipeline(drive.createReadStream('/a'), drive.createWriteStream('/b'))
{
  await using session = core.session()
  await session.ready()
}
export const blobs = new Hyperblobs(core)
blobs.createReadStream({ byteOffset: 0, blockOffset: 0, blockLength: 1, byteLength: 1 }).on('data', (bytes) => { console.log(bytes.byteLength) })
const trie = new Hypertrie<{ n: number }>(core, { valueEncoding: 'json' })
const node: TrieNode<{ n: number }> | null = await trie.get('a', { hidden: true, timeout: 5 })
export const number: number | undefined = node?.value.n
for await (const { key, value } of trie.checkout(3).iterator('a', { recursive: false })) console.log(key.length, value.n)
trie.createHistoryStream({ gte: 1, reverse: true }).on('data', ({ seq, value }) => { console.log(seq, value.n) })
export const listed: TrieNode<{ n: number }>[] = await trie.snapshot().list({ gt: true })
// @ts-expect-error it cannot be written
trie.put
new DHT({ relay: 'wss://relay.example' }).lookup(new Uint8Array(32)).on('data', ({ peers }) => { console.log(peers[0]?.publicKey.byteLength) })
new Hyperswarm({ relay: 'wss://relay.example' }).on('connection', (stream) => { store.replicate(stream) })
`

/** What asks for the classes with `require`, as programs for upstream's packages. */
const REQUIRES = `
import Hypercore = require('hypertab/hypercore')
import Corestore = require('hypertab/corestore')
import Hyperbee = require('hypertab/hyperbee')
import Hypertrie = require('hypertab/hypertrie')
import HypercoreError = require('hypertab/hypercore/errors')
import Bitfield = require('hypertab/hypercore/lib/bitfield.js')
import caps = require('hypertab/hypercore/lib/caps')
import audit = require('hypertab/hypercore/lib/audit')
import Hyperdrive, { type DriveEntry } from 'hypertab/hyperdrive'
import type { BeeExtension, Entry } from 'hypertab/hyperbee'

const core: Hypercore = new Hypercore('./log')
const bee: Hyperbee<string, number> = new Hyperbee<string, number>(core)
class Table extends Hyperbee<string, number> { count = 0 }
export const error: Error = HypercoreError.BAD_ARGUMENT('none')
export const trie: Hypertrie<string> = new Hypertrie<string>(core, { valueEncoding: 'utf-8' })
export const drive: Hyperdrive = new Hyperdrive(new Corestore('./store'))
export const table: Table = new Table(core, { extension: null as unknown as BeeExtension })
export const manifest: Uint8Array = caps.MANIFEST
export async function value (): Promise<Entry<string, number> | null> { return await bee.get('a') }
export async function info (): Promise<Hypercore.Info> { return await core.info() }
export async function entry (): Promise<DriveEntry | null> { return await drive.entry('/a') }
export const parts = [new Bitfield(), audit]
// @ts-expect-error the class is what is required, and has none of that name
export const none = Hypercore.Hypercore
`

/** What both kinds of modules share is one class. */
const BOTH = `
import Hypercore from 'hypertab/hypercore'
import { Hyperbee } from 'hypertab'
import required = require('./required.cjs')

export const core: Hypercore = required.table.core
export const bee: Hyperbee<string, number> = required.table
`

const NODE = ['--module', 'nodenext', '--moduleResolution', 'nodenext', '--esModuleInterop']
const NODE_16 = ['--module', 'node16', '--moduleResolution', 'node16', '--esModuleInterop']
const PAGE = ['--lib', 'es2023,dom,dom.iterable,dom.asynciterable']

/** What the readmes of upstream show. */
const READMES = readFileSync(new URL('support/readmes.mts', import.meta.url), 'utf8')

for (const [what, files, options] of [
  ['a strict project', { 'program.ts': PROGRAM, 'readmes.mts': READMES, 'required.cts': REQUIRES, 'both.mts': BOTH }, [...NODE, ...PAGE, '--exactOptionalPropertyTypes', '--noUncheckedIndexedAccess']],
  ['a strict project for a bundler', { 'program.ts': PROGRAM }, ['--module', 'esnext', '--moduleResolution', 'bundler', ...PAGE]],
  ['a strict project of before require took ES modules', { 'required.cts': REQUIRES, 'both.mts': BOTH }, [...NODE_16, ...PAGE]],
  ['a strict project for Node alone', { 'required.cts': REQUIRES }, [...NODE, '--lib', 'es2023']]
]) {
  test(`${what} takes the declarations`, (t) => {
    // From here the compiler finds the package as a program of the workspace would.
    mkdirSync(join(root, 'artifacts'), { recursive: true })
    const folder = mkdtempSync(join(root, 'artifacts', 'types-'))
    t.after(() => { rmSync(folder, { recursive: true }) })
    writeFileSync(join(folder, 'package.json'), '{ "type": "module" }')
    for (const [name, source] of Object.entries(files)) writeFileSync(join(folder, name), source)
    const { stdout } = spawnSync(process.execPath, [
      typescriptCompiler, '--noEmit', '--strict', '--skipLibCheck', 'false', '--target', 'es2022', '--types', 'node', ...options,
      ...Object.keys(files).map((name) => join(folder, name))
    ], { encoding: 'utf8', cwd: root })
    assert.equal(stdout, '')
  })
}

/** What programs of the readme have from those before them, or from the page. */
const AROUND = `
declare const { Hyperbee, Hyperdrive, Hyperswarm }: typeof import('hypertab')
declare const store: import('hypertab').Corestore
declare const swarm: import('hypertab').Hyperswarm
declare const drive: import('hypertab').Hyperdrive
declare const drives: Map<string, import('hypertab').Hyperdrive>
declare const keyPair: { publicKey: Uint8Array, secretKey: Uint8Array }
declare const key: string
declare const theirKey: string
declare const video: HTMLVideoElement
`

test('programs of the readmes name what there is', (t) => {
  mkdirSync(join(root, 'artifacts'), { recursive: true })
  const folder = mkdtempSync(join(root, 'artifacts', 'types-'))
  t.after(() => { rmSync(folder, { recursive: true }) })
  writeFileSync(join(folder, 'package.json'), '{ "type": "module" }')
  writeFileSync(join(folder, 'around.d.ts'), AROUND)
  const files = ['around.d.ts']
  for (const readme of ['README.md', 'wasm/README.md']) {
    for (const [, kind, code] of readFileSync(join(root, readme), 'utf8').matchAll(/```(jsx?)\n([^]*?)```/g)) {
      // Upstream's packages have no types.
      if (/from '(?!hypertab)/.test(code)) continue
      const name = `program${files.length}.${kind === 'jsx' ? 'tsx' : 'mts'}`
      // As of every abstract-level, values are text unless something else is said.
      const typed = code.replace('new BeeLevel(', 'new BeeLevel<string, any>(')
      writeFileSync(join(folder, name), `${typed.replace(/ …(?=\s)/g, ' {}')}\nexport {}\n`)
      files.push(name)
    }
  }
  assert.ok(files.length > 9)
  // They are JavaScript: what may be null is looked at by who reads.
  const { stdout } = spawnSync(process.execPath, [
    typescriptCompiler, '--noEmit', '--strict', 'false', '--skipLibCheck', '--target', 'es2022', '--jsx', 'preserve', '--types', 'node', ...NODE, ...PAGE, ...files.map((name) => join(folder, name))
  ], { encoding: 'utf8', cwd: root })
  assert.equal(stdout, '')
})
