// Bitfields, wants and locks that programs make by themselves from what is inside of upstream's package.

import b4a from 'b4a'

import { proofOf } from './support/proofs.mjs'
import { eventFlush, suite } from './support/suite.mjs'

const PAGE = 32_768
const SEGMENT = 64 * PAGE

/** The same numbers each time. */
function numbers (seed) {
  let state = seed
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return Math.floor(state / 2 ** 32 * below)
  }
}

const finds = (bits, at) => [bits.get(at), bits.findFirst(true, at), bits.findFirst(false, at), bits.findLast(true, at), bits.findLast(false, at), bits.firstSet(at), bits.firstUnset(at), bits.lastSet(at), bits.lastUnset(at)]

for (const [name, edges] of [['bitfield', [0, 1, 31, 32, PAGE - 1, PAGE, 2 * PAGE + 5, SEGMENT - 1, SEGMENT, SEGMENT + PAGE]], ['remote-bitfield', [0, 1, 31, 32, PAGE - 1, PAGE, 2 * PAGE + 5, SEGMENT - 1, SEGMENT, SEGMENT + PAGE]]]) {
  suite(`${name} - random sets, and what is found then`, (t, { note, lib }) => {
    const Bits = lib(`lib/${name}`)
    note(Bits.BITS_PER_PAGE, Bits.BYTES_PER_PAGE, Bits.BITS_PER_SEGMENT)
    const random = numbers(7)
    const bits = new Bits()
    // Beyond its last page, upstream's remote bitfield answers with less than it was asked from.
    if (name === 'remote-bitfield') bits.set(SEGMENT + 5 * PAGE, true)
    for (let at = 0; at < SEGMENT && name === 'remote-bitfield'; at += PAGE) bits.set(at, true)
    note(...edges.map((at) => finds(bits, at)), bits.getBitfield(0) === null, bits.getBitfield(SEGMENT + 6 * PAGE))
    for (let round = 0; round < 60; round++) {
      const start = random(3) === 0 ? edges[random(edges.length)] : random(SEGMENT + 2 * PAGE)
      if (random(2) === 0) bits.set(start, random(4) > 0)
      else bits.setRange(start, start + random(3 * PAGE), random(3) > 0)
      note(...[random(SEGMENT), edges[random(edges.length)], start].map((at) => finds(bits, at)))
    }
    const page = bits.getBitfield(PAGE)
    note(page.index, page.bitfield.length, page.get(3), page.findFirst(true, 0), page.findFirst(false, 0), page.findLast(true, PAGE - 1), page.findLast(false, PAGE - 1))
  })

  suite(`${name} - zeros, ones and far away`, (t, { note, lib }) => {
    const Bits = lib(`lib/${name}`)
    const bits = new Bits()
    for (const at of [0, 2 ** 15, 2 ** 16, 2 ** 21, 2 ** 22]) note(finds(bits, at))
    bits.setRange(0, 2 ** 22 + 5, true)
    for (const at of [0, 2 ** 15, 2 ** 16, 2 ** 21, 2 ** 22, 2 ** 22 + 5]) note(finds(bits, at))
    bits.set(42_000_000, true)
    note(bits.get(42_000_000), bits.findFirst(true, 2 ** 22 + 5), bits.findLast(true, 50_000_000))
    bits.set(7_995_511_118_690_925, true)
    note(bits.get(7_995_511_118_690_925), bits.get(7_995_511_118_690_924))
    bits.set(42_000_000, false)
    bits.setRange(100, 100, true)
    note(bits.get(42_000_000))
  })
}

