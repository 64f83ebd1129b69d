// Programs in the manner of upstream's own suite: one core.

import { inspect } from 'node:util'
import { Transform, pipeline, pipelinePromise } from 'streamx'

import b4a from 'b4a'
import c from 'compact-encoding'
import CoreStorage from 'hypercore-storage'
import RAM from 'random-access-memory'

import { eventually, outcome, sameWithBoth } from './support/both.mjs'

const seed = (byte) => Buffer.alloc(32, byte)
const keyPair = {
  publicKey: Buffer.from('8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c', 'hex'),
  secretKey: Buffer.from('01'.repeat(32) + '8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c', 'hex')
}

async function collect (stream) {
  const all = []
  for await (const data of stream) all.push(data)
  return all
}

sameWithBoth('how a core shows itself', async ({ Hypercore, create, note, folder, defer }) => {
  const core = await create({ keyPair })
  await core.append('a')
  note(inspect(core), `${core}`, Object.prototype.toString.call(core), core.constructor.name)
  note(inspect(core, { colors: true }))
  note(inspect({ nested: { core } }))
  const fresh = new Hypercore(folder(), seed(1))
  defer(() => fresh.close())
  note(inspect(fresh))
  await fresh.ready()
  note(inspect(fresh))
  note(JSON.parse(JSON.stringify(await core.info())), (await core.info()).constructor.name)
})

sameWithBoth('what is there before anything is awaited', async ({ Hypercore, note, folder }) => {
  const core = new Hypercore(folder(), { keyPair, valueEncoding: 'json', encryption: { key: seed(4) } })
  note(core.key, core.core === null, core.valueEncoding, core.encryption, core.sessions?.length ?? 'none', core.opened, core.closed, core.closing)
  note(core.replicator === null, core.contiguousLength, core.byteLength, core.signedLength, core.extensions.size, core.globalCache, core.recovering)
  note(typeof core.ready().then, core.opening === core.ready())
  const withKey = new Hypercore(folder(), seed(1))
  note(withKey.key === null, withKey.id)
  const session = core.session()
  note(session.opened, session.key === null, session.length)
  await Promise.all([core.ready(), session.ready(), withKey.ready()])
  note(core.sessions.length, core.valueEncoding === null, typeof core.encryption.padding, core.padding)
  note(core.closing)
  const closing = core.close()
  note(core.closing === closing, core.closed, core.opened)
  await closing
  note(core.closed, core.opened, session.closed, session.opened)
  await session.close()
  await withKey.close()
  note(await outcome(core.ready()), core.opened)
})

sameWithBoth('closing again, at once, and before it is open', async ({ Hypercore, note, folder }) => {
  const core = new Hypercore(folder())
  await core.close()
  note(core.opened, core.closed, core.length)
  await core.close()
  const other = new Hypercore(folder())
  const ready = outcome(other.ready())
  const append = outcome(other.append('x'))
  await other.close()
  note(await ready, (await append).error?.code ?? (await append).value.length)
  const failing = new Hypercore(folder(), { createIfMissing: false })
  failing.on('ready', () => note('never'))
  note((await outcome(failing.ready())).error.code, failing.opened)
  note((await outcome(failing.get(0))).error.code, (await outcome(failing.append('x'))).error.code)
})

sameWithBoth('forms of storage', async ({ Hypercore, note, folder }) => {
  for (const make of [() => folder(), () => new CoreStorage(folder()), () => ({ storage: folder() }), () => ({ storage: new CoreStorage(folder()) })]) {
    const storage = make()
    const core = storage.storage ? new Hypercore(storage) : new Hypercore(storage, { keyPair })
    await core.append('x')
    note(core.length, core.key.byteLength)
    await core.close()
  }
  const both = new Hypercore(folder(), keyPair.publicKey, { keyPair, compat: true })
  await both.append('x')
  note(b4a.equals(both.key, keyPair.publicKey), both.writable)
  await both.close()
  const text = new Hypercore(folder(), b4a.toString(keyPair.publicKey, 'hex'))
  await text.ready()
  note(text.key, text.writable, text.id)
  await text.close()
  const z32 = new Hypercore(folder(), text.id)
  await z32.ready()
  note(z32.key)
  await z32.close()
  const link = new Hypercore(folder(), { key: text.id })
  await link.ready()
  note(link.key)
  await link.close()
  const nothing = new Hypercore(folder(), null, {})
  await nothing.ready()
  note(nothing.writable)
  await nothing.close()
  const undefinedKey = new Hypercore(folder(), undefined, { keyPair })
  await undefinedKey.ready()
  note(undefinedKey.key)
  await undefinedKey.close()
  try { const bad = new Hypercore(folder(), 'not a key'); bad.on('error', () => {}); note('made') } catch (error) { note(error.message.slice(0, 21)) }
})

