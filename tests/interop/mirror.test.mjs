// A mirror keeps what a tab publishes after the tab is closed, and gives it to unmodified peers; it speaks with upstream's
// clients, and our clients with upstream's servers.

import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'node:test'

import UpstreamPeer from 'blind-peer'
import UpstreamPeering from 'blind-peering'
import c from 'compact-encoding'
import Corestore from 'corestore'
import DHT from 'hyperdht'
import Protomux from 'protomux'
import ProtomuxRPC from 'protomux-rpc'
import { findMirror, Hyperdrive } from 'hypertab'

import { eventually } from './support/both.mjs'
import { defer } from './support/cleanup.mjs'
import { temporaryFolder } from './support/folder.mjs'
import { figures, readDrive, startClient, startMirror, stop } from './support/mirrors.mjs'
import { startRelay } from './support/relay.mjs'
import { createSwarm, parseBootstrap, startTestnet } from './support/testnet.mjs'

test('a drive is read from the mirror by upstream after its tab is gone, and after the relay has been restarted', async (t) => {
  const { bootstrap } = await startTestnet(t)
  const relay = await startMirror(t, { bootstrap })
  const tab = await startClient(t, relay)
  const drive = new Hyperdrive(tab.store)
  const film = Buffer.alloc(300_000, 'frame ')
  await drive.put('/hello.txt', Buffer.from('hello'))
  await drive.put('/film.bin', film)

  const copy = tab.blind.keep(drive)
  const states = new Set()
  copy.on('update', ({ state }) => { states.add(state) })
  const status = await copy.done()
  assert.deepEqual([status.state, status.held, status.error], ['kept', status.length, null])
  assert.equal(status.length, drive.core.length + drive.blobs.core.length)
  assert.ok(status.bytes > film.byteLength)
  assert.ok(status.announced)
  assert.ok(Math.abs(status.until.getTime() - Date.now() - relay.info.retention * 1000) < 60_000)
  assert.deepEqual([...states].filter((state) => !['copying', 'kept'].includes(state)), [])

  // What is written later is copied, too.
  await drive.put('/later.txt', Buffer.from('later'))
  await eventually(() => copy.status.state === 'kept' && copy.status.length === drive.core.length + drive.blobs.core.length)
  await tab.close()

  const reader = await readDrive(t, bootstrap, drive.key)
  assert.equal(String(await reader.drive.get('/later.txt')), 'later')
  assert.ok(film.equals(await reader.drive.get('/film.bin')))
  assert.deepEqual([...reader.swarm.connections].map(({ remotePublicKey }) => remotePublicKey.toString('hex')), [relay.info.publicKey.toString('hex')])

  await stop(relay)
  const again = await startMirror(t, { bootstrap, folder: relay.folder })
  assert.deepEqual(again.info, relay.info)
  const other = await readDrive(t, bootstrap, drive.key)
  assert.ok(film.equals(await other.drive.get('/film.bin')))
  const { cores, 'requests_total{outcome="new"}': asked } = await figures(again)
  assert.deepEqual([cores, asked], [2, 0])
})

test('what is encrypted is kept and served unread', async (t) => {
  const { bootstrap } = await startTestnet(t)
  const relay = await startMirror(t, { bootstrap })
  const tab = await startClient(t, relay)
  const encryptionKey = Buffer.alloc(32, 7)
  const drive = new Hyperdrive(tab.store, { encryptionKey })
  await drive.put('/diary.txt', Buffer.from('a sentence that nobody else is to read'))
  await tab.blind.keep(drive).done()
  await tab.close()

  const reader = await readDrive(t, bootstrap, drive.key, { encryptionKey })
  assert.match(String(await reader.drive.get('/diary.txt')), /^a sentence/)
  await stop(relay)
  const stored = readFileSync(join(relay.folder, 'cores.redb'))
  assert.ok(!stored.includes('a sentence') && !stored.includes('diary'))
})

test('upstream’s client has a core kept, whose other readers need no DHT record', async (t) => {
  const { bootstrap } = await startTestnet(t)
  const relay = await startMirror(t, { bootstrap, args: ['--mirror-who', 'all'] })
  const store = new Corestore(temporaryFolder(t))
  const core = store.get({ name: 'log' })
  await core.append(['a', 'b', 'c'])
  const dht = native(t, bootstrap)
  const peering = new UpstreamPeering(dht, store, { keys: [relay.info.publicKey] })
  await peering.addCore(core, { announce: false })
  await eventually(async () => (await figures(relay)).bytes === 3 + 3 * 128)
  await core.append('d')
  await eventually(async () => (await figures(relay)).bytes === 4 + 4 * 128)
  await peering.close()
  await store.close()

  const other = new Corestore(temporaryFolder(t))
  defer(t, () => other.close())
  const copy = other.get({ key: core.key })
  const stream = native(t, bootstrap).connect(relay.info.publicKey)
  stream.on('error', () => {})
  other.replicate(stream)
  assert.equal(String(await copy.get(3)), 'd')
  stream.destroy()
})

