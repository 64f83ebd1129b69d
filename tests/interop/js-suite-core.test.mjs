// One core, in the manner of upstream's own tests of the basics.

import b4a from 'b4a'
import crypto from 'hypercore-crypto'
import IdEnc from 'hypercore-id-encoding'

import { eventFlush, suite } from './support/suite.mjs'

suite('basic', async (t, { create }) => {
  const core = await create(t)
  let a = 0
  t.is(core.length, 0)
  t.is(core.writable, true)
  t.is(core.readable, true)
  core.on('append', () => a++)
  await core.append('hello')
  await core.append('world')
  const info = await core.info()
  t.is(core.length, 2)
  t.is(info.byteLength, 10)
  t.is(a, 2)
})

suite('session', async (t, { create }) => {
  const core = await create(t)
  const s = core.session()
  await s.append('test')
  t.alike(await core.get(0), b4a.from('test'))
  t.alike(await s.get(0), b4a.from('test'))
  await s.close()
})

suite('close', async (t, { create }) => {
  const core = await create(t)
  await core.append('hello world')
  await core.close()
  try {
    await core.get(0)
    t.fail('core should be closed')
  } catch {
    t.pass('get threw correctly when core was closed')
  }
})

suite('storage options', async (t, { Hypercore, createStorage }) => {
  const db = await createStorage(t)
  const core = new Hypercore({ storage: db })
  await core.append('hello')
  t.alike(await core.get(0), b4a.from('hello'))
  await core.close()
})

suite('createIfMissing', async (t, { Hypercore, createStorage }) => {
  const db = await createStorage(t)
  const core = new Hypercore(db, { createIfMissing: false })
  await t.exception(core.ready())
})

suite('get undefined block is not allowed', async (t, { create }) => {
  const core = await create(t)
  try {
    await core.get(undefined)
    t.fail()
  } catch (e) {
    t.pass(e.message.slice(0, 30))
  }
  await t.exception(core.get(-1))
  await t.exception(core.get(null))
  await t.exception(core.get('x'))
  await t.exception(core.get(NaN))
})

suite('valid manifest passed to a session that is opened should be stored', async (t, { Hypercore }) => {
  const kp = crypto.keyPair()
  const manifest = Hypercore.parseManifest({ version: 1, signers: [{ publicKey: kp.publicKey }] })
  const key = Hypercore.key(manifest)
  const dir = await t.tmp()
  const core = new Hypercore(dir, key)
  await core.ready()
  t.is(core.manifest, null)
  const s = core.session({ manifest })
  await s.ready()
  t.alike(core.manifest, manifest)
  t.alike(s.manifest, manifest)
  await s.close()
  await core.close()
})

suite('exclusive sessions', async (t, { create }) => {
  const core = await create(t)
  const a = core.session({ exclusive: true })
  await a.ready()
  let r = false
  const b = core.session({ exclusive: true })
  b.ready().then(() => {
    r = true
  })
  await new Promise((r) => setTimeout(r, 50))
  t.is(r, false)
  await a.close()
  await b.ready()
  t.is(r, true)
  t.is(b.exclusive, true)
  await b.close()
})

suite('truncate event has truncated-length and fork', async (t, { Hypercore }) => {
  t.plan(2)
  const core = new Hypercore(await t.tmp())
  core.on('truncate', (l, f) => {
    t.is(l, 2)
    t.is(f, 1)
  })
  await core.append(['a', 'b', 'c'])
  await core.truncate(2)
})

suite('treeHash gets the tree hash at a given core length', async (t, { Hypercore }) => {
  const core = new Hypercore(await t.tmp())
  await core.ready()
  t.is(core.length, 0)
  const hs = [await core.treeHash()]
  for (let i = 1; i < 10; i++) {
    await core.append([b4a.from([i])])
    hs.push(await core.treeHash())
  }
  for (let i = 0; i < 10; i++) t.alike(await core.treeHash(i), hs[i])
  await core.close()
})

suite('treeHash with default length', async (t, { create }) => {
  const core = await create(t)
  const c2 = await create(t)
  t.alike(await core.treeHash(), await c2.treeHash())
  await core.append('a')
  t.unlike(await core.treeHash(), await c2.treeHash())
})

suite('snapshot locks the state', async (t, { create }) => {
  const core = await create(t)
  const a = core.snapshot()
  await core.append('a')
  t.is(a.length, 0)
  const b = core.snapshot()
  await core.append('c')
  t.is(a.length, 0)
  t.is(b.length, 1)
  await a.close()
  await b.close()
})

