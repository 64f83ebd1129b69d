// What programs see of a core at its edges: what is shared, what is left after closing, and in which order things happen.

import b4a from 'b4a'
import UpstreamHypercore from 'hypercore'
import crypto from 'hypercore-crypto'
import CoreStorage from 'hypercore-storage'

import { eventually, outcome, outcomeOf, sameWithBoth, sameWithEveryPair } from './support/both.mjs'

const keyPair = {
  publicKey: b4a.from('8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c', 'hex'),
  secretKey: b4a.from('01'.repeat(32) + '8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c', 'hex')
}

const own = (bytes) => bytes && bytes.buffer.byteLength

sameWithBoth('bytes that live long have memory of their own', async ({ create, note }) => {
  const core = await create()
  await core.append(['a', 'b', 'c'])
  note(own(core.key), own(core.discoveryKey), own(core.keyPair.publicKey))
  note(core.manifest.signers.map(({ publicKey, namespace }) => [own(publicKey), own(namespace)]), core.state.roots.map(({ hash }) => own(hash)))
  note(own(core.core.header.key), own(core.core.header.keyPair.publicKey), own(await core.get(0)))
})

sameWithBoth('events of an append, and what it calls before', async ({ create, note }) => {
  const core = await create()
  const other = core.session()
  await other.ready()
  const seen = []
  core.on('append', () => { seen.push(`core ${core.length}`) })
  other.on('append', () => { seen.push(`other ${other.length}`) })
  await core.append('a', { postappend: async (blocks) => { seen.push(`post ${blocks.length}`); await null; seen.push('posted') } })
  seen.push('appended')
  core.on('truncate', (to, fork) => { seen.push(`truncate ${to} ${fork} ${core.length}`) })
  await core.truncate(0)
  seen.push('truncated')
  note(seen)
})

sameWithBoth('what a closed core still tells', async ({ create, note }) => {
  const core = await create({ keyPair, userData: { a: 'b' } })
  await core.append(['a', 'b'])
  const snapshot = core.snapshot()
  await snapshot.ready()
  const { key, discoveryKey, id } = core
  await core.close()
  note(core.key.equals(key), core.discoveryKey.equals(discoveryKey), core.id === id, core.manifest !== null, core.keyPair !== null)
  note(core.length, core.byteLength, core.fork, core.signedLength, core.contiguousLength, core.remoteContiguousLength, core.padding, core.writable, core.readable)
  note(core.opened, core.closed, core.closing instanceof Promise, core.peers, core.globalCache, core.recovering, core.sessions.length, core.core.closed)
  note(snapshot.length, snapshot.opened, snapshot.closed, await snapshot.get(1), await snapshot.has(0))
  await snapshot.close()
  note(snapshot.length, snapshot.byteLength, core.core.closed, core.core.opened, core.core.destroyed, core.manifest !== null)
  for (const use of [() => core.append('x'), () => core.get(0), () => core.truncate(0), () => core.clear(0), () => core.update(), () => core.close(), () => core.info().then(({ length }) => length)]) {
    note(await outcome(use()))
  }
})

sameWithBoth('a closed session of an open core', async ({ create, note }) => {
  const core = await create({ keyPair })
  await core.append(['a', 'bc'])
  const session = core.session()
  await session.ready()
  await session.close()
  for (const [name, use] of Object.entries({
    append: () => session.append('x'),
    get: () => session.get(0),
    has: () => session.has(0),
    seek: () => session.seek(1),
    update: () => session.update(),
    truncate: () => session.truncate(0),
    clear: () => session.clear(0),
    info: () => session.info().then(({ length, byteLength }) => [length, byteLength]),
    getUserData: () => session.getUserData('a'),
    setUserData: () => session.setUserData('a', b4a.from('b')),
    treeHash: () => session.treeHash(),
    proof: () => session.proof({ block: { index: 0, nodes: 0 } }).then((proof) => proof.block.value),
    missingNodes: () => session.missingNodes(0),
    ready: () => session.ready(),
    getManifest: () => session.getManifest() !== null
  })) note(name, await outcome((async () => use())()))
  note(await core.get(1), await core.getUserData('a'))
})