sameWithBoth('several cores in one storage', async ({ Hypercore, note, folder }) => {
  const storage = new CoreStorage(folder())
  const a = new Hypercore(storage, { keyPair })
  await a.append('a')
  const other = new Hypercore(storage, seed(9))
  await other.ready()
  note(a.length, other.length, other.key)
  await other.close()
  await a.close()
})

sameWithBoth('appending', async ({ create, note }) => {
  const core = await create({ keyPair })
  note(await Promise.all([core.append('a'), core.append('b'), core.append(['c', 'd'])]))
  note(await core.append(''), await core.append(Buffer.alloc(0)), await core.append(['', 'x', '']))
  note(await core.get(4), await core.get(6), await core.get(8), core.byteLength, core.length)
  note(await core.append(new Uint8Array([1, 2])), await core.get(9))
  note((await outcome(core.append(undefined))).error?.name, (await outcome(core.append(null))).error?.name, (await outcome(core.append(5))).error?.name)
  note((await outcome(core.append([1, 2]))).error?.name, (await outcome(core.append({}))).error?.name)
  note(core.length)
  note(await core.append(['x', 'y'], { maxLength: 11 }), core.length, await core.append('x', { maxLength: 11 }))
  note(await outcome(core.append('z', { keyPair: { publicKey: seed(3) } })))
  note(await core.append('w', { writable: true }))
  const big = Buffer.alloc(2 << 20, 7)
  await core.append(big)
  note(b4a.equals(await core.get(core.length - 1), big))
})

sameWithBoth('a binary block is not shared with the caller', async ({ create, note }) => {
  const core = await create({ keyPair })
  const block = Buffer.from('before')
  const appended = core.append(block)
  await appended
  block.set(b4a.from('after!'))
  note(await core.get(0))
  const [one, other] = await Promise.all([core.get(0), core.get(0)])
  one.fill(0)
  note(other, await core.get(0))
})

sameWithBoth('getting', async ({ create, note }) => {
  const core = await create({ keyPair, valueEncoding: 'utf-8' })
  await core.append(['a', 'b', ''])
  note(await core.get(0, null), await core.get(0, undefined), await core.get(0, {}), await core.get(2))
  note(await core.get(0, { valueEncoding: 'binary' }), await core.get(0, { raw: true }), await core.get(0, { valueEncoding: 'json' }).catch((error) => error.code))
  note(await outcome(core.get(NaN)), await outcome(core.get(null)), await outcome(core.get(1.5, { wait: false })), await outcome(core.get(-0)))
  note(await outcome(core.get('0')), await outcome(core.get(true)))
  note(await core.get(3, { wait: false }), await outcome(core.get(3, { timeout: 10 })), await outcome(core.get(Number.MAX_SAFE_INTEGER, { wait: false })))
  note(core.waits, core.activeRequests.length)
  note(await core.has(0, 3), await core.has(0, 0), await core.has(2, 1), await outcome(core.has(0, -1)), await outcome(core.has('x')), await core.has(1e12))
})

