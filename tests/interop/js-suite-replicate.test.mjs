// Replication between every pair of implementations, in the manner of upstream's own tests.

import b4a from 'b4a'
import crypto from 'hypercore-crypto'

import { eventually } from './support/both.mjs'
import { eventFlush, sleep, suite, suiteOfPairs, unreplicate } from './support/suite.mjs'

suiteOfPairs('basic replication', async (t, { replicate, createA, createB }) => {
  const a = await createA(t)
  await a.append(['a', 'b', 'c', 'd', 'e'])
  const b = await createB(t, a.key)
  let d = 0
  b.on('download', () => d++)
  replicate(a, b, t)
  const r = b.download({ start: 0, end: a.length })
  await r.done()
  t.is(d, 5)
})

suiteOfPairs('basic replication from fork', async (t, { replicate, createA, createB }) => {
  const a = await createA(t)
  await a.append(['a', 'b', 'c', 'd', 'e'])
  await a.truncate(4)
  await a.append('e')
  t.is(a.fork, 1)
  const b = await createB(t, a.key)
  replicate(a, b, t)
  let d = 0
  b.on('download', () => d++)
  const r = b.download({ start: 0, end: a.length })
  await r.done()
  t.is(d, 5)
  t.is(a.fork, b.fork)
})

suiteOfPairs('eager replication from bigger fork', async (t, { replicate, createA, createB }) => {
  const a = await createA(t)
  const b = await createB(t, a.key)
  replicate(a, b, t)
  await a.append(['a', 'b', 'c', 'd', 'e', 'g', 'h', 'i', 'j', 'k'])
  await a.truncate(4)
  await a.append(['FORKED', 'g', 'h', 'i', 'j', 'k'])
  t.is(a.fork, 1)
  let d = 0
  b.on('download', (i) => {
    d++
  })
  const r = b.download({ start: 0, end: a.length })
  await r.done()
  t.is(d, a.length)
  t.is(a.fork, b.fork)
})

suiteOfPairs('eager replication of updates per default', async (t, { replicate, createA, createB }) => {
  t.plan(1)
  const a = await createA(t)
  const b = await createB(t, a.key)
  replicate(a, b, t)
  const appended = new Promise((r) =>
    b.on('append', function () {
      t.pass('appended')
      r()
    })
  )
  await a.append(['a', 'b', 'c', 'd', 'e', 'g', 'h', 'i', 'j', 'k'])
  await appended
})

suiteOfPairs('bigger download range', async (t, { replicate, createA, createB }) => {
  const a = await createA(t)
  const b = await createB(t, a.key)
  replicate(a, b, t)
  for (let i = 0; i < 20; i++) await a.append('data')
  const dl = new Set()
  b.on('download', (i) => dl.add(i))
  const r = b.download({ start: 0, end: a.length })
  await r.done()
  t.is(b.length, a.length)
  t.is(dl.size, a.length)
})

suiteOfPairs('high latency reorg', async (t, { replicate, createA, createB }) => {
  const a = await createA(t)
  const b = await createB(t, a.key)
  const s = replicate(a, b, t, { teardown: false })
  for (let i = 0; i < 50; i++) await a.append('data')
  const r = b.download({ start: 0, end: a.length })
  await r.done()
  await unreplicate(s)
  await a.truncate(30)
  for (let i = 0; i < 50; i++) await a.append('fork')
  replicate(a, b, t)
  const r2 = b.download({ start: 0, end: a.length })
  await r2.done()
  let same = 0
  for (let i = 0; i < a.length; i++) {
    const ba = await a.get(i)
    const bb = await b.get(i)
    if (b4a.equals(ba, bb)) same++
  }
  t.is(a.fork, 1)
  t.is(a.fork, b.fork)
  t.is(same, 80)
})

suiteOfPairs('update with zero length', async (t, { replicate, createA, createB }) => {
  const a = await createA(t)
  const b = await createB(t, a.key)
  replicate(a, b, t)
  await b.update()
  t.is(b.length, 0)
})

suiteOfPairs('seeking while replicating', async (t, { replicate, createA, createB }) => {
  const a = await createA(t)
  const b = await createB(t, a.key)
  replicate(a, b, t)
  await a.append(['hello', 'this', 'is', 'test', 'data'])
  t.alike(await b.seek(6), [1, 1])
})

suiteOfPairs('seek with no wait', async (t, { replicate, createA, createB }) => {
  t.plan(2)
  const a = await createA(t)
  const b = await createB(t, a.key)
  replicate(a, b, t)
  t.is(await a.seek(6, { wait: false }), null)
  await a.append(['hello', 'this', 'is', 'test', 'data'])
  t.alike(await a.seek(6, { wait: false }), [1, 1])
})

