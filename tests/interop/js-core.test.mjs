// The class Hypercore by itself: the same programs with upstream's and ours.

import c from 'compact-encoding'

import { eventually, outcome, sameWithBoth } from './support/both.mjs'

const seed = (byte) => Buffer.alloc(32, byte)
const keyPair = {
  publicKey: Buffer.from('8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c', 'hex'),
  secretKey: Buffer.from('01'.repeat(32) + '8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c', 'hex')
}
const stranger = seed(7)

sameWithBoth('a new core before and after it is ready', async ({ Hypercore, note, folder, defer }) => {
  const core = new Hypercore(folder(), { keyPair })
  defer(() => core.close())
  const state = () => [
    core.id, core.key, core.discoveryKey, core.keyPair, core.manifest, core.length, core.fork, core.byteLength,
    core.contiguousLength, core.remoteContiguousLength, core.padding, core.writable, core.readable, core.opened,
    core.closed, core.closing, core.snapshotted, core.weak, core.exclusive, core.wait, core.timeout, core.peers,
    core.sessions?.length, core.activeRequests, core.waits
  ]
  note('before', ...state().toSpliced(-3, 1))
  core.on('ready', () => note('ready event'))
  note(await core.ready())
  note('after', ...state())
  note(await core.info())
  note(core.getManifest({ raw: true }))
})

sameWithBoth('append and get', async ({ create, note }) => {
  const core = await create({ keyPair })
  core.on('append', () => note('append', core.length))
  note(await core.append('hello'))
  note(await core.append(['a', Buffer.from('bc'), new Uint8Array([1, 2])]))
  note(await core.append([]))
  for (let index = 0; index < 4; index++) note(await core.get(index))
  note(core.length, core.byteLength, core.contiguousLength)
  note(await core.append(['no'], { maxLength: 4 }), core.length)
  note(await core.treeHash(), await core.treeHash(2), await core.signable(), await core.signable(3, 5))
  note(await core.seek(0), await core.seek(6), await core.seek(9))
  note(await core.has(3), await core.has(4), await core.has(0, 4), await core.has(0, 5))
  note(await core.update(), await core.get(9, { wait: false }))
})

sameWithBoth('values in every encoding', async ({ create, note }) => {
  const values = { binary: Buffer.from('x'), 'utf-8': 'grüße', json: { a: [1, null] }, ndjson: { b: 2 }, hex: 'c0ffee', base64: 'aGk=', ascii: 'plain', ucs2: 'wide', unknown: Buffer.from('y') }
  for (const [valueEncoding, value] of Object.entries(values)) {
    const core = await create({ valueEncoding })
    await core.append([value, Buffer.from('7b7d', 'hex')])
    note(valueEncoding, await core.get(0), await outcome(core.get(1)), await core.get(0, { valueEncoding: 'binary' }))
  }
  const core = await create({ valueEncoding: c.uint })
  await core.append([1, 300, 70000])
  note(await core.get(0), await core.get(1), await core.get(2), await core.get(1, { valueEncoding: 'hex' }))
  const codec = { encode: (value) => Buffer.from(`<${value}>`), decode: (buffer) => buffer.toString().slice(1, -1) }
  const other = await create({ valueEncoding: codec })
  await other.append('inner')
  note(await other.get(0), await other.get(0, { valueEncoding: 'utf-8' }))
  const batches = await create({ encodeBatch: (blocks) => [Buffer.from(blocks.join('+'))] })
  await batches.append(['a', 'b'])
  note(batches.length, await batches.get(0))
  const json = await create({ valueEncoding: 'json' })
  await json.append(Buffer.from('not json'))
  note((await outcome(json.get(0))).error.code)
})

sameWithBoth('errors have codes and words', async ({ Hypercore, create, folder, note }) => {
  const core = await create({ keyPair })
  await core.append('a')
  note(await outcome(core.get(-1)), await outcome(core.get(undefined)), await outcome(core.get('x')))
  note(await outcome(core.has(-1)), await outcome(core.seek(-1)), await outcome(core.clear(-1)))
  note(await outcome(core.get(5, { timeout: 20 })))
  note(await outcome(core.append(Buffer.alloc(Hypercore.MAX_SUGGESTED_BLOCK_SIZE + 1))))
  const reader = await create(stranger)
  note(reader.writable, await outcome(reader.append('x')), await outcome(reader.truncate(1)))
  const readonly = core.session({ writable: false })
  await readonly.ready()
  note(readonly.writable, await outcome(readonly.append('x')))
  note(await outcome(new Hypercore(folder(), { createIfMissing: false }).ready()))
  note(await outcome(core.setEncryption({})))
  const where = folder()
  const first = new Hypercore(where, { keyPair })
  await first.ready()
  await first.close()
  const another = new Hypercore(where, stranger)
  note(await outcome(another.ready()), another.key)
  await another.close()
  try { core.session({ checkout: 1 }) } catch (error) { note(error) }
})

