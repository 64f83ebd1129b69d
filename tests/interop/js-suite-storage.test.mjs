// The records of a core as they are stored: read, changed and looked through by programs, as upstream's storage lets them.

import b4a from 'b4a'

import { eventually } from './support/both.mjs'
import { sleep, suite, suiteOfPairs, unreplicate } from './support/suite.mjs'

/** Reads records by the names of their getters. */
async function read (core, ...gets) {
  const rx = core.state.storage.read()
  const values = gets.map(([name, ...args]) => rx[`get${name}`](...args))
  rx.tryFlush()
  return await Promise.all(values)
}

/** Takes a node of the tree from what is stored, and closes the core. */
async function loseNode (core, index) {
  const tx = core.core.storage.write()
  tx.deleteTreeNode(index)
  await tx.flush()
  await core.close()
}

async function collect (stream) {
  const all = []
  for await (const entry of stream) all.push(entry)
  return all
}

suite('what is stored of a log', async (t, { note, create }) => {
  const core = await create(t, { keyPair: { publicKey: b4a.alloc(0), secretKey: null }, ...pair() })
  await core.append(['a', 'bc', 'def'])
  await core.setUserData('name', 'value')
  const [auth, head, hints, dependency, sessions, group] =
    await read(core, ['Auth'], ['Head'], ['Hints'], ['Dependency'], ['Sessions'], ['Group'])
  note(auth.key, auth.discoveryKey, auth.manifest, auth.keyPair, auth.encryptionKey)
  note({ ...head, timestamp: head.timestamp > 0 }, hints, dependency, sessions, group)
  note(await read(core, ['Block', 0], ['Block', 2], ['Block', 3], ['TreeNode', 0], ['TreeNode', 1], ['TreeNode', 3], ['TreeNode', 4]))
  const [page, none] = await read(core, ['BitfieldPage', 0], ['BitfieldPage', 1])
  note(page.byteLength, page.subarray(0, 8), none)
  note(await read(core, ['UserData', 'name'], ['UserData', 'none'], ['Mark', 0], ['Local', b4a.from('x')]))
  const rx = core.state.storage.read()
  const has = [rx.hasTreeNode(1), rx.hasTreeNode(3)]
  rx.tryFlush()
  note(await Promise.all(has))
})

suite('pages of a log of many blocks', async (t, { note, createStored }) => {
  const stored = await createStored(t)
  let core = await stored(pair())
  await core.append(Array.from({ length: 300 }, (_, i) => b4a.from([i])))
  await core.clear(200, 210)
  note(await read(core, ['BitfieldPage', 0]), await collect(core.state.storage.createBitfieldStream()))
  const page = b4a.alloc(4096, 255)
  page.set([0, 0, 1], 30)
  const tx = core.state.storage.write()
  tx.putBitfieldPage(0, page)
  await tx.flush()
  note(await read(core, ['BitfieldPage', 0]))
  await core.close()
  core = await stored(pair())
  await core.ready()
  note([0, 199, 200, 239, 240, 255, 256, 257, 264, 299].map((index) => core.core.bitfield.get(index)))
})

suite('records that a program changes', async (t, { note, createStored }) => {
  const stored = await createStored(t)
  let core = await stored(pair())
  await core.ready()
  await core.append(['a', 'b', 'c', 'd', 'e'])
  const tx = core.state.storage.write()
  tx.putLocal(b4a.from('k1'), b4a.from('v1'))
  tx.putLocal(b4a.from('k2'), b4a.from('v2'))
  tx.putUserData('u', 'text')
  tx.putMark(0, b4a.alloc(4096, 1))
  tx.deleteBlock(1)
  note(await tx.flush())
  note(await read(core, ['Local', b4a.from('k1')], ['Local', b4a.from('k3')], ['UserData', 'u'], ['Block', 1], ['Block', 2]))
  const more = core.state.storage.write()
  more.deleteLocalRange(b4a.from('k2'), null)
  more.deleteUserData('u')
  more.deleteMarkRange(0, -1)
  more.deleteBlockRange(3, -1)
  more.deleteTreeNodeRange(6, 8)
  await more.flush()
  note(await read(core, ['Local', b4a.from('k1')], ['Local', b4a.from('k2')], ['UserData', 'u'], ['Mark', 0], ['Block', 2], ['Block', 3], ['TreeNode', 6], ['TreeNode', 8]))
  await core.close()
  core = await stored()
  await core.ready()
  note(core.length, await core.has(1), await core.has(2), await core.get(2))
  const head = await read(core, ['Head'])
  const back = core.state.storage.write()
  back.setHead({ ...head[0], timestamp: 5 })
  back.setHints({ contiguousLength: 1, remoteContiguousLength: 7, recovering: 0 })
  await back.flush()
  note((await read(core, ['Head'], ['Hints'])).map((record) => ({ ...record })))
  await t.exception(async () => { core.state.storage.write().putLocal(b4a.alloc(3000), b4a.alloc(1)) })
})

