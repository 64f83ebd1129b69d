// What programs reach inside of a core: another history followed by hand, where branches are stored, and what is left of a core that is closed.

import b4a from 'b4a'
import crypto from 'hypercore-crypto'

import { outcome } from './support/both.mjs'
import { proofOf } from './support/proofs.mjs'
import { suite } from './support/suite.mjs'

const keyPair = crypto.keyPair(b4a.alloc(32, 7))
const numbers = (length, from = 0) => Array.from({ length }, (_, i) => b4a.from(`#${from + i}`))

/** A log and a copy of all of it. */
async function twins ({ lib, createStorage, defer }, blocks) {
  const Core = lib('lib/core')
  const [core, clone] = [new Core(await createStorage(), { keyPair }), new Core(await createStorage(), { keyPair: { publicKey: keyPair.publicKey } })]
  await Promise.all([core.ready(), clone.ready()])
  defer(() => Promise.all([core.close(), clone.close()]))
  await core.state.append(blocks)
  await clone.verify(await proofOf(lib('lib/merkle-tree').MerkleTree, core, { upgrade: { start: 0, length: blocks.length } }))
  for (let index = 0; index < blocks.length; index++) await clone.verify(await blockProof(lib, core, clone, index))
  return { core, clone }
}

async function blockProof (lib, core, clone, index) {
  const nodes = await lib('lib/merkle-tree').MerkleTree.missingNodes(clone.state, 2 * index, clone.state.length)
  return await proofOf(lib('lib/merkle-tree').MerkleTree, core, { block: { index, nodes } })
}

/** Lets a copy follow whatever its original has become. */
async function follow (lib, core, clone, note) {
  const batch = await clone.verifyReorg(await proofOf(lib('lib/merkle-tree').MerkleTree, core, { upgrade: { start: 0, length: core.state.length } }))
  note(batch.fork, batch.length, batch.byteLength, batch.ancestors, batch.finished, batch.want, batch.upgraded, batch.commitable())
  while (!batch.finished) {
    const { end, nodes } = batch.want
    note(await batch.update(await proofOf(lib('lib/merkle-tree').MerkleTree, core, { hash: { index: 2 * (end - 1), nodes } })), batch.ancestors, batch.want)
  }
  return batch
}

const bitsOf = ({ bitfield }, length) => Array.from({ length }, (_, index) => bitfield.get(index) ? 1 : 0).join('')

for (const [length, cut, grown] of [[4, 1, 1], [16, 9, 2], [16, 8, 8], [33, 32, 40], [7, 0, 7], [5, 5, 3], [20, 13, 0]]) {
  suite(`another history: ${length} blocks, cut to ${cut}, and ${grown} others`, async (t, scene) => {
    const { lib, note } = scene
    const { core, clone } = await twins(scene, numbers(length))
    await core.state.truncate(cut, 1)
    if (grown > 0) await core.state.append(numbers(grown, 100))
    const batch = await follow(lib, core, clone, note)
    note(await clone.reorg(batch), clone.state.length, clone.state.byteLength, clone.state.fork, bitsOf(clone, 45), clone.header.tree.fork, clone.header.hints.contiguousLength)
    note(b4a.equals(clone.state.hash(), core.state.hash()), b4a.equals(clone.state.signature, core.state.signature))
    note(await clone.reorg(batch))
    for (let index = cut; index < core.state.length; index++) await clone.verify(await blockProof(lib, core, clone, index))
    note(bitsOf(clone, 45))
  })
}

suite('another history that is not to be had', async (t, scene) => {
  const { lib, note } = scene
  const { core, clone } = await twins(scene, numbers(9))
  await core.state.truncate(5, 1)
  await core.state.append(numbers(3, 100))
  const proof = () => proofOf(lib('lib/merkle-tree').MerkleTree, core, { upgrade: { start: 0, length: 8 } })
  const tried = async (change) => {
    const changed = await proof()
    change(changed)
    const { error } = await outcome(clone.verifyReorg(changed))
    note(error?.code)
  }
  await tried((proof) => { proof.upgrade.signature = b4a.alloc(proof.upgrade.signature.byteLength) })
  await tried((proof) => { proof.fork = 2 })
  await tried((proof) => { proof.upgrade.nodes.pop() })
  await tried((proof) => { proof.upgrade.nodes[0] = { ...proof.upgrade.nodes[0], hash: b4a.alloc(32) } })
  const batch = await follow(lib, core, clone, note)
  // What leads elsewhere is of no use, and does no harm.
  const again = await clone.verifyReorg(await proof())
  const { end, nodes } = again.want
  const wrong = await proofOf(lib('lib/merkle-tree').MerkleTree, core, { hash: { index: 2 * (end - 1), nodes } })
  wrong.hash.nodes[0] = { ...wrong.hash.nodes[0], hash: b4a.alloc(32) }
  note(await again.update(wrong), again.finished)
  const other = await follow(lib, core, clone, note)
  note(await clone.reorg(other), batch.commitable(), await clone.reorg(batch), clone.state.length, clone.state.fork)
})

suite('the blocks that are here, under another name', async (t, scene) => {
  const { note } = scene
  const { core } = await twins(scene, numbers(4))
  note(core.skipBitfield)
  const bits = core.openSkipBitfield()
  t.is(core.openSkipBitfield(), bits)
  t.is(core.skipBitfield, bits)
  note(bits.findFirst(false, 0), bits.get(3), bits.get(4))
  await core.state.append(numbers(2))
  note(bits.findFirst(false, 0), bits.findFirst(true, 2))
  await core.state.truncate(2, 1)
  note(bits.findFirst(false, 0), bits.get(2))
})