test('our client has upstream’s server keep a core, and says when', async (t) => {
  const { bootstrap } = await startTestnet(t)
  const server = new UpstreamPeer(temporaryFolder(t), { bootstrap: parseBootstrap(bootstrap), swarm: createSwarm(t, { bootstrap }) })
  defer(t, () => server.close())
  await server.listen()
  const relay = await startRelay(t, { bootstrap, args: ['--allow-private'] })
  const tab = await startClient(t, relay, { keys: [server.publicKey] })
  const core = tab.store.get({ name: 'log' })
  await core.append(['one', 'two', 'three'])

  const status = await tab.blind.keep(core).done()
  assert.deepEqual([status.state, status.held, status.until, status.announced], ['kept', 3, null, false])
  const kept = server.store.get({ key: core.key })
  assert.equal(String(await kept.get(2)), 'three')
  await kept.close()

  const other = tab.store.get({ name: 'other' })
  await other.append('without an answer')
  await tab.blind.addCore(other)
  const silent = server.store.get({ key: other.key })
  await silent.ready()
  await eventually(() => silent.length === 1)
  await silent.close()
})

test('who may ask: clients of the relay, listed keys, or all', async (t) => {
  const { bootstrap } = await startTestnet(t)
  const clients = await startMirror(t, { bootstrap })
  const seed = Buffer.alloc(32, 3)
  const listedKey = DHT.keyPair(seed).publicKey.toString('hex')
  const listed = await startMirror(t, { bootstrap, args: ['--mirror-who', 'listed', '--mirror-keys', listedKey] })
  assert.deepEqual([clients.info.who, listed.info.who], ['clients', 'listed'])

  // A client of one relay is a stranger to the mirror of the other.
  const stranger = await startClient(t, listed, { keys: [clients.info.publicKey] })
  const core = stranger.store.get({ name: 'log' })
  await core.append('x')
  await assert.rejects(stranger.blind.keep(core).done(), { code: 'MIRROR_DENIED' })
  await assert.rejects(stranger.blind.keep(core, { key: listed.info.publicKey }).done(), { code: 'MIRROR_DENIED' })
  const guest = await startClient(t, listed, { seed })
  const own = guest.store.get({ name: 'log' })
  await own.append('x')
  assert.equal((await guest.blind.keep(own).done()).state, 'kept')
  assert.equal((await figures(clients))['requests_total{outcome="denied"}'], 1)
  assert.equal((await figures(listed))['requests_total{outcome="denied"}'], 1)

  const none = await startRelay(t, { bootstrap, args: ['--allow-private'] })
  assert.equal(await findMirror(none.url), null)
  await assert.rejects(findMirror('ws://127.0.0.1:9'), { code: 'MIRROR_UNREACHABLE' })
})

test('bounds: a core that is too large, a client with too much, a full mirror; each says which, and what is kept stays', async (t) => {
  const { bootstrap } = await startTestnet(t)
  const relay = await startMirror(t, {
    bootstrap,
    args: ['--mirror-core-bytes', '100KiB', '--mirror-client-bytes', '150KiB', '--mirror-bytes', '230KiB', '--mirror-client-cores', '3', '--mirror-cores', '4']
  })
  const tab = await startClient(t, relay)
  const make = async (client, name, size) => {
    const core = client.store.get({ name })
    await core.append(Buffer.alloc(size, 1))
    return core
  }
  const first = await make(tab, 'first', 90 << 10)
  const kept = tab.blind.keep(first)
  assert.equal((await kept.done()).state, 'kept')
  const large = tab.blind.keep(await make(tab, 'large', 110 << 10))
  await assert.rejects(large.done(), { code: 'MIRROR_TOO_LARGE' })
  assert.deepEqual([large.status.state, large.status.held], ['stopped', 0])
  await assert.rejects(tab.blind.keep(await make(tab, 'much', 70 << 10)).done(), { code: 'MIRROR_CLIENT_FULL' })
  await assert.rejects(tab.blind.keep(await make(tab, 'fourth', 10)).done(), { code: 'MIRROR_CLIENT_FULL' })

  // The same address has one share.
  const neighbour = await startClient(t, relay)
  await assert.rejects(neighbour.blind.keep(await make(neighbour, 'n', 10)).done(), { code: 'MIRROR_CLIENT_FULL' })

  // A core that outgrows its bound keeps what it has.
  await first.append(Buffer.alloc(20 << 10, 2))
  await eventually(() => kept.status.state === 'stopped')
  assert.deepEqual([kept.status.held, kept.status.length, kept.status.error.code], [1, 2, 'MIRROR_TOO_LARGE'])

  // Room comes back with what is taken back.
  assert.equal(await large.remove(), true)
  await eventually(async () => (await figures(relay)).cores === 2)
  assert.equal((await neighbour.blind.keep(await make(neighbour, 'again', 10)).done()).state, 'kept')
  assert.equal((await figures(relay))['dropped_total{reason="taken_back"}'], 1)
})

