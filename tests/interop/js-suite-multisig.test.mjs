// Logs that several sign: signatures that are put together, patches, prologues, and what is refused.

import b4a from 'b4a'
import crypto from 'hypercore-crypto'

import { outcome } from './support/both.mjs'
import { suite, suiteOfPairs } from './support/suite.mjs'

const pairs = [1, 2, 3].map((byte) => crypto.keyPair(b4a.alloc(32, byte)))

/** A manifest of which two of three sign, if nothing else is said. */
const manifestOf = (options) => ({ version: 1, signers: pairs.map(({ publicKey }) => ({ publicKey })), ...options })

/** Logs of the three, with the blocks that each of them has seen. */
const draftsOf = (create, t) => Promise.all(pairs.map((keyPair) => create(t, { keyPair, compat: false })))

/** What one of them says of the common log, whose first `length` blocks he has signed together with the rest of his own. */
async function partial (lib, common, draft, length = draft.length) {
  const signature = common.core.verifier.sign(draft.state.createTreeBatch(), draft.keyPair)
  const signer = common.manifest.signers.findIndex(({ publicKey }) => b4a.equals(publicKey, draft.keyPair.publicKey))
  return await lib('lib/multisig').partialSignature(draft.core, signer, length, draft.length, signature)
}

async function joint (lib, common, drafts, length) {
  const inputs = []
  for (const draft of drafts) inputs.push(await partial(lib, common, draft, length))
  return common.core.verifier.assemble(inputs)
}

async function blocksOf (core) {
  const blocks = []
  for (let i = 0; i < core.length; i++) blocks.push(b4a.toString(await core.get(i)))
  return blocks
}

for (const version of [0, 1, 2]) {
  suiteOfPairs(`two of three append and a reader follows, version ${version}`, async (t, { createA, createB, replicate, lib, note, Hypercore }) => {
    const common = await createA(t, { manifest: manifestOf({ version }) })
    t.alike(common.key, Hypercore.key(manifestOf({ version })))
    const [one, two] = await draftsOf(createA, t)
    for (const draft of [one, two]) await draft.append(['0', '1'])
    const signature = await joint(lib, common, [one, two], 2)
    note(await outcome(common.append(['0', '1'], { signature })), signature.byteLength)
    const reader = await createB(t, common.key)
    replicate(common, reader, t)
    await reader.download({ start: 0, end: 2 }).done()
    note(await blocksOf(reader), reader.manifest, b4a.equals(reader.state.signature, signature))
  })
}

suite('what is not signed by enough is not appended', async (t, { create, lib, note }) => {
  const common = await create(t, { manifest: manifestOf() })
  const [one, two, three] = await draftsOf(create, t)
  for (const draft of [one, two]) await draft.append('0')
  await three.append('other')
  const tried = async (drafts) => outcome(common.append('0', { signature: await joint(lib, common, drafts, 1) }))
  note((await tried([one])).error?.code, (await tried([one, one])).error?.code, (await tried([one, three])).error?.code, (await tried([])).error?.code)
  note((await outcome(common.append('0'))).error?.code, (await outcome(common.append('0', { signature: b4a.alloc(64) }))).error?.code, (await outcome(common.append('0', { keyPair: pairs[0] }))).error?.code)
  note(common.length, (await tried([one, two])).value, common.length)
})

for (const version of [0, 1]) {
  suiteOfPairs(`signatures of longer logs with what leads to them, version ${version}`, async (t, { createA, createB, replicate, lib, note }) => {
    const common = await createA(t, { manifest: manifestOf({ version, allowPatch: true }) })
    const [one, two, three] = await draftsOf(createA, t)
    await one.append(['0', '1', '2'])
    await two.append(['0', '1', '2', '3', '4', '5', '6'])
    const shorter = await partial(lib, common, one)
    const longer = await partial(lib, common, two, 3)
    note(shorter.patch, shorter.nodes, longer.patch, longer.nodes.map(({ index }) => index))
    const signature = common.core.verifier.assemble([shorter, longer])
    note(await outcome(common.append(['0', '1', '2'], { signature })))

    const reader = await createB(t, common.key)
    replicate(common, reader, t)
    note(b4a.toString(await reader.get(2)), reader.length)

    for (let i = 0; i < 300; i++) await two.append(`${i}`)
    await three.append(['0', '1', '2', '3', '4', '5'])
    for (const length of [4, 5, 6]) {
      const both = [await partial(lib, common, two, length), await partial(lib, common, three, length)]
      note(both.map(({ patch, nodes }) => [patch, nodes?.map(({ index }) => index)]))
      note(await outcome(common.append(`${length - 1}`, { signature: common.core.verifier.assemble(both) })))
    }
    await reader.get(5)
    note(await blocksOf(reader))
  })
}

suite('no patch is taken where none is allowed, nor a wrong one', async (t, { create, lib, note }) => {
  const [one, two] = await draftsOf(create, t)
  await one.append(['0', '1'])
  await two.append(['0', '1', '2'])
  for (const allowPatch of [false, true]) {
    const common = await create(t, { manifest: manifestOf({ allowPatch }) })
    const inputs = [await partial(lib, common, one), await partial(lib, common, two, 2)]
    const appended = (inputs) => outcome(common.append(['0', '1'], { signature: common.core.verifier.assemble(inputs) })).then(({ value, error }) => value ?? error.code)
    note(await appended([inputs[0], { ...inputs[1], nodes: inputs[1].nodes.map((node) => ({ ...node, size: node.size + 1 })) }]))
    note(await appended([inputs[0], { ...inputs[1], patch: 2 }]))
    note(await appended(inputs))
  }
})

