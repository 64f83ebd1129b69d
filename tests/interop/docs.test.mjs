// The reference of the package has everything that can be imported, and its readme every code and event that upstream has not.

import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'

import { writeDocs } from '../../scripts/docs.mjs'
import { describedExports } from '../../scripts/lib/declarations.mjs'
import { root } from '../../scripts/lib/run.mjs'
import { temporaryFolder } from './support/folder.mjs'

/** Entries that Node cannot import. */
const IN_BROWSERS = new Set(['inspector', 'service-worker', 'worker-host'].map((name) => `hypertab/${name}`))

test('every name that an entry exports is described, with its types', async (t) => {
  const folder = temporaryFolder(t)
  const entries = writeDocs(folder)

  const inNode = [...entries.keys()].filter((name) => !IN_BROWSERS.has(name))
  assert.ok(inNode.length > 12)
  for (const entry of inNode) {
    const exported = Object.keys(await import(entry)).filter((name) => !['default', 'module.exports', 'pearLink'].includes(name))
    const missing = exported.filter((name) => !entries.get(entry).includes(name))
    assert.deepEqual(missing, [], entry)
  }
  assert.match(readFileSync(join(folder, 'hypertab.level.md'), 'utf8'), /## BeeLevel\n\nA database over a bee\.[^]*constructor\(source: BeeSource/)
  const core = readFileSync(join(folder, 'hypertab.hypercore.md'), 'utf8')
  assert.match(core, /## Hypercore\n\n[^\n]+\n\nIt also has what \[BlockSession\]\(#blocksession\)/)
  assert.match(core, /## BlockSession\n\n[^]*    append\(blocks: T \| T\[\]/)
  assert.match(readFileSync(join(folder, 'README.md'), 'utf8'), /\[hypertab\/react\]\(hypertab\.react\.md\)/)
})

test('every option and event is described, and every class', () => {
  const { exports } = JSON.parse(readFileSync(join(root, 'wasm', 'package.json'), 'utf8'))
  const declared = new Map(Object.entries(exports).flatMap(([path, { types }]) => types === undefined || path.includes('*') ? [] : [...describedExports(join(root, 'wasm', types.default ?? types))]))
  const missing = []
  let count = 0
  for (const [name, { text }] of declared) {
    const isClass = /^export declare (?:abstract )?class /m.test(text)
    const hasMembers = /(?:Options|Events|Range)$/.test(name) && !isClass
    if ((isClass || hasMembers) && !text.startsWith('/**')) missing.push(name)
    if (!hasMembers) continue
    let isDescribed = false
    for (const line of text.slice(text.indexOf('{')).split('\n')) {
      const [, member] = /^ {4}(?:readonly )?('?[\w-]+'?)\??[:(]/.exec(line) ?? []
      if (member) {
        count++
        if (!isDescribed) missing.push(`${name}.${member}`)
      }
      isDescribed = /\*\/$/.test(line)
    }
  }
  assert.ok(count > 250)
  assert.deepEqual(missing, [])
})

test('every code that upstream has not is in the readme, and every event of a relay', () => {
  const readme = readFileSync(join(root, 'wasm', 'README.md'), 'utf8')
  const sources = join(root, 'wasm', 'js')
  const text = readdirSync(sources, { recursive: true }).filter((name) => name.endsWith('.ts')).map((name) => readFileSync(join(sources, name), 'utf8')).join('\n')
  const found = (source, pattern) => [...new Set([...source.matchAll(pattern)].map(([, word]) => word))]
  const codes = [
    ...found(text, /HypertabError\('([A-Z_]+)'/g),
    ...found(readFileSync(join(root, 'core', 'src', 'error.rs'), 'utf8'), /=> "(STORAGE_[A-Z_]+)"/g)
  ]
  const events = found(text, /emit\('(relay-[a-z]+)'/g)

  assert.ok(codes.length > 30 && events.length === 5)
  // Those that upstream's classes have, too, mean what they mean there.
  const upstream = new Set(['BAD_ARGUMENT', 'DECODE_ERROR', 'REQUEST_TIMEOUT'])
  assert.deepEqual([...codes.filter((code) => !upstream.has(code)), ...events].filter((word) => !readme.includes(word)), [])
})