sameWithBoth('a closed core', async ({ create, note }) => {
  const core = await create({ keyPair })
  await core.append('a')
  let order = 0
  core.on('close', () => note('close event', order++))
  await Promise.all([core.close().then(() => note(order++)), core.close().then(() => note(order++))])
  note(core.closed, core.opened, core.readable, core.writable, core.length, core.peers, core.sessions.length)
  note(core.key, core.id)
  note(await outcome(core.get(0)), await outcome(core.append('b')), await outcome(core.truncate(0)), await outcome(core.clear(0)))
  note(await outcome(core.update()))
  try { core.session() } catch (error) { note(error) }
})

sameWithBoth('closing rejects what waits', async ({ create, note }) => {
  const core = await create(stranger)
  const session = core.session()
  await session.ready()
  const mine = outcome(session.get(3))
  const failing = core.session()
  await failing.ready()
  const told = outcome(failing.get(4))
  await eventually(() => session.waits === 1 && failing.waits === 1)
  // Upstream has read from storage by now, and what is closed before that fails otherwise, as ours does in the same turn.
  await new Promise((resolve) => setTimeout(resolve))
  note(session.activeRequests.length)
  await session.close()
  await failing.close({ error: new Error('because') })
  note(await mine, await told)
  const list = []
  const listed = outcome(core.get(5, { activeRequests: list }))
  await eventually(() => list.length === 1)
  core.constructor.clearRequests(list, new Error('enough'))
  note(await listed)
})

sameWithBoth('what was written is there after opening again', async ({ Hypercore, folder, note }) => {
  const where = folder()
  const core = new Hypercore(where)
  await core.append(['a', 'b', 'c'])
  await core.setUserData('name', Buffer.from('value'))
  const { id, keyPair } = core
  await core.close()
  const again = new Hypercore(where)
  await again.ready()
  note(again.id === id, again.keyPair.secretKey.equals(keyPair.secretKey), again.length, again.writable, again.contiguousLength)
  note(await again.get(1), await again.getUserData('name'), await again.getUserData('none'))
  await again.append('d')
  note(again.length)
  await again.close()
  const over = new Hypercore(where, { overwrite: true, keyPair: again.keyPair })
  await over.ready()
  note(over.length, over.key.equals(again.key))
  await over.close()
})

sameWithBoth('sessions', async ({ create, note }) => {
  const core = await create({ keyPair, valueEncoding: 'utf-8' })
  const session = core.session({ valueEncoding: 'json' })
  await session.ready()
  note(core.sessions.length, session.sessions === core.sessions, session.core === core.core)
  for (const [name, each] of [['core', core], ['session', session]]) {
    each.on('append', () => note(name, 'append', each.length))
    each.on('truncate', (ancestors, fork) => note(name, 'truncate', ancestors, fork))
    each.on('close', () => note(name, 'close'))
  }
  await session.append({ hello: 1 })
  await core.append(['one', 'two'])
  note(await session.get(0), await core.get(0), await core.get(2))
  await core.truncate(1)
  note(core.length, core.fork, session.length, session.fork)
  await session.close()
  note(core.sessions.length, core.closed)
  const late = core.session()
  await core.close()
  await late.ready()
  note(late.opened, late.closed, late.length)
  await late.close()
})

sameWithBoth('options of sessions', async ({ create, note }) => {
  const core = await create(stranger, { timeout: 30, onwait: (index) => note('onwait', index), onseq: (index) => note('onseq', index) })
  note(await outcome(core.get(1)))
  note(await core.get(2, { wait: false }))
  const session = core.session({ wait: false })
  await session.ready()
  note(session.wait, session.timeout, await session.get(3))
  note(await outcome(session.get(4, { wait: true, onwait: (index) => note('own onwait', index) })))
  const child = session.session({ timeout: 0 })
  await child.ready()
  note(child.wait, child.timeout, core.waits, session.waits)
})

sameWithBoth('each of many snapshots shows the tree of its time', async ({ create, note }) => {
  const core = await create({ keyPair })
  const snapshots = []
  for (let i = 0; i < 12; i++) {
    if (i % 4 === 3) await core.truncate(core.length - 2)
    else await core.append(`block ${i}`)
    for (let twice = 0; twice < 2; twice++) {
      const snapshot = core.snapshot()
      await snapshot.ready()
      snapshots.push(snapshot)
    }
  }
  for (const snapshot of snapshots) {
    note(snapshot.length, snapshot.fork, snapshot.state.hash(), snapshot.state.roots.map(({ index, size, hash }) => [index, size, hash]))
    await snapshot.close()
  }
})

