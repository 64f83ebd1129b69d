// Manifests, signatures of several, proofs, groups and upkeep, in the manner of upstream's own tests.

import b4a from 'b4a'
import crypto from 'hypercore-crypto'
import c from 'compact-encoding'

import { eventually } from './support/both.mjs'
import { proofOf } from './support/proofs.mjs'
import { sleep, suite, suiteOfPairs } from './support/suite.mjs'

const kp = (byte) => crypto.keyPair(b4a.alloc(32, byte))

/** A head that signs as one byte. */
const batch = () => ({
  length: 7,
  fork: 0,
  hash: () => b4a.alloc(32, 1),
  signable: () => b4a.alloc(32, 1),
  signableCompat: () => b4a.alloc(32, 1),
  clone: batch
})

suite('create verifier - static signer', async (t, { lib }) => {
  const Verifier = lib('lib/verifier.js')
  const caps = lib('lib/caps.js')
  const k = kp(1)
  const m = { quorum: 1, signers: [{ signature: 'ed25519', namespace: caps.DEFAULT_NAMESPACE, publicKey: k.publicKey }] }
  const v = Verifier.fromManifest(Verifier.createManifest(m))
  const s = v.sign(batch(), k)
  t.ok(v.verify(batch(), s))
  t.is(s.byteLength, 68)
  t.absent(v.verify(batch(), b4a.alloc(68)))
})

suite('create verifier - single signer no sign', async (t, { lib }) => {
  const Verifier = lib('lib/verifier.js')
  const k = kp(1),
    k2 = kp(2)
  const v = Verifier.fromManifest({ signers: [{ publicKey: k.publicKey }] })
  t.exception(() => v.sign(batch(), k2))
  t.exception(() => v.sign(batch(), null))
  t.exception(() => v.sign(batch(), { publicKey: k.publicKey }))
})

suite('create verifier - multi signer', async (t, { lib }) => {
  const Verifier = lib('lib/verifier.js')
  const a = kp(1),
    b = kp(2)
  const m = Verifier.createManifest({
    allowPatch: false,
    quorum: 2,
    signers: [{ publicKey: a.publicKey }, { publicKey: b.publicKey }]
  })
  const v = Verifier.fromManifest(m)
  const sa = crypto.sign(batch().signable(v.manifestHash), a.secretKey)
  const sb = crypto.sign(batch().signable(v.manifestHash), b.secretKey)
  const s = v.assemble([
    { signer: 0, signature: sa, patch: 0 },
    { signer: 1, signature: sb, patch: 0 }
  ])
  t.ok(v.verify(batch(), s))
  const bad = v.assemble([
    { signer: 0, signature: sa, patch: 0 },
    { signer: 0, signature: sa, patch: 0 }
  ])
  t.absent(v.verify(batch(), bad))
  t.ok(s.byteLength > 128)
})

suite('create verifier - defaults / compat', async (t, { lib }) => {
  const Verifier = lib('lib/verifier.js')
  const caps = lib('lib/caps.js')
  const k = kp(1)
  t.alike(Verifier.defaultSignerManifest(k.publicKey), {
    version: 1,
    hash: 'blake2b',
    allowPatch: false,
    quorum: 1,
    signers: [{ signature: 'ed25519', namespace: caps.DEFAULT_NAMESPACE, publicKey: k.publicKey }],
    prologue: null,
    linked: null,
    userData: null
  })
  const m = Verifier.defaultSignerManifest(k.publicKey)
  t.is(Verifier.isCompat(k.publicKey, m), true)
  t.is(Verifier.isCompat(Verifier.manifestHash(m), m), false)
  t.alike(Verifier.decodeManifest(Verifier.encodeManifest(m)), m)
  t.ok(Verifier.isValidManifest(Verifier.manifestHash(m), m))
  const v = new Verifier(k.publicKey, m)
  t.is(v.compat, true)
  t.is(v.version, 0)
  const s = v.sign(batch(), k)
  t.is(s.byteLength, 64)
  t.ok(v.verify(batch(), s))
  const v0 = Verifier.fromManifest({ version: 0, signers: [{ publicKey: k.publicKey }] })
  t.ok(v0.verify(batch(), v0.sign(batch(), k)))
  t.is(Verifier.createManifest(null), null)
})

