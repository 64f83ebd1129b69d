// Our cores against upstream's over TCP: both roles, both directions, both generations.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { join } from 'node:path'
import test from 'node:test'

import { startCorePeer } from './support/core-peer.mjs'
import { temporaryFolder } from './support/folder.mjs'
import { connect, listen } from './support/tcp.mjs'
import { block, createCore, seed, summary } from './support/upstream.mjs'

const PATIENCE = 120_000

for (const version of [11, 10]) {
  for (const dials of ['ours', 'upstream']) {
    test(`hypercore ${version} reaches us whole, ${dials} dialling`, async (t) => {
      const writer = await createCore(t, { version })
      await seed(writer, 1200, 256)
      const { peer } = await startCorePeer(t, { key: writer.key.toString('hex') })

      await meet(t, dials, writer, peer)
      const ours = await peer.ask('download', { start: 0, end: 1200 }, PATIENCE)

      assert.deepEqual(ours, await summary(writer))
      assert.deepEqual(await hex(peer, 1199), block(1199, 256))
    })

    test(`our core reaches hypercore ${version} whole, ${dials} dialling`, async (t) => {
      const { peer, core } = await startCorePeer(t)
      const ours = await peer.ask('seed', { count: 1200, size: 256 })
      const reader = await createCore(t, { version, key: Buffer.from(core.key, 'hex') })

      await meet(t, dials, reader, peer)
      await reader.update({ wait: true })
      await reader.download({ start: 0, end: 1200 }).done()

      assert.deepEqual(await summary(reader), ours)
      assert.deepEqual(await reader.get(700), block(700, 256))
    })
  }
}

for (const [count, size] of [[20_000, 1024], [500, 65536]]) {
  test(`${count} blocks of ${size} bytes come from upstream`, async (t) => {
    const writer = await createCore(t)
    await seed(writer, count, size)
    const { peer } = await startCorePeer(t, { key: writer.key.toString('hex') })

    const start = performance.now()
    await meet(t, 'ours', writer, peer)
    const ours = await peer.ask('download', { start: 0, end: count }, PATIENCE)
    report(t, 'upstream to ours', count, size, start)

    assert.deepEqual(ours, await summary(writer))
  })

  test(`${count} blocks of ${size} bytes go to upstream`, async (t) => {
    const { peer, core } = await startCorePeer(t)
    const ours = await peer.ask('seed', { count, size }, PATIENCE)
    const reader = await createCore(t, { key: Buffer.from(core.key, 'hex') })

    const start = performance.now()
    await meet(t, 'upstream', reader, peer)
    await reader.update({ wait: true })
    await reader.download({ start: 0, end: count }).done()
    report(t, 'ours to upstream', count, size, start)

    assert.deepEqual(await summary(reader), ours)
  })

  test(`${count} blocks of ${size} bytes go from ours to ours`, async (t) => {
    const writer = await startCorePeer(t)
    const theirs = await writer.peer.ask('seed', { count, size }, PATIENCE)
    const reader = await startCorePeer(t, { key: writer.core.key })

    const start = performance.now()
    const { port } = await writer.peer.ask('listen')
    await reader.peer.ask('connect', { port })
    const ours = await reader.peer.ask('download', { start: 0, end: count }, PATIENCE)
    report(t, 'ours to ours', count, size, start)

    assert.deepEqual(ours, theirs)
  })
}

test('single blocks come from and go to a sparse peer', async (t) => {
  const writer = await createCore(t)
  await seed(writer, 5000, 100)
  const { peer, core } = await startCorePeer(t, { key: writer.key.toString('hex') })
  await meet(t, 'ours', writer, peer)
  const wanted = [4999, 0, 1234, 2500, 4096, 77]
  for (const index of wanted) assert.deepEqual(await hex(peer, index), block(index, 100))
  assert.deepEqual(await peer.ask('seek', { bytes: 345_678 }), { block: 3456, offset: 78 })
  assert.equal((await peer.ask('info')).treeHash, (await summary(writer)).treeHash)

  const second = await createCore(t, { key: Buffer.from(core.key, 'hex') })
  await meet(t, 'upstream', second, peer)
  for (const index of wanted) assert.deepEqual(await second.get(index), block(index, 100))
  assert.equal(await second.get(78, { timeout: 300 }).catch((error) => error.code), 'REQUEST_TIMEOUT')
})