test('a full mirror takes nobody else’s place', async (t) => {
  const { bootstrap } = await startTestnet(t)
  const relay = await startMirror(t, { bootstrap, args: ['--mirror-cores', '1'] })
  const tab = await startClient(t, relay)
  const [one, two] = ['one', 'two'].map((name) => tab.store.get({ name }))
  await one.append('1')
  await two.append('2')
  const copy = tab.blind.keep(one)
  await copy.done()
  const refused = tab.blind.keep(two)
  await assert.rejects(refused.done(), { code: 'MIRROR_FULL' })
  assert.equal(refused.status.state, 'refused')

  // Only who asked takes back.
  const thief = await startClient(t, relay)
  await thief.store.get({ key: one.key }).ready()
  const stolen = thief.blind.keep(thief.store.get({ key: one.key }))
  await stolen.done()
  assert.equal(await stolen.remove(), true)
  assert.equal((await figures(relay)).cores, 1)
  assert.equal(await copy.remove(), true)
  await eventually(async () => (await figures(relay)).cores === 0)
  const after = tab.blind.keep(two)
  assert.equal((await after.done()).state, 'kept')
})

test('a copy is dropped when its time is over, from the disk too, and asked for again before by who still wants it', async (t) => {
  const { bootstrap } = await startTestnet(t)
  const relay = await startMirror(t, { bootstrap, args: ['--mirror-retention', '4s'] })
  const tab = await startClient(t, relay)
  const core = tab.store.get({ name: 'log' })
  await core.append('a block that is to go away')
  const copy = tab.blind.keep(core)
  await copy.done()
  await copy.close()
  assert.equal(copy.status.state, 'closed')
  await eventually(async () => (await figures(relay))['dropped_total{reason="expired"}'] === 1, 'the copy is dropped', 30_000)
  await stop(relay)
  const again = await startMirror(t, { bootstrap, folder: relay.folder })
  assert.equal((await figures(again)).cores, 0)
  // It can be asked for anew.
  const other = await startClient(t, again)
  const own = other.store.get({ name: 'log' })
  await own.append('b')
  assert.equal((await other.blind.keep(own).done()).state, 'kept')
})

test('a copy that is not whole when its tab goes is completed from somebody else who has it', async (t) => {
  const { bootstrap } = await startTestnet(t)
  const relay = await startMirror(t, { bootstrap, args: ['--mirror-who', 'all'] })
  const store = new Corestore(temporaryFolder(t))
  defer(t, () => store.close())
  const core = store.get({ name: 'log' })
  await core.append(Array.from({ length: 200 }, (_, index) => `block ${index}`))
  const swarm = createSwarm(t, { bootstrap })
  swarm.on('connection', (connection) => {
    connection.on('error', () => {})
    store.replicate(connection)
  })
  await swarm.join(core.discoveryKey).flushed()

  // A client that has nothing of it but the key.
  const tab = await startClient(t, relay)
  const empty = tab.store.get({ key: core.key })
  await empty.ready()
  tab.blind.keep(empty)
  await eventually(async () => (await figures(relay))['bytes_total{direction="in"}'] === Array.from({ length: 200 }, (_, index) => `block ${index}`).join('').length, 'all blocks are there', 40_000)
})

test('a core is replicated on a connection that is not open yet', async (t) => {
  const { bootstrap } = await startTestnet(t)
  const relay = await startRelay(t, { bootstrap, args: ['--allow-private'] })
  const tab = await startClient(t, relay, { keys: [] })
  const core = tab.store.get({ name: 'log' })
  await core.append('early')
  const store = new Corestore(temporaryFolder(t))
  defer(t, () => store.close())
  const copy = store.get({ key: core.key })
  await copy.ready()
  const server = native(t, bootstrap).createServer((connection) => {
    connection.on('error', () => {})
    store.replicate(connection)
  })
  await server.listen()
  const connection = tab.dht.connect(server.publicKey)
  core.replicate(connection)
  assert.equal(String(await copy.get(0)), 'early')
  connection.destroy()
})