sameWithBoth('encodings given in every way', async ({ create, note }) => {
  const core = await create({ keyPair })
  const abstract = {
    encode (value, buffer, offset) { buffer.set(Buffer.from(value.toUpperCase()), offset); abstract.encode.bytes = value.length; return buffer },
    decode: (buffer, start, end) => b4a.toString(buffer.subarray(start, end)).toLowerCase(),
    encodingLength: (value) => value.length
  }
  for (const valueEncoding of ['utf8', 'utf-8', 'json', 'binary', 'hex', c.string, c.json, c.buffer, c.array(c.uint), abstract, { preencode: c.uint.preencode, encode: c.uint.encode, decode: c.uint.decode }]) {
    const session = core.session({ valueEncoding })
    await session.ready()
    const value = valueEncoding === 'hex' ? 'abcd' : valueEncoding === 'binary' || valueEncoding === c.buffer ? Buffer.from('b') : typeof valueEncoding === 'object' && valueEncoding.preencode === c.uint.preencode ? 7 : valueEncoding?.encodingLength ? 'abc' : 'text'
    const out = await outcome(session.append(valueEncoding?.encode && valueEncoding !== c.string && valueEncoding !== c.json && valueEncoding !== c.buffer && !valueEncoding.encodingLength && value !== 7 ? [[1, 2, 300]] : value))
    note(out.value ?? out.error.name, (await outcome(core.get(core.length - 1))).value, (await outcome(session.get(core.length - 1))).value)
  }
  note(core.valueEncoding)
  const json = await create({ valueEncoding: 'json' })
  await json.append([{ a: 1 }, null, [1], 'x', 5, true])
  note(await Promise.all([0, 1, 2, 3, 4, 5].map((i) => json.get(i))))
  note(json.valueEncoding !== null, typeof json.valueEncoding.preencode)
})

sameWithBoth('events', async ({ Hypercore, note, folder }) => {
  const core = new Hypercore(folder(), { keyPair })
  for (const event of ['ready', 'close', 'append', 'truncate', 'manifest', 'migrate', 'peer-add', 'download', 'upload', 'remote-contiguous-length']) {
    core.on(event, (...args) => note(event, ...args, core.length, core.opened, core.closed))
  }
  await core.ready()
  await core.append('a')
  await core.append(['b', 'c'])
  await core.append([])
  await core.truncate(3)
  await core.truncate(1)
  await core.clear(0)
  await core.append('d')
  await core.close()
  note(core.listenerCount('append'), core.eventNames().includes('append'))
  core.removeAllListeners('append')
  note(core.listenerCount('append'), typeof core.once, typeof core.off, typeof core.setMaxListeners)
})

sameWithBoth('sessions and their parents', async ({ Hypercore, create, note }) => {
  const core = await create({ keyPair })
  const reader = core.session({ writable: false })
  const nested = reader.session()
  const again = reader.session({ writable: true })
  await Promise.all([reader.ready(), nested.ready(), again.ready()])
  note(reader.writable, nested.writable, again.writable, (await outcome(nested.append('x'))).error)
  await again.append('x')
  note(core.length, reader.length, nested.sessions.length)
  const encoded = core.session({ valueEncoding: 'utf-8' })
  const child = encoded.session()
  await child.ready()
  note(await encoded.get(0), await child.get(0))
  const pair = { publicKey: seed(8), secretKey: Buffer.alloc(64, 8) }
  const keyed = core.session({ keyPair: pair })
  await keyed.ready()
  note(keyed.keyPair === pair, keyed.writable, core.keyPair.publicKey)
  keyed.setKeyPair(null)
  note(keyed.keyPair, keyed.writable, await outcome(keyed.append('y')))
  class Mine extends Hypercore { hello () { return 'hello' } }
  const mine = core.session({ class: Mine })
  await mine.ready()
  note(mine.hello(), mine instanceof Hypercore, mine.length)
  let gone = 0
  const collected = core.session({ ongc: () => { gone++ } })
  await collected.ready()
  await collected.close()
  note(gone, collected.sessions === core.sessions)
  const order = core.sessions.map((session) => session === core)
  note(order)
  await core.close()
  note(core.closed, child.closed, await child.get(0), child.length, child.opened)
  for (const session of [...child.sessions]) await session.close()
  note(child.closed, child.sessions.length)
  note((await outcome(child.get(0))).error.code)
})

sameWithBoth('weak sessions do not keep a core open', async ({ create, note }) => {
  const core = await create({ keyPair })
  await core.append('x')
  const weak = core.session({ weak: true })
  await weak.ready()
  note(weak.weak, core.weak, await weak.get(0), weak.session().weak)
  const closed = new Promise((resolve) => weak.on('close', resolve))
  await core.close()
  await Promise.race([closed, new Promise((resolve) => setTimeout(resolve, 500))])
  note(weak.closed, core.closed)
})

