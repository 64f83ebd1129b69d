// What programs see of a store at its edges: who owns what, what closing leaves, what goes wrong and how.

import b4a from 'b4a'
import crypto from 'hypercore-crypto'
import CoreStorage from 'hypercore-storage'

import { eventFlush } from './support/assertions.mjs'
import { eventually, outcome } from './support/scene.mjs'
import { sameWithBothStores, sameWithEveryPairOfStores } from './support/stores.mjs'

const primaryKey = b4a.alloc(32, 5)
const own = (bytes) => bytes && bytes.buffer.byteLength
const all = async (stream) => {
  const found = []
  for await (const entry of stream) found.push(entry)
  return found
}

sameWithBothStores('keys have memory of their own', async ({ create, note, folder, Corestore }) => {
  const store = create(null, { primaryKey, unsafe: true })
  await store.ready()
  const slab = b4a.alloc(1000, 3)
  const core = store.get(slab.subarray(100, 132))
  await core.ready()
  note(core.key, own(core.discoveryKey), own(store.primaryKey), own(store.ns))
  const named = store.get({ name: 'a' })
  await named.ready()
  note(named.keyPair.publicKey, named.manifest.signers[0].publicKey, own(named.core.header.manifest.signers[0].publicKey))
  const again = new Corestore(folder(), { primaryKey: b4a.alloc(100, 5).subarray(10, 42), unsafe: true })
  await again.ready()
  note(again.primaryKey, (await again.createKeyPair('a')).publicKey.equals(named.keyPair.publicKey))
  await again.close()
})

sameWithBothStores('every way to name a core that is there', async ({ create, note }) => {
  const store = create(null, { primaryKey, unsafe: true })
  const named = store.get({ name: 'a' })
  await named.append('x')
  for (const key of [named.key, named.id, b4a.toString(named.key, 'hex'), { key: named.key }, { key: named.id }, { discoveryKey: named.discoveryKey }, { manifest: named.manifest },
    { keyPair: named.keyPair }, { name: 'a' }, { preload: Promise.resolve({ key: named.key }) }, { preload: Promise.resolve({ name: 'a' }) }]) {
    const core = store.get(key)
    await core.ready()
    note(core.key.equals(named.key), core.length, core.writable, core.core === named.core, core.sessions === named.sessions, core.sessions.length)
    await core.close()
  }
  note(store.sessions.size, store.cores.size, [...store.sessions].length, store.sessions.list(named.id).length)
  for (const wrong of [undefined, null, {}, { key: 'no key' }, { key: b4a.alloc(3) }, 'zzz', b4a.alloc(31), { discoveryKey: b4a.alloc(3) }]) {
    const { error } = await outcome((async () => { await store.get(wrong).ready() })())
    note(error?.code, error?.message.slice(0, 21))
  }
})

sameWithBothStores('a session of a core that is open is open at once', async ({ create, note }) => {
  const store = create(null, { primaryKey, unsafe: true })
  const keyPair = await store.createKeyPair('a')
  const first = store.get({ keyPair })
  await first.append('x')
  const { key, manifest } = first
  for (const options of [{ key }, { keyPair }, { manifest }, { key, manifest }, { key, valueEncoding: 'json' }, { key, encryptionKey: b4a.alloc(32) }]) {
    const core = store.get(options)
    note(Object.keys(options), core.opened, core.length, core.writable)
    await core.close()
  }
})

sameWithBothStores('a session that was closed leaves the list, and the last one the map', async ({ create, note }) => {
  const store = create(null, { primaryKey, unsafe: true })
  const [a, b] = [store.get({ name: 'a' }), store.get({ name: 'a' })]
  await Promise.all([a.ready(), b.ready()])
  const child = a.session()
  await child.ready()
  note(a.sessions.length, store.sessions.size, store.sessions.list(a.core.id).length, store.cores.size, store.cores.get(a.discoveryKey) === a.core)
  await a.close()
  note(b.sessions.length, store.sessions.size, child.closed)
  await b.close()
  await child.close()
  note(store.sessions.size, store.cores.size, store.cores.opened(b4a.toString(b.discoveryKey, 'hex')), b.core.opened, b.core.closing)
  const c = store.get({ name: 'a' })
  await c.ready()
  note(c.core === a.core, c.sessions.length, store.sessions.size)
})