suite('seek with timeout', async (t, { create }) => {
  t.plan(1)
  const a = await create(t)
  try {
    await a.seek(6, { timeout: 1 })
    t.fail()
  } catch (e) {
    t.is(e.code, 'REQUEST_TIMEOUT')
  }
})

suite('seek with session options', async (t, { create }) => {
  t.plan(3)
  const a = await create(t)
  const s1 = a.session({ wait: false })
  t.is(await s1.seek(6), null)
  await s1.close()
  const s2 = a.session({ timeout: 1 })
  try {
    await s2.seek(6)
    t.fail()
  } catch {
    t.pass()
  }
  try {
    await s2.get(3)
    t.fail()
  } catch {
    t.pass()
  }
  await s2.close()
})

suiteOfPairs('replicate discrete range', async (t, { replicate, createA, createB }) => {
  const a = await createA(t)
  await a.append(['a', 'b', 'c', 'd', 'e'])
  const b = await createB(t, a.key)
  let d = 0
  b.on('download', () => d++)
  replicate(a, b, t)
  const r = b.download({ blocks: [0, 2, 3] })
  await r.done()
  t.is(d, 3)
  t.alike(await b.get(0), b4a.from('a'))
  t.alike(await b.get(2), b4a.from('c'))
  t.alike(await b.get(3), b4a.from('d'))
})

suiteOfPairs('replicate discrete empty range', async (t, { replicate, createA, createB }) => {
  const a = await createA(t)
  await a.append(['a', 'b'])
  const b = await createB(t, a.key)
  let d = 0
  b.on('download', () => d++)
  replicate(a, b, t)
  const r = b.download({ blocks: [] })
  await r.done()
  t.is(d, 0)
})

suiteOfPairs('get with { wait: false } returns null if no block', async (t, { replicate, createA, createB }) => {
  const a = await createA(t)
  await a.append('a')
  const b = await createB(t, a.key)
  replicate(a, b, t)
  t.is(await b.get(0, { wait: false }), null)
  t.alike(await b.get(0), b4a.from('a'))
})

suite('request cancellation regression', async (t, { create }) => {
  t.plan(2)
  const a = await create(t)
  const b = await create(t, a.key)
  let errored = 0
  b.get(0).then(() => t.fail(), onerror)
  b.get(1).then(() => t.fail(), onerror)
  b.get(2).then(() => t.fail(), onerror)
  await sleep(0)
  await b.close()
  t.is(b.activeRequests.length, 0)
  function onerror() {
    if (++errored === 3) t.pass()
  }
})

suiteOfPairs('findingPeers makes update wait for first peer', async (t, { replicate, createA, createB }) => {
  t.plan(2)
  const a = await createA(t)
  await a.append('hi')
  const b = await createB(t, a.key)
  t.is(await b.update(), false)
  const done = b.findingPeers()
  const u = b.update()
  await eventFlush()
  replicate(a, b, t)
  t.is(await u, true)
  done()
})

suite('findingPeers + done makes update return false if no peers', async (t, { create }) => {
  t.plan(2)
  const a = await create(t)
  await a.append('hi')
  const b = await create(t, a.key)
  t.is(await b.update(), false)
  const done = b.findingPeers()
  const u = b.update()
  await eventFlush()
  done()
  t.is(await u, false)
})

suiteOfPairs('contiguous length after fork', async (t, { replicate, createA, createB }) => {
  const a = await createA(t)
  await a.append(['a', 'b', 'c', 'd', 'e'])
  const b = await createB(t, a.key)
  const s = replicate(a, b, t, { teardown: false })
  await b.download({ start: 0, end: 5 }).done()
  t.is(b.contiguousLength, 5)
  await unreplicate(s)
  await a.truncate(2)
  await a.append(['f', 'g'])
  replicate(a, b, t)
  await b.update({ wait: true })
  await sleep(100)
  t.is(b.fork, 1)
  t.is(b.contiguousLength, 2)
})

suiteOfPairs('one inflight request to a peer per block', async (t, { replicate, createA, createB }) => {
  const a = await createA(t)
  await a.append(['a', 'b'])
  const b = await createB(t, a.key)
  replicate(a, b, t)
  let up = 0
  a.on('upload', () => up++)
  const s = b.session()
  await Promise.all([b.get(0), s.get(0), b.get(0)])
  await sleep(20)
  t.is(up, 1)
  await s.close()
})

