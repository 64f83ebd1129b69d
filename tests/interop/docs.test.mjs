// The reference of the package has everything that can be imported.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'

import { writeDocs } from '../../scripts/docs.mjs'
import { temporaryFolder } from './support/folder.mjs'

/** Entries that Node cannot import. */
const IN_BROWSERS = new Set(['inspector', 'service-worker', 'worker', 'worker-host'].map((name) => `hypertab/${name}`))

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
  assert.match(readFileSync(join(folder, 'README.md'), 'utf8'), /\[hypertab\/react\]\(hypertab\.react\.md\)/)
})
