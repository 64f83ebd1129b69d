// The border of the engine: every export is known to travel to an engine elsewhere, or to only compute.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'node:test'

import { root } from '../../scripts/lib/run.mjs'

/** Exports without a handle of something that is open, or that are only called in the engine that the handle is of. */
const COMPUTES = /^(start|pollEvents|handleTimeout|writeCommits|gatherCommits|settleStore|coreStagedLength|openFileStore|openIndexedDbStore|openImportedCore|decodeRecord|encodeRecord|contentManifest|encodeBlockMap|decodeBlockMap|Chunker|Bee\w+|bee\w+|namedKeyPair|childNamespace|keyPair|discoveryKey|hash|keyedHash|sign|verify|randomBytes|xsalsa20|encryptBlock|decryptBlock)$/

test('every export of the engine travels or only computes', () => {
  const read = (name) => readFileSync(join(root, 'wasm', 'js', ...name.split('/')), 'utf8')
  const border = /export interface Engine \{\n([^]*?)\n\}\n/.exec(read('binding.ts'))[1]
  const names = [...border.matchAll(/^ {2}(\w+)\??(?: \(|:)/gm)].map(([, name]) => name)
  const table = new Set(read('remote/table.ts').match(/\w+/g))

  assert.ok(names.length > 100)
  assert.deepEqual(names.filter((name) => !COMPUTES.test(name) && !table.has(name)), [])
})
