// Limited room for other people's cores: what is pinned stays, and what was used longest ago goes first.

import assert from 'node:assert/strict'
import test from 'node:test'
import { setTimeout } from 'node:timers/promises'

import { Corestore, memory, Retention } from 'hypertab'

test('what was used longest ago is dropped, and neither what is pinned nor what is written here', async (t) => {
  const theirs = new Corestore(memory())
  const storage = memory()
  let store = new Corestore(storage)
  let retention = new Retention(store, { limit: 100_000 })
  const [one, other] = [theirs.replicate(true), store.replicate(false)]
  for (const stream of [one, other]) stream.on('error', () => {})
  one.pipe(other).pipe(one)
  const mine = store.get({ name: 'mine' })
  await mine.append(Buffer.alloc(200_000))
  const keys = []
  for (let i = 0; i < 3; i++) {
    const core = theirs.get({ name: `core ${i}` })
    await core.append(Array.from({ length: 10 }, () => Buffer.alloc(8_000)))
    keys.push(core.key)
    const copy = store.get({ key: core.key })
    await copy.download({ start: 0, end: 10 }).done()
    // Each is used at a time of its own.
    await setTimeout(5)
    await copy.close()
  }

  const before = await retention.list()
  assert.deepEqual(before.map(({ key, bytes, pinned }) => ({ key, bytes, pinned })), keys.map((key) => ({ key, bytes: 80_000, pinned: false })))
  assert.ok(before[0].used > 0 && before[0].used < before[1].used && before[1].used < before[2].used)
  await retention.pin(keys[0])
  assert.equal(await retention.evict(), 160_000)
  assert.deepEqual((await retention.list()).map(({ bytes, pinned }) => [bytes, pinned]), [[80_000, true], [0, false], [0, false]])
  assert.equal(await mine.has(0), true)

  // What was dropped comes again.
  const again = store.get({ key: keys[2] })
  assert.equal((await again.get(3)).byteLength, 8_000)
  await again.close()
  await retention.close()
  one.destroy()
  await store.close()

  // Pins stay with the store.
  store = new Corestore(storage)
  retention = new Retention(store, { limit: 0 })
  assert.deepEqual([await retention.isPinned(keys[0]), await retention.isPinned(keys[1])], [true, false])
  await retention.unpin(keys[0])
  assert.equal(await retention.evict(), 88_000)
  assert.equal(await retention.evict(), 0)
  await retention.close()
  await store.close()
  assert.throws(() => new Retention(store, {}), RangeError)
})