sameWithBoth('snapshots stay as they are', async ({ create, note }) => {
  const core = await create({ keyPair })
  await core.append(['a', 'b', 'c'])
  const snapshot = core.snapshot()
  await snapshot.ready()
  snapshot.on('append', () => note('never'))
  await core.append('d')
  note(snapshot.length, snapshot.byteLength, snapshot.fork, snapshot.snapshotted, core.length)
  note(await snapshot.get(2), (await outcome(snapshot.get(3))).error.code, await snapshot.update())
  await core.truncate(1)
  await core.append('z')
  note(snapshot.length, snapshot.fork, core.length, core.fork, await core.get(1))
  note(await snapshot.get(0))
  await snapshot.close()
})

sameWithBoth('clear', async ({ create, note }) => {
  const core = await create({ keyPair })
  await core.append(Array.from({ length: 20 }, (_, i) => `block ${i}`))
  note(await core.clear(3), await core.clear(6, 8), await core.clear(11, { diff: true }), await core.clear(30, 40), await core.clear(4, 4))
  note(core.contiguousLength, await core.has(3), await core.has(4), await core.has(5, 8), await core.get(6, { wait: false }), await core.get(5))
  note(core.length, core.byteLength, await core.treeHash())
})

sameWithBoth('truncate', async ({ create, note }) => {
  const core = await create({ keyPair })
  core.on('truncate', (ancestors, fork) => note('truncate', ancestors, fork, core.length))
  await core.append(Array.from({ length: 20 }, (_, i) => `block ${i}`))
  note(await core.truncate(10))
  note(core.length, core.fork, core.contiguousLength, core.byteLength)
  await core.truncate(5, { fork: 7 })
  await core.append('again')
  note(core.length, core.fork, await core.get(5), await core.treeHash())
  await core.truncate(0, 9)
  note(core.length, core.fork, core.byteLength, await core.treeHash(0))
})

sameWithBoth('reading as streams', async ({ create, note }) => {
  const core = await create({ keyPair, valueEncoding: 'utf-8' })
  await core.append(['alpha', 'beta', 'gamma', 'delta'])
  const collect = async (stream) => {
    const all = []
    for await (const data of stream) all.push(data)
    return all
  }
  note(await collect(core.createReadStream()), await collect(core.createReadStream({ start: 1, end: 3 })), await collect(core.createReadStream({ start: 9 })))
  note(await collect(core.createByteStream()), await collect(core.createByteStream({ byteOffset: 3, byteLength: 8 })), await collect(core.createByteStream({ byteOffset: 19 })))
  const live = core.createReadStream({ live: true, start: 3 })
  const seen = []
  live.on('data', (data) => seen.push(data))
  await eventually(() => seen.length === 1)
  await core.append('epsilon')
  await eventually(() => seen.length === 2)
  note(seen)
  live.destroy()
  const snapshot = core.createReadStream({ snapshot: false, start: 4 })
  note(await collect(snapshot))
  const writing = core.createWriteStream()
  const finished = new Promise((resolve) => writing.on('finish', resolve))
  for (const word of ['one', 'two', 'three']) writing.write(word)
  writing.end('four')
  await finished
  note(core.length, await core.get(8))
})

sameWithBoth('encrypted at rest', async ({ create, note }) => {
  const key = seed(3)
  for (const options of [{ encryption: { key } }, { encryptionKey: key }, { encryption: { key, block: true } }, { encryption: key, compat: true }]) {
    const core = await create({ keyPair, ...options })
    await core.append(['secret', 'x'])
    note(core.padding, core.byteLength, core.length, await core.get(0), await core.get(0, { raw: true }), await core.info())
    note(await core.get(0, { decrypt: false }), await core.seek(2), await core.seek(6), await core.treeHash())
    const plain = core.session()
    await plain.ready()
    await plain.setEncryption(null)
    note(plain.padding, await plain.get(1))
    await plain.setEncryptionKey(key, { block: !!options.encryption?.block })
    note(await plain.get(1))
  }
})

sameWithBoth('an encryption of one\'s own', async ({ create, note }) => {
  const encryption = {
    padding: () => 2,
    encrypt: async (index, block) => { block[0] = 0xaa; block[1] = index; for (let i = 2; i < block.length; i++) block[i] ^= 0x55 },
    decrypt: async (index, block) => { for (let i = 2; i < block.length; i++) block[i] ^= 0x55 }
  }
  const core = await create({ keyPair, encryption, valueEncoding: 'utf-8' })
  await Promise.all([core.append('one'), core.append(['two', 'three'])])
  note(core.padding, core.byteLength, await core.get(0), await core.get(2), await core.get(1, { raw: true }))
})