sameWithBoth('subclasses', async ({ Hypercore, note, folder }) => {
  const calls = []
  class Mine extends Hypercore {
    async append (...args) { calls.push('append'); return super.append(...args) }
    get extra () { return this.length + 1 }
  }
  const core = new Mine(folder(), { keyPair })
  await core.append('x')
  note(calls, core.extra, core instanceof Hypercore)
  const session = core.session()
  note(session instanceof Mine, session.constructor.name)
  await session.close()
  await core.close()
})

sameWithBoth('snapshots', async ({ create, note }) => {
  const core = await create({ keyPair })
  await core.append(['a', 'b'])
  const snapshot = core.snapshot()
  note(snapshot.snapshotted)
  await snapshot.ready()
  const early = core.session({ snapshot: true })
  await core.append('c')
  await early.ready()
  note(snapshot.length, early.length, (await outcome(snapshot.append('x'))).error !== undefined)
  const nested = snapshot.session()
  const nestedSnapshot = snapshot.snapshot()
  await nested.ready()
  await nestedSnapshot.ready()
  note(nested.length, nestedSnapshot.length, nested.snapshotted, nestedSnapshot.snapshotted)
  note(await snapshot.get(1), await outcome(snapshot.get(2)), await snapshot.has(1), await snapshot.has(2), await snapshot.update())
  note(await collect(snapshot.createReadStream()), await snapshot.info(), await snapshot.treeHash(), snapshot.contiguousLength)
  note(await snapshot.seek(1), await snapshot.signable(), snapshot.signedLength)
  await snapshot.close()
  note(snapshot.closed, core.closed, core.sessions.length)
})

sameWithBoth('streams', async ({ create, note }) => {
  const core = await create({ keyPair, valueEncoding: 'utf-8' })
  await pipelinePromise(
    (function () { const s = new Transform(); for (const word of 'the quick brown fox'.split(' ')) s.write(word); s.end(); return s })(),
    new Transform({ transform (word, done) { done(null, b4a.toString(b4a.from(word)) + '!') } }),
    core.createWriteStream()
  )
  note(core.length, await collect(core.createReadStream({ start: 1, end: 3 })))
  note(await collect(core.createReadStream({ start: 3, end: 1 })), await collect(core.createReadStream({ start: 2 })))
  note((await outcome(collect(core.createReadStream({ end: 6, wait: false })))))
  note((await outcome(collect(core.createReadStream({ end: 6, timeout: 20 })))).error)
  const stream = core.createReadStream()
  note(stream.core === core, stream.start, stream.end, stream.live, stream.snapshot, stream.constructor.name, stream.destroyed)
  stream.destroy()
  await new Promise((resolve) => stream.on('close', resolve))
  const live = core.createReadStream({ live: true })
  const seen = []
  live.on('data', (data) => { seen.push(data); if (seen.length === 6) live.destroy() })
  const closed = new Promise((resolve) => live.on('close', resolve))
  await core.append(['jumps', 'over'])
  await closed
  note(seen)
  const snapshotted = core.createReadStream({ snapshot: true })
  const first = await new Promise((resolve) => snapshotted.once('data', (data) => { snapshotted.pause(); resolve(data) }))
  await core.append('late')
  note(first, await collect(snapshotted))
  const bytes = async (options) => (await collect(core.createByteStream(options))).map((block) => b4a.toString(block)).join('|')
  note(await bytes({ byteOffset: 2, byteLength: 9 }), await bytes({ byteOffset: 5 }), await bytes({ byteLength: 4 }))
  note(await outcome(collect(core.createByteStream({ byteOffset: 0, byteLength: 0 }))), (await collect(core.createByteStream({ prefetch: 0 }))).length)
  const writer = core.createWriteStream()
  writer.write('one')
  writer.write('two')
  writer.end()
  await new Promise((resolve) => writer.on('close', resolve))
  note(core.length, await core.get(core.length - 1))
  await core.close()
  note((await outcome(collect(core.createReadStream()))).error?.code)
})