suite('streams of records', async (t, { note, create }) => {
  const core = await create(t, pair())
  await core.append(['a', 'b', 'c', 'd', 'e'])
  const nodes = await collect(core.state.storage.createTreeNodeStream())
  // Upstream clears nodes along with blocks, where nothing else needs them.
  await core.clear(1, 3)
  await core.setUserData('x', '1')
  const { storage } = core.state
  note(await collect(storage.createBlockStream()))
  note(await collect(storage.createBlockStream({ gte: 1, lt: 4 })))
  note(await collect(storage.createBlockStream({ gt: 0, lte: 4, reverse: true })))
  note(nodes)
  note((await collect(storage.createBitfieldStream())).map(({ index, page }) => [index, page.subarray(0, 4)]))
  note(await collect(storage.createUserDataStream()))
})

suite('records of a branch', async (t, { note, create }) => {
  const core = await create(t, pair())
  await core.append(['a', 'b', 'c'])
  const branch = core.session({ name: 'one' })
  await branch.ready()
  await branch.append(['d', 'e'])
  note(await read(core, ['Sessions']))
  const [head, dependency, block, shared] = await read(branch, ['Head'], ['Dependency'], ['Block', 3], ['Block', 1])
  // Upstream goes on to keep the signature of the log, which is not one over the branch.
  note(head.fork, head.length, head.rootHash, dependency, block, shared, branch.state.storage.getDependencyLength())
  note(await collect(branch.state.storage.createBlockStream()))
  await branch.close()
})

suite('an audit of a log that is whole', async (t, { note, create }) => {
  for (const blocks of [0, 1, 2, 5, 70]) {
    const core = await create(t)
    if (blocks > 0) await core.append(Array.from({ length: blocks }, (_, index) => `block ${index}`))
    note(await core.core.audit(), await core.core.audit({ tree: false }), await core.core.audit({ blocks: false, bitfield: false, dryRun: true }))
  }
})

suite('an audit of blocks that are lost or wrong', async (t, { note, create }) => {
  const core = await create(t)
  await core.append(['a', 'b', 'c', 'd', 'e', 'f'])
  const tx = core.core.storage.write()
  tx.deleteBlock(1)
  tx.putBlock(3, b4a.from('wrong'))
  await tx.flush()
  note(await core.core.audit({ dryRun: true }), await core.has(1), await core.has(3))
  note(await core.core.audit(), await core.has(1), await core.has(3))
  note(await core.core.audit())
})

suite('an audit of nodes that are lost or wrong', async (t, { note, create }) => {
  const core = await create(t)
  await core.append(['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'])
  const tx = core.core.storage.write()
  tx.deleteTreeNode(1)
  tx.putTreeNode({ index: 10, size: 1, hash: b4a.alloc(32, 1) })
  await tx.flush()
  note(await core.core.audit({ dryRun: true }))
  note(await core.core.audit())
  note(await core.core.audit())
  note((await read(core, ['TreeNode', 7], ['TreeNode', 3], ['TreeNode', 11], ['TreeNode', 0], ['TreeNode', 8])).map((node) => node !== null))
})

suite('an audit of a log without a root', async (t, { note, createStored }) => {
  const stored = await createStored(t)
  let core = await stored(pair())
  await core.ready()
  await core.append(['a', 'b', 'c'])
  await loseNode(core, 1)
  core = await stored()
  await core.ready()
  note(core.length, core.state.roots.length, core.core._repairMode)
  note(await core.core.audit().then((found) => found, (error) => error.code))
})

suite('nodes that are lost, from a proof of somebody', async (t, { note, create, createStored }) => {
  const whole = await create(t, pair())
  const blocks = ['a', 'b', 'c', 'd', 'e', 'f', 'g']
  await whole.append(blocks)
  for (const index of [1, 3, 9]) {
    const stored = await createStored(t)
    let core = await stored(pair())
    await core.ready()
    await core.append(blocks)
    await loseNode(core, index)
    core = await stored()
    await core.ready()
    note(core.length, core.state.roots.length, (await read(core, ['TreeNode', index]))[0])
    note(await core.recoverFromRemoteProof(await whole.generateRemoteProofForTreeNode(index)))
    note((await read(core, ['TreeNode', index]))[0])
    await core.close()
    core = await stored()
    await core.ready()
    await core.append('h')
    note(core.length, core.state.roots.length, await core.treeHash())
    await core.close()
  }
})

