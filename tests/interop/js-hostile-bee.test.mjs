// Bees of somebody who lies about their trees.

import assert from 'node:assert/strict'
import test from 'node:test'

import Hyperbee from 'hypertab/hyperbee'
import Hypercore from 'hypertab/hypercore'
import { memory } from 'hypertab/storage'

import { defer } from './support/cleanup.mjs'

/** A block with a node that is its own only child, in fields of Protocol Buffers: the levels, and the key `a`. */
const CIRCLE = Buffer.from([0x0a, 6, 0x0a, 4, 0x12, 2, 1, 0, 0x12, 1, 0x61])

test('a tree that leads in a circle ends every walk with an error', async (t) => {
  const bee = new Hyperbee(new Hypercore(memory()))
  defer(t, () => bee.close())
  await bee.put('a', '')
  await bee.core.truncate(1)
  await bee.core.append(CIRCLE)

  const walks = {
    get: () => bee.get('b'),
    links: () => bee.batch().links(Buffer.from('b'), 7),
    scan: async () => { for await (const entry of bee.createReadStream()) assert.fail(`there is ${entry.key}`) }
  }
  for (const [name, walk] of Object.entries(walks)) await assert.rejects(walk, { code: 'DECODING_ERROR' }, name)
})