sameWithBoth('a snapshot cannot be written to, and shows what was', async ({ create, note }) => {
  const core = await create()
  await core.append(['a', 'bb', 'ccc'])
  const snapshot = core.snapshot()
  await snapshot.ready()
  const hash = await core.treeHash()
  const fails = async (use) => { try { await use(); return false } catch { return true } }
  for (const use of [() => snapshot.append('x'), () => snapshot.truncate(0), () => snapshot.clear(0), () => snapshot.setUserData('a', b4a.from('b'))]) note(await fails(use))
  note(await core.has(0, 3), await core.getUserData('a'), core.length, core.fork)
  await core.append('d')
  note((await snapshot.treeHash()).equals(hash), (await core.treeHash(3)).equals(hash), await snapshot.has(3), await snapshot.has(0, 3), await snapshot.has(2, 4))
  await core.truncate(1)
  note((await snapshot.treeHash()).equals(hash), await snapshot.has(2), await snapshot.has(0, 3), await snapshot.get(2), snapshot.signedLength, snapshot.fork)
  await core.append(['x', 'y', 'z'])
  note((await snapshot.treeHash()).equals(hash), await snapshot.get(2), await snapshot.get(1, { valueEncoding: 'utf-8' }), await snapshot.has(3))
  note(await outcome(snapshot.get(3, { wait: false }).catch((error) => { throw new Error(error.code) })))
  const again = snapshot.session()
  await again.ready()
  note(again.length, await again.get(2), again.snapshotted, await again.has(2))
  await again.close()
  await core.clear(0)
  note(await snapshot.get(0), await snapshot.has(0), await core.has(0))
})

sameWithBoth('a snapshot of a branch, committed', async ({ create, note }) => {
  const core = await create()
  await core.append('a')
  const branch = core.session({ name: 'branch' })
  await branch.append('x')
  const snapshot = branch.snapshot()
  await snapshot.ready()
  await branch.append('y')
  note(snapshot.length, snapshot.signedLength, branch.length, branch.signedLength, await snapshot.has(1), await snapshot.has(2), await snapshot.get(1))
  note(await core.commit(snapshot), core.length)
})

sameWithBoth('a snapshot of a branch whose log is cut and cleared', async ({ create, note }) => {
  const core = await create({ valueEncoding: 'utf-8' })
  await core.append(['a', 'bb', 'ccc', 'd'])
  const branch = core.session({ name: 'branch', valueEncoding: 'utf-8' })
  await branch.append(['own', 'more'])
  const deeper = branch.session({ name: 'deeper', valueEncoding: 'utf-8' })
  await deeper.append('deepest')
  const look = async (snapshot) => {
    const blocks = []
    for (let i = 0; i < snapshot.length; i++) blocks.push(await snapshot.get(i, { wait: false }), await snapshot.has(i))
    note(blocks, await snapshot.has(0, snapshot.length), snapshot.signedLength, await snapshot.seek(4, { wait: false }))
  }
  const snapshots = [branch.snapshot(), deeper.snapshot()]
  for (const snapshot of snapshots) await snapshot.ready()
  await core.clear(1)
  for (const snapshot of snapshots) await look(snapshot)
  await core.truncate(2)
  for (const snapshot of snapshots) await look(snapshot)
  await core.append(['x', 'y', 'z', 'other', 'history'])
  for (const snapshot of snapshots) await look(snapshot)
  const late = branch.snapshot()
  await late.ready()
  await core.truncate(3)
  note(await late.get(2), await outcome(late.get(3, { wait: false })).then(({ error, value }) => error ? 'fails' : value), await late.get(5))
  for (const snapshot of [...snapshots, late]) await snapshot.close()
})

sameWithBoth('a snapshot of a branch that is committed, and then cut', async ({ create, note }) => {
  const core = await create({ valueEncoding: 'utf-8' })
  await core.append(['a', 'b'])
  const branch = core.session({ name: 'branch', valueEncoding: 'utf-8' })
  await branch.append(['own', 'more'])
  const [before, rest] = [branch.snapshot(), branch.snapshot()]
  for (const snapshot of [before, rest]) await snapshot.ready()
  await core.commit(branch, { length: 3 })
  await core.truncate(1)
  await core.append(['x', 'y', 'z'])
  for (let i = 0; i < 4; i++) note(await before.get(i), await before.has(i))
  await branch.truncate(3)
  await branch.append('again')
  for (let i = 0; i < 4; i++) note(await rest.get(i))
})