suite('signableLength', async (t, { lib }) => {
  const multisig = lib('lib/multisig.js')
  t.is(multisig.signableLength([1, 5, 3], 2), 3)
  t.is(multisig.signableLength([1, 5, 3], 4), 0)
  t.is(multisig.signableLength([1, 5], 0), 5)
})

suite('tree batch', async (t, { create }) => {
  const a = await create(t)
  for (let i = 0; i < 11; i++) {
    const tb = a.state.createTreeBatch()
    tb.append(b4a.from('x' + i))
    await a.append('x' + i)
    t.alike(tb.hash(), await a.treeHash())
    t.alike(tb.signable(a.key), await a.signable())
    t.is(tb.byteLength, a.byteLength)
  }
  const r = a.state.createTreeBatch()
  await r.restore(5)
  t.alike(r.hash(), await a.treeHash(5))
  t.alike(a.state.hash(), await a.treeHash())
  t.alike(a.core.header.tree.rootHash, await a.treeHash())
  t.is(a.core.header.tree.length, 11)
  t.is(a.state.signature.byteLength, 68)
})

suite('verifyFullyRemote / missingNodes / applyProof', async (t, { create }) => {
  const core = await create(t, { keyPair: kp(3) })
  await core.append(['a', 'b', 'c'])
  const clone = await create(t, core.key)
  const p = await core.proof({ block: { index: 1, nodes: await clone.missingNodes(1) }, upgrade: { start: 0, length: 3 } })
  p.manifest = core.manifest
  const h = await clone.verifyFullyRemote(p)
  t.is(h.length, 3)
  t.alike(h.hash(), await core.treeHash())
  t.ok(await clone.applyProof(p))
  t.is(clone.length, 3)
  t.alike(await clone.get(1), b4a.from('b'))
  p.upgrade.signature = b4a.alloc(68)
  await t.exception(clone.verifyFullyRemote(p))
})

suite('setGroup', async (t, { createStored }) => {
  const st = await createStored(t)
  let core = await st()
  await core.ready()
  const topic = b4a.alloc(32, 7)
  const up = []
  core.core.ongroupupdate = (g, x) => up.push([b4a.toString(g, 'hex'), x.length, x.fork, b4a.equals(x.key, core.key)])
  await core.append('a')
  t.is(up.length, 0)
  await core.setGroup(topic)
  await core.append('b')
  t.alike(up, [[b4a.toString(topic, 'hex'), 2, 0, true]])
  await core.truncate(1)
  t.is(up.length, 2)
  await t.exception(core.setGroup(b4a.alloc(32, 8)))
  t.alike(core.core.header.group.key, topic)
  await core.close()
  core = await st({ group: topic })
  await core.ready()
  t.alike(core.core.header.group.key, topic)
  await core.close()
  core = await st({ group: b4a.alloc(32, 9) })
  await t.exception(core.ready())
})

suite('mark n sweep', async (t, { create }) => {
  const core = await create(t)
  for (let i = 0; i < 20; i++) await core.append('b' + i)
  await core.startMarking()
  await core.get(2)
  await core.get(9)
  await core.markBlock(11, 13)
  await core.sweep()
  const has = []
  for (let i = 0; i < 20; i++) if (await core.has(i)) has.push(i)
  t.alike(has, [2, 9, 11, 12])
  await t.exception(
    (async () => {
      await core.startMarking()
      await core.startMarking()
    })()
  )
})

