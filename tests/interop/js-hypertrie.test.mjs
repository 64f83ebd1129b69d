// A trie that upstream's hypertrie 5.1 wrote, in a core of upstream's and in one of ours, here and at a peer.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import test from 'node:test'

import Hypercore from 'hypercore'
import Hypertab from 'hypertab/hypercore'
import Hyperbee from 'hypertab/hyperbee'
import Hypertrie from 'hypertab/hypertrie'

import { defer } from './support/cleanup.mjs'
import { collect } from './support/bees.mjs'
import { temporaryFolder } from './support/folder.mjs'
import { replicate } from './support/pipes.mjs'

const vectors = JSON.parse(readFileSync(new URL('../vectors/hyperbee-legacy-hypertrie.json', import.meta.url), 'utf8'))
const blocks = vectors.blocks.map((block) => Buffer.from(block, 'hex'))

/** As above: `a`, `//a`, `///a`, `a/` and `a//b` are put, each with the value 1. */
const slashes = ['0a09687970657274726965', '0a01611201311a010020012800', '0a022f611201311a010020022800', '0a032f2f611201311a040201020220032800', '0a02612f1201311a010020042800', '0a04612f2f621201311a042221100420052800']
  .map((block) => Buffer.from(block, 'hex'))

/** As above: `a` is put and deleted, which empties the trie; then a hidden `b` with flags is put. Header has metadata and a subtype. */
const emptied = ['0a0968797065727472696512046d6574611a03737562', '0a01611201311a010020012800', '0a001a010020022800', '0a01621201321a0100200328810a']
  .map((block) => Buffer.from(block, 'hex'))

/** A core of a class with these blocks. */
async function coreOf (t, Class, blocks) {
  const core = new Class(temporaryFolder(t))
  defer(t, () => core.close())
  await core.append(blocks)
  return core
}

/** An empty core of ours that has a core for a peer, and the blocks that come from there. */
async function copyOf (t, source) {
  const copy = new Hypertab(temporaryFolder(t), source.key)
  defer(t, () => copy.close())
  await copy.ready()
  const asked = []
  source.on('upload', (index) => asked.push(index))
  const undo = []
  replicate(undo, source, copy)
  defer(t, undo[0])
  await copy.update({ wait: true })
  return { copy, asked }
}

async function places (t) {
  const ours = await coreOf(t, Hypertab, blocks)
  const { copy } = await copyOf(t, await coreOf(t, Hypercore, blocks))
  return { 'a core of ours': ours, 'a peer of upstream\'s': copy }
}

test('what upstream reads of a trie is read', async (t) => {
  for (const [place, core] of Object.entries(await places(t))) {
    await t.test(place, async () => {
      const trie = new Hypertrie(core, { valueEncoding: 'utf-8' })
      await trie.ready()
      for (const { seq, key, value, flags } of vectors.nodes) {
        const node = { seq, key, value: value === null ? null : Buffer.from(value, 'hex').toString(), flags: flags >> 8, hidden: (flags & 1) === 1 }
        assert.deepEqual(await trie.getBySeq(seq), node)
      }
      for (const { key, hidden, seq, value } of vectors.gets) {
        const node = await trie.get(key, { hidden })
        assert.deepEqual([node?.seq ?? null, node?.value ?? null], [seq, value], key)
      }
      const keysOf = (nodes) => nodes.map(({ key }) => key)
      for (const { prefix, keys } of vectors.lists) {
        assert.deepEqual(keysOf(await trie.list(prefix)), keys, prefix)
        assert.deepEqual(keysOf(await trie.list(prefix, { reverse: true })), keys.toReversed(), prefix)
        assert.deepEqual(keysOf(await collect(trie.createReadStream(prefix))), keys, prefix)
        assert.deepEqual(keysOf(await trie.list(prefix, { gt: true })), keys.filter((key) => key !== prefix), prefix)
      }
      assert.deepEqual(keysOf(await trie.list({ hidden: true })), ['secret'])
      const folders = vectors.lists[0].keys.map((key) => key.split('/')[0])
      assert.deepEqual(keysOf(await trie.list('', { recursive: false })).map((key) => key.split('/')[0]), [...new Set(folders)])
      const seqs = vectors.nodes.map(({ seq }) => seq)
      const history = async (options) => (await collect(trie.createHistoryStream(options))).map(({ seq }) => seq)
      assert.deepEqual(await history(), seqs)
      assert.deepEqual(await history({ reverse: true }), seqs.toReversed())
      assert.deepEqual(await history({ gte: 3, lte: 5 }), [3, 4, 5])
      assert.deepEqual(await history({ gt: 3, lt: 5, reverse: true }), [4])
      await trie.close()
      assert.ok(trie.closed && core.closed)
    })
  }
})