sameWithBoth('truncation in detail', async ({ create, note }) => {
  const core = await create({ keyPair })
  const session = core.session()
  await session.ready()
  session.on('truncate', (...args) => note('session', ...args))
  core.on('truncate', (...args) => note('core', ...args))
  core.on('append', () => note('append', core.length))
  await core.append(['a', 'b', 'c', 'd', 'e'])
  note(await outcome(core.truncate(9)), core.length, core.fork)
  note(await outcome(core.truncate(3, { fork: 4 })), core.fork, session.length, core.contiguousLength)
  note(await outcome(core.truncate(2, 12)), core.fork)
  note(await outcome(core.truncate(3)), core.length)
  note(await outcome(core.truncate()), core.length, core.fork)
  await core.append('z')
  note(await core.get(0), await core.has(1), await core.treeHash(), await core.signable())
})

sameWithBoth('clearing in detail', async ({ create, note }) => {
  const core = await create({ keyPair })
  await core.append(Array.from({ length: 40 }, (_, i) => `block ${i}`))
  note(await core.clear(0, 10), core.contiguousLength, await core.has(9), await core.has(10))
  note(await core.clear(20), await core.clear(5, 100), core.contiguousLength, await core.has(39))
  note(await outcome(core.clear(-1)), await outcome(core.clear(1, -1)), await outcome(core.clear('x')), await core.clear(100), await core.clear(3, 3))
  note(await core.get(15, { wait: false }), core.length, core.byteLength)
  await core.append('after')
  note(await core.get(40), core.contiguousLength)
  note(await core.clear(40, { diff: true }), await core.has(40))
})

sameWithBoth('the bitfield across pages', async ({ create, note }) => {
  const core = await create({ keyPair })
  await core.append(Array.from({ length: (1 << 16) + 10 }, () => 'x'))
  note(core.length, core.contiguousLength, core.byteLength, await core.has(0, core.length), await core.has(core.length))
  note(await core.get(1 << 16), await core.get(32768), core.core.bitfield.get(40000), core.core.bitfield.get(core.length))
  await core.clear(32767, 32770)
  note(core.contiguousLength, await core.has(32766), await core.has(32769), await core.has(32770), await core.has(0, 32767), await core.has(0, 32768))
  note(await core.treeHash(), await core.seek(65539))
})

sameWithBoth('user data', async ({ Hypercore, create, folder, note }) => {
  const where = folder()
  const core = new Hypercore(where, { keyPair })
  await core.setUserData('a', Buffer.from('one'))
  await core.setUserData('b', Buffer.from('two'))
  await core.setUserData('a', Buffer.from('three'))
  note(await core.getUserData('a'), await core.getUserData('b'), await core.getUserData('none'))
  await core.setUserData('b', null)
  note(await core.getUserData('b'))
  const session = core.session({ userData: { c: Buffer.from('session') } })
  await session.ready()
  note(await core.getUserData('c'), await session.getUserData('a'))
  await session.close()
  await core.close()
  const again = new Hypercore(where)
  note(await again.getUserData('a'), await again.getUserData('c'))
  await again.close()
})

sameWithBoth('encryption in every form', async ({ Hypercore, create, note, folder }) => {
  const key = seed(5)
  const { DefaultEncryption } = Hypercore
  const core = await create({ keyPair, encryption: { key } })
  await core.append(['hello', 'world'])
  note(core.encryption instanceof DefaultEncryption, core.encryption.key, core.encryption.blockKey, core.encryption.blindingKey, core.encryption.compat, core.encryption.padding())
  const raw = await core.get(1, { raw: true })
  const opened = b4a.from(raw)
  DefaultEncryption.decrypt(1, opened, core.encryption.blockKey)
  note(opened.subarray(8), b4a.equals(raw, opened))
  const block = Buffer.concat([Buffer.alloc(8), Buffer.from('by hand')])
  DefaultEncryption.encrypt(7, block, 3, core.encryption.blockKey, core.encryption.blindingKey)
  note(block)
  DefaultEncryption.decrypt(7, block, core.encryption.blockKey)
  note(block.subarray(8))
  const instance = new DefaultEncryption(key, core.key)
  const padded = Buffer.concat([Buffer.alloc(8), Buffer.from('instance')])
  await instance.encrypt(2, padded, 0, core.core)
  note(padded)
  await instance.decrypt(2, padded, core.core)
  note(padded.subarray(8))
  const session = core.session()
  await session.ready()
  note(await session.get(0), session.encryption === core.encryption)
  await session.setEncryptionKey(null)
  note(session.encryption, (await session.get(0)).byteLength)
  await session.setEncryptionKey(key)
  note(await session.get(0))
  const blockKey = Hypercore.blockEncryptionKey(core.key, key)
  await session.setEncryptionKey(blockKey, { block: true })
  note(await session.get(1))
  note(await core.get(0, { decrypt: false }))
  await core.truncate(1)
  await core.append('fork')
  note(core.fork, await core.get(1), await core.get(1, { raw: true }))
  const provider = await create({ keyPair, encryption: new DefaultEncryption(key, core.key) })
  await provider.append('x')
  note(await provider.get(0, { raw: true }), await provider.get(0))
  note(await outcome(core.setEncryption({ encrypt () {} })), await outcome(core.setEncryption(undefined)).then((out) => out.error?.code))
})