suite('where branches are stored', async (t, { create, note }) => {
  const core = await create(t, { keyPair })
  const places = new Map()
  // Which number a pointer is, is each store's own.
  const place = (pointer) => places.has(pointer) ? places.get(pointer) : places.set(pointer, places.size).get(pointer)
  const told = ({ state: { storage } }) => {
    const of = (list) => list.map(({ dataPointer, length }) => [place(dataPointer), length])
    note(place(storage.core.dataPointer), of(storage.dependencies), of(storage.core.dependencies), storage.getDependencyLength())
    note(...[0, 2, 4, 9].map((length) => { const found = storage.getDependency(length); return found && [place(found.dataPointer), found.length] }))
  }
  told(core)
  await core.append(['a', 'b', 'c', 'd'])
  told(core)
  const one = core.session({ name: 'one' })
  await one.ready()
  told(one)
  await one.append(['e', 'f'])
  const two = one.session({ name: 'two' })
  await two.ready()
  told(two)
  await two.append('g')
  await two.truncate(5)
  told(two)
  await two.truncate(3)
  told(two)
  await core.commit(one)
  told(one)
  told(core)
  const checkout = core.session({ name: 'checkout', checkout: 2 })
  await checkout.ready()
  told(checkout)
  const snapshot = two.snapshot()
  await snapshot.ready()
  told(snapshot)
  const atom = core.state.storage.createAtom()
  const inside = core.session({ atom })
  await inside.ready()
  told(inside)
  await atom.flush()
  note(core.state.storage.core.corePointer === one.state.storage.core.corePointer)
  for (const session of [one, two, checkout, snapshot, inside]) await session.close()
})

suite('a branch that moves to a core with its beginning', async (t, { create, note }) => {
  const core = await create(t, { keyPair })
  const session = core.session({ name: 'session' })
  await session.append(['1', '2', '3'])
  note(session.state.storage.dependencies.map(({ length }) => length))
  await core.commit(session)
  note(session.state.storage.dependencies.map(({ length }) => length))
  const next = crypto.keyPair(b4a.alloc(32, 8))
  const manifest = { prologue: { hash: core.state.hash(), length: 3 }, signers: [{ publicKey: next.publicKey }] }
  const other = await create(t, { manifest, keyPair: next })
  await other.core.copyPrologue(core.state)
  await session.state.moveTo(other, other.length)
  note(session.state.storage.dependencies.map(({ length }) => length), session.length, b4a.equals(session.key, other.key))
  await session.append('4')
  note(session.state.storage.dependencies.map(({ length }) => length))
  await session.close()
})

suite('which blocks a closed core has', async (t, { create, note }) => {
  const ask = async (core) => {
    for (const [start, end] of [[0], [2], [3], [6], [7], [99], [0, 2], [0, 3], [3, 6], [3, 7], [5, 5], [9, 9]]) note(start, end ?? null, await outcome(end === undefined ? core.has(start) : core.has(start, end)))
    const { bitfield } = core.core
    note(...[0, 2, 3, 6, 7, 40_000].map((at) => [bitfield.get(at), bitfield.findFirst(true, at), bitfield.findFirst(false, at), bitfield.findLast(true, at), bitfield.findLast(false, at)]))
    note(bitfield.countSet(0, 7), bitfield.countUnset(0, 7), bitfield.hasSet(2, 1), bitfield.hasUnset(0, 2), bitfield.toBuffer(7).subarray(0, 4))
  }
  for (const hole of [false, true]) {
    const core = await create(t, { keyPair })
    await core.append(['0', '1', '2', '3', '4', '5', '6'])
    if (hole) await core.clear(2)
    const session = core.session()
    await session.ready()
    await session.close()
    await ask(session)
    await core.close()
    await ask(core)
  }
  const empty = await create(t)
  await empty.close()
  note(await empty.has(0), await empty.has(0, 1), await empty.has(0, 0))
})

suite('a walk over a snapshot whose log was cut', async (t, { create, note }) => {
  for (const encryption of [null, { key: b4a.alloc(32, 3) }]) {
    for (const isBranch of [false, true]) {
      const core = await create(t, { keyPair, encryption })
      await core.append(Array.from({ length: 12 }, (_, i) => 'x'.repeat(i + 1)))
      const branch = core.session({ name: 'branch' })
      await branch.append(['yy', 'zzz'])
      const cut = isBranch ? branch : core
      const snapshot = cut.snapshot()
      await snapshot.ready()
      const walk = async () => {
        const blocks = []
        for await (const block of snapshot.createReadStream({ wait: false })) blocks.push(block.byteLength)
        const bytes = []
        for await (const part of snapshot.createByteStream({ byteOffset: 3, byteLength: 20 })) bytes.push(part.byteLength)
        note(blocks, bytes, snapshot.length, snapshot.byteLength, snapshot.fork)
        for (const at of [0, 1, 2, 3, 9, 10, 27, 28, 29, 54, 55, 77, 78]) note(at, await snapshot.seek(at, { wait: false }))
        note(await snapshot.treeHash(), await snapshot.has(0), await snapshot.has(snapshot.length - 1), await snapshot.has(0, snapshot.length))
      }
      await walk()
      await cut.truncate(7)
      await walk()
      await cut.append(Array.from({ length: 9 }, () => 'other'))
      await walk()
      await cut.truncate(0)
      await walk()
      await snapshot.close()
      await branch.close()
    }
  }
})