sameWithBoth('a branch whose log was cut below it is not committed', async ({ create, note }) => {
  const core = await create({ valueEncoding: 'utf-8' })
  await core.append(['a', 'b', 'c', 'd', 'e', 'f'])
  const branch = core.session({ name: 'branch', valueEncoding: 'utf-8' })
  await branch.append('own')
  await branch.truncate(6)
  await branch.append('own')
  await core.truncate(3)
  note(core.fork, branch.fork)
  note(await core.commit(branch).then(() => 'commits', () => 'fails'), core.length, core.byteLength, await core.get(2))
})

sameWithBoth('a session of a snapshot counts without what encryption puts in front', async ({ create, note }) => {
  const core = await create({ encryption: { key: b4a.alloc(32, 1) } })
  await core.append(['a', 'b', 'c'])
  const snapshot = core.snapshot()
  const session = snapshot.session()
  await session.ready()
  await core.append('d')
  note(snapshot.byteLength, session.byteLength, core.byteLength)
})

sameWithBoth('calls that overlap are answered in their turn', async ({ create, note }) => {
  const core = await create({ keyPair })
  const events = []
  const tell = (...event) => events.push([...event, core.length, core.signedLength, core.contiguousLength])
  core.on('append', () => tell('append'))
  const session = core.session()
  await session.ready()
  note(await Promise.all([core.append(['a', 'b']), session.append([]), core.append('c'), core.append([]), session.append(['d', 'e'])]))
  note(events, (await Promise.all([core.treeHash(), session.truncate(3)]))[0], core.fork)
  note(await Promise.all([core.truncate(2), session.truncate(1), core.append('x')]), core.length, await core.get(0), await core.get(1))
  // The second cut has a fork of its own here: a log of one fork has one history.
  note(core.fork === 2 || core.fork === 3)
})

sameWithBoth('a list that was destroyed', async ({ create, note, Hypercore }) => {
  const core = await create(b4a.alloc(32, 1))
  const activeRequests = []
  Hypercore.destroyRequests(activeRequests, new Error('over'))
  note(activeRequests, await outcome(core.update({ activeRequests })), await outcome(core.update({ activeRequests, wait: true }).catch(({ code }) => code)))
  note(await outcome(core.get(0, { activeRequests, wait: false })), await outcome(core.get(0, { activeRequests }).catch(({ code }) => code)))
  note(await outcome(core.seek(1, { activeRequests, wait: false }).catch(({ code }) => code)))
  Hypercore.destroyRequests(activeRequests, null)
  note(activeRequests)
})

sameWithBoth('an exclusive session says so before it is alone', async ({ create, note }) => {
  const core = await create()
  const first = core.session({ exclusive: true })
  await first.ready()
  const second = core.session({ exclusive: true })
  const reader = core.session({ exclusive: true, writable: false })
  await reader.ready()
  note(first.exclusive, second.exclusive, second.opened, second.writable, reader.exclusive, reader.writable)
  await first.close()
  await second.ready()
  note(first.exclusive, second.exclusive, second.opened)
})

sameWithBoth('what preload gives', async ({ folder, note, defer, Hypercore }) => {
  const keyPair = { publicKey: b4a.alloc(32, 7), secretKey: b4a.alloc(64, 8) }
  const base = new Hypercore(folder())
  defer(() => base.close())
  await base.ready()
  const session = base.session({ preload: Promise.resolve({ keyPair, valueEncoding: 'utf-8', userData: { x: 'y' } }) })
  note(session.sessions, session.preload instanceof Promise, session.core, session.keyPair)
  await session.ready()
  note(session.keyPair, session.valueEncoding !== null, session.preload, session.writable, await base.getUserData('x'), session.sessions === base.sessions)
})

sameWithBoth('lists that are alive', async ({ create, note, replicate }) => {
  const core = await create()
  await core.append('a')
  const clone = await create(core.key)
  const peers = core.peers
  const own = core.replicator.peers
  note(peers.length, peers === own, core.peers === peers)
  const { one, other } = replicate(core, clone)
  await clone.get(0)
  await eventually(() => core.peers.length === 1)
  note(peers.length, core.peers === peers)
  one.destroy()
  other.destroy()
  await eventually(() => core.peers.length === 0)
  note(peers.length, core.peers === peers)
})