sameWithBoth('preload', async ({ Hypercore, note, folder }) => {
  const core = new Hypercore(folder(), { preload: new Promise((resolve) => setTimeout(resolve, 10, { keyPair, valueEncoding: 'json' })) })
  note(core.sessions.length, core.core, core.key)
  const session = core.session()
  await core.append({ a: 1 })
  note(core.length, await core.get(0), core.key)
  await session.ready()
  note(session.length, session.valueEncoding, session.key)
  await session.close()
  await core.close()
  const failing = new Hypercore(folder(), { preload: Promise.reject(new Error('no preload')) })
  note(await outcome(failing.ready()))
})

sameWithBoth('cancelling and destroying lists of requests', async ({ Hypercore, create, note }) => {
  const core = await create(seed(2))
  const list = []
  const waiting = [outcome(core.get(0, { activeRequests: list })), outcome(core.seek(5, { activeRequests: list })), outcome(core.download({ start: 0, end: 5, activeRequests: list }).done())]
  await eventually(() => list.length === 3)
  Hypercore.clearRequests(list)
  note(await Promise.all(waiting), list.length)
  Hypercore.destroyRequests(list, new Error('over'))
  note(await outcome(core.get(0, { activeRequests: list })), await outcome(core.seek(5, { activeRequests: list })), list.length)
  const range = core.download({ start: 0, end: 10 })
  await range.ready()
  note(core.activeRequests.length, range.opened, range.session === core, range.range)
  const done = outcome(range.done())
  range.destroy()
  note(await done, core.activeRequests.length)
  core.undownload(core.download())
  core.cancel(null)
  const session = core.session()
  const pending = outcome(session.get(7))
  const downloading = outcome(session.download({ start: 2, end: 3 }).done())
  await new Promise((resolve) => setTimeout(resolve))
  await eventually(() => session.activeRequests.length === 2)
  await session.close()
  note(await pending, await downloading)
})

sameWithBoth('manifests', async ({ Hypercore, create, folder, note }) => {
  const two = { publicKey: seed(6) }
  const where = folder()
  const core = new Hypercore(where, { keyPair, manifest: { version: 1, quorum: 1, signers: [{ publicKey: keyPair.publicKey }, two] } })
  await core.append('x')
  note(core.manifest, core.key, core.keyPair.publicKey)
  await core.close()
  const again = new Hypercore(where)
  await again.ready()
  note(again.manifest, again.key, again.writable, again.core.compat)
  await again.close()
  const reader = await create(core.key, { manifest: core.manifest })
  note(reader.manifest, b4a.equals(reader.key, core.key), reader.writable)
  const unsigned = await create({ manifest: { version: 1, signers: [], prologue: { hash: seed(1), length: 3 } } })
  note(unsigned.manifest, unsigned.writable, unsigned.length, unsigned.key)
  const compat = await create({ keyPair, compat: true })
  note(compat.core.compat, compat.manifest, b4a.equals(compat.key, keyPair.publicKey))
  const bare = await create(keyPair.publicKey, { keyPair })
  note(bare.core.compat, bare.manifest, bare.writable)
  const quorum = await create({ keyPair, manifest: { version: 1, quorum: 2, signers: [{ publicKey: keyPair.publicKey }, two] } })
  note(quorum.writable, (await outcome(quorum.append('x'))).error?.code ?? 'appended')
  note(quorum.getManifest(), quorum.getManifest({ raw: true }))
})