suite('downloading local range', async (t, { create }) => {
  t.plan(1)
  const core = await create(t)
  await core.append('a')
  const r = core.download({ start: 0, end: 1 })
  await eventFlush()
  await r.destroy()
  t.pass('did not throw')
})

suite('read ahead', async (t, { create }) => {
  t.plan(1)
  const core = await create(t, { valueEncoding: 'utf-8' })
  await core.append('a')
  const p = core.get(1, { wait: true })
  await eventFlush()
  await core.append('b')
  t.alike(await p, 'b')
})

suite('defaults for wait', async (t, { Hypercore, createStorage }) => {
  t.plan(5)
  const db = await createStorage(t)
  const core = new Hypercore(db, b4a.alloc(32).fill('a'), { valueEncoding: 'utf-8' })
  const a = core.get(1)
  // Which one fails first depends on the disk with upstream, whose gets read from it before they wait.
  a.catch(() => t.pass('failed'))
  t.is(await core.get(1, { wait: false }), null)
  const s = core.session({ wait: false })
  t.is(await s.get(1), null)
  const b = s.get(1, { wait: true })
  b.catch(() => t.pass('failed'))
  t.is(await s.get(1), null)
  await s.close()
  await core.close()
})

suite('has', async (t, { create }) => {
  const core = await create(t)
  await core.append(['a', 'b', 'c', 'd', 'e', 'f'])
  for (let i = 0; i < core.length; i++) t.ok(await core.has(i))
  await core.clear(2)
  t.absent(await core.has(2))
  t.ok(await core.has(1))
  t.ok(await core.has(3))
  t.absent(await core.has(0, 6))
})

suite('has range', async (t, { create }) => {
  const core = await create(t)
  await core.append(['a', 'b', 'c', 'd', 'e', 'f'])
  t.ok(await core.has(0, 5))
  await core.clear(2)
  t.absent(await core.has(0, 5))
  t.ok(await core.has(0, 2))
  t.ok(await core.has(3, 5))
  t.ok(await core.has(3, 3))
  await t.exception(core.has(-1))
  await t.exception(core.has(0, -1))
})

suite('storage info', async (t, { create }) => {
  const core = await create(t)
  await core.append(['a', 'b'])
  const i = await core.info({ storage: true })
  t.is(i.storage, null)
  t.alike(Object.keys(i), ['key', 'discoveryKey', 'length', 'contiguousLength', 'byteLength', 'fork', 'padding', 'storage'])
})

suite('indexing of keypair opts', async (t, { Hypercore, createStorage }) => {
  const kp = crypto.keyPair()
  const db = await createStorage(t)
  const core = new Hypercore(db, { keyPair: kp })
  await core.ready()
  t.alike(core.keyPair, kp)
  await core.close()
  const db2 = await createStorage(t)
  const k2 = new Hypercore(db2, kp.publicKey, { keyPair: kp })
  await k2.ready()
  t.ok(k2.writable)
  t.ok(b4a.equals(k2.key, kp.publicKey))
  await k2.close()
})

suite('disable writable option', async (t, { Hypercore, createStorage }) => {
  t.plan(2)
  const db = await createStorage(t)
  const core = new Hypercore(db, { writable: false })
  await core.ready()
  t.is(core.writable, false)
  try {
    await core.append('abc')
    t.fail()
  } catch (e) {
    t.pass(e.code)
  }
  await core.close()
})

suite('disable session writable option', async (t, { Hypercore, createStorage }) => {
  t.plan(3)
  const db = await createStorage(t)
  const core = new Hypercore(db)
  await core.ready()
  const s = core.session({ writable: false })
  await s.ready()
  t.is(core.writable, true)
  await core.append('abc')
  t.is(s.writable, false)
  try {
    await s.append('abc')
    t.fail()
  } catch {
    t.pass()
  }
  await s.close()
  await core.close()
})

suite('session of a session with the writable option disabled', async (t, { Hypercore, createStorage }) => {
  t.plan(1)
  const db = await createStorage(t)
  const core = new Hypercore(db)
  const s1 = core.session({ writable: false })
  const s2 = s1.session()
  try {
    await s1.append('abc')
  } catch {
    try {
      await s2.append('abc')
      t.fail()
    } catch {
      t.pass()
    }
  }
  await s2.close()
  await s1.close()
  await core.close()
})

suite('truncate has correct storage state in memory and persisted', async (t, { Hypercore }) => {
  const dir = await t.tmp()
  let core = new Hypercore(dir)
  await core.append(['a', 'b', 'c', 'd', 'e'])
  await core.truncate(2)
  t.alike([await core.has(2), await core.has(4), core.length], [false, false, 2])
  await core.close()
  core = new Hypercore(dir)
  await core.ready()
  t.alike([await core.has(1), await core.has(2), core.length, core.fork], [true, false, 2, 1])
  await core.close()
})

