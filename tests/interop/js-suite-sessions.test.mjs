// Sessions and what is below them, in the manner of upstream's own tests.

import b4a from 'b4a'
import crypto from 'hypercore-crypto'
import c from 'compact-encoding'

import { eventFlush, suite } from './support/suite.mjs'

suite('sessions - can create writable sessions from a read-only core', async (t, { create }) => {
  t.plan(5)
  const core = await create(t, { valueEncoding: 'utf-8' })
  const kp = core.keyPair
  core.setKeyPair(null)
  await core.ready()
  t.absent(core.session({ writable: false }).writable)
  const s = core.session({ keyPair: kp })
  await s.ready()
  t.ok(s.writable)
  try {
    await core.append('hello')
    t.fail('should not')
  } catch (e) {
    t.pass(e.code)
  }
  try {
    await s.append('world')
    t.pass()
  } catch (e) {
    t.fail(e.message)
  }
  t.is(core.length, 1)
  await s.close()
})

suite('sessions - custom valueEncoding on session', async (t, { Hypercore, createStorage }) => {
  const db = await createStorage(t)
  const c1 = new Hypercore(db)
  await c1.append(c.encode(c.raw.json, { a: 1 }))
  const s = c1.session({ valueEncoding: 'json' })
  await s.append({ b: 2 })
  t.alike(await s.get(0), { a: 1 })
  t.alike(await s.get(1), { b: 2 })
  t.alike(await c1.get(0), c.encode(c.raw.json, { a: 1 }))
  await s.close()
  await c1.close()
})

suite('sessions - truncate a checkout session', async (t, { create }) => {
  const core = await create(t)
  for (let i = 0; i < 10; i++) await core.append(b4a.from([i]))
  const s = core.session({ checkout: 7, name: 'test' })
  await s.ready()
  t.is(s.length, 7)
  await s.truncate(5, s.fork)
  t.is(s.length, 5)
  await s.append(b4a.from('hello'))
  await s.close()
})

suite('session on a from instance does not inject itself to other sessions', async (t, { Hypercore, create }) => {
  const a = await create(t)
  const b = new Hypercore({ core: a.core, encryptionKey: null })
  await b.ready()
  await b.setEncryptionKey(b4a.alloc(32))
  const d = new Hypercore({ core: a.core, encryptionKey: null })
  await d.ready()
  await d.setEncryptionKey(b4a.alloc(32))
  t.absent(a.encryption)
  t.ok(b.encryption)
  t.ok(d.encryption)
  await b.close()
  await d.close()
})

suite('session inherits non-sparse / wait option', async (t, { create }) => {
  const core = await create(t, { wait: false })
  const s = core.session()
  t.is(s.wait, false)
  t.is(await s.get(3), null)
  await s.close()
})

suite('sessions - cannot set checkout if name not set', async (t, { create }) => {
  const core = await create(t)
  await core.append('A')
  t.exception(() => core.session({ checkout: 0 }), /Checkouts are only supported/)
  await t.execution(async () => {
    const s = core.session({ checkout: 0, name: 'n' })
    await s.ready()
    await s.close()
  })
})

suite('session close while opening', async (t, { create }) => {
  const core = await create(t)
  const s = core.session()
  await s.close()
  t.is(s.closed, true)
  t.is(core.closed, false)
})

suite('sessions close last closes core', async (t, { create }) => {
  const core = await create(t)
  const s = core.session()
  await s.ready()
  const s2 = core.session()
  await core.close()
  t.is(core.closed, true)
  t.is(s.closed, false)
  await s.append('x')
  t.is(s.length, 1)
  await s.close()
  t.is(s.core.closed, false)
  await s2.close()
  t.is(s2.core.closed, true)
})

suite('ongc', async (t, { create }) => {
  const core = await create(t)
  const gone = []
  const s = core.session({ ongc: (x) => gone.push(x) })
  await s.ready()
  await s.close()
  t.is(gone[0], s)
  t.is(gone.length, 1)
})

suite('onseq and onwait inherits', async (t, { create }) => {
  const seqs = []
  const core = await create(t, { onseq: (i, s) => seqs.push(i) })
  await core.append(['a', 'b'])
  const s = core.session()
  await s.get(1)
  t.alike(seqs, [1])
  await s.close()
})

suite('sessions list', async (t, { create }) => {
  const core = await create(t)
  const a = core.session()
  const b = core.session()
  await a.ready()
  await b.ready()
  t.is(core.sessions.length, 3)
  t.is(core.sessions, a.sessions)
  await a.close()
  t.is(core.sessions.length, 2)
  await b.close()
})

suite('named session state props', async (t, { create }) => {
  const core = await create(t)
  await core.append('a')
  const s = core.session({ name: 'n' })
  await s.ready()
  t.is(s.state.name, 'n')
  t.is(s.state.isDefault(), false)
  t.is(s.state.flushedLength(), 1)
  t.is(s.state.signedLength(), 1)
  await s.append('b')
  t.is(s.state.flushedLength(), 1)
  t.is(s.signedLength, 1)
  t.is(s.state.parent, null)
  t.is(s.state.core, core.core)
  t.is(core.state, core.core.state)
  t.alike(s.state.treeInfo().length, 2)
  await s.close()
})

suite('state.createSession / snapshot', async (t, { create }) => {
  const core = await create(t)
  await core.append('a')
  const st = await core.state.createSession('foo', false, null)
  t.is(st.length, 1)
  t.is(st.name, 'foo')
  await st.append([b4a.from('b')])
  t.is(st.length, 2)
  st.unref()
  const sn = await core.state.snapshot()
  t.is(sn.length, 1)
  t.is(sn.isSnapshot(), true)
  await core.append('c')
  t.is(sn.length, 1)
  sn.unref()
})