suiteOfPairs('non-sparse / eagerUpgrade false', async (t, { replicate, createA, createB }) => {
  const a = await createA(t)
  const b = await createB(t, a.key, { eagerUpgrade: false })
  replicate(a, b, t)
  await a.append('x')
  while (b.peers[0]?.remoteLength !== 1) await sleep(10)
  await sleep(100)
  t.is(b.length, 0)
  await b.update({ wait: true })
  t.is(b.length, 1)
})

suiteOfPairs('download blocks if available', async (t, { replicate, createA, createB }) => {
  t.plan(4)
  const a = await createA(t)
  const b = await createB(t, a.key)
  b.on('download', (i, len, peer, req) => {
    t.is(i, 0)
    t.is(len, 1)
    t.ok(peer)
  })
  a.on('upload', () => {})
  replicate(a, b, t)
  await a.append('a')
  await b.get(0)
  t.is(b.contiguousLength, 1)
})

suiteOfPairs('download available blocks on non-sparse update', async (t, { replicate, createA, createB }) => {
  const a = await createA(t)
  const b = await createB(t, a.key)
  replicate(a, b, t)
  await a.append(['a', 'b', 'c', 'd', 'e'])
  await eventually(() => b.length === 5)
  t.is(b.length, 5)
  t.is(b.contiguousLength, 0)
})

suiteOfPairs('sparse replication without gossiping', async (t, { replicate, createA, createB }) => {
  const a = await createA(t)
  const b = await createB(t, a.key)
  await a.append(['a', 'b', 'c'])
  let s = replicate(a, b, t, { teardown: false })
  await b.download({ start: 0, end: 3 }).done()
  await unreplicate(s)
  await a.append(['d', 'e', 'f', 'd'])
  s = replicate(a, b, t, { teardown: false })
  await b.download({ start: 4, end: 7 }).done()
  await unreplicate(s)
  const cc = await createB(t, a.key)
  s = replicate(b, cc, t, { teardown: false })
  await cc.get(4)
  t.alike(await cc.get(4), b4a.from('e'))
  const done = cc.findingPeers()
  await cc.update()
  done()
  t.is(cc.length, 7)
  await unreplicate(s)
})

suiteOfPairs('force update writable cores', async (t, { replicate, createA, createB }) => {
  const a = await createA(t)
  await a.append(['a', 'b', 'c', 'd', 'e'])
  const b = await createB(t, { keyPair: a.keyPair })
  t.alike(a.key, b.key)
  t.is(await b.update({ force: true }), false)
  replicate(a, b, t)
  t.is(await b.update({ force: true, wait: true }), true)
  t.is(b.length, 5)
})

suiteOfPairs('replicate to writable cores after clearing', async (t, { replicate, createA, createB }) => {
  const a = await createA(t)
  await a.append(['a', 'b', 'c', 'd', 'e'])
  const b = await createB(t, a.key)
  const s = replicate(a, b, t)
  await b.download({ start: 0, end: 5 }).done()
  await a.clear(2)
  t.absent(await a.has(2))
  t.alike(await a.get(2), b4a.from('c'))
  t.ok(await a.has(2))
})

suiteOfPairs('replication session', async (t, { replicate, createA, createB }) => {
  const a = await createA(t)
  const b = await createB(t, a.key)
  const [s1, s2] = replicate(a, b, t, { session: true })
  await a.append('x')
  t.alike(await b.get(0), b4a.from('x'))
  t.is(a.sessions.length, 1)
})

suiteOfPairs('replicate ranges in reverse order', async (t, { replicate, createA, createB }) => {
  const a = await createA(t)
  await a.append(['a', 'b'])
  const b = await createB(t, a.key)
  replicate(a, b, t)
  const r = [b.download({ start: 1, length: 1 }), b.download({ start: 0, length: 1 })]
  for (const x of r) await x.done()
  t.ok(await b.has(0, 2))
})

suiteOfPairs('retry failed block requests to another peer', async (t, { replicate, createA, createB }) => {
  const a = await createA(t)
  const b = await createB(t, a.key)
  const cc = await createB(t, a.key)
  await a.append(['1', '2', '3'])
  const [s1, s2] = replicate(a, b, t, { teardown: false })
  await b.download({ start: 0, end: 3 }).done()
  replicate(a, cc, t)
  replicate(b, cc, t)
  await cc.download({ start: 0, end: 3 }).done()
  t.is(cc.contiguousLength, 3)
  await unreplicate([s1, s2])
})