sameWithBothStores('what happens to sessions of every kind when a store closes', async ({ create, note }) => {
  const store = create(null, { primaryKey, unsafe: true })
  const core = store.get({ name: 'a' })
  await core.append(['a', 'b'])
  const kinds = [core.session(), core.snapshot(), core.session({ name: 'branch' }), core.session({ weak: true }), store.get({ name: 'b' }), store.namespace('n').get({ name: 'c' })]
  await Promise.all(kinds.map((session) => session.ready()))
  const seen = []
  for (const [at, session] of kinds.entries()) session.once('close', () => { seen.push(at) })
  core.once('close', () => { seen.push('core') })
  await store.close()
  await Promise.all(kinds.map((session) => session.close()))
  note(seen.length, kinds.map((session) => [session.closed, session.opened]), core.closed, store.closed, store.cores.size, store.corestores.size)
  for (const use of [() => store.get({ name: 'a' }), () => store.session(), () => store.namespace('x'), () => store.replicate(true)]) {
    note(await outcome((async () => use())()).then(({ error }) => error && error.message))
  }
  note(await outcome(store.ready()), await outcome(store.close()), (await outcome(core.append('x'))).error.code)
})

sameWithBothStores('sessions and namespaces of a store that closes', async ({ create, note }) => {
  const store = create(null, { primaryKey, unsafe: true })
  const child = store.namespace('a')
  await child.ready()
  const grandchild = child.session({ manifestVersion: 2, writable: false })
  await grandchild.ready()
  note(store.corestores.size, child.root === store, grandchild.root === store, grandchild.ns.equals(store.ns), grandchild.manifestVersion, grandchild.readOnly, child.manifestVersion)
  note(child.storage === store.storage, child.cores === store.cores, child.sessions === store.sessions, child.streamTracker === store.streamTracker, child.primaryKey.equals(primaryKey))
  const core = child.get({ name: 'x' })
  await core.ready()
  const other = store.get(core.key)
  await other.ready()
  await child.close()
  note(core.closed, other.closed, store.corestores.size, child.closed, (await outcome((async () => child.get({ name: 'x' }))())).error.message)
  note(grandchild.closed, (await outcome((async () => { await grandchild.get({ name: 'y' }).ready() })())))
  await store.close()
  note(grandchild.closed, other.closed)
})

sameWithBothStores('a store over storage that was made for upstream', async ({ note, folder, Corestore }) => {
  const path = folder()
  let storage = new CoreStorage(path)
  let store = new Corestore(storage, { primaryKey, unsafe: true })
  const core = store.get({ name: 'a' })
  await core.append('x')
  note(store.storage.opened, storage.closed, await storage.getSeed(), (await all(storage.createDiscoveryKeyStream())).length)
  note((await all(storage.createAliasStream())).map(({ alias }) => alias), (await storage.getAlias({ name: 'a', namespace: store.ns })).equals(core.discoveryKey))
  await store.close()
  note(storage.closed)
  storage = new CoreStorage(path)
  store = new Corestore(storage)
  await store.ready()
  note(store.primaryKey, await store.get({ name: 'a' }).get(0))
  await store.close()
})

sameWithBothStores('events of a store', async ({ create, note }) => {
  const store = create(null, { primaryKey, unsafe: true })
  const seen = []
  for (const name of ['ready', 'close']) store.on(name, (...args) => { seen.push([name, args.length]) })
  note(store.opened, store.opening !== null, store.closing, store.closed)
  await store.ready()
  note(store.opened, store.ready() === store.opening)
  const closing = store.close()
  note(store.closing === closing, store.closed, store.opened)
  await closing
  note(seen, store.closed, store.opened)
})

sameWithBothStores('watching begins and ends', async ({ create, note }) => {
  const store = create(null, { primaryKey, unsafe: true })
  const seen = []
  const watch = (core) => { seen.push([core.id === null, core.opened, typeof core.ready]) }
  store.watch(watch)
  store.watch(watch)
  note(store.watchers.size, store.watchIndex)
  await store.get({ name: 'a' }).ready()
  await store.get({ name: 'a' }).ready()
  await store.namespace('n').get({ name: 'b' }).ready()
  note(seen)
  store.unwatch(() => {})
  store.unwatch(watch)
  note(store.watchers, store.watchIndex)
  await store.get({ name: 'c' }).ready()
  note(seen.length)
  store.unwatch(watch)
})

