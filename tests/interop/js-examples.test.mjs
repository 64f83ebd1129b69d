// Every example of the package runs, and prints what its last comment says.

import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'

import { root, run } from '../../scripts/lib/run.mjs'

const folder = join(root, 'wasm', 'examples')
const names = readdirSync(folder).filter((name) => name.endsWith('.mjs'))

for (const name of names) {
  test(`the example ${name}`, async () => {
    const expected = /\n\n((?:\/\/ .*\n)+)$/.exec(readFileSync(join(folder, name), 'utf8'))[1].replaceAll('// ', '')

    assert.equal(await run('node', [join(folder, name)], { capture: true }), expected)
  })
}

test('the list of examples is whole', () => {
  const listed = [...readFileSync(join(folder, 'README.md'), 'utf8').matchAll(/`([\w-]+\.mjs)` \|/g)].map(([, name]) => name)

  assert.deepEqual(listed.sort(), names.sort())
})