sameWithBoth('a core that is still in use is not closed, nor destroyed', async ({ create, note, Hypercore, folder }) => {
  const core = await create()
  note(await outcome(core.core.destroy()).then(({ error }) => !!error))
  const bare = Hypercore.createCore(folder())
  await bare.ready()
  const session = new Hypercore({ core: bare })
  await session.ready()
  note(await outcome(bare.close()))
  note(bare.closed, session.closed)
})

sameWithBoth('what an atom tells when it is flushed', async ({ create, note }) => {
  const core = await create()
  const atom = core.state.storage.createAtom()
  const session = core.session({ atom })
  await session.append('a')
  const seen = []
  atom.preflush(() => { seen.push(`pre ${core.length}`) })
  atom.onflush(async () => { seen.push(`flush ${atom.flushing}`) })
  note(atom.flushing, await outcome(atom.flushed()))
  const flushing = atom.flush()
  note(atom.flushing)
  const flushed = atom.flushed().then(() => { seen.push('flushed') })
  note(await outcome(atom.flush()))
  await flushing
  await flushed
  note(seen, core.length, atom.flushing)
  await session.append('b')
  await atom.flush()
  note(seen, core.length)
})

sameWithBoth('one storage, cores that open at once', async ({ folder, note, defer, Hypercore }) => {
  const key = b4a.alloc(32, 1)
  const orders = { 'unnamed, named': [null, key], 'named, unnamed': [key, null], 'unnamed twice': [null, null], 'named twice': [key, key] }
  const open = async (keys, atOnce) => {
    const storage = Hypercore.defaultStorage(folder())
    const cores = []
    for (const key of keys) {
      const core = new Hypercore(storage, key)
      defer(() => core.close())
      cores.push(core)
      if (!atOnce) await core.ready()
    }
    await Promise.all(cores.map((core) => core.ready()))
    return [cores.map((core) => core.key.equals(key)), cores[0].key.equals(cores[1].key)]
  }
  for (const [name, keys] of Object.entries(orders)) note(name, await open(keys, false))
  note('named twice at once', await open([key, key], true))
  // An unnamed core is another one, unless what is opened beside it is there before it looks, which with upstream depends on the disk.
  for (const name of ['unnamed, named', 'unnamed twice']) {
    let found
    for (let i = 0; i < 20 && found?.[1] !== false; i++) found = await open(orders[name], true)
    note(name, 'at once', found)
  }
})

sameWithBoth('storage that was made for upstream', async ({ folder, note, Hypercore }) => {
  const path = folder()
  let storage = new CoreStorage(path)
  note(storage.opened, storage.closed)
  const core = new Hypercore(storage)
  await core.append('x')
  note(storage.opened, storage.closed, (await storage.getAuth(core.discoveryKey)).key.equals(core.key), await storage.hasCore(core.discoveryKey))
  const listed = []
  for await (const discoveryKey of storage.createDiscoveryKeyStream()) listed.push(discoveryKey.equals(core.discoveryKey))
  note(listed)
  await storage.close()
  note(storage.closed)
  storage = new CoreStorage(path)
  const again = new Hypercore(storage)
  note(await outcome(again.ready()), again.length, again.key.equals(core.key))
  await again.close()
  note(storage.closed, again.closed)
  storage = new CoreStorage(path)
  const third = new Hypercore(storage)
  note(await third.get(0))
  await third.close()
})

sameWithEveryPair('a channel knows its handshake', async ({ createA, createB, note, replicate }) => {
  const a = await createA()
  await a.append('a')
  const b = await createB(a.key)
  replicate(a, b)
  await b.get(0)
  await eventually(() => a.peers.length === 1)
  for (const { channel } of [a.peers[0], b.peers[0]]) note(channel.handshake.seeks, channel.handshake.capability.byteLength, own(channel.handshake.capability))
  note(!a.peers[0].channel.handshake.capability.equals(b.peers[0].channel.handshake.capability))
})