sameWithBoth('marking', async ({ create, note }) => {
  const core = await create({ keyPair })
  await core.append(Array.from({ length: 30 }, (_, i) => `${i}`))
  await core.startMarking()
  note(await outcome(core.startMarking()))
  await core.get(3)
  await core.get(29)
  await core.markBlock(10, 15)
  await core.sweep()
  const left = []
  for (let i = 0; i < 30; i++) if (await core.has(i)) left.push(i)
  note(left, core.contiguousLength)
  await core.markBlock(10)
  await core.clearMarkings()
  await core.markBlock(11, 13)
  await core.sweep({ batchSize: 1 })
  note(await core.has(10), await core.has(11), await core.has(12), await core.has(13))
})

sameWithBoth('exclusive sessions', async ({ create, note }) => {
  const core = await create({ keyPair })
  const one = core.session({ exclusive: true })
  await one.ready()
  const order = []
  const other = core.session({ exclusive: true })
  other.on('ready', () => order.push('other'))
  const reader = core.session({ exclusive: true, writable: false })
  await reader.ready()
  note(one.exclusive, other.opened, reader.exclusive, reader.opened)
  order.push('append')
  await one.append('a')
  await one.close()
  await other.ready()
  note(order, other.exclusive)
})

sameWithBoth('the class itself', async ({ Hypercore, note }) => {
  note(Hypercore.name, Hypercore.MAX_SUGGESTED_BLOCK_SIZE, Hypercore.SMALL_WANTS, typeof Hypercore.enable, typeof Hypercore.setRecoveryPeers)
  const expected = ['key', 'parseManifest', 'discoveryKey', 'blockEncryptionKey', 'getProtocolMuxer', 'createCore', 'createProtocolStream', 'defaultStorage', 'clearRequests', 'destroyRequests', 'treeHashFromStorage', 'DefaultEncryption']
  note(expected.filter((name) => typeof Hypercore[name] !== 'function'))
  const methods = ['snapshot', 'compact', 'session', 'setEncryptionKey', 'setEncryption', 'setGroup', 'setKeyPair', 'setActive', 'close', 'clearRequests', 'commit', 'replicate', 'getManifest', 'ready', 'recover', 'setUserData', 'getUserData', 'transferSession', 'findingPeers', 'info', 'update', 'seek', 'has', 'get', 'clear', 'purge', 'markBlock', 'clearMarkings', 'startMarking', 'sweep', 'createReadStream', 'createWriteStream', 'createByteStream', 'download', 'undownload', 'cancel', 'truncate', 'append', 'signable', 'treeHash', 'missingNodes', 'proof', 'applyProof', 'registerExtension']
  note(methods.filter((name) => typeof Hypercore.prototype[name] !== 'function'))
  try { Hypercore.createProtocolStream({}) } catch (error) { note(error.message) }
  try { Hypercore.createProtocolStream({ pipe () {} }) } catch (error) { note('threw') }
  try { Hypercore.key('x') } catch (error) { note('threw') }
  try { Hypercore('x') } catch (error) { note(error.name) }
})

sameWithBoth('state and internals that programs read', async ({ create, note }) => {
  const core = await create({ keyPair })
  await core.append(['a', 'b'])
  note(core.core.opened, core.core.closed, core.core.compat, core.core.key, core.core.discoveryKey, core.core.id)
  note(core.core.manifest, core.core.state.length, core.core.state.fork, core.core.state.byteLength, core.state.length, core.state.isSnapshot?.(), core.state.isDefault?.())
  note(core.core.header?.keyPair?.publicKey, core.core.header?.manifest, core.core.header?.hints?.contiguousLength)
  note(core.core.allSessions?.().length, core.core.hasSession?.(), core.core.bitfield.get(0), core.core.bitfield.firstUnset?.(0), core.core.bitfield.firstSet?.(0))
  note(core.replicator.peers, core.replicator.findingPeers, core.replicator.isDownloading?.(), core.core.replicator === core.replicator, core.replicator.core === core.core)
  const stats = core.replicator.stats
  note(stats && Object.keys(stats).sort(), stats?.wireSync)
})

