// Upstream against upstream over TCP: shows that the helpers of the other tests tell the truth.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import test from 'node:test'

import { connect, listen } from './support/tcp.mjs'
import { block, createCore, forgeBlocks, seed, summary } from './support/upstream.mjs'

for (const [from, to] of [[11, 11], [10, 11], [11, 10]]) {
  test(`a core of hypercore ${from} reaches hypercore ${to} whole`, async (t) => {
    const writer = await createCore(t, { version: from })
    await seed(writer, 1200, 256)
    const reader = await createCore(t, { version: to, key: writer.key })

    await connect(t, reader, await listen(t, writer))
    await reader.update({ wait: true })
    await reader.download({ start: 0, end: 1200 }).done()

    assert.deepEqual(await summary(reader), await summary(writer))
    assert.deepEqual(await reader.get(1199), block(1199, 256))
  })
}

test('a forged block is refused, and honest blocks of the same peer stay', async (t) => {
  const liar = await createCore(t)
  await seed(liar, 10, 64)
  forgeBlocks(liar, (index) => index === 7)
  const reader = await createCore(t, { key: liar.key })
  const refused = once(reader, 'verification-error')

  await connect(t, reader, await listen(t, liar))
  assert.deepEqual(await reader.get(3), block(3, 64))
  await assert.rejects(reader.get(7, { timeout: 1000 }), { code: 'REQUEST_TIMEOUT' })

  const [error] = await refused
  assert.equal(error.code, 'INVALID_CHECKSUM')
  assert.equal(await reader.has(7), false)
  assert.equal(await reader.has(3), true)
})
