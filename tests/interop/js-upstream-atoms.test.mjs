// Programs in the manner of Autobase: branches in atoms, what the log and other cores take from them before they are flushed.

import { sameWithBoth } from './support/both.mjs'
import { sameWithBothStores } from './support/stores.mjs'

const unsafe = { primaryKey: Buffer.alloc(32, 1), unsafe: true }

/** A core whose first blocks are fixed to those of another one. */
async function withPrologue (store, source, length, userData = null) {
  const prologue = { hash: await source.treeHash(length), length }
  const core = store.get({ manifest: { version: 1, hash: 'blake2b', allowPatch: true, quorum: 0, signers: [], prologue, userData }, exclusive: false })
  await core.ready()
  return core
}

const texts = async (core) => {
  const blocks = []
  for (let i = 0; i < core.length; i++) blocks.push((await core.get(i, { wait: false }))?.toString() ?? null)
  return blocks
}

const lengths = (...sessions) => sessions.map(({ length, signedLength, fork }) => [length, signedLength, fork])

sameWithBothStores('a prologue is taken from a branch in an atom', async ({ create, note }) => {
  const store = create(null, unsafe)
  const core = store.get({ name: 'log' })
  await core.append(['a', 'b'])
  const batch = core.session({ name: 'batch' })
  await batch.ready()
  const atom = store.storage.createAtom()
  const inAtom = batch.session({ atom, writable: true })
  await inAtom.append(['c', 'd', 'e'])
  note(lengths(core, batch, inAtom))
  for (const length of [1, 2, 4, 5]) {
    const next = await withPrologue(store, inAtom, length)
    await next.core.copyPrologue(inAtom.state)
    note(next.key, lengths(next), next.contiguousLength, await texts(next))
    const session = next.session({ name: 'batch', overwrite: true, checkout: length })
    await session.append('own')
    note(lengths(next, session), await texts(session))
  }
  await atom.flush()
  note(lengths(core, batch, inAtom), await texts(batch))
})

sameWithBothStores('a log commits a branch that is in an atom', async ({ create, note }) => {
  const store = create(null, unsafe)
  const core = store.get({ name: 'log' })
  await core.append(['a', 'b'])
  const batch = core.session({ name: 'batch' })
  await batch.ready()
  const view = batch.session({ writable: false })
  await view.ready()
  for (const [blocks, length] of [[['c', 'd', 'e'], 4], [['f'], 6], [[], 6]]) {
    const atom = store.storage.createAtom()
    const inAtom = batch.session({ atom, writable: true })
    await inAtom.ready()
    if (blocks.length > 0) await inAtom.append(blocks)
    note(await core.commit(inAtom, { length }))
    note(lengths(core, inAtom), batch.length, await texts(core), await texts(inAtom))
    await atom.flush()
    note(lengths(core, batch, inAtom, view), await texts(batch), batch.state.storage.getDependencyLength())
    await inAtom.close()
  }
  await core.close()
})

sameWithBothStores('what a branch shares after a commit in an atom is known when it is opened again', async ({ create, folder, note }) => {
  const path = folder()
  const store = create(path, unsafe)
  const core = store.get({ name: 'log' })
  const batch = core.session({ name: 'batch' })
  await batch.append(['a', 'b', 'c'])
  const atom = store.storage.createAtom()
  const inAtom = batch.session({ atom, writable: true })
  await inAtom.ready()
  await core.commit(inAtom, { length: 2 })
  await atom.flush()
  note(lengths(core, batch))
  await store.close()
  const again = create(path)
  const log = again.get({ name: 'log' })
  const branch = log.session({ name: 'batch' })
  await branch.ready()
  note(lengths(log, branch), await texts(log), await texts(branch))
})

sameWithBothStores('a prologue fills in what a replicated core lacks', async ({ createA, createB, replicate, note }) => {
  const [here, there] = [createA(null, unsafe), createB(null, { primaryKey: Buffer.alloc(32, 2), unsafe: true })]
  const pair = await here.createKeyPair('signer')
  const source = there.get({ name: 'source' })
  const local = here.get({ name: 'source' })
  for (const core of [source, local]) {
    await core.ready()
    await core.append(['a', 'b', 'c', 'd', 'e'])
  }
  const prologue = { hash: await source.treeHash(4), length: 4 }
  const manifest = { version: 1, hash: 'blake2b', allowPatch: true, quorum: 1, signers: [{ signature: 'ed25519', namespace: Buffer.alloc(32), publicKey: pair.publicKey }], prologue, userData: null }
  const theirs = here.get({ manifest, keyPair: pair, exclusive: false })
  await theirs.ready()
  await theirs.core.copyPrologue(local.state)
  await theirs.append(['f', 'g'], { keyPair: pair })
  const ours = there.get({ manifest, exclusive: false })
  await ours.ready()
  replicate(here, there)
  await ours.get(5)
  note(lengths(ours), await texts(ours), ours.contiguousLength)
  await ours.core.copyPrologue(source.state)
  note(lengths(ours), await texts(ours), ours.contiguousLength)
})