test('whoever sends nonsense, too much or for others is refused, and the mirror goes on', async (t) => {
  const { bootstrap } = await startTestnet(t)
  const relay = await startMirror(t, { bootstrap, args: ['--mirror-who', 'all', '--mirror-client-cores', '10000'] })
  const dht = native(t, bootstrap)
  const connect = async () => {
    let stream
    // A mirror that has just started is found a moment later.
    await eventually(() => {
      stream = dht.connect(relay.info.publicKey)
      stream.on('error', () => {})
      return stream.opened
    })
    const closed = new Promise((resolve) => stream.once('close', resolve))
    const raw = (protocol, id = null) => {
      const channel = Protomux.from(stream).createChannel({ protocol, id, messages: [{ encoding: c.raw }, { encoding: c.raw }] })
      channel.open()
      return channel
    }
    return { stream, closed, raw, rpc: () => new ProtomuxRPC(stream, { id: relay.info.publicKey, valueEncoding: c.raw }) }
  }
  const alive = async () => {
    const { stream, rpc } = await connect()
    const answer = await rpc().request('add-core', Buffer.concat([Buffer.from([16]), randomBytes(32)]))
    assert.equal(answer.length, 32 + 4 + 9 + 1, 'a record: key, four short numbers, a time, flags')
    stream.destroy()
  }

  // Other channels, and this one with another id, are none of its business.
  {
    const { stream, raw } = await connect()
    for (const channel of [raw('unheard-of'), raw('protomux-rpc', randomBytes(32)), raw('protomux-rpc')]) {
      await eventually(() => channel.closed)
    }
    stream.destroy()
  }
  // Bytes that are no message end the connection.
  for (const [protocol, bytes] of [['blind-peer', [7]], ['blind-peer', [0, 0xfe, 255, 255, 255, 127]], ['protomux-rpc', [1, 200]]]) {
    const { closed, raw } = await connect()
    raw(protocol, protocol === 'protomux-rpc' ? relay.info.publicKey : null).messages[0].send(Buffer.from(bytes))
    await closed
  }
  await alive()
  // Questions that it does not know, or cannot read.
  {
    const { stream, rpc } = await connect()
    const client = rpc()
    await assert.rejects(client.request('post-to-mailbox', Buffer.alloc(8)), { code: 'UNKNOWN_METHOD' })
    await assert.rejects(client.request('add-core', Buffer.from([16, 1])), { code: 'DECODE_ERROR' })
    await assert.rejects(client.request('delete-core', Buffer.alloc(31)), { code: 'DECODE_ERROR' })
    assert.deepEqual([...await client.request('delete-core', randomBytes(32))], [0])
    const status = await client.request('hypertab/copy', randomBytes(32))
    assert.deepEqual([...status.subarray(0, 4)], [0, 0, 0, 0])
    stream.destroy()
  }
  // Many cores at once: as many as one message may have.
  const before = (await figures(relay)).cores
  {
    const { stream, raw } = await connect()
    const cores = Buffer.concat(Array.from({ length: 250 }, () => Buffer.concat([randomBytes(32), Buffer.from([1])])))
    raw('blind-peer').messages[0].send(Buffer.concat([Buffer.from([0, 250]), cores]))
    await eventually(async () => (await figures(relay)).cores === before + 64)
    stream.destroy()
  }
  // A flood: what is too much is refused, what is far too much ends the connection, before the last of it is answered.
  {
    const { closed, rpc } = await connect()
    const client = rpc()
    const refused = { tooMany: 0, closed: 0 }
    for (let index = 0; index < 3000; index++) {
      client.request('hypertab/copy', randomBytes(32)).catch(({ code, cause }) => {
        if (cause?.code === 'MIRROR_TOO_MANY') refused.tooMany++
        else if (code === 'CHANNEL_CLOSED') refused.closed++
      })
    }
    await closed
    await eventually(() => refused.closed > 0)
    assert.ok(refused.tooMany > 500, JSON.stringify(refused))
  }
  await alive()
  const { 'requests_total{outcome="too_many"}': counted } = await figures(relay)
  assert.ok(counted >= 700)
})

/** A native node that can be reached. */
function native (t, bootstrap) {
  const dht = new DHT({ bootstrap: parseBootstrap(bootstrap), host: '127.0.0.1', firewalled: false })
  defer(t, () => dht.destroy({ force: true }))
  return dht
}
