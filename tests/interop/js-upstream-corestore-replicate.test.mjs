// Programs in the manner of upstream's own suite: stores that replicate, one of ours and one of upstream's.

import test from 'node:test'
import assert from 'node:assert/strict'
import net from 'node:net'

import Corestore from 'corestore'
import SecretStream from '@hyperswarm/secret-stream'
import HypertabStore from 'hypertab/corestore'
import { memory } from 'hypertab/storage'

import { eventually, outcome } from './support/both.mjs'
import { defer } from './support/cleanup.mjs'
import { temporaryFolder } from './support/folder.mjs'
import { sameWithBothStores, sameWithEveryPairOfStores } from './support/stores.mjs'

const seed = (byte) => Buffer.alloc(32, byte)
const unsafe = (primaryKey = seed(1)) => ({ primaryKey, unsafe: true })

sameWithEveryPairOfStores('cores of both sides, opened before', async ({ createA, createB, replicate, note }) => {
  const a = createA(null, unsafe())
  const b = createB(null, unsafe(seed(2)))
  const one = a.get({ name: 'one' })
  const two = a.get({ name: 'two' })
  await one.append('hello')
  await two.append('world')
  const copies = [b.get({ key: one.key }), b.get(two.key)]
  replicate(a, b)
  note(await copies[0].get(0), await copies[1].get(0), copies[0].length, one.peers.length, copies[0].peers.length)
})

sameWithEveryPairOfStores('cores that are opened later attach to streams that run', async ({ createA, createB, replicate, note }) => {
  const a = createA(null, unsafe())
  const b = createB(null, unsafe(seed(2)))
  replicate(a, b)
  const one = a.namespace('x').get({ name: 'one' })
  await one.append('hello')
  const copy = b.session().get({ key: one.key })
  note(await copy.get(0))
  await one.append('later')
  note(await copy.get(1))
  const own = b.get({ name: 'own' })
  await own.append(['x', 'y'])
  const there = a.get(own.key)
  note(await there.get(1), there.writable)
})

sameWithEveryPairOfStores('a core is opened because a peer asks', async ({ createA, createB, replicate, note, folder }) => {
  const path = folder()
  let a = createA(path, unsafe())
  const core = a.get({ name: 'main' })
  await core.append('hello')
  const { key, discoveryKey } = core
  await a.close()
  a = createA(path)
  await a.ready()
  const watched = []
  a.watch((core) => watched.push(core.discoveryKey))
  const b = createB(null, unsafe(seed(2)))
  replicate(a, b)
  const copy = b.get(key)
  note(await copy.get(0), a.cores.size, a.cores.opened(discoveryKey.toString('hex')), watched, a.sessions.size)
  const unknown = b.get(seed(9))
  await unknown.ready()
  note(await unknown.update({ wait: true }), a.cores.size, await a.storage.hasCore(unknown.discoveryKey))
})

sameWithEveryPairOfStores('a passive store serves and begins nothing', async ({ createA, createB, replicate, note }) => {
  const a = createA(null, { ...unsafe(), active: false })
  const core = a.get({ name: 'main' })
  await core.append('hello')
  const b = createB(null, unsafe(seed(2)))
  replicate(a, b)
  await new Promise((resolve) => setTimeout(resolve, 100))
  note(core.peers.length)
  const copy = b.get(core.key)
  note(await copy.get(0), core.peers.length)
  const passive = a.get({ name: 'passive', active: false })
  await passive.append('x')
  const theirs = b.get(passive.key)
  note(await theirs.get(0))
})

sameWithEveryPairOfStores('two passive sides find nothing', async ({ createA, createB, replicate, note }) => {
  const a = createA(null, { ...unsafe(), active: false })
  const b = createB(null, { ...unsafe(seed(2)), active: false })
  const core = a.get({ name: 'main' })
  await core.append('hello')
  const copy = b.get(core.key)
  await copy.ready()
  replicate(a, b)
  await new Promise((resolve) => setTimeout(resolve, 100))
  note(core.peers.length, copy.peers.length, await outcome(copy.get(0, { timeout: 50 })))
})

sameWithEveryPairOfStores('a chain of stores carries cores on', async ({ createA, createB, replicate, note }) => {
  const a = createA(null, unsafe())
  const b = createB(null, unsafe(seed(2)))
  const c = createA(null, unsafe(seed(3)))
  const core = a.get({ name: 'main' })
  await core.append(['a', 'b', 'c'])
  replicate(a, b)
  const middle = b.get(core.key)
  await middle.update({ wait: true })
  await middle.download({ start: 0, end: 3 }).done()
  await a.close()
  replicate(b, c)
  const end = c.get(core.key)
  note(await end.get(0), await end.get(2), end.length)
})

sameWithEveryPairOfStores('streams that end, and new ones', async ({ createA, createB, replicate, note }) => {
  const a = createA(null, unsafe())
  const b = createB(null, unsafe(seed(2)))
  const core = a.get({ name: 'main' })
  await core.append('hello')
  const copy = b.get(core.key)
  const first = replicate(a, b)
  note(await copy.get(0))
  await first.end()
  await eventually(() => core.peers.length === 0 && copy.peers.length === 0)
  await core.append('again')
  replicate(b, a)
  note(await copy.get(1), core.peers.length)
})

sameWithEveryPairOfStores('a session that is closed and opened again', async ({ createA, createB, replicate, note }) => {
  const a = createA(null, unsafe())
  const b = createB(null, unsafe(seed(2)))
  const core = a.get({ name: 'main', notDownloadingLinger: 0 })
  await core.append('hello')
  replicate(a, b)
  const copy = b.get({ key: core.key, notDownloadingLinger: 0 })
  note(await copy.get(0))
  await copy.close()
  await new Promise((resolve) => setTimeout(resolve, 50))
  await core.append('more')
  const again = b.get(core.key)
  note(await again.get(1), again.core === copy.core)
})

