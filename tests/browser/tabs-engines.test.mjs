// Tabs that share a store, in every engine.

import assert from 'node:assert/strict'
import test from 'node:test'

import { servePackage } from './support/browser.mjs'
import { engines } from './support/engines.mjs'

for (const engine of ['firefox', 'webkit']) {
  test(`two tabs of ${engine} share a store, and the second one goes on when the owner closes`, async (t) => {
    const { url } = await servePackage(t)
    const browser = await engines[engine](t)
    const [first, second] = [await browser.open(url), await browser.open(url)]
    const open = async () => {
      const { Hypercore } = await import('/hypertab/browser/index.js')
      globalThis.core = new Hypercore('shared', { valueEncoding: 'utf-8' })
      await core.ready()
      return core.core.db.isOwner
    }
    const append = (text) => core.append(text).then(({ length }) => length)

    assert.deepEqual([await first.evaluate(open), await second.evaluate(open)], [true, false])
    assert.deepEqual([await first.evaluate(append, 'a'), await second.evaluate(append, 'b')], [1, 2])
    await first.close()
    assert.equal(await second.evaluate(append, 'c'), 3)
    assert.deepEqual(await second.evaluate(async () => [await core.get(0), await core.get(1), await core.get(2)]), ['a', 'b', 'c'])
    assert.equal(await second.evaluate(() => core.core.db.isOwner), true)
  })
}
