// A page waits for every byte of the package: none of its parts may grow unnoticed.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { limits, packageSizes } from '../../scripts/lib/sizes.mjs'

test('no part of the package is larger than its ceiling', () => {
  const sizes = packageSizes()

  assert.deepEqual(sizes.map(({ name }) => name).filter((name) => !(name in limits)), [], 'parts without a limit')
  for (const { name, brotli, ceiling } of sizes) {
    assert.ok(brotli > 1000, `${name} is measured`)
    assert.ok(brotli <= ceiling, `${name}: ${brotli} bytes of brotli, ${ceiling} are allowed`)
  }
})