sameWithEveryPairOfStores('an encrypted core of a name', async ({ createA, createB, replicate, note }) => {
  const a = createA(null, unsafe())
  const b = createB(null, unsafe(seed(2)))
  const core = a.get({ name: 'main', encryption: { key: seed(5) } })
  await core.append('secret')
  replicate(a, b)
  const copy = b.get({ key: core.key, encryption: { key: seed(5) } })
  const blind = b.get({ key: core.key })
  note(await copy.get(0), (await blind.get(0)).byteLength)
})

sameWithEveryPairOfStores('stores wait for a first peer while peers are looked for', async ({ createA, createB, replicate, note }) => {
  const a = createA(null, unsafe())
  const b = createB(null, unsafe(seed(2)))
  const core = a.get({ name: 'main' })
  await core.append('hello')
  const copy = b.get(core.key)
  const done = b.findingPeers()
  const updated = copy.update()
  setTimeout(() => { replicate(a, b) }, 50)
  note(await updated, copy.length)
  done()
})

sameWithBothStores('what replicate takes and returns', async ({ create, note }) => {
  const a = create(null, unsafe())
  const b = create(null, unsafe(seed(2)))
  const core = a.get({ name: 'main' })
  await core.append('hello')
  const one = new SecretStream(true)
  const other = new SecretStream(false)
  one.rawStream.pipe(other.rawStream).pipe(one.rawStream)
  note(a.replicate(one) === one, b.replicate(other) === other)
  const copy = b.get(core.key)
  note(await copy.get(0))
  await a.close()
  note(one.destroyed, one.destroying)
  one.destroy()
  other.destroy()
  const stream = b.replicate(false)
  note(typeof stream.pipe, typeof stream.noiseStream, stream.noiseStream.isInitiator)
  stream.destroy()
})

/** Two ends of a TCP connection. */
async function connect (t) {
  const server = net.createServer()
  server.listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  const accepted = new Promise((resolve) => server.once('connection', resolve))
  const client = net.connect(server.address().port, '127.0.0.1')
  const socket = await accepted
  for (const end of [client, socket]) end.on('error', () => {})
  defer(t, async () => {
    client.destroy()
    socket.destroy()
    await new Promise((resolve) => server.close(resolve))
  })
  return [client, socket]
}

const COUNT = 400

for (const [name, Writer, Reader, isInitiator] of [
  ['ours writes, upstream\'s begins', HypertabStore, Corestore, false],
  ['upstream\'s writes, ours begins', Corestore, HypertabStore, false],
  ['ours writes and begins', HypertabStore, Corestore, true]
]) {
  test(`${COUNT} cores over one TCP connection: ${name}`, async (t) => {
    const path = temporaryFolder(t)
    let writer = new Writer(path)
    const keys = []
    for (let i = 0; i < COUNT; i++) {
      const core = writer.get({ name: `core-${i}` })
      await core.append([`block of ${i}`, 'x'])
      keys.push(core.key)
      await core.close()
    }
    await writer.close()
    // Opened again: nothing is open until the peer asks for it.
    writer = new Writer(path)
    await writer.ready()
    const reader = new Reader(temporaryFolder(t))
    defer(t, () => Promise.all([writer.close(), reader.close()]))
    const [client, socket] = await connect(t)
    const ends = [writer.replicate(isInitiator), reader.replicate(!isInitiator)]
    for (const end of ends) end.on('error', () => {})
    client.pipe(ends[0]).pipe(client)
    socket.pipe(ends[1]).pipe(socket)

    assert.equal(writer.cores.size, 0)
    await Promise.all(keys.map(async (key, i) => {
      const core = reader.get(key)
      assert.equal(`${await core.get(0)}`, `block of ${i}`)
      assert.equal(core.length, 2)
    }))
    assert.equal(writer.cores.size, COUNT)
  })
}

test('cores that nobody uses any more are closed, and opened again when a peer asks', async (t) => {
  const path = temporaryFolder(t)
  let store = new HypertabStore(path)
  const core = store.get({ name: 'main' })
  await core.append('hello')
  const { key } = core
  await store.close()
  store = new HypertabStore(path)
  await store.ready()
  const reader = new Corestore(temporaryFolder(t))
  defer(t, () => Promise.all([store.close(), reader.close()]))
  const join = () => {
    const ends = [store.replicate(true), reader.replicate(false)]
    for (const end of ends) end.on('error', () => {})
    ends[0].pipe(ends[1]).pipe(ends[0])
    return ends
  }
  const first = join()
  const copy = reader.get(key)
  assert.equal(`${await copy.get(0)}`, 'hello')
  assert.equal(store.cores.size, 1)
  for (const end of first) end.destroy()

  await eventually(() => store.cores.size === 0, 'the core to be closed', 20_000)

  const again = store.get({ name: 'main' })
  await again.append('more')
  await again.close()
  join()
  assert.equal(`${await copy.get(1)}`, 'more')
})

test('two stores in memory of a program\'s own', async (t) => {
  const one = new HypertabStore(memory())
  const other = new HypertabStore(memory())
  defer(t, () => Promise.all([one.close(), other.close()]))
  const core = one.get({ name: 'main' })
  await core.append('hello')
  const stream = one.replicate(true)
  stream.pipe(other.replicate(false)).pipe(stream)
  assert.equal(`${await other.get(core.key).get(0)}`, 'hello')
})