sameWithEveryPair('a core asks before it grows', async ({ createA, createB, note, replicate }) => {
  const a = await createA({ keyPair })
  await a.append(['a', 'b', 'c'])
  const b = await createB(a.key)
  note(b.core.preupdate)
  const asked = []
  let wait = null
  b.core.preupdate = async (batch, key) => {
    asked.push([batch.length, batch.byteLength, batch.fork, batch.upgraded, batch.roots.map(({ index }) => index), batch.hash(), key.equals(a.key), b.length, b.core.state.length])
    await wait
  }
  replicate(a, b)
  note(await b.get(1), b.length, asked)
  let go
  wait = new Promise((resolve) => { go = resolve })
  await a.append('d')
  await eventually(() => asked.length === 2)
  note(b.length, asked[1])
  go()
  await eventually(() => b.length === 4)
  b.core.preupdate = null
  await a.append('e')
  await eventually(() => b.length === 5)
  note(asked.length, await b.get(4))
})

sameWithEveryPair('a core that must not grow', async ({ createA, createB, note, replicate }) => {
  const a = await createA({ keyPair })
  await a.append('a')
  const b = await createB(a.key)
  const errors = []
  b.on('verification-error', (error) => { errors.push(error.message) })
  b.core.preupdate = async () => { throw new Error('not now') }
  replicate(a, b)
  await eventually(() => errors.length > 0)
  note(b.length, errors[0])
})

sameWithBoth('a log is kept as it is for a while', async ({ create, note }) => {
  const core = await create()
  const { mutex } = core.state
  note(mutex.idle(), mutex.locked)
  const seen = []
  await mutex.lock()
  note(mutex.idle(), mutex.locked)
  const appending = core.append('a').then(() => { seen.push('appended') })
  const next = mutex.lock().then(() => { seen.push('locked again') })
  await new Promise((resolve) => { setTimeout(resolve, 20) })
  note(seen, core.length)
  mutex.unlock()
  await Promise.all([appending, next])
  note(seen.sort(), core.length, mutex.locked)
  mutex.unlock()
  note(mutex.idle())
})

sameWithBoth('what programs keep beside a log', async ({ create, note }) => {
  const core = await create()
  const { storage } = core.state
  const names = ['', 'a', 'ab', 'b', 'c\0', 'ü'].map((name) => b4a.from(name))
  const list = async (range) => {
    const all = []
    for await (const { key, value } of storage.createLocalStream(range)) all.push([key, value])
    return all
  }
  note(await list())
  let tx = storage.write()
  for (const name of names) tx.putLocal(name, b4a.concat([b4a.from('value '), name]))
  for (let i = 0; i < 100; i++) tx.putLocal(b4a.from(`many ${String(i).padStart(3, '0')}`), b4a.from([i]))
  await tx.flush()
  note((await list()).length, (await list({ lt: names[3] })), await list({ gte: names[2], lt: names[4] }), (await list({ gte: b4a.from('many 050') })).length)
  tx = storage.write()
  tx.deleteLocal(names[1])
  tx.deleteLocalRange(b4a.from('many'), b4a.from('many 1'))
  await tx.flush()
  note(await list())
  note(await outcome((async () => storage.createLocalStream({ gt: names[0] }))()), storage.getDependencyLength())
  const branch = core.session({ name: 'branch' })
  await branch.append('x')
  const resumed = await storage.resumeSession('branch')
  const rx = resumed.read()
  const block = rx.getBlock(0)
  rx.tryFlush()
  note(await block, await storage.resumeSession('other'), resumed.getDependencyLength())
  await resumed.close()
})