test('live appends and truncations cross over, both ways', async (t) => {
  const writer = await createCore(t)
  await seed(writer, 20, 50)
  const { peer } = await startCorePeer(t, { key: writer.key.toString('hex') })
  await meet(t, 'ours', writer, peer)
  await peer.ask('download', { start: 0, end: 20 })
  await writer.truncate(13)
  await writer.append(['a', 'b', 'c'])
  await peer.next('truncate')
  const ours = await peer.ask('download', { start: 0, end: 16 })
  assert.deepEqual(ours, await summary(writer))

  const other = await startCorePeer(t)
  await other.peer.ask('seed', { count: 20, size: 50 })
  const reader = await createCore(t, { key: Buffer.from(other.core.key, 'hex') })
  await meet(t, 'upstream', reader, other.peer)
  await reader.download({ start: 0, end: 20 }).done()
  const truncated = once(reader, 'truncate')
  await other.peer.ask('truncate', { length: 13 })
  await other.peer.ask('append', { blocks: ['a', 'b', 'c'] })
  await truncated
  await reader.download({ start: 0, end: 16 }).done()
  assert.deepEqual(await summary(reader), await other.peer.ask('info'))
})

test('encrypted and compat cores read the same on both sides', async (t) => {
  const encryption = Buffer.alloc(32, 7)
  for (const compat of [false, true]) {
    const { peer, core } = await startCorePeer(t, { compat, encryption: encryption.toString('hex') })
    await peer.ask('append', { blocks: ['secret', ''] })
    // Said beforehand: upstream loses its keys when it finds out later (`_reload` reads fields that are not there).
    const reader = await createCore(t, { key: Buffer.from(core.key, 'hex'), compat, encryption: { key: encryption } })
    await meet(t, 'ours', reader, peer)
    assert.equal((await reader.get(0)).toString(), 'secret')
    assert.equal((await reader.get(1)).byteLength, 0)
    assert.equal(reader.core.compat, compat)

    const writer = await createCore(t, { compat, encryption: { key: encryption } })
    await writer.append(['secret', ''])
    const key = writer.key.toString('hex')
    const second = await startCorePeer(t, { key, encryption: encryption.toString('hex') })
    await meet(t, 'upstream', writer, second.peer)
    assert.equal((await hex(second.peer, 0)).toString(), 'secret')
    assert.equal((await hex(second.peer, 1)).byteLength, 0)
  }
})

test('a core in a file outlives its process', async (t) => {
  const path = join(temporaryFolder(t), 'core.redb')
  const first = await startCorePeer(t, { path })
  const before = await first.peer.ask('seed', { count: 3000, size: 100 })
  await first.peer.kill()

  const second = await startCorePeer(t, { path })
  assert.deepEqual(second.core, before)
  const reader = await createCore(t, { key: Buffer.from(before.key, 'hex') })
  await meet(t, 'ours', reader, second.peer)
  await reader.download({ start: 0, end: 3000 }).done()
  assert.deepEqual(await summary(reader), before)
})

/** Connects an upstream core and our peer. */
async function meet (t, dials, core, peer) {
  if (dials === 'ours') await peer.ask('connect', { port: await listen(t, core) })
  else await connect(t, core, (await peer.ask('listen')).port)
}

async function hex (peer, index) {
  return Buffer.from((await peer.ask('get', { index })).hex, 'hex')
}

function report (t, what, count, size, start) {
  const seconds = (performance.now() - start) / 1000
  t.diagnostic(`${what}: ${Math.round(count / seconds)} blocks/s, ${(count * size / seconds / 1e6).toFixed(1)} MB/s`)
}