suite('append alignment to bitfield boundary', async (t, { create }) => {
  const core = await create(t)
  const blocks = new Array(129).fill('a')
  const p = []
  for (let i = 0; i < 256; i++) p.push(core.append(blocks))
  await Promise.all(p)
  t.is(core.length, 129 * 256)
  t.is(core.contiguousLength, core.length)
  await core.append(blocks)
  t.is(core.contiguousLength, core.length)
})

suite('setKeypair', async (t, { Hypercore, createStorage }) => {
  const db = await createStorage(t)
  const kp = crypto.keyPair()
  const core = new Hypercore(db)
  await core.ready()
  t.ok(core.keyPair.secretKey)
  core.setKeyPair(kp)
  t.alike(core.keyPair, kp)
  await core.close()
})

suite('signedLength mirrors core length (linearised core compat)', async (t, { create }) => {
  const core = await create(t)
  t.is(core.length, 0)
  t.is(core.signedLength, core.length)
  await core.append(['a', 'b'])
  t.is(core.length, 2)
  t.is(core.signedLength, 2)
})

suite('encodes with encodeBatch', async (t, { create }) => {
  const core = await create(t, { encodeBatch: (blocks) => [Buffer.from(blocks.join('-'))] })
  await core.append(['a', 'b'])
  t.is(core.length, 1)
  t.alike(await core.get(0), b4a.from('a-b'))
  await core.append(['hi', 'there'])
  t.is(core.length, 2)
})

suite('core/get - async with hypercore id encoding', async (t, { Hypercore }) => {
  const key = b4a.alloc(32).fill('b')
  const core = new Hypercore(await t.tmp(), IdEnc.encode(key))
  await core.ready()
  t.alike(core.key, key)
  await core.close()
})

suite('weak session', async (t, { create }) => {
  const core = await create(t)
  const w = core.session({ weak: true })
  await w.ready()
  let closed = false
  w.on('close', () => {
    closed = true
  })
  await core.close()
  await new Promise((r) => setTimeout(r, 20))
  t.is(closed, true)
  t.is(w.closed, true)
})

suite('compact', async (t, { create }) => {
  const core = await create(t)
  await core.append(['a', 'b', 'c'])
  const r = await core.compact()
  t.ok(Array.isArray(r))
})

suite('globalCache', async (t, { Hypercore }) => {
  const Rache = (() => {
    try {
      return require('rache')
    } catch {
      return null
    }
  })()
  const gc = { x: 1 }
  const core = new Hypercore(await t.tmp(), { globalCache: gc })
  t.is(core.globalCache, null)
  await core.ready()
  t.is(core.globalCache, gc)
  const s = core.session()
  await s.ready()
  t.is(s.globalCache, gc)
  await s.close()
  await core.close()
})

suite('get with wait false / timeouts opts', async (t, { create }) => {
  const core = await create(t)
  t.is(await core.get(0, { wait: false }), null)
  await t.exception(core.get(5, { timeout: 10 }))
})

suite('treeHashFromStorage', async (t, { Hypercore, create }) => {
  const core = await create(t)
  await core.append(['a', 'b', 'c'])
  t.alike(await Hypercore.treeHashFromStorage(core), await core.treeHash())
  t.alike(await Hypercore.treeHashFromStorage(core, 2), await core.treeHash(2))
})

suite('defaultStorage', async (t, { Hypercore }) => {
  const d = await t.tmp()
  const s = Hypercore.defaultStorage(d)
  t.ok(s)
  t.is(Hypercore.defaultStorage(s), s)
  await s.close()
})

suite('createCore', async (t, { Hypercore }) => {
  const d = await t.tmp()
  const core = Hypercore.createCore(d)
  await core.ready()
  t.ok(core.key)
  t.is(core.opened, true)
  t.is(core.state.length, 0)
  await core.state.append([b4a.from('hi')], { keyPair: core.header.keyPair })
  t.is(core.state.length, 1)
  t.is(core.header.tree.length, 1)
  await core.close()
})

suite('createCore with sessions', async (t, { Hypercore }) => {
  const d = await t.tmp()
  const core = Hypercore.createCore(d, { compat: false })
  await core.ready()
  const s = new Hypercore({ core })
  await s.ready()
  await s.append('a')
  t.is(s.length, 1)
  await s.close()
  t.is(core.closed, false)
  await core.close()
  t.is(core.closed, true)
})
