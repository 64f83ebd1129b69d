// The tree of a bee, walked by hand: roots, blocks, keys and children, of versions and of what a batch has not appended; and where
// walks are before their first step.

import { outcome } from './support/both.mjs'
import { collect, random, sameBeePairs, sameBees } from './support/bees.mjs'

const text = { keyEncoding: 'utf-8', valueEncoding: 'utf-8' }
const key = (i) => `k${String(i).padStart(4, '0')}`

/** All that is below a node. */
async function drawn (node) {
  if (node === null) return null
  const keys = []
  const children = []
  for (let i = 0; i < node.keys.length; i++) {
    keys.push([node.keys[i].seq, (await node.getKey(i)).toString(), (await node.getKeyNode(i)).value?.toString()])
  }
  for (let i = 0; i < node.children.length; i++) children.push(await drawn(await node.getChildNode(i)))
  return { seq: node.block.seq, keys, children }
}

sameBees('the tree of a version', async ({ createBee, note }) => {
  const bee = await createBee(text)
  note(await drawn(await bee.batch().getRoot(false)))
  const next = random(7)
  for (let i = 0; i < 200; i++) {
    if (i % 7 === 6) await bee.del(key(next(60)))
    else await bee.put(key(next(60)), String(i))
  }
  const batch = bee.batch()
  const root = await batch.getRoot(false)
  note(await drawn(root), root.offset, root.changed, batch.root, batch.rootSeq, batch.maxBlocksCached)
  for (const seq of [1, 2, 7, 100, bee.version - 1]) {
    const block = await batch.getBlock(seq)
    note(block.seq, block.key, block.value, block.isDeletion(), block.isTarget(block.key), block.isTarget(Buffer.from('x')), block.final(batch.encoding), block.tree === batch)
    note(await batch.getKey(seq))
    block.inflate()
    note(block.index.levels.map(({ keys, children }) => [keys.map(({ seq }) => seq), children.map(({ seq, offset }) => [seq, offset])]), block.index.hasKey(seq), block.index.hasKey(9999))
    note((await outcome(batch.links(block.key, seq))).value, (await outcome(batch.links(block.key, 9999))).value)
  }
  note((await outcome(batch.getBlock(0))).value)
  const linked = []
  for (let seq = 1; seq < bee.version; seq++) linked.push(await batch.links(await batch.getKey(seq), seq))
  note(linked)
  const old = bee.checkout(50).batch()
  note(await drawn(await old.getRoot(false)))
  const seen = []
  const traced = bee.batch({ onseq: (seq) => seen.push(seq) })
  await traced.getBlock(3)
  await traced.getRoot(false)
  note(seen)
  for (const one of [batch, old, traced]) await one.close()
})

sameBees('the tree of what is not appended', async ({ createBee, note }) => {
  const bee = await createBee(text)
  for (let i = 0; i < 40; i++) await bee.put(key(i), 'old')
  const batch = bee.batch()
  const shape = async () => {
    const { keys, children } = await drawn(await batch.getRoot(false))
    const flat = (nodes) => nodes.map(({ keys, children }) => [keys, flat(children)])
    return [keys, flat(children)]
  }
  for (let i = 35; i < 55; i++) {
    await batch.put(key(i), 'new')
    note(await shape(), (await batch.getBlock(bee.core.length + batch.length - 1)).key, batch.root.keys.length)
  }
  await batch.del(key(36))
  note(await shape(), batch.length)
  const found = await batch.get(key(50), { finalize: false })
  note(found.seq, found.key, found.value, found.isDeletion())
  const before = await batch.getKey(3)
  await batch.flush()
  note(before, bee.core.length, batch.root)
  note((await collect(bee.createReadStream())).map(({ key, value }) => key + value))
})

sameBees('a root that makes the header', async ({ createBee, note }) => {
  const bee = await createBee(text)
  const batch = bee.batch()
  note(await batch.getRoot(false), bee.core.length, await batch.getRoot(true), bee.core.length)
  await batch.close()
})

sameBees('where a walk is before its first step', async ({ createBee, note }) => {
  const bee = await createBee(text)
  const empty = bee.createRangeIterator()
  note(empty.snapshot())
  await empty.open()
  note(empty.snapshot())
  await empty.close()
  for (let i = 0; i < 300; i++) await bee.put(key((i * 7919) % 300), String(i))
  const k = (i) => Buffer.from(key(i))
  for (const reverse of [false, true]) {
    for (const range of [{}, { gte: key(10) }, { gt: key(10) }, { gte: 'k0010x' }, { gt: key(10), lt: key(20) }, { lte: key(20) }, { lt: key(250) }, { gte: 'z' }, { lt: 'a' }, { gt: key(299) }, { lt: key(0) }, { limit: 0 }, { limit: 2, gte: key(100) }]) {
      const iterator = bee.createRangeIterator({ ...range, reverse })
      note(iterator.opened, iterator.snapshot().checkpoint, iterator.snapshot().ended)
      await iterator.open()
      const place = iterator.snapshot()
      note(iterator.opened, place)
      const other = bee.createRangeIterator({ ...range, reverse, checkpoint: place.checkpoint })
      await other.open()
      note(other.snapshot().checkpoint, await iterator.next(), iterator.snapshot().checkpoint, place.checkpoint.length > 0 ? await other.next() : null)
      await iterator.close()
      await other.close()
    }
  }
  note(k(1))
})

sameBeePairs('a walk whose beginning has to come from a peer, or does not', async ({ createBeeA, createBeeB, B, Hyperbee, replicate, note }) => {
  const a = await createBeeA(text)
  for (let i = 0; i < 100; i++) await a.put(key(i), String(i))
  const b = await createBeeB({ ...text, extension: false }, a.core.key)
  replicate(a.core, b.core, { keepAlive: false })
  await b.core.update({ wait: true })
  const local = b.createRangeIterator({ gte: key(50) }, { wait: false })
  note(await outcome(local.open()))
  await local.close()
  const waits = []
  const seen = []
  const iterator = b.createRangeIterator({ gte: key(50), onwait: (seq) => waits.push(seq), onseq: (seq) => seen.push(seq) })
  await iterator.open()
  note(waits.length > 0, waits.includes(100), seen[0], iterator.snapshot().checkpoint)
  note(await iterator.next())
  await iterator.close()
  const batch = b.batch()
  note(await drawn(await batch.getRoot(false)))
  await batch.close()
})