sameWithBothStores('options that sessions take from a store', async ({ create, note }) => {
  const store = create(null, { primaryKey, unsafe: true, globalCache: 'shared' })
  const seen = []
  const core = store.get({ name: 'a', wait: false, timeout: 50, onwait: (index) => { seen.push(index) }, valueEncoding: 'json', userData: { x: 'y' } })
  await core.ready()
  note(core.wait, core.timeout, core.valueEncoding !== null, core.globalCache, await core.getUserData('x'), core.weak, core.exclusive, core.snapshotted)
  note(await core.get(3), (await outcome(core.get(3, { wait: true }))).error.code, seen)
  for (const options of [{ writable: false }, { writable: true }, { snapshot: true }, { weak: true }, { active: false }, { keyPair: await store.createKeyPair('b') }, { encryption: { key: b4a.alloc(32, 1) } }, { encryptionKey: b4a.alloc(32, 1) }]) {
    const session = store.get({ name: 'a', ...options })
    await session.ready()
    note(Object.keys(options), session.writable, session.snapshotted, session.weak, session.keyPair.publicKey.equals(core.keyPair.publicKey), session.encryption !== null, session.padding)
    await session.close()
  }
})

sameWithBothStores('one core asked for many times at once', async ({ create, note }) => {
  const store = create(null, { primaryKey, unsafe: true })
  const cores = Array.from({ length: 20 }, (_, at) => at % 2 === 0 ? store.get({ name: 'a' }) : store.get({ name: `n${at % 5}` }))
  await Promise.all(cores.map((core) => core.ready()))
  note(store.cores.size, store.sessions.size, new Set(cores.map((core) => core.core)).size, cores[0].sessions.length)
  const appended = await Promise.all(cores.map((core, at) => core.append(`${at}`)))
  note(appended.map(({ length }) => length))
  const texts = []
  for await (const block of cores[0].createReadStream()) texts.push(b4a.toString(block))
  note(texts)
})

sameWithEveryPairOfStores('the same stream, twice and for another store', async ({ createA, createB, note }) => {
  const a = createA(null, { primaryKey, unsafe: true })
  const b = createB()
  const core = a.get({ name: 'a' })
  await core.append(['x', 'y'])
  const [one, other] = [a.replicate(true), b.replicate(false)]
  one.pipe(other).pipe(one)
  for (const stream of [one, other]) stream.on('error', () => {})
  note(a.replicate(one) === one, a.streamTracker.records.length, b.streamTracker.records.length, a.streamTracker.records.map(({ isExternal }) => isExternal))
  const copy = b.get(core.key)
  note(await copy.get(1), copy.length)
  await eventually(() => copy.peers.length === 1 && core.peers.length === 1)
  note(a.cores.size, b.cores.size)
  one.destroy()
  await eventually(() => a.streamTracker.records.length === 0 && b.streamTracker.records.length === 0)
  await eventually(() => copy.peers.length === 0)
  note(core.peers.length)
})

sameWithBothStores('a store that waits for another, and one that only reads', async ({ create, folder, note }) => {
  const path = folder()
  const first = create(path)
  await first.get({ name: 'a' }).append('x')
  const reading = create(path, { readOnly: true })
  const copy = reading.get({ name: 'a' })
  note(await copy.get(0), copy.length, copy.writable, reading.readOnly, (await outcome(copy.append('y'))).error.code)
  await first.get({ name: 'a' }).append('later')
  note(copy.length)
  await reading.close()
  const waiting = create(path, { wait: true })
  const order = []
  const opened = waiting.ready().then(() => { order.push('opened') })
  await new Promise((resolve) => setTimeout(resolve, 150))
  order.push('closed')
  await first.close()
  await opened
  note(order, await waiting.get({ name: 'a' }).get(1))
  await waiting.close()
  const alone = create(path, { readOnly: true })
  note(await alone.get({ name: 'a' }).get(1))
  await alone.close()
  note((await outcome(create(folder(), { readOnly: true }).ready())).error !== undefined)
})