sameWithBoth('a core without a session', async ({ Hypercore, folder, note }) => {
  const core = Hypercore.createCore(folder(), { keyPair })
  await core.ready()
  note(core.opened, core.key, core.hasSession?.())
  const session = new Hypercore({ core })
  await session.append('x')
  note(session.length, session.key)
  await session.close()
  note(session.closed, core.closed)
  await core.close()
  note(core.closed)
})

sameWithBoth('what a log has come to in each event of several changes at once', async ({ create, note }) => {
  const core = await create({ keyPair })
  const session = core.session()
  await session.ready()
  const seen = []
  const watch = (name, core) => {
    const look = (what) => { seen.push([name, what, core.length, core.byteLength, core.fork]) }
    core.on('append', () => { look('append') })
    core.on('truncate', (length, fork) => { look(`truncate ${length} ${fork}`) })
  }
  watch('core', core)
  watch('session', session)
  const read = []
  const readLast = () => { read.push(core.get(core.length - 1)) }
  core.on('append', readLast)

  await Promise.all(['a', 'bb', ['c', 'dd'], [], 'e'].map((blocks) => core.append(blocks)))
  note(seen.splice(0), (await Promise.all(read.splice(0))).map(String))
  await Promise.all([core.append('f'), session.append('g'), core.append('h')])
  note(seen.splice(0), (await Promise.all(read.splice(0))).map(String))
  core.off('append', readLast)
  await Promise.all([core.append('i'), core.truncate(2), core.append('jj'), core.append('k'), core.truncate(3, 9), core.append('l')])
  note(seen.splice(0))

  const branch = core.session({ name: 'branch' })
  await branch.ready()
  watch('branch', branch)
  await Promise.all([branch.append('m'), branch.append('nn'), core.append('o'), branch.truncate(4), branch.append('p')])
  note(seen.filter(([name]) => name === 'branch'), seen.filter(([name]) => name !== 'branch'))
  note(core.length, branch.length)
  await branch.close()
  await session.close()
})

sameWithBoth('whoever waits for one of several writes sees the log as it was then', async ({ create, note }) => {
  const core = await create()
  const session = core.session()
  const branch = core.session({ name: 'branch' })
  await branch.ready()
  const state = () => [core, session, branch].map(({ length, byteLength, fork }) => [length, byteLength, fork])
  const indexOf = async (block) => {
    await core.append(block)
    await null
    return core.length - 1
  }
  note(await Promise.all(['a', ['b', 'c'], 'd', []].map(indexOf)), state())
  const seen = []
  const see = (name) => () => { seen.push([name, ...state()]) }
  const failed = (error) => { seen.push([error.code, ...state()]) }
  await Promise.all([
    core.append('e').then(see('append')), session.truncate(2).then(see('cut')), core.append(['f', 'g']).then(see('append')),
    core.truncate(9).then(see('cut'), failed), core.append('h').then(see('append')), session.append('i').then(see('session'))
  ])
  note(seen, core.signedLength, core.contiguousLength)
  seen.length = 0
  await Promise.all([branch.append(['j', 'k']).then(see('append')), branch.truncate(1).then(see('cut')), branch.append('l').then(see('append'))])
  note(seen)
  await new Promise((resolve) => setTimeout(resolve, 20))
  note(state(), String(await core.get(core.length - 1)))
  // What was cut along is waited for by nobody.
  core.once('append', () => { seen.push(core.treeHash(), core.signable()) })
  seen.length = 0
  await Promise.all([core.append('p').then(() => { seen.push(core.treeHash(), core.signable()) }), core.truncate(5), core.append('q')])
  note((await Promise.all(seen)).map(({ byteLength }) => byteLength), state())
  // One after another, each follows from what the one before led to.
  const grow = async (block) => {
    for (let i = 0; i < 3; i++) {
      await core.append(block)
      seen.push(String(await core.get(core.length - 1)))
    }
  }
  seen.length = 0
  await Promise.all([grow('m'), grow('n'), grow('o')])
  note(seen.sort(), state())
})