suite('state catchup', async (t, { create }) => {
  const core = await create(t)
  await core.append(['a', 'b', 'c'])
  const s = core.session({ name: 'n' })
  await s.ready()
  await core.append(['d', 'e'])
  let ap = 0,
    tr = []
  s.on('append', () => ap++)
  s.on('truncate', (l, f) => tr.push([l, f]))
  await s.state.catchup(5)
  t.is(s.length, 5)
  t.is(s.fork, 0)
  t.alike(await s.get(4), b4a.from('e'))
  t.alike([ap, tr], [1, []])
  await s.append('z')
  await s.state.catchup(5)
  t.alike([ap, tr], [2, [[5, 1]]])
  t.is(s.fork, 1)
  await t.exception(s.state.catchup(9))
  await s.close()
})

suite('move - snapshots', async (t, { Hypercore, createStorage }) => {
  const db = await createStorage(t)
  const core = new Hypercore(db)
  await core.ready()
  const sess = core.session({ name: 'snapshot' })
  await sess.append('1')
  await sess.append('2')
  await sess.append('3')
  await core.append('1')
  await core.append('2')
  await core.append('3')
  const snap = sess.snapshot()
  await snap.ready()
  t.is(snap.length, 3)
  const manifest = { prologue: { length: core.length, hash: await core.treeHash() } }
  const core2 = new Hypercore(db, Hypercore.key(Hypercore.parseManifest(manifest)), { manifest })
  await core2.ready()
  await core2.core.copyPrologue(core.state)
  await sess.state.moveTo(core2, core2.length)
  t.is(sess.length, 3)
  t.is(snap.length, 3)
  t.alike(await snap.get(1), b4a.from('2'))
  await sess.append('4')
  t.is(snap.length, 3)
  await snap.close()
  await sess.close()
  await core.close()
  await core2.close()
})

suite('move - unsigned / truncate', async (t, { Hypercore, createStorage }) => {
  const db = await createStorage(t)
  const core = new Hypercore(db)
  await core.ready()
  await core.append(['1', '2', '3'])
  const sess = core.session({ name: 's' })
  await sess.append(['4', '5'])
  const manifest = { prologue: { length: core.length, hash: await core.treeHash() } }
  const core2 = new Hypercore(db, Hypercore.key(Hypercore.parseManifest(manifest)), { manifest })
  await core2.ready()
  await core2.core.copyPrologue(core.state)
  const tr = []
  sess.on('truncate', (a, f) => tr.push([a, f]))
  await sess.state.moveTo(core2, core2.length)
  t.is(sess.length, 3)
  t.is(sess.fork, 1)
  t.alike(tr, [[5, 1]])
  await sess.close()
  await core.close()
  await core2.close()
})

suite('transferSession', async (t, { Hypercore, createStorage }) => {
  const db = await createStorage(t)
  const a = new Hypercore(db)
  await a.ready()
  const b = new Hypercore(db, b4a.alloc(32, 3))
  await b.ready()
  const s = a.session()
  await s.ready()
  let m
  s.on('migrate', (k) => {
    m = k
  })
  s.transferSession(b.core)
  t.alike(m, b.key)
  t.alike(s.key, b.key)
  t.is(b.core.activeSessions, 2)
  t.is(a.core.activeSessions, 1)
  s.transferSession(a.core)
  await s.close()
  await a.close()
  await b.close()
})

suite('lockExclusive', async (t, { create }) => {
  const core = await create(t)
  await core.core.lockExclusive()
  let r = false
  const s = core.session({ exclusive: true })
  s.ready().then(() => {
    r = true
  })
  await new Promise((r) => setTimeout(r, 30))
  t.is(r, false)
  core.core.unlockExclusive()
  await s.ready()
  t.is(r, true)
  await s.close()
})

suite('copyPrologue across stores', async (t, { create, replicate }) => {
  const a = await create(t)
  await a.append(['a', 'b', 'c'])
  await a.setUserData('x', b4a.from('y'))
  const m = { prologue: { length: 3, hash: await a.treeHash() }, signers: [{ publicKey: a.keyPair.publicKey }], quorum: 1 }
  const b = await create(t, { manifest: m, keyPair: a.keyPair })
  await b.core.copyPrologue(a.state)
  t.is(b.length, 3)
  t.is(b.contiguousLength, 3)
  t.alike(await b.get(1), b4a.from('b'))
  t.alike(await b.getUserData('x'), b4a.from('y'))
  await b.append('d')
  t.is(b.length, 4)
  const clone = await create(t, b.key)
  replicate(b, clone, t)
  t.alike(await clone.get(3), b4a.from('d'))
  t.alike(await clone.get(0), b4a.from('a'))
})

suite('copyPrologue bails if core is not the same', async (t, { create }) => {
  const a = await create(t)
  const b = await create(t, { manifest: { prologue: { hash: b4a.alloc(32), length: 1 } } })
  await a.append('a')
  await t.exception(b.core.copyPrologue(a.state), /Prologue does not match source/)
})

suite('copyPrologue can recover from bad additional / many', async (t, { create }) => {
  const a = await create(t)
  for (let i = 0; i < 100; i++) await a.append('b' + i)
  const b = await create(t, { manifest: { prologue: { hash: await a.treeHash(), length: a.length } } })
  await b.core.copyPrologue(a.state)
  t.is(b.contiguousLength, 100)
  for (let i = 0; i < 100; i += 9) t.is(b4a.toString(await b.get(i)), 'b' + i)
  await b.core.copyPrologue(a.state)
})