suiteOfPairs('roots that are lost, from a peer', async (t, { note, createB, createStored, replicate }) => {
  const stored = await createStored(t)
  let core = await stored(pair())
  await core.append(['a', 'b', 'c', 'd', 'e', 'f', 'g'])
  const peer = await createB(t, core.key)
  const streams = replicate(core, peer)
  await peer.download({ start: 0, end: 7 }).done()
  await unreplicate(streams)
  await loseNode(core, 3)
  core = await stored()
  await core.ready()
  const events = []
  for (const name of ['repairing', 'repaired', 'repair-failed']) {
    core.on(name, (proof) => { events.push([name, proof?.upgrade?.length, proof?.upgrade?.nodes.map(({ index }) => index)]) })
  }
  note(core.length, core.state.roots.length)
  replicate(core, peer)
  await eventually(() => events.some(([name]) => name === 'repaired'), 'the repair')
  note(events, (await read(core, ['TreeNode', 3]))[0])
  await core.close()
  core = await stored()
  await core.append('h')
  note(core.length, await core.treeHash())
})

suiteOfPairs('roots that are lost, asked for once a peer has them', async (t, { note, createB, createStored, replicate }) => {
  const stored = await createStored(t)
  let core = await stored(pair())
  await core.append(['a', 'b', 'c', 'd', 'e', 'f', 'g'])
  const [late, full] = [await createB(t, core.key), await createB(t, core.key)]
  const streams = replicate(core, full)
  await full.download({ start: 0, end: 7 }).done()
  await unreplicate(streams)
  await loseNode(core, 3)
  core = await stored()
  await core.ready()
  const events = []
  for (const name of ['repairing', 'repaired', 'repair-failed']) core.on(name, (proof) => { events.push([name, proof?.upgrade?.length]) })
  note(core.replicator.pushOnly, core.recoverTreeNodeFromPeers(), core.replicator.pushOnly, events)
  replicate(core, late)
  await eventually(() => core.peers.length === 1)
  await sleep(200)
  note(events)
  replicate(late, full)
  await eventually(() => late.length === 7)
  note(events, core.length)
  core.recoverTreeNodeFromPeers()
  await eventually(() => events.some(([name]) => name === 'repaired'), 'the repair')
  note(events, core.replicator.pushOnly)
  await core.close()
  core = await stored()
  await core.append('h')
  note(core.length, await core.treeHash(), core.replicator.pushOnly)
})

suite('a writer that may have forgotten something hears its peers first', async (t, { note, create, createStored, replicate }) => {
  const stored = await createStored(t)
  let core = await stored(pair())
  await core.ready()
  await core.append('a')
  note(core.recovering)
  const tx = core.core.storage.write()
  tx.setHints({ contiguousLength: 1, remoteContiguousLength: 0, recovering: 5 })
  await tx.flush()
  await core.close()
  core = await stored()
  await core.ready()
  note(core.recovering)
  const peer = await create(t, core.key)
  replicate(core, peer, t)
  await peer.get(0)
  await core.append('b')
  note(core.recovering, core.length)
})

function pair () {
  const publicKey = b4a.from('8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c', 'hex')
  const secretKey = b4a.concat([b4a.alloc(32, 1), publicKey])
  return { keyPair: { publicKey, secretKey } }
}

suite('storage in an atom', async (t, { create, note }) => {
  const core = await create(t)
  await core.append(['a', 'b'])
  const { storage } = core.state
  const atom = storage.createAtom()
  const atomized = storage.atomize(atom)
  note(atomized.atom === atom, storage.atom)
  const tx = atomized.write()
  tx.putUserData('key', b4a.from('value'))
  tx.putTreeNode({ index: 9, size: 1, hash: b4a.alloc(32, 7) })
  note(await tx.flush())
  const read = async (from) => {
    const rx = from.read()
    const values = [rx.getUserData('key'), rx.getTreeNode(9), rx.getBlock(1), rx.getHead().then(({ length }) => length)]
    rx.tryFlush()
    return await Promise.all(values)
  }
  note(await read(atomized), await read(storage))
  t.exception(() => atomized.atomize(storage.createAtom()), /Cannot atomize/)
  const again = atomized.atomize(atom)
  note(await read(again))
  await again.close()
  await atom.flush()
  note(await read(storage))
  await atomized.close()
  note(await read(storage), core.length)
})