suite('bitfield - what is stored', async (t, { create, note, lib }) => {
  const Bitfield = lib('lib/bitfield')
  const core = await create(t)
  await core.append(Array.from({ length: 70 }, () => 'x'))
  await core.clear(5, 40)
  const { storage } = core.state
  const bits = await Bitfield.open(storage, core.length)
  note(bits.resumed, ...[0, 4, 5, 39, 40, 69, 70].map((at) => finds(bits, at)))
  note(bits.count(0, 70, true), bits.countSet(3, 10), bits.countUnset(3, 10), bits.count(PAGE - 5, 20, false), bits.hasSet(5, 35), bits.hasUnset(0, 5), bits.hasSet(0, 6), bits.hasUnset(0, 6), bits.hasUnset(SEGMENT, 4), bits.hasSet(SEGMENT, 4))
  note(bits.getPageByteLength(), bits.getPageIndex(PAGE), bits.getPage(5 * PAGE), bits.getPage(5 * PAGE, true).index, bits.toBuffer(70).byteLength, b4a.toString(bits.toBuffer(70).subarray(0, 12), 'hex'))
  const copy = Bitfield.from(bits)
  copy.onupdate([{ start: 0, end: 3, value: false }, { start: 100, end: 101, value: true }])
  note(copy.resumed, finds(copy, 0), finds(copy, 100), bits.get(100))
  const merged = new Bitfield()
  merged.merge(copy, 45)
  note(merged.resumed, finds(merged, 0), finds(merged, 44), merged.get(100))
  note(...[[0, 0], [0, 1], [0, 54], [40, 8], [3, PAGE], [0, 4 * PAGE]].map(([start, length]) => Array.from(bits.want(start, length), ({ start, bitfield }) => [start, bitfield.length, Array.from(bitfield.slice(0, 3))])))
  note((await Bitfield.open(storage, 0)).findFirst(true, 0))
  const tx = storage.write()
  bits.clear(tx)
  await tx.flush()
  note((await Bitfield.open(storage, 70)).findFirst(true, 0))
})

suite('remote bitfield - words', (t, { note, lib }) => {
  const RemoteBitfield = lib('lib/remote-bitfield')
  const bits = new RemoteBitfield()
  const words = Uint32Array.from({ length: 2500 }, (_, i) => i % 3 === 0 ? 0xffffffff : i)
  note(bits.insert(5, words), bits.insert(64, words), bits.clear(5, words))
  for (const at of [0, 64, 96, PAGE, 64 + 2500 * 32, 64 + 2500 * 32 - 1]) note(finds(bits, at))
  note(bits.clear(0, words.subarray(0, 40)))
  for (const at of [0, 64, 128, 40 * 32, PAGE]) note(finds(bits, at))
})

suite('bit interlude - ranges', async (t, { create, note, lib }) => {
  const [BitInterlude, Bitfield] = [lib('lib/bit-interlude'), lib('lib/bitfield')]
  const bits = new BitInterlude()
  note(bits.get(0), bits.contiguousLength(0), bits.ranges)
  bits.setRange(0, 5, true)
  bits.setRange(5, 8, true)
  bits.setRange(20, 30, true)
  note(bits.ranges, bits.contiguousLength(0), bits.contiguousLength(3), bits.contiguousLength(9), bits.get(7), bits.get(8))
  bits.setRange(22, 25, false)
  bits.setRange(25, 25, true)
  note(bits.ranges, bits.contiguousLength(20), bits.contiguousLength(23), [19, 20, 22, 24, 25, 29, 30].map((at) => bits.get(at)))
  bits.setRange(28, 35, false)
  note(bits.ranges)
  const core = await create(t)
  await core.append('x')
  const { storage } = core.state
  const tx = storage.write()
  const far = new BitInterlude()
  far.setRange(PAGE - 2, PAGE + 3, true)
  note(far.flush(tx, new Bitfield()), bits.flush(tx, new Bitfield()), new BitInterlude().flush(tx, new Bitfield()))
  await tx.flush()
  const rx = storage.read()
  const pages = [0, 1].map((page) => rx.getBitfieldPage(page))
  rx.tryFlush()
  for (const page of await Promise.all(pages)) note(page.byteLength, b4a.toString(page.subarray(0, 8), 'hex'), b4a.toString(page.subarray(-8), 'hex'))
})