suiteOfPairs('blocks that the manifest fixes need no signature', async (t, { createA, createB, replicate, lib, note }) => {
  const drafts = await draftsOf(createA, t)
  for (const draft of drafts) await draft.append(['0', '1'])
  const prologue = { hash: await drafts[0].treeHash(), length: 2 }
  const common = await createA(t, { manifest: manifestOf({ prologue }) })
  note((await outcome(common.append('0'))).error?.code, (await outcome(common.append(['0', 'x']))).error?.code, common.length)
  note((await outcome(common.append(['0', '1'], { signature: b4a.alloc(0) }))).value ?? 'refused', common.length)
  if (common.length === 0) await common.core.copyPrologue(drafts[0].state)
  note(common.length, (await outcome(common.truncate(1))).error?.code, (await outcome(common.truncate(0))).error?.code)
  for (const draft of drafts) await draft.append('2')
  note(await outcome(common.append('2', { signature: await joint(lib, common, drafts.slice(1), 3) })))
  const reader = await createB(t, common.key)
  replicate(common, reader, t)
  note(b4a.toString(await reader.get(0)), b4a.toString(await reader.get(2)), reader.manifest.prologue)
})

suite('a log of several is cut with a signature of several', async (t, { create, lib, note }) => {
  const common = await create(t, { manifest: manifestOf() })
  const drafts = await draftsOf(create, t)
  for (const draft of drafts) await draft.append(['0', '1', '2'])
  await common.append(['0', '1', '2'], { signature: await joint(lib, common, drafts, 3) })
  for (const draft of drafts) await draft.truncate(1)
  note((await outcome(common.truncate(1))).error?.code, common.length)
  note((await outcome(common.truncate(1, { signature: await joint(lib, common, drafts.slice(0, 1), 1) }))).error?.code)
  note(await outcome(common.truncate(1, { signature: await joint(lib, common, drafts, 1) })), common.length, common.fork)
})

suite('a branch is committed with a signature of several', async (t, { create, lib, note }) => {
  const common = await create(t, { manifest: manifestOf() })
  const drafts = await draftsOf(create, t)
  for (const draft of drafts) await draft.append(['0', '1', '2'])
  const branch = common.session({ name: 'branch' })
  await branch.append(['0', '1', '2'])
  note((await outcome(common.commit(branch))).error?.code ?? 'committed', common.length)
  note(await outcome(common.commit(branch, { length: 2, signature: await joint(lib, common, drafts, 3) })).then(({ value, error }) => value ?? error.code))
  note(await outcome(common.commit(branch, { signature: await joint(lib, common, drafts, 3) })), common.length)
  await branch.close()
})

suite('a log of several is opened again', async (t, { createStored, create, lib, note }) => {
  const stored = await createStored(t)
  const first = await stored({ manifest: manifestOf({ allowPatch: true }), keyPair: pairs[2] })
  await first.ready()
  const { key, manifest } = first
  const drafts = await draftsOf(create, t)
  for (const draft of drafts) await draft.append('0')
  await first.append('0', { signature: await joint(lib, first, drafts, 1) })
  await first.close()
  const again = await stored()
  await again.ready()
  note(b4a.equals(again.key, key), again.manifest, again.length, again.writable, again.keyPair.publicKey, b4a.toString(await again.get(0)))
  for (const draft of drafts) await draft.append('1')
  note(await outcome(again.append('1', { signature: await joint(lib, again, drafts, 2) })))
  await again.close()
  note((await outcome((await stored({ manifest: { ...manifest, quorum: 3 } })).ready())).error?.code)
})

suite('what signs, and what does not', (t, { Hypercore, lib, note }) => {
  const Verifier = lib('lib/verifier')
  const said = (run) => { try { return run() } catch (error) { return [error.code, error.message] } }
  const [{ publicKey }, other] = pairs
  for (const manifest of [
    { signers: [{ publicKey, signature: 'secp256k1' }] }, { signers: [{}] }, { signers: [null] }, { hash: 'sha256', signers: [{ publicKey }] },
    { quorum: -1, signers: [{ publicKey }] }, { quorum: 2, signers: [{ publicKey }] }, { quorum: 0, signers: [] }, { signers: [] }, {}, { version: 1, linked: [other.publicKey] },
    { linked: [other.publicKey], signers: [{ publicKey }] }, { linked: ['x'] }, { linked: [b4a.alloc(31)] }, { userData: b4a.from('u') }, { version: 1, userData: b4a.from('u') },
    { prologue: { hash: b4a.alloc(31), length: 1 } }, { prologue: { hash: b4a.alloc(32), length: -1 } }, { prologue: {} }, { prologue: { hash: b4a.alloc(32), length: 0 } }
  ]) {
    note(said(() => Verifier.createManifest(manifest)))
    note(said(() => Hypercore.key(manifest)))
  }
  for (const count of [1, 2, 3]) {
    const verifier = Verifier.fromManifest(manifestOf({ signers: pairs.slice(0, count).map(({ publicKey }) => ({ publicKey })) }))
    note(verifier.quorum, verifier.version, verifier.compat, verifier.allowPatch, verifier.signers.length, verifier.hash, verifier.prologue)
  }
})
