// The reference of the package has everything that can be imported.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'

import { writeDocs } from '../../scripts/docs.mjs'
import { temporaryFolder } from './support/folder.mjs'

test('every name that an entry exports is described, with its types', async (t) => {
  const folder = temporaryFolder(t)
  const entries = writeDocs(folder)

  for (const entry of ['hypertab', ...['corestore', 'dht', 'hyperbee', 'hyperblobs', 'hypercore', 'hyperdrive', 'hyperswarm', 'level', 'mirror-drive', 'react', 'storage'].map((name) => `hypertab/${name}`)]) {
    const exported = Object.keys(await import(entry)).filter((name) => !['default', 'module.exports', 'pearLink'].includes(name))
    const missing = exported.filter((name) => !entries.get(entry).includes(name))
    assert.deepEqual(missing, [], entry)
  }
  assert.match(readFileSync(join(folder, 'hypertab.level.md'), 'utf8'), /## BeeLevel\n\nA database over a bee\.[^]*constructor\(source: BeeSource/)
  assert.match(readFileSync(join(folder, 'README.md'), 'utf8'), /\[hypertab\/react\]\(hypertab\.react\.md\)/)
})