suite('mark bitfield', async (t, { create, note, lib }) => {
  const MarkBitfield = lib('lib/mark-bitfield')
  const core = await create(t)
  await core.append(Array.from({ length: 10 }, () => 'x'))
  const marks = new MarkBitfield(core.state.storage)
  const all = async (options) => {
    const found = []
    for await (const index of marks.createMarkStream(options)) found.push(index)
    return found
  }
  note(MarkBitfield.BITS_PER_PAGE, MarkBitfield.BYTES_PER_PAGE, await marks.get(3), await all())
  await marks.set(3, true)
  await marks.set(0, true)
  await marks.set(9, true)
  await marks.set(4, false)
  note(await marks.get(3), await marks.get(4), await all(), await all({ reverse: true }))
  await marks.set(3, false)
  note(await all(), await new MarkBitfield(core.state.storage).get(9))
  await marks.clear()
  note(await marks.get(9), await all())
})

suite('mutex - one after another', async (t, { note, lib }) => {
  const Mutex = lib('lib/mutex')
  const mutex = new Mutex()
  const seen = []
  const enter = (name) => mutex.lock().then(() => { seen.push(name) }, (error) => { seen.push(`${name}: ${error.message}`) })
  note(mutex.idle(), mutex.locked, mutex.destroyed)
  enter('a')
  enter('b')
  await eventFlush()
  note([...seen], mutex.idle(), mutex.locked)
  mutex.unlock()
  await eventFlush()
  note([...seen], mutex.idle(), mutex.locked)
  mutex.unlock()
  note(mutex.idle(), mutex.locked)
  enter('c')
  enter('d')
  const destroying = mutex.destroy(new Error('Closed')).then(() => { seen.push('destroyed') })
  enter('e')
  await eventFlush()
  note([...seen], mutex.destroyed)
  mutex.unlock()
  await destroying
  const other = new Mutex()
  await other.destroy()
  await t.exception(other.lock(), /Mutex has been destroyed/)
})

suite('wants - local', (t, { Hypercore, note, lib }) => {
  const wants = lib('lib/wants')
  const handle = () => ({ held: [], addWant (want) { this.held.push([want.start, want.length, want.any]) }, removeWant (want) { this.held.push(['-', want.start]) } })
  for (const flag of [0, Hypercore.SMALL_WANTS]) {
    Hypercore.enable(flag)
    note(wants.WANT_BATCH)
    const [a, b, local] = [handle(), handle(), new wants.LocalWants('peer')]
    note(local.peer, local.add(5, a), local.add(6, a), local.add(7, b), local.add(wants.WANT_BATCH * 3 + 1, a))
    note(local.remove(5, a), local.remove(5, b), local.remove(5, b), local.add(1, b), local.wants.size, local.free.size)
    note(local.addAnyRange(10, 100, a), local.addAnyRange(10, 100, b), local.removeAnyRange(10, 100, a), local.removeAnyRange(0, wants.WANT_BATCH, a), local.removeAnyRange(0, wants.WANT_BATCH, b), local.any.length)
    const told = []
    for (let i = 0; i < 520; i++) told.push(local.addBatch(i, a))
    note(told.filter(Boolean).length, local.removeBatch(9, a), local.removeBatch(10, a), local.addBatch(600, b), local.addBatch(601, b), local.addBatch(602, b))
    local.destroy()
    note(local.destroyed, local.add(1, a), local.addAnyRange(1, 2, a), local.remove(1, a), a.held.slice(0, 8), b.held, a.held.length)
  }
  wants.UPDATE_COMPAT(true)
  note(wants.WANT_BATCH)
})