suiteOfPairs('push', async (t, { replicate, createA, createB }) => {
  const a = await createA(t)
  const b = await createB(t, a.key, { allowPush: true })
  replicate(a, b, t)
  await a.append(['a', 'b'])
  await eventually(() => a.peers[0]?.remoteAllowPush && a.peers[0].remoteLength === 2)
  await a.replicator.push(1)
  await eventually(() => b.has(1))
  t.is(await b.has(0), false)
})

suiteOfPairs('pushOnly', async (t, { replicate, createA, createB }) => {
  const a = await createA(t)
  const b = await createB(t, a.key, { allowPush: true, pushOnly: true })
  replicate(a, b, t)
  await a.append(['a', 'b'])
  await eventually(() => a.peers[0]?.remoteAllowPush)
  await sleep(50)
  t.is(b.length, 0)
  await a.replicator.push(1)
  await eventually(() => b.has(1))
  t.is(b.length, 2)
  t.alike(await b.get(0, { force: true }), b4a.from('a'))
})

suiteOfPairs('wants', async (t, { Hypercore, replicate, createA, createB }) => {
  const a = await createA(t)
  await a.append(new Array(100).fill('x'))
  const b = await createB(t, a.key)
  replicate(a, b, t)
  await b.get(50)
  Hypercore.enable(Hypercore.SMALL_WANTS)
  Hypercore.enable(0)
  t.is(Hypercore.SMALL_WANTS, 1)
})

suite('snapshot of snapshot', async (t, { create }) => {
  const a = await create(t)
  await a.append('a')
  const s = a.snapshot()
  await s.ready()
  await a.append('b')
  const s2 = s.snapshot()
  await s2.ready()
  t.is(s2.length, 1)
  const s3 = s.session()
  await s3.ready()
  t.is(s3.length, 1)
  t.is(s3.snapshotted, false)
  for (const x of [s, s2, s3]) await x.close()
})

suite('user data', async (t, { create }) => {
  const core = await create(t, { userData: { a: b4a.from('1') } })
  t.alike(await core.getUserData('a'), b4a.from('1'))
  await core.setUserData('a', 'x')
  t.alike(await core.getUserData('a'), b4a.from('x'))
  await core.setUserData('a', null)
  t.is(await core.getUserData('a'), null)
  t.is(await core.getUserData('q'), null)
})

suite('encryption reset / session', async (t, { create }) => {
  const k = b4a.alloc(32, 5)
  const core = await create(t, { encryption: { key: k } })
  await core.append(['hello', 'world'])
  const s = core.session()
  await s.ready()
  t.alike(await s.get(0), b4a.from('hello'))
  const raw = await core.get(0, { raw: true })
  t.is(raw.byteLength, 13)
  t.is(core.padding, 8)
  await s.setEncryption(null)
  t.is(s.padding, 0)
  t.is((await s.get(0)).byteLength, 13)
  await s.setEncryptionKey(k)
  t.alike(await s.get(1), b4a.from('world'))
  const info = await core.info()
  t.is(info.byteLength, 10)
  t.is(info.padding, 8)
  await s.close()
  const plain = await core.get(0, { decrypt: false })
  t.is(plain.byteLength, 5)
})

suite('streams', async (t, { create }) => {
  const core = await create(t)
  await core.append(['hello', 'world'])
  const all = []
  for await (const d of core.createReadStream()) all.push(b4a.toString(d))
  t.alike(all, ['hello', 'world'])
  const bs = core.createByteStream({ byteOffset: 3, byteLength: 4 })
  const bb = []
  for await (const d of bs) bb.push(d)
  t.is(b4a.toString(b4a.concat(bb)), 'lowo')
  const ws = core.createWriteStream()
  ws.write('a')
  ws.write('b')
  ws.end()
  await new Promise((r) => ws.on('finish', r))
  t.is(core.length, 4)
})

suite('timeouts', async (t, { create }) => {
  const core = await create(t, b4a.alloc(32, 3), { timeout: 20 })
  await t.exception(core.get(0))
  await t.exception(core.get(0, { timeout: 5 }))
  const s = core.session({ timeout: 1 })
  await t.exception(s.get(1))
  await s.close()
  await t.exception(core.seek(4))
})