sameWithBoth('what is refused is said in upstream\'s words', async ({ Hypercore, folder, create, note }) => {
  const other = crypto.keyPair(b4a.alloc(32, 9))
  const said = async (core, use = () => {}) => {
    const { error } = await outcome(core.ready().then(use))
    note(error?.code, error?.message?.replace(/discovery key: \w+/, 'discovery key'))
    await outcome(core.close())
  }
  for (const manifest of [{ quorum: 1, signers: [{ publicKey: other.publicKey }] }, { version: 0, signers: [{ publicKey: other.publicKey }] }]) {
    const core = new Hypercore(folder(), { manifest })
    await said(core, () => core.append('x'))
  }
  const source = await create()
  await source.append(['0', '1', '2'])
  const prologue = { length: 2, hash: await source.treeHash(2) }
  const core = await create({ manifest: { version: 1, prologue, signers: [{ publicKey: source.keyPair.publicKey }] }, keyPair: source.keyPair })
  await said(core, async () => {
    await core.core.copyPrologue(source.state)
    note(core.length)
    await core.truncate(1)
  })
  const changed = await create({ manifest: { version: 1, prologue, signers: [{ publicKey: source.keyPair.publicKey }] }, keyPair: source.keyPair })
  await said(changed, () => changed.append(['0', 'other']))
  await said(new Hypercore(folder(), other.publicKey, { compat: true, keyPair: crypto.keyPair(b4a.alloc(32, 8)) }))
  // No key is no key, also as text.
  const fresh = new Hypercore(folder(), '')
  await fresh.ready()
  note(fresh.key !== null, fresh.writable)
  await fresh.close()
})

sameWithBoth('what makes no sense as an argument', async ({ Hypercore, note, create, folder }) => {
  const core = await create({ keyPair: crypto.keyPair(b4a.alloc(32, 7)) })
  await core.append(['aa', 'bbb', 'c'])
  // Upstream's would not close after that.
  const open = new Hypercore(folder())
  note(await outcome(open.get(2 ** 53)), await outcome(open.get(2 ** 64)), open.waits)
  note(await core.has(Infinity), await core.has(2 ** 53), await core.has(2 ** 64), await core.has(0, Infinity))
  for (const timeout of [-1, 'x']) note(await outcome(core.get(9, { timeout })))
  for (const maxLength of [-1, NaN, Infinity, 'x', null, true, 4.5]) note(await core.append('x', { maxLength }), core.length)
  for (const length of [Infinity, 2 ** 53, 100]) note(await outcome(core.truncate(length)))
  for (const start of [NaN, -1, 1.5, 'x', null, {}, true]) note(await core.download({ start, end: 2 }).done())
  for (const length of [null, NaN, 'x', {}]) note(await core.download({ start: 0, length }).done())
  for (const index of [undefined, NaN, Infinity, 2 ** 53, 'x', 1.5]) note(await core.missingNodes(index))
  for (const proof of [{}, { fork: 7 }, 'x', 1]) note(await core.applyProof(proof))
  for (const index of [-1, 2 ** 53, 'x']) note(await outcome(core.core.replicator.push(index)))
  note(await core.state.setUserData('key', b4a.from('value')))
  const branch = core.session({ name: 'branch' })
  await branch.append('x')
  note(await core.commit(branch, { length: -1 }), await core.commit(branch, { length: null }), core.length)
  await branch.close()
  for (const options of [{ keyPair: false }, { keyPair: '' }, { class: null }, { manifest: b4a.from('a') }, { valueEncoding: 5 }, { onwait: false, onseq: 0 }]) {
    const session = core.session(options)
    await session.ready()
    note(session.writable, session.constructor === Hypercore, session.onwait, session.onseq)
    await session.close()
  }
  for (const key of [-1, 1.5, true, () => {}]) note(await outcome(new Hypercore(folder(), key).ready()), await outcome(new Hypercore(folder(), { key }).ready()))
  note(await outcomeOf(() => Hypercore.discoveryKey('x')), await outcomeOf(() => Hypercore.discoveryKey()), await outcomeOf(() => Hypercore.discoveryKey(b4a.alloc(31))))
  for (const keyPair of [{ publicKey: b4a.alloc(5) }, { publicKey: 5 }]) note(await outcome(new Hypercore(folder(), { keyPair }).ready()))
  for (const notDownloadingLinger of [-1, NaN, 1.5, 'x']) note((await create({ notDownloadingLinger })).opened)
  note(await outcome(Hypercore.treeHashFromStorage(core, 100)))
  for (const keepAlive of [0, null, 300, false]) {
    const stream = Hypercore.createProtocolStream(true, { keepAlive })
    stream.on('error', () => {})
    note(stream.noiseStream.keepAlive)
    stream.destroy()
  }
})