sameWithBoth('keys and manifests', async ({ Hypercore, create, note }) => {
  const manifest = { quorum: 1, signers: [{ publicKey: keyPair.publicKey }, { publicKey: seed(9) }], prologue: null }
  const core = await create({ keyPair, manifest })
  note(core.key, core.manifest, core.getManifest({ raw: true }), core.writable)
  await core.append('signed')
  note(core.length, core.key.equals(Hypercore.key(manifest)))
  note(Hypercore.key(keyPair.publicKey), Hypercore.key(keyPair.publicKey, { compat: true }), Hypercore.key(keyPair.publicKey, { version: 0 }))
  note(Hypercore.key(keyPair.publicKey, { namespace: seed(4) }), Hypercore.key(core.getManifest({ raw: true })))
  note(Hypercore.parseManifest({ signers: [{ publicKey: seed(1) }], userData: Buffer.from('u'), linked: [seed(2)] }))
  note(Hypercore.parseManifest({ version: 0, allowPatch: true, quorum: 1, signers: [{ publicKey: seed(1) }, { publicKey: seed(2) }] }))
  for (const bad of [{ quorum: 2, signers: [{ publicKey: seed(1) }] }, { signers: [{}] }, { version: 1, userData: Buffer.from('u') }, { hash: 'md5' }, { quorum: -1 }]) {
    try { note(Hypercore.parseManifest(bad)) } catch (error) { note(error) }
  }
  try { Hypercore.parseManifest(manifest, seed(1)) } catch (error) { note(error) }
  note(Hypercore.discoveryKey(seed(1)), Hypercore.blockEncryptionKey(seed(1), seed(2)), Hypercore.MAX_SUGGESTED_BLOCK_SIZE)
  note(Hypercore.DefaultEncryption.PADDING, Hypercore.DefaultEncryption.deriveKeys(seed(1), seed(2)), Hypercore.DefaultEncryption.deriveKeys(seed(1), seed(2), { compat: true }))
  const compat = await create({ keyPair, compat: true })
  await compat.append('old')
  note(compat.key, compat.manifest, await compat.treeHash())
})

sameWithBoth('user data', async ({ create, note }) => {
  const core = await create({ keyPair, userData: { early: Buffer.from('bird') } })
  note(await core.getUserData('early'), await core.getUserData('late'))
  await core.setUserData('late', Buffer.from('worm'))
  await core.setUserData('early', Buffer.from('again'))
  note(await core.getUserData('early'), await core.getUserData('late'))
})

sameWithBoth('preload and options as the only argument', async ({ Hypercore, folder, defer, note }) => {
  const storage = folder()
  const core = new Hypercore(storage, { preload: Promise.resolve({ keyPair, valueEncoding: 'utf-8' }) })
  await core.append('loaded')
  note(core.key, await core.get(0))
  await core.close()
  const alone = new Hypercore({ storage, valueEncoding: 'json' })
  await alone.ready()
  note(alone.length, alone.key)
  await alone.close()
  const text = new Hypercore(folder(), core.id)
  defer(() => text.close())
  await text.ready()
  note(text.key, text.writable)
})

sameWithBoth('marking and sweeping', async ({ create, note }) => {
  const core = await create({ keyPair })
  await core.append(Array.from({ length: 10 }, (_, i) => `block ${i}`))
  await core.startMarking()
  await core.get(2)
  await core.get(7)
  await core.markBlock(4, 6)
  await core.sweep()
  const held = []
  for (let index = 0; index < 10; index++) held.push(await core.has(index))
  note(held, core.contiguousLength)
})

sameWithBoth('an exclusive session waits for its turn', async ({ create, note }) => {
  const core = await create({ keyPair })
  const first = core.session({ exclusive: true })
  await first.ready()
  const second = core.session({ exclusive: true })
  second.ready().then(() => note('second'))
  await new Promise((resolve) => setTimeout(resolve, 20))
  note('first closes', first.exclusive)
  await first.close()
  await second.ready()
  await second.close()
})

sameWithBoth('a range that is here is downloaded already', async ({ create, note }) => {
  const core = await create({ keyPair })
  await core.append(['a', 'b', 'c'])
  const range = core.download({ start: 0, end: 3 })
  await range.done()
  const missing = core.download({ start: 0, end: 9 })
  const waits = outcome(missing.done())
  await missing.ready()
  missing.destroy()
  note(await waits)
  const live = core.download({ start: 0, end: -1 })
  await live.ready()
  const end = outcome(live.done())
  await core.close()
  note(await end)
})
