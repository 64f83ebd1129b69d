// Stores in memory: any number of them, for as long as somebody holds them.

import assert from 'node:assert/strict'
import test from 'node:test'
import { setTimeout } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

import { Hypercore, memory } from 'hypertab'

setFlagsFromString('--expose-gc')
const collectGarbage = runInNewContext('gc')

async function makeStores (count) {
  const stores = []
  for (let i = 0; i < count; i++) {
    const storage = memory()
    const core = new Hypercore(storage, { valueEncoding: 'utf-8' })
    await core.append('x')
    await core.close()
    stores.push(storage)
  }
  return stores
}

test('thousands of stores in memory keep nothing from going out', async () => {
  const stores = await makeStores(4000)
  const one = new Hypercore(stores[0], { valueEncoding: 'utf-8' })
  await one.ready()
  const other = new Hypercore(memory(), one.key, { valueEncoding: 'utf-8' })
  const streams = [one.replicate(true), other.replicate(false)]
  streams[0].pipe(streams[1]).pipe(streams[0])

  assert.equal(await other.get(0), 'x')

  for (const stream of streams) stream.destroy()
  await Promise.all([one.close(), other.close()])
})

test('a store in memory is gone with whoever held it', async () => {
  const room = async () => {
    // What the last turn held is held no longer.
    await setTimeout(50)
    collectGarbage()
    await setTimeout(50)
    return process.memoryUsage().external
  }
  const held = await makeStores(1)
  await makeStores(2000)
  const before = await room()

  for (let round = 0; round < 3; round++) {
    await makeStores(1000)
    await room()
  }

  const grown = await room() - before
  assert.ok(grown < 6e6, `${grown} bytes more, where the stores had 20 MB`)
  const core = new Hypercore(held[0], { valueEncoding: 'utf-8' })
  assert.equal(await core.get(0), 'x')
  await core.close()
})