sameWithBoth('streams that are given what makes no sense', async ({ note, create }) => {
  const core = await create()
  await core.append(['aa', 'bbb', 'c'])
  const all = async (stream) => {
    const read = []
    for await (const block of stream) read.push(block)
    return read
  }
  for (const start of [NaN, null, '', false]) note(await all(core.createReadStream({ start })))
  for (const end of ['x', '', {}, true, null]) note(await all(core.createReadStream({ end })))
  for (const byteOffset of [NaN, null, '']) note(await all(core.createByteStream({ byteOffset })))
  for (const byteLength of ['x', {}, true, null]) note(await all(core.createByteStream({ byteLength })))
  for (const prefetch of [null, NaN, 'x', -1]) note(await all(core.createByteStream({ prefetch })))
  await core.clear(1)
  const session = core.session({ wait: false })
  await session.ready()
  note((await outcome(all(session.createByteStream()))).error.name)
})

sameWithBoth('what is known of a core that is closed', async ({ note, create }) => {
  const core = await create()
  await core.append(['a', 'bb'])
  const head = () => {
    const { state, header, sessionStates } = core.core
    return [state.length, state.byteLength, state.fork, state.roots.length, header.tree.length, header.hints.contiguousLength, sessionStates.length, b4a.equals(state.hash(), header.tree.rootHash), b4a.equals(state.signature, header.tree.signature)]
  }
  note(...head())
  await core.close()
  note(...head(), core.core.closed, core.core.destroyed, await core.core.compact())
})

sameWithBoth('a core that is closed as soon as something waits', async ({ Hypercore, folder, note }) => {
  const core = new Hypercore(folder(), b4a.alloc(32, 4))
  await core.ready()
  const waiting = [core.get(3), core.seek(3)].map((call) => outcome(call))
  await core.close()
  note(await Promise.all(waiting))
})

sameWithBoth('a session of a snapshot is not bound to it', async ({ create, note }) => {
  const core = await create({ keyPair })
  await core.append(['a', 'b', 'c'])
  const snapshot = core.snapshot()
  const session = snapshot.session()
  await session.ready()
  await core.append('d')
  note(snapshot.snapshotted, session.snapshotted, session.length)
  for (const index of [2, 3, 100]) note(await outcome(snapshot.get(index, { wait: false })), await outcome(session.get(index, { wait: false })), await session.has(index))
  await core.truncate(1)
  for (const index of [0, 1, 2, 3]) note(await outcome(snapshot.get(index, { wait: false })), await outcome(session.get(index, { wait: false })))
  note(session.length, snapshot.length)
})

sameWithBoth('a core that is signed somewhere else', async ({ Hypercore, folder, note }) => {
  const { publicKey } = crypto.keyPair(b4a.alloc(32, 7))
  for (const options of [{ keyPair: { publicKey } }, { keyPair: { publicKey, secretKey: null }, compat: true }, { keyPair: { publicKey }, key: Hypercore.key(publicKey) }]) {
    const place = folder()
    for (const given of [options, {}]) {
      const core = new Hypercore(place, given)
      await core.ready()
      note(core.key, core.writable, core.keyPair, core.core.header.keyPair, core.core.compat, core.manifest?.signers)
      await core.close()
    }
  }
})

sameWithBoth('sessions of upstream\'s class watch a core', async ({ create, note }) => {
  const core = await create()
  await core.append(['a', 'b', 'c'])
  const watch = async (options) => {
    const session = new UpstreamHypercore({ core: core.core, ...options })
    const events = []
    for (const name of ['ready', 'append', 'truncate', 'close']) session.on(name, (...values) => { events.push([name, ...values]) })
    await session.ready()
    return { session, events }
  }
  const told = [await watch({ weak: true }), await watch({})]
  const [weak, strong] = told.map(({ session }) => session)
  const state = () => [core.core.activeSessions, core.core.allSessions().length,
    ...told.map(({ session, events }) => [session.opened, session.closed, session.writable, session.length, session.byteLength, session.fork, events.splice(0)])]
  note(weak.key.equals(core.key), weak.peers.length, weak.contiguousLength, state())
  await core.append('d')
  await core.truncate(2)
  note(state())
  await strong.append('written')
  note(String(await core.get(2)), core.length, state())
  await core.close()
  note(core.core.closed, state())
  await strong.close()
  await eventually(() => weak.closed)
  note(core.core.closed, state())
})