suite('messages by either path, and switches', async (t, { lib, Hypercore, create }) => {
  const messages = lib('lib/messages')
  t.is(messages.manifest, lib('messages').manifest)
  t.is(lib('lib/feature-flags').SMALL_WANTS, Hypercore.SMALL_WANTS)
  const core = await create(t)
  // As a request for signatures carries it.
  const state = { start: 0, end: 1, buffer: null }
  messages.manifest.preencode(state, core.manifest)
  state.buffer = b4a.alloc(state.end)
  state.start = 1
  messages.manifest.encode(state, core.manifest)
  t.is(state.start, state.end)
  state.start = 1
  const manifest = messages.manifest.decode(state)
  t.is(state.start, state.end)
  t.alike(lib('lib/verifier').manifestHash(manifest), core.key)
})

const letters = (count) => Array.from({ length: count }, (_, i) => b4a.from('#' + i + 'x'.repeat(i % 3)))

suite('merkle tree - what is told of it', async (t, { create, note, lib }) => {
  const { MerkleTree } = lib('lib/merkle-tree')
  const core = await create(t)
  await core.append(letters(19))
  const { state } = core
  const told = []
  for (const length of [0, 1, 5, 16, 19]) told.push((await MerkleTree.getRoots(state, length)).map(({ index, size }) => [index, size]), await MerkleTree.upgradeable(state, length))
  told.push(await MerkleTree.upgradeable(state, 20), await MerkleTree.get(state, 3), await MerkleTree.get(state, 400))
  for (const index of [0, 1, 7, 22, 24, 38]) told.push(await MerkleTree.byteOffset(state, index))
  for (const index of [0, 1, 7, 22]) told.push(await MerkleTree.byteRange(state, index))
  for (const [index, length] of [[0, 19], [7, 19], [3, 8], [36, 19], [40, 19], [1, 2]]) told.push(MerkleTree.maxMissingNodes(index, length), await MerkleTree.missingNodes(state, index, length))
  told.push(MerkleTree.span(state.roots), MerkleTree.size(state.roots), b4a.toString(MerkleTree.hash(state), 'hex'))
  for (const padding of [0, 1]) {
    for (let bytes = 0; bytes <= state.byteLength; bytes++) {
      const seek = MerkleTree.seek(state, bytes, padding)
      told.push(await seek.update(), seek.start, seek.end)
    }
  }
  note(...told)
  for (const length of [20, 64]) await t.exception(MerkleTree.getRoots(state, length), /INVALID_OPERATION/)
})

suiteOfPairs('merkle tree - proofs of one end, checked at the other', async (t, { createA, createB, note, lib }) => {
  const { MerkleTree } = lib('lib/merkle-tree')
  const core = await createA(t)
  const clone = await createB(t, core.key)
  for (const [length, upgrade, block] of [[3, { start: 0, length: 3 }, null], [3, null, 1], [3, null, 0], [8, { start: 3, length: 5 }, 7], [13, { start: 8, length: 1 }, 4], [13, null, 2], [16, { start: 13, length: 3 }, null]]) {
    if (core.length < length) await core.append(letters(length).slice(core.length))
    const nodes = block === null ? 0 : await MerkleTree.missingNodes(clone.state, 2 * block, clone.state.length)
    const proof = await proofOf(MerkleTree, core.core, { upgrade, block: block === null ? null : { index: block, nodes } })
    const batch = await MerkleTree.verify(clone.state, proof)
    note([nodes, batch.length, batch.upgraded, batch.commitable(), batch.nodes.map(({ index }) => index), upgrade && MerkleTree.upgradeLength(proof.upgrade)])
    proof.manifest = core.manifest
    t.ok(await clone.core.verify(proof))
    t.is(clone.state.length, Math.max(clone.state.length, batch.length))
  }
  t.alike(b4a.toString(clone.state.hash(), 'hex'), b4a.toString(core.state.hash(), 'hex'))
  const wrong = await proofOf(MerkleTree, core.core, { block: { index: 2, nodes: 0 } })
  wrong.block.value = b4a.from('something else')
  await t.exception(MerkleTree.verify(clone.state, wrong), /INVALID_(CHECKSUM|OPERATION)/)
})

