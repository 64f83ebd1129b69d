// A database over a bee: the suite that `abstract-level` gives its implementations, and what is a bee's own.

import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import { test } from 'node:test'

import UpstreamBee from 'hyperbee'
import UpstreamCore from 'hypercore'

import { Corestore, Hyperbee, Hypercore, memory } from 'hypertab'
import { BeeLevel } from 'hypertab/level'

import { defer } from './support/cleanup.mjs'
import { temporaryFolder } from './support/folder.mjs'
import { tape } from './support/tape.mjs'

const require = createRequire(import.meta.url)
const suite = require('abstract-level/test')

test('the suite of abstract-level, also on a sublevel', async (t) => {
  const { test, all } = tape(assert, (name, body) => t.test(name, body))
  // In a store, so that the same log is there when a database is opened again.
  suite({
    test,
    factory (options) {
      const store = new Corestore(memory())
      return new BeeLevel(() => new Hyperbee(store.get({ name: 'level' })), options)
    }
  })

  assert.ok(await all() > 800)
})

test('what is written is a bee that upstream reads, and what upstream writes is read as it comes', async (t) => {
  const db = new BeeLevel(new Hyperbee(new Hypercore(memory())), { valueEncoding: 'json' })
  defer(t, () => db.bee.close())
  const part = db.sublevel('part')
  await db.batch([{ type: 'put', key: 'a', value: { n: 1 } }, { type: 'put', key: 'b', value: [] }, { type: 'put', key: 'a', value: 'in part', sublevel: part }])
  await db.del('b')
  const theirs = new UpstreamBee(new UpstreamCore(temporaryFolder(t), db.bee.core.key), { keyEncoding: 'utf-8', valueEncoding: 'utf-8' })
  await theirs.ready()
  defer(t, () => theirs.close())
  const [one, other] = [db.bee.core.replicate(true), theirs.core.replicate(false)]
  one.pipe(other).pipe(one)

  await theirs.core.update({ wait: true })
  const found = []
  for await (const { key, value } of theirs.createReadStream()) found.push([key, value])

  assert.deepEqual(found, [['!part!a', 'in part'], ['a', '{"n":1}']])
  assert.equal(db.bee.core.length, 5, 'a batch is one append behind the header')

  const writer = new UpstreamBee(new UpstreamCore(temporaryFolder(t)), { keyEncoding: 'utf-8', valueEncoding: 'json' })
  await writer.put('from upstream', true)
  defer(t, () => writer.close())
  const copy = new BeeLevel(new Hyperbee(new Hypercore(memory(), writer.core.key)), { valueEncoding: 'json' })
  await copy.open()
  defer(t, () => copy.bee.close())
  const [a, b] = [copy.bee.core.replicate(true), writer.core.replicate(false)]
  a.pipe(b).pipe(a)
  await copy.bee.update({ wait: true })
  assert.equal(await copy.get('from upstream'), true)
  await writer.put('later', 2)
  while (await copy.get('later') === undefined) await new Promise((resolve) => setTimeout(resolve, 10))
  assert.deepEqual(await copy.iterator().all(), [['from upstream', true], ['later', 2]])
  await assert.rejects(copy.put('x', 1), { code: 'SESSION_NOT_WRITABLE' })
})

test('a bee that was given stays open; one that was made is closed', async () => {
  const bee = new Hyperbee(new Hypercore(memory()))
  const db = new BeeLevel(bee)
  await db.put('key', 'value')
  await db.close()
  assert.equal(bee.closed, false)
  assert.throws(() => db.bee, { code: 'LEVEL_DATABASE_NOT_OPEN' })
  await db.open()
  assert.equal(await db.get('key'), 'value')
  await db.close()
  await bee.close()

  const made = []
  const own = new BeeLevel(() => made[made.push(new Hyperbee(new Hypercore(memory()))) - 1])
  await own.put('key', 'value')
  await own.close()
  await own.open()
  await own.close()
  assert.deepEqual(made.map(({ closed }) => closed), [true, true])
})

test('a part of a bee is refused, and require() gives the class', async () => {
  const bee = new Hyperbee(new Hypercore(memory()))
  assert.throws(() => new BeeLevel(bee.sub('part')), { name: 'TypeError', message: /sublevel/ })
  const made = new BeeLevel(() => bee.sub('part'))
  await assert.rejects(made.open(), ({ code, cause }) => code === 'LEVEL_DATABASE_NOT_OPEN' && cause instanceof TypeError)
  await bee.close()
  assert.equal(require('hypertab/level'), BeeLevel)
})