sameWithBothStores('sessions say that they are closed in the order in which they were made, core by core', async ({ create, note }) => {
  for (const moved of [false, true]) {
    const store = create(null, { primaryKey, unsafe: true })
    const seen = []
    const heard = async (name, session) => {
      session.on('close', () => { seen.push([name, session.closed, session.opened]) })
      session.on('migrate', (key) => { seen.push([name, 'migrate', key]) })
      await session.ready()
      return session
    }
    const a = await heard('a', store.get({ name: 'a' }))
    await a.append(['0', '1', '2'])
    const b = await heard('b', store.get({ name: 'b' }))
    const c = await heard('c', store.get({ name: 'c' }))
    await heard('session of a', a.session())
    await heard('session of b', b.session())
    await heard('snapshot of a', a.snapshot())
    await heard('session of c', c.session())
    const branch = await heard('branch', a.session({ name: 'branch' }))
    await heard('session of the branch', branch.session())
    if (moved) {
      const prologue = { length: 3, hash: await a.treeHash() }
      const other = await heard('other', store.get({ manifest: { version: 1, prologue, signers: [{ publicKey: a.manifest.signers[0].publicKey }] } }))
      await other.core.copyPrologue(a.state)
      await branch.state.moveTo(other, other.length)
      note(branch.key.equals(other.key), branch.length, other.sessions.length, a.sessions.length)
    }
    await store.close()
    note(seen)
  }
  const store = create(null, { primaryKey, unsafe: true })
  const seen = []
  const core = store.get({ name: 'a' })
  await core.ready()
  const sessions = [core, core.session(), core.session(), core.snapshot()]
  for (const [name, session] of sessions.entries()) {
    await session.ready()
    session.on('close', () => { seen.push([name, core.sessions.length]) })
  }
  await Promise.all([sessions[2].close(), core.close(), sessions[1].close()])
  note(seen)
  // The last one, too, has closed by the time that somebody looks.
  void sessions[3].close()
  note(seen)
})

sameWithBothStores('a core that one of several signs, named by its key', async ({ create, note, folder, Hypercore, Corestore }) => {
  const [mine, theirs] = [5, 6].map((byte) => crypto.keyPair(b4a.alloc(32, byte)))
  const signers = [mine, theirs].map(({ publicKey }) => ({ publicKey, namespace: b4a.alloc(32, 7) }))
  const manifest = { version: 1, quorum: 1, signers }
  const key = Hypercore.key(manifest)
  const path = folder()
  for (const how of [{ manifest, keyPair: mine }, { key, keyPair: mine }, { key, keyPair: theirs }, { key }]) {
    const store = new Corestore(path)
    const core = store.get(how)
    await core.ready()
    note(core.key, core.length, core.writable, core.manifest.signers.length, core.writable && await outcome(core.append('x')))
    await store.close()
  }
  const store = create(null, { primaryKey, unsafe: true })
  const core = store.get({ key: mine.publicKey, keyPair: mine })
  await core.ready()
  note(core.key, core.manifest, core.writable)
})

sameWithBothStores('key pairs in namespaces of any length', async ({ create, note }) => {
  const store = create(null, { primaryKey, unsafe: true })
  for (const length of [32, 0, 5, 64]) note((await store.createKeyPair('x', b4a.alloc(length, 3))).publicKey)
})

sameWithBothStores('what a closed store still says', async ({ create, note }) => {
  const store = create(null, { primaryKey, unsafe: true })
  const space = store.namespace('n')
  const core = space.get({ name: 'a' })
  await core.ready()
  await space.close()
  note(core.closed, (await all(space.list())).length, (await space.getAuth(core.discoveryKey)).key, await store.getAuth(b4a.alloc(3)), await all(store.list(b4a.alloc(3))))
  await space.suspend()
  await space.resume()
  await store.close()
  for (const list of [store.list(), space.list()]) {
    // As long as nobody reads it, nobody has to hear of it.
    await eventFlush()
    note('error' in await outcome(all(list)))
  }
  for (const ask of [() => all(store.list()), () => all(space.list()), () => store.getAuth(core.discoveryKey), () => store.suspend(), () => store.resume(), () => all(store.audit())]) {
    note('error' in await outcome(Promise.resolve().then(ask)))
  }
})

sameWithBothStores('the places of those who watch', async ({ create, note }) => {
  const store = create(null, { primaryKey, unsafe: true })
  const stores = [store, store.session(), store.namespace('n')]
  const places = () => { note(stores.map(({ watchIndex }) => watchIndex), store.cores.watching.length, store.cores.watching.map((watching) => stores.indexOf(watching))) }
  const watch = () => {}
  for (const store of stores) store.watch(watch)
  places()
  store.unwatch(watch)
  places()
  await stores[1].close()
  places()
})