suite('merkle tree - where two histories part', async (t, { create, note, lib }) => {
  const { MerkleTree, ReorgBatch } = lib('lib/merkle-tree')
  for (const [shared, here, there] of [[0, 4, 5], [8, 2, 3], [5, 0, 9], [7, 3, 1], [12, 20, 21], [3, 0, 0]]) {
    const [one, other] = [await create(t), await create(t)]
    await one.append(letters(shared))
    await other.append(letters(shared))
    if (here > 0) await one.append(Array.from({ length: here }, (_, i) => 'here ' + i))
    if (there > 0) await other.append(Array.from({ length: there }, (_, i) => 'there ' + i))
    const batch = new ReorgBatch(one.state)
    await MerkleTree.reorg(one.state, await proofOf(MerkleTree, other.core, { upgrade: { start: 0, length: other.length } }), batch)
    const asked = []
    while (!batch.finished) {
      asked.push([batch.want.start, batch.want.end, batch.want.nodes])
      await batch.update(await proofOf(MerkleTree, other.core, { hash: { index: 2 * (batch.want.end - 1), nodes: batch.want.nodes } }))
    }
    t.is(batch.ancestors, shared)
    note(asked, batch.length, batch.byteLength, b4a.equals(batch.hash(), other.state.hash()))
  }
})

suite('merkle tree - heads that are not stored', async (t, { create, note, lib }) => {
  const { MerkleTree } = lib('lib/merkle-tree')
  const core = await create(t)
  await core.append(letters(5))
  const batch = core.state.createTreeBatch()
  t.alike(batch.signature, core.state.signature)
  const rx = core.state.storage.read()
  const proving = batch.proof(rx, { block: null, hash: null, seek: null, upgrade: { start: 0, length: 5 } })
  rx.tryFlush()
  const { upgrade } = await (await proving).settle()
  note(upgrade.nodes, upgrade.additionalNodes, b4a.equals(upgrade.signature, core.state.signature), MerkleTree.signable(core.state, b4a.alloc(32, 1)).byteLength)
  for (const block of letters(9).slice(5)) batch.append(block)
  const told = [batch.length, batch.byteLength, batch.nodes.map(({ index }) => index), await batch.byteRange(4), await batch.byteOffset(18), (await batch.get(16)).size, await batch.get(18)]
  const kept = batch.clone()
  kept.prune(5)
  told.push(kept.nodes.map(({ index }) => index).sort((a, b) => a - b))
  batch.checkout(7, core.state.roots)
  told.push(batch.length, batch.byteLength, batch.roots.map(({ index }) => index), batch.nodes.map(({ index }) => index).sort((a, b) => a - b), batch.signature)
  const cut = await MerkleTree.truncate(core.state, 3, core.state.createTreeBatch(), 4)
  told.push(cut.length, cut.byteLength, cut.fork, cut.ancestors, cut.upgraded, b4a.equals(cut.hash(), await core.treeHash(3)))
  const tx = core.state.storage.write()
  t.exception(() => cut.commit(), /INVALID_OPERATION/)
  told.push(cut.committed, cut.commit(tx) === cut, cut.committed, cut.truncated)
  const same = core.state.createTreeBatch()
  same.append(b4a.from('more'))
  told.push(await same.downgrade(), same.upgraded)
  await core.append('more')
  told.push(await same.downgrade(), same.upgraded, same.commitable())
  t.exception(() => batch.commit(core.state.storage.write()), /INVALID_OPERATION/)
  note(...told)
})