test('each version is as it was', async (t) => {
  for (const [place, core] of Object.entries(await places(t))) {
    await t.test(place, async () => {
      const trie = new Hypertrie(core, { valueEncoding: 'utf-8' })
      const files = new Map()
      const normal = (key) => key.replace(/^\//, '')
      for (const { op, key, value, hidden, ops, length } of vectors.ops) {
        for (const [type, name, content] of op === 'batch' ? ops : [[op, key, value]]) {
          if (type === 'put') files.set(normal(name), { value: content, hidden: hidden === true })
          else files.delete(name)
        }
        const old = trie.checkout(length)
        assert.equal(old.version, length)
        for (const isHidden of [false, true]) {
          const expected = [...files].filter(([, file]) => file.hidden === isHidden).map(([name, file]) => [name, file.value])
          const found = await old.list('', { hidden: isHidden })
          assert.deepEqual(found.map(({ key, value }) => [key, value]).sort(), expected.sort(), `version ${length}`)
        }
        await old.close()
      }
      const snapshot = trie.snapshot()
      assert.equal(snapshot.version, blocks.length)
      assert.equal((await snapshot.get('hello')).value, 'again')
      assert.equal(await trie.checkout(0).get('hello'), null)
      assert.deepEqual(await trie.checkout(1).list(), [])
    })
  }
})

test('a lookup fetches the way to its key, and a folder what is in it', async (t) => {
  const source = await coreOf(t, Hypercore, blocks)
  const { copy, asked } = await copyOf(t, source)
  const trie = new Hypertrie(copy, { valueEncoding: 'utf-8' })

  assert.equal((await trie.get('n/17')).value, '17')
  assert.equal(trie.version, blocks.length)
  assert.ok(asked.includes(0) && asked.includes(32) && asked.length <= 8, `blocks ${asked}`)
  const once = asked.length
  assert.equal((await trie.get('n/17')).seq, 32)
  assert.equal(asked.length, once)
  assert.equal((await trie.list('a')).length, 3)
  assert.ok(asked.length <= once + 5, `blocks ${asked}`)
  assert.equal(new Set(asked).size, asked.length)

  await assert.rejects(trie.get('x/y/z', { wait: false }), { code: 'BLOCK_NOT_AVAILABLE' })
  await assert.rejects(trie.list('', { wait: false }), { code: 'BLOCK_NOT_AVAILABLE' })
  assert.equal((await trie.get('n/17', { wait: false })).value, '17')
})

test('a walk goes on while upstream writes, and ends when it is given up', async (t) => {
  const source = await coreOf(t, Hypercore, blocks.slice(0, 40))
  const { copy } = await copyOf(t, source)
  const trie = new Hypertrie(copy)
  assert.equal((await trie.get('n/17')).value.toString(), '17')
  assert.equal(await trie.get('batch/2'), null)
  const stream = trie.iterator('n')
  const found = []
  for await (const { key } of stream) {
    found.push(key)
    if (found.length === 1) await source.append(blocks.slice(40))
  }
  const old = await trie.checkout(40).list('n')
  assert.deepEqual(found, old.map(({ key }) => key))
  assert.equal((await trie.get('batch/2')).seq, 46)

  const nobody = new Hypertab(temporaryFolder(t), source.key)
  await nobody.ready()
  const lost = new Hypertrie(nobody).checkout(blocks.length)
  await assert.rejects(lost.get('hello', { timeout: 50 }), { code: 'REQUEST_TIMEOUT' })
  const waiting = lost.createReadStream()
  waiting.on('error', () => {})
  waiting.resume()
  setTimeout(() => waiting.destroy(), 50)
  await new Promise((resolve) => waiting.on('close', resolve))
  assert.equal(nobody.sessions.length, 1)

  const half = lost.createHistoryStream()
  const failed = assert.rejects(collect(half), { code: 'REQUEST_CANCELLED' })
  setTimeout(() => lost.close(), 50)
  await failed
  assert.equal(nobody.sessions.length, 1)
  await nobody.close()
})

test('a trie that was emptied has nothing, and has history', async (t) => {
  for (const Class of [Hypertab, Hypercore]) {
    const source = await coreOf(t, Class, emptied)
    const trie = new Hypertrie(Class === Hypertab ? source : (await copyOf(t, source)).copy, { valueEncoding: 'utf-8' })

    assert.deepEqual(await trie.getHeader(), { type: 'hypertrie', metadata: Buffer.from('meta'), subtype: 'sub' })
    assert.deepEqual(await trie.getMetadata(), Buffer.from('meta'))
    assert.deepEqual(await Hypertrie.getMetadata(trie.core), Buffer.from('meta'))
    assert.equal(trie.key, trie.core.key)
    assert.equal(trie.feed.discoveryKey, trie.discoveryKey)
    const b = { seq: 3, key: 'b', value: '2', flags: 5, hidden: true }
    assert.deepEqual(await trie.get('b', { hidden: true }), b)
    assert.equal(await trie.get('b'), null)
    assert.deepEqual(await trie.checkout(3).list(), [])
    assert.equal(await trie.getBySeq(2), null)
    assert.equal(await trie.getBySeq(0), null)
    assert.deepEqual(await collect(trie.history()), [{ seq: 1, key: 'a', value: '1', flags: 0, hidden: false }, b])
  }
})

test('slashes count as they do for upstream', async (t) => {
  const trie = new Hypertrie(await coreOf(t, Hypertab, slashes))
  const found = {}
  for (const key of ['a', '/a', '//a', '///a', 'a/', 'a//', 'a//b', '/', '//', '///']) {
    const node = await trie.get(key)
    found[key] = [node && node.seq, ...(await trie.list(key)).map(({ seq }) => seq)]
  }
  assert.deepEqual(found, {
    a: [4, 4, 5], '/a': [4, 4, 5], '//a': [4, 4, 5], '///a': [null, 4, 5], 'a/': [4, 4, 5], 'a//': [null, 5], 'a//b': [5, 5],
    '/': [null, 4, 5], '//': [null, 4, 5], '///': [null, 4, 5]
  })
})

test('it is read only, and reads nothing else', async (t) => {
  const core = await coreOf(t, Hypertab, blocks)
  const trie = new Hypertrie(core)
  const refused = { code: 'INVALID_OPERATION', message: /a hypertrie is read only: it has get, list and history/ }
  for (const name of ['put', 'del', 'batch']) await assert.rejects(trie[name]('hello', 'x'), refused)
  for (const name of ['watch', 'diff', 'createDiffStream', 'createWriteStream', 'reconnect', 'setMetadata']) assert.throws(() => trie[name](1), refused)
  assert.throws(() => trie.createHistoryStream({ live: true }), refused)
  assert.equal(core.length, blocks.length)
  for (const key of [null, undefined, 5, Buffer.from('hello')]) await assert.rejects(trie.get(key), /^TypeError: a key of a trie is text/)
  assert.throws(() => new Hypertrie(), /^TypeError: a trie needs a core/)

  const none = new Hypertab(temporaryFolder(t))
  defer(t, () => none.close())
  const empty = new Hypertrie(none)
  assert.deepEqual([await empty.get('a'), await empty.list(), await collect(empty.history())], [null, [], []])
  assert.equal(empty.version, 0)

  const bee = new Hyperbee(new Hypertab(temporaryFolder(t)), { keyEncoding: 'utf-8' })
  defer(t, () => bee.close())
  await bee.put('hello', 'world')
  const noTrie = { code: 'DECODING_ERROR', message: /there is no hypertrie in this core/ }
  const other = new Hypertrie(bee.core.session())
  await assert.rejects(other.get('hello'), noTrie)
  await assert.rejects(other.getBySeq(1), noTrie)
  await assert.rejects(other.list(), noTrie)
  await assert.rejects(collect(other.history()), noTrie)
  await assert.rejects(other.getHeader(), noTrie)
  await other.close()

  const broken = new Hypertrie(await coreOf(t, Hypertab, [blocks[0], Buffer.from([255, 255])]))
  await assert.rejects(broken.get('hello'), { code: 'DECODING_ERROR', message: /block 1 cannot be decoded/ })
})
