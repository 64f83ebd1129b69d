// What only our bees are meant to do.

import assert from 'node:assert/strict'
import test from 'node:test'

import Hyperbee from 'hypertab/hyperbee'
import Hypercore from 'hypertab/hypercore'

import { collect } from './support/bees.mjs'
import { temporaryFolder } from './support/folder.mjs'

test('a walk reads every block once', async (t) => {
  const folder = temporaryFolder(t)
  const open = (options) => new Hyperbee(new Hypercore(folder, options), { keyEncoding: 'utf-8', valueEncoding: 'utf-8' })
  let bee = open()
  const batch = bee.batch()
  for (let i = 0; i < 800; i++) await batch.put(`k${i * 7919 % 800}`, `v${i}`)
  await batch.flush()
  await bee.close()
  for (const walk of [(bee) => bee.createReadStream(), (bee) => bee.createReadStream({ reverse: true }), (bee) => bee.createHistoryStream()]) {
    let reads = 0
    bee = open({ onseq: () => { reads++ } })
    assert.equal((await collect(walk(bee))).length, 800)
    await bee.close()
    assert.equal(reads, 800)
  }
})