sameWithBothStores('user data of a log in an atom can be listed', async ({ create, note }) => {
  const store = create(null, unsafe)
  const core = store.get({ name: 'log' })
  await core.setUserData('kept', 'k')
  await core.setUserData('changed', '1')
  const atom = store.storage.createAtom()
  const inAtom = core.session({ atom })
  await inAtom.setUserData('changed', '2')
  await inAtom.setUserData('new', 'n')
  const list = async (stream) => {
    const entries = []
    for await (const { key, value } of stream) entries.push([key, value.toString()])
    return entries
  }
  note(await list(inAtom.state.storage.createUserDataStream()), await list(core.state.storage.createUserDataStream()))
  const tx = inAtom.state.storage.write()
  tx.putLocal(Buffer.from('a'), Buffer.from('1'))
  tx.putLocal(Buffer.from('b'), Buffer.from('2'))
  await tx.flush()
  note(await list(inAtom.state.storage.createLocalStream()), await list(core.state.storage.createLocalStream()))
  await atom.flush()
  note(await list(core.state.storage.createUserDataStream()), await list(core.state.storage.createLocalStream()))
})

sameWithBoth('all branches of a log are deleted', async ({ create, note }) => {
  const core = await create()
  await core.append(['a', 'b'])
  for (const name of ['one', 'two']) {
    const session = core.session({ name })
    await session.append(name)
    await session.close()
  }
  await core.state.storage.deleteSessions()
  const rx = core.state.storage.read()
  const stored = rx.getSessions()
  rx.tryFlush()
  note(await stored, core.length)
  const session = core.session({ name: 'two' })
  await session.ready()
  note(session.length, session.fork, await texts(session))
  await session.append('again')
  note(await texts(session))
})

sameWithBoth('storage in an atom', async ({ create, note }) => {
  const core = await create()
  await core.append(['a', 'b'])
  const { storage } = core.state
  const atom = storage.createAtom()
  const rx = storage.read()
  const head = rx.getHead()
  rx.tryFlush()
  const made = await storage.createAtomicSession(atom, await head)
  note(made.atom === atom, made.snapshotted, made.getDependencyLength())
  const tx = made.write()
  tx.putUserData('key', Buffer.from('value'))
  note(await tx.flush(), await core.getUserData('key'))
  await atom.flush()
  note(await core.getUserData('key'))
  await made.close()
})

sameWithBothStores('blocks that a manifest fixes need no key', async ({ create, createA, createB, replicate, note }) => {
  const source = create(null, unsafe).get({ name: 'source' })
  await source.append(['a', 'b', 'c'])
  const manifest = { version: 2, hash: 'blake2b', allowPatch: false, quorum: 0, signers: [], prologue: { hash: await source.treeHash(3), length: 3 }, userData: null, linked: null }
  const [here, there] = [createA(null, { primaryKey: Buffer.alloc(32, 2), unsafe: true }), createB(null, { primaryKey: Buffer.alloc(32, 3), unsafe: true })]
  const core = here.get({ manifest, active: false })
  await core.ready()
  note(core.key, core.writable, core.length)
  note(await core.append(['a', 'b', 'c']).catch(({ code }) => code))
  note(await core.append(['a'], { writable: true }).catch(({ code }) => code), core.length)
  note(await core.append(['a', 'b', 'c', 'd'], { writable: true, maxLength: 3 }), core.length)
  note(await core.append(['a', 'b', 'c'], { writable: true, maxLength: 3 }))
  note(lengths(core), await texts(core))
  const clone = there.get(core.key)
  await clone.ready()
  replicate(here, there)
  note((await clone.get(2)).toString(), lengths(clone))
  note(await clone.append(['a', 'b', 'c'], { writable: true, maxLength: 3 }), lengths(clone))
})

sameWithBothStores('an atom whose session is gone before it is flushed stores nothing, and says so', async ({ create, note }) => {
  const store = create(null, unsafe)
  const core = store.get({ name: 'log' })
  await core.append(['a', 'b'])
  const atom = store.storage.createAtom()
  const inAtom = core.session({ atom })
  await inAtom.append(['c', 'd', 'e'])
  await inAtom.close()
  note(await atom.flush().then(() => 'flushed', () => 'refused'))
  note(lengths(core), await texts(core))
})
