// Named sessions, commits, atoms and proofs: the same programs with upstream's Hypercore and ours.

import assert from 'node:assert/strict'
import { mkdirSync, readdirSync, readlinkSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import test from 'node:test'

import HypercoreV10 from 'hypercore-v10'
import Hypertab from 'hypertab/hypercore'
import { memory } from 'hypertab/storage'

import { eventually, outcome, sameWithBoth } from './support/both.mjs'
import { temporaryFolder } from './support/folder.mjs'

const keyPair = {
  publicKey: Buffer.from('8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c', 'hex'),
  secretKey: Buffer.from('01'.repeat(32) + '8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c', 'hex')
}

sameWithBoth('a named session goes its own way and is committed', async ({ create, note }) => {
  const core = await create({ keyPair })
  await core.append(['a', 'b'])
  const batch = core.session({ name: 'batch' })
  await batch.ready()
  for (const event of ['append', 'truncate']) {
    core.on(event, (...args) => note('core', event, ...args, core.length))
    batch.on(event, (...args) => note('batch', event, ...args, batch.length))
  }
  note(batch.length, batch.byteLength, batch.fork, batch.signedLength, batch.writable, batch.key.equals(core.key))
  note(await batch.append(['c', 'd', 'e']))
  note(core.length, batch.length, batch.byteLength, batch.signedLength)
  note(await all(batch), await all(core), await batch.seek(3), await batch.has(0, 5), await batch.has(5))
  note(await batch.treeHash(), await batch.info(), await batch.signable())
  note(await core.commit(batch, { length: 3 }), core.length, batch.signedLength)
  note(await core.commit(batch), core.length, batch.signedLength, await all(core))
  note(await core.commit(batch), await core.treeHash(), await core.signable())
  await core.append('other')
  await batch.append('f')
  note(await core.commit(batch), await all(core), await all(batch))
  await batch.close()
})

sameWithBoth('a named session is found again, overwritten and checked out', async ({ Hypercore, note, folder }) => {
  const path = folder()
  const core = new Hypercore(path, { keyPair })
  await core.append(['a', 'b', 'c'])
  const first = core.session({ name: 'x' })
  await first.append(['d', 'e'])
  await first.truncate(2)
  await first.append('z')
  note(first.fork, await all(first))
  await first.close()
  await core.close()

  const again = new Hypercore(path)
  const resumed = again.session({ name: 'x' })
  await resumed.ready()
  note(await all(resumed), resumed.length, resumed.byteLength, await resumed.treeHash())
  await resumed.close()
  const checkout = again.session({ name: 'x', checkout: 1 })
  await checkout.ready()
  note(await all(checkout), checkout.length)
  await checkout.close()
  const over = again.session({ name: 'x', overwrite: true })
  await over.ready()
  note(await all(over))
  await over.close()
  await again.close()
})

// As Autobase does when it takes over what its version 6 stored: the session that it opened before is the one that it works with.
sameWithBoth('a named session goes on where another one has started over', async ({ Hypercore, note, folder }) => {
  const path = folder()
  const core = new Hypercore(path, { keyPair })
  await core.append(['a', 'b', 'c'])
  const old = core.session({ name: 'x' })
  await old.setUserData('k', 'v')
  for (const event of ['append', 'truncate', 'close']) old.on(event, (...args) => note(event, ...args, old.length))
  const startOver = async (options) => {
    const session = core.session({ name: 'x', overwrite: true, ...options })
    await session.ready()
    note(session.length, session.fork, await all(session), String(await session.getUserData('k')))
    await session.close()
  }
  await startOver({ checkout: 3 })
  note(await all(old), old.length, old.fork, old.writable)
  note(await old.append(['d', 'e']), await old.truncate(4, { fork: 0 }), await all(old), await old.treeHash(), await old.seek(3))

  // What is written in an atom is of it, too.
  await old.truncate(3, { fork: 0 })
  const atom = core.state.storage.createAtom()
  const session = old.session({ atom })
  await session.append('f')
  await startOver()
  await atom.flush()
  note(await all(old), await all(session))
  await session.close()
  const draft = old.snapshot()
  await draft.ready()
  note(await core.commit(old), await all(core))

  await startOver()
  note(await all(old), await all(draft), await old.append('g'))
  for (const session of [draft, old, core]) await session.close()
  const again = new Hypercore(path)
  const found = again.session({ name: 'x' })
  await found.ready()
  note(await all(found), await again.commit(found), await all(again), await found.append('h'))
  await found.close()
  await again.close()
})

// Upstream's session would read blocks that are gone, and what it appended make a branch that cannot be opened again.
test('a named session with blocks of its own starts over with another one', async (t) => {
  const path = temporaryFolder(t)
  const core = new Hypertab(path, { keyPair })
  await core.append(['a', 'b', 'c'])
  const old = core.session({ name: 'x' })
  await old.append(['d', 'e'])
  const draft = old.snapshot()
  await draft.ready()
  const told = []
  for (const event of ['append', 'truncate', 'close']) old.on(event, (...args) => told.push([event, ...args, old.length]))

  const over = core.session({ name: 'x', overwrite: true, checkout: 2 })
  await over.ready()
  await old.append('f')
  await over.append('g')
  assert.deepEqual(told, [['truncate', 2, 0, 2], ['append', 3], ['append', 4]])
  for (const session of [old, over]) assert.deepEqual(await all(session), ['a', 'b', 'f', 'g'])
  assert.deepEqual(await all(draft), ['a', 'b', 'c', 'd', 'e'])
  await assert.rejects(old.session({ name: 'x', overwrite: true }).ready(), { code: 'INVALID_OPERATION' })
  await assert.rejects(core.session({ name: 'x', overwrite: true, checkout: 4 }).ready(), { code: 'ERR_ASSERTION', message: /Invalid checkout 4 for x, length is 3/ })
  for (const session of [draft, over, old, core]) await session.close()

  const again = new Hypertab(path)
  const found = again.session({ name: 'x' })
  await found.ready()
  assert.deepEqual(await all(found), ['a', 'b', 'f', 'g'])
  await found.close()
  await again.close()
})

// Where the block is here and not the nodes above it: upstream, too, says so. Where no block is, see below.
sameWithBoth('hashes of a branch whose log was cut below its length', async ({ create, note }) => {
  const core = await create({ keyPair })
  await core.append(['a', 'b', 'c', 'd', 'e', 'f'])
  const branch = core.session({ name: 'x' })
  await branch.append(['g', 'h'])
  await core.truncate(2)
  for (const length of [0, 1, 2, 7, 8]) {
    const { error, value } = await outcome(branch.treeHash(length))
    note(length, error ? error.code : value)
  }
  await branch.close()
})

test('the hash of a branch at a length that its log was cut below fails', async (t) => {
  const core = new Hypertab(temporaryFolder(t), { keyPair })
  await core.append(['a', 'b', 'c', 'd', 'e', 'f'])
  const branch = core.session({ name: 'x' })
  await branch.append(['g', 'h'])
  await core.truncate(2)
  // Upstream waits for a peer to bring a block of a log that is gone.
  for (const length of [3, 5, 6, 7]) await assert.rejects(branch.treeHash(length), { code: 'INVALID_OPERATION', message: /the roots at that length are not stored/ }, length)
  await branch.close()
  await core.close()
})

// Each that starts over opens in its turn. One that only opens what is there has none: upstream's finds the length
// before or after the others, from run to run.
sameWithBoth('named sessions that start over at once', async ({ create, note }) => {
  const core = await create({ keyPair })
  await core.append(['a', 'b', 'c'])
  const open = async (options) => {
    const session = core.session({ name: 'x', ...options })
    await session.ready()
    const { length } = session
    await session.close()
    return length
  }
  note(await Promise.all([3, 2, 1].map((checkout) => open({ overwrite: true, checkout }))))
  note(await open(), core.length)
})

sameWithBoth('a named session of an encrypted core', async ({ create, note }) => {
  const core = await create({ keyPair, encryption: { key: Buffer.alloc(32, 3) } })
  await core.append(['a', 'b'])
  const batch = core.session({ name: 'batch' })
  await batch.append(['secret'])
  note(batch.byteLength, (await batch.get(2)).toString(), await batch.get(2, { raw: true }))
  note(await core.commit(batch), (await core.get(2)).toString())
})

sameWithBoth('a commit with a signature made elsewhere', async ({ create, note }) => {
  const core = await create({ keyPair })
  const other = await create({ keyPair })
  await core.append('a')
  await other.append(['a', 'b'])
  const batch = core.session({ name: 'batch' })
  await batch.append('b')
  const { upgrade } = await other.proof({ upgrade: { start: 0, length: 2 } })
  const bad = Buffer.from(upgrade.signature)
  bad[20] ^= 1
  note((await outcome(core.commit(batch, { signature: bad }))).error.code)
  note(await core.commit(batch, { signature: upgrade.signature, keyPair: null }), await all(core))
})

sameWithBoth('an atom is flushed at once', async ({ create, note }) => {
  const core = await create({ keyPair })
  await core.append('a')
  const atom = core.state.storage.createAtom()
  const session = core.session({ atom })
  await session.ready()
  core.on('append', () => note('core append', core.length))
  session.on('append', () => note('session append', session.length))
  note(await session.append(['b', 'c']))
  note(core.length, session.length, await all(session), session.writable)
  await atom.flush()
  note(core.length, await all(core), await core.has(0, 3), core.contiguousLength)
  await session.append('d')
  await atom.flush()
  note(await all(core), await core.treeHash())
  await session.close()
})

sameWithBoth('snapshots show what is truncated and cleared afterwards', async ({ create, note }) => {
  const core = await create({ keyPair })
  await core.append(['a', 'b', 'c', 'd'])
  const snapshot = core.snapshot()
  await snapshot.ready()
  const nested = snapshot.session()
  await nested.ready()
  const batch = core.session({ name: 'batch' })
  await batch.append('e')
  const draft = batch.snapshot()
  await draft.ready()
  await core.clear(1)
  await core.truncate(2)
  await core.append(['x', 'y', 'z'])
  await batch.truncate(3)
  for (const session of [snapshot, nested]) note(session.length, session.fork, session.byteLength, session.signedLength, await all(session))
  note(draft.length, (await draft.get(4)).toString(), await draft.has(0))
  await snapshot.close()
  note(await all(nested))
})

sameWithBoth('blocks without marks are swept', async ({ create, note }) => {
  const core = await create({ keyPair })
  await core.append(Array.from({ length: 20 }, (_, index) => `${index}`))
  note(await core.core.audit({ dryRun: true }), await core.core.audit())
  await core.startMarking()
  note((await outcome(core.startMarking())).error.code)
  for (const index of [3, 4, 17]) await core.get(index)
  await core.markBlock(8, 10)
  await core.sweep()
  const has = []
  for (let index = 0; index < 20; index++) has.push(await core.has(index))
  note(has, core.contiguousLength, core.length)
})

sameWithBoth('proofs are made, applied and verified', async ({ create, note }) => {
  const writer = await create({ keyPair })
  await writer.append(['a', 'b', 'c'])
  const reader = await create(writer.key, { manifest: writer.manifest })
  const proof = await writer.proof({ upgrade: { start: 0, length: 3 } })
  note(proof)
  const head = await reader.verifyFullyRemote(proof)
  note(head.length, head.fork, head.byteLength, head.hash())
  note(await reader.applyProof(proof), reader.length)
  note(await reader.missingNodes(1))
  const block = await writer.proof({ block: { index: 1, nodes: await reader.missingNodes(1) } })
  note(block)
  note(await reader.applyProof(block), (await reader.get(1)).toString(), await reader.has(0))
  block.block.value = Buffer.from('x')
  note((await outcome(reader.applyProof(block))).error.code)
})

sameWithBoth('exclusive and weak sessions', async ({ create, note }) => {
  const core = await create({ keyPair })
  const first = core.session({ exclusive: true })
  await first.ready()
  const second = core.session({ exclusive: true })
  let opened = false
  second.ready().then(() => { opened = true })
  await new Promise((resolve) => setTimeout(resolve, 50))
  note(opened, first.exclusive)
  await first.close()
  await second.ready()
  note(second.exclusive)
  await second.close()
  const weak = core.session({ weak: true })
  await weak.ready()
  await core.close()
  await eventually(() => weak.closed)
  note(weak.closed)
})

async function all (core) {
  const blocks = []
  for (let index = 0; index < core.length; index++) blocks.push((await core.get(index)).toString())
  return blocks
}

test('a folder of hypercore 10 is imported', async (t) => {
  const path = temporaryFolder(t)
  const old = new HypercoreV10(path)
  await old.ready()
  await old.append(Array.from({ length: 100 }, (_, index) => `block ${index}`))
  await old.truncate(90)
  await old.append(['new', ''])
  await old.clear(7)
  await old.setUserData('name', Buffer.from('value'))
  const expected = [old.key, old.length, old.fork, old.byteLength, await old.treeHash()]
  await old.close()

  for (let round = 0; round < 2; round++) {
    const core = new Hypertab(path)
    await core.ready()
    assert.deepEqual([core.key, core.length, core.fork, core.byteLength, await core.treeHash()], expected)
    assert.equal((await core.get(90)).toString(), 'new')
    assert.equal((await core.get(89)).toString(), 'block 89')
    assert.equal((await core.get(91)).byteLength, 0)
    assert.equal(await core.get(7, { wait: false }), null)
    assert.equal((await core.getUserData('name')).toString(), 'value')
    assert.ok(core.writable)
    await core.close()
  }
  const core = new Hypertab(path)
  await core.append('goes on')
  assert.equal((await core.get(92)).toString(), 'goes on')
  await core.close()
})

test('a folder of hypercore 10 whose blocks cannot be read is let go of', { skip: process.platform !== 'linux' && 'it looks at /proc' }, async (t) => {
  const path = temporaryFolder(t)
  const old = new HypercoreV10(path)
  await old.append(Array.from({ length: 100 }, (_, index) => `block ${index}`))
  await old.close()
  rmSync(join(path, 'data'))
  mkdirSync(join(path, 'data'))
  const open = () => readdirSync('/proc/self/fd').filter((fd) => {
    try {
      return readlinkSync(join('/proc/self/fd', fd)).startsWith(path)
    } catch {
      return false
    }
  })

  for (let round = 0; round < 3; round++) {
    const core = new Hypertab(path)
    await assert.rejects(core.ready())
    await core.close().catch(() => {})
  }
  assert.deepEqual(open(), [])
})

test('what is answered while others wait for their turn shows nobody less than what was there before', async () => {
  const core = new Hypertab(memory())
  await core.ready()
  // Each is answered in a turn of its own, so that the next one comes between two of them.
  core.append('a')
  await core.append('b')
  let late
  const asked = new Promise((resolve) => {
    setImmediate(() => {
      late = core.append('d').then(() => core.length)
      resolve()
    })
  })
  const early = core.append('c').then(() => core.length)
  await asked
  assert.deepEqual(await Promise.all([early, late]), [3, 4])
  assert.equal(core.length, 4)
  await core.close()
})