suite('wants - remote', (t, { note, lib }) => {
  const { RemoteWants } = lib('lib/wants')
  const remote = new RemoteWants()
  note(remote.has(0), remote.hasRange(0, 5), remote.remove({ start: 0, length: 64, any: false }), remote.remove({ start: 0, length: 64, any: true }))
  note(remote.add({ start: 128, length: 64, any: false }), remote.add({ start: 64, length: 64, any: false }), remote.add({ start: 0, length: 4096, any: false }), remote.size, remote.batches.length)
  note([0, 63, 64, 191, 192, 5000].map((at) => remote.has(at)), [[190, 4], [5000, 10], [192, 1], [4090, 20]].map(([start, length]) => remote.hasRange(start, length)))
  note(remote.remove({ start: 0, length: 4096, any: false }), remote.remove({ start: 0, length: 4096, any: false }), remote.size, [0, 64].map((at) => remote.has(at)), [[0, 40], [0, 1000], [192, 30]].map(([start, length]) => remote.hasRange(start, length)))
  note(remote.add({ start: 1000, length: 10, any: true }), [[990, 15], [1000, 2], [1005, 20], [1020, 4], [990, 50]].map(([start, length]) => remote.hasRange(start, length)))
  note(remote.remove({ start: 1000, length: 10, any: true }), remote.remove({ start: 1000, length: 10, any: true }), remote.any.length, remote.add({ start: 0, length: 2 ** 22, any: false }), remote.all)
  note(remote.add({ start: 3, length: 64, any: false }), remote.all, remote.has(9e9), remote.hasRange(9e9, 2))
  const kinds = new RemoteWants()
  for (const length of [32, 64, 128, 256]) kinds.add({ start: 0, length, any: false })
  note(kinds.all, kinds.batches.length, kinds.add({ start: 0, length: 512, any: false }), kinds.all, kinds.batches.length)
  const many = new RemoteWants()
  for (let i = 0; i < 513; i++) many.add({ start: 32 * i, length: 32, any: false })
  note(many.size, many.all)
  const any = new RemoteWants()
  for (let i = 0; i < 17; i++) any.add({ start: i, length: 1, any: true })
  note(any.any.length, any.all)
})

suite('core - without a session', async (t, { createStorage, note, lib }) => {
  const [Core, { MerkleTree }] = [lib('lib/core'), lib('lib/merkle-tree')]
  const create = async (options) => {
    const core = new Core(await createStorage(), { autoClose: false, ...options })
    await core.ready()
    return core
  }
  const keyPair = { publicKey: b4a.from('8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c', 'hex'), secretKey: b4a.from('01'.repeat(32) + '8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c', 'hex') }
  const core = await create({ keyPair })
  note(core.key, core.discoveryKey, core.id, core.compat, core.opened, core.header.tree.length, core.header.tree.rootHash, core.manifest.signers.length)
  note(await core.state.append([b4a.from('hello'), b4a.from('world')]), await core.state.append([b4a.from('hej')]))
  note(core.state.length, core.state.byteLength, core.header.tree.length, core.state.fork, core.header.hints.contiguousLength)
  await core.state.truncate(2, 1)
  note(core.state.length, core.state.fork, core.header.tree.fork)
  await core.state.setUserData('hello', b4a.from('world'))
  const rx = core.state.storage.read()
  const read = [rx.getUserData('hello'), rx.getBlock(0), rx.getBlock(2)]
  rx.tryFlush()
  note(...await Promise.all(read))
  const source = await create({ keyPair })
  await source.state.append([b4a.from('a'), b4a.from('b')])
  const clone = await create({ keyPair: { publicKey: keyPair.publicKey } })
  note(clone.header.keyPair, clone.header.tree.length)
  note(await clone.verify(await proofOf(MerkleTree, source, { upgrade: { start: 0, length: 2 } })), clone.header.tree.length, b4a.equals(clone.header.tree.signature, source.header.tree.signature))
  note(await clone.verify(await proofOf(MerkleTree, source, { block: { index: 1, nodes: await MerkleTree.missingNodes(clone.state, 2, clone.state.length), value: true } })), clone.bitfield.get(0), clone.bitfield.get(1))
  for (const each of [core, source, clone]) await each.close()
  note(core.closed, core.destroyed)
})