suite('replication updates on core copy', async (t, { create, replicate }) => {
  const a = await create(t)
  for (let i = 0; i < 20; i++) await a.append(i.toString())
  const m = { prologue: { hash: await a.treeHash(), length: a.length }, signers: [] }
  const d = await create(t, { manifest: m })
  const e = await create(t, { manifest: m })
  await d.core.copyPrologue(a.state)
  replicate(d, e, t)
  t.alike(await e.get(3), b4a.from('3'))
  t.is(e.length, 20)
})

suiteOfPairs('fork updates / reorg events', async (t, { replicate, createA, createB }) => {
  const a = await createA(t)
  const b = await createB(t, a.key)
  const ev = []
  b.on('append', () => ev.push('append'))
  b.on('truncate', (l, f) => ev.push('truncate ' + l + ' ' + f))
  const s = replicate(a, b, t, { teardown: false })
  await a.append(['a', 'b', 'c'])
  await b.download({ start: 0, end: 3 }).done()
  await unreplicate(s)
  await a.truncate(1)
  await a.append(['x', 'y', 'z'])
  replicate(a, b, t)
  await b.update({ wait: true })
  await sleep(100)
  t.alike(ev, ['append', 'truncate 1 1', 'append'].slice(0, 2))
  t.is(b.length, 4)
  t.is(b.fork, 1)
  t.alike(await b.get(1), b4a.from('x'))
})

suiteOfPairs('allowFork: false', async (t, { replicate, createA, createB }) => {
  const a = await createA(t)
  const b = await createB(t, a.key, { allowFork: false })
  let s = replicate(a, b, t, { teardown: false })
  await a.append(['a', 'b', 'c'])
  await b.download({ start: 0, end: 3 }).done()
  await unreplicate(s)
  await a.truncate(1)
  await a.append(['x', 'y', 'z'])
  replicate(a, b, t)
  await sleep(200)
  t.is(b.fork, 0)
  t.is(b.length, 3)
})

suiteOfPairs('merkle-tree signature gets unslabbed / uploads', async (t, { replicate, createA, createB }) => {
  const a = await createA(t)
  await a.append('a')
  const b = await createB(t, a.key)
  const u = []
  a.on('upload', (i, l, p) => u.push([i, l, !!p]))
  replicate(a, b, t)
  await b.get(0)
  await sleep(20)
  t.alike(u, [[0, 1, true]])
})

suite('downloads between sessions / undownload', async (t, { create }) => {
  const a = await create(t)
  const b = await create(t, a.key)
  const r = b.download({ start: 0, end: 10 })
  await r.ready()
  b.undownload(r)
  await r.done().then(
    (v) => t.pass('resolved ' + v),
    (e) => t.pass('rejected ' + e.code)
  )
})

suiteOfPairs('range destroy after done', async (t, { replicate, createA, createB }) => {
  const a = await createA(t)
  await a.append(['a', 'b'])
  const b = await createB(t, a.key)
  replicate(a, b, t)
  const r = b.download()
  t.is(typeof r.ready, 'function')
  await eventually(() => b.contiguousLength === 2)
  const p = r.done()
  r.destroy()
  await p.then(
    (v) => t.pass('r' + v),
    (e) => t.pass('e' + e.code)
  )
})

suiteOfPairs('extensions', async (t, { replicate, createA, createB }) => {
  t.plan(2)
  const a = await createA(t)
  const b = await createB(t, a.key)
  const m = ['hello', 'world']
  b.registerExtension('ext', {
    encoding: 'utf-8',
    onmessage (msg, peer) {
      t.is(msg, m.shift())
      if (!m.length) {
      }
    }
  })
  const ext = a.registerExtension('ext', { encoding: 'utf-8' })
  replicate(a, b, t)
  await new Promise((r) => a.once('peer-add', r))
  ext.send('hello', a.peers[0])
  ext.broadcast('world')
})

// The cipher of the stream works on groups of its blocks, and on what is left of them.
suiteOfPairs('blocks of every length around those of the cipher', async (t, { note, createA, createB, replicate }) => {
  const lengths = [...Array(530).keys(), 1023, 1024, 1025, 8191, 8192, 8193, 16461, 65536]
  const blocks = lengths.map((length) => b4a.from(Uint8Array.from({ length }, (_, at) => at * 7 + length)))
  const writer = await createA(t)
  await writer.append(blocks)
  const reader = await createB(t, writer.key)
  replicate(writer, reader, t)
  const found = await Promise.all(blocks.map((_, index) => reader.get(index)))
  note(found.length, found.every((block, index) => b4a.equals(block, blocks[index])))
})
