// Values and searches of a node of the DHT: upstream's on its own socket, and ours behind a relay.

import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import test from 'node:test'
import { fileURLToPath } from 'node:url'

import Upstream from 'hyperdht'
import Persistent from 'hyperdht/lib/persistent.js'
import { DHT } from 'hypertab'

import { closed, outcomeOf as told } from './support/both.mjs'
import { defer } from './support/cleanup.mjs'
import { sameNodes } from './support/nodes.mjs'
import { startProcess } from './support/process.mjs'
import { relayFigure, startRelay } from './support/relay.mjs'
import { toHex } from './support/scene.mjs'
import { parseBootstrap, startTestnet } from './support/testnet.mjs'

const text = (value) => Buffer.from(value)

/** What a result has that is the same on every run. */
const result = (found) => found && {
  ...found,
  ...(found.signature ? { signature: found.signature.byteLength } : {}),
  token: found.token?.byteLength,
  from: [found.from.id.byteLength, found.from.host, typeof found.from.port, Object.keys(found.from)],
  to: [found.to.host, typeof found.to.port]
}

const nodes = (list) => list.map(({ id, host, port }) => [id.byteLength, host, typeof port])

sameNodes('immutable values', async ({ create, other, note }) => {
  const [node, reader] = [create(), create()]
  // Whoever asks earlier may not hear of every node.
  await Promise.all([node, reader].map((each) => each.fullyBootstrapped()))
  const value = text('a value')
  const put = await node.immutablePut(value)
  note(put.hash, nodes(put.closestNodes), Object.keys(put))
  for (const from of [node, reader, other]) note(result(await from.immutableGet(put.hash)))
  note(await reader.immutableGet(Buffer.alloc(32, 9)))
  const theirs = await other.immutablePut(text('of the other'))
  note(result(await reader.immutableGet(theirs.hash)))
  const long = Buffer.alloc(1000, 'long')
  note((await reader.immutableGet((await node.immutablePut(long)).hash)).value.equals(long))
  note(await Promise.all(Array.from({ length: 5 }, async (_, i) => (await reader.immutableGet((await node.immutablePut(text(`value ${i}`))).hash)).value)))
  await node.destroy()
  note(await told(() => node.immutableGet(put.hash)), await told(() => node.immutablePut(value)))
})

sameNodes('mutable values', async ({ DHT, create, other, note }) => {
  const [node, reader] = [create(), create()]
  // Both programs run on one network, which keeps what they store.
  const keyPair = DHT.keyPair()
  note(await reader.mutableGet(keyPair.publicKey))
  const put = await node.mutablePut(keyPair, text('first'))
  note(put.publicKey === keyPair.publicKey, put.seq, put.signature.byteLength, Buffer.isBuffer(put.signature), nodes(put.closestNodes), Object.keys(put))
  for (const from of [node, reader, other]) note(result(await from.mutableGet(keyPair.publicKey)))
  note((await node.mutablePut(keyPair, text('second'), { seq: 2 })).seq)
  note(result(await reader.mutableGet(keyPair.publicKey)), result(await other.mutableGet(keyPair.publicKey, { seq: 2 })))
  note(await reader.mutableGet(keyPair.publicKey, { seq: 3 }), (await reader.mutableGet(keyPair.publicKey, { latest: false })).seq >= 0)
  // An old version, and another value of the same: the nodes keep what they have, and nobody is told.
  note((await node.mutablePut(keyPair, text('older'), { seq: 1 })).seq, (await node.mutablePut(keyPair, text('else'), { seq: 2 })).seq)
  note(result(await other.mutableGet(keyPair.publicKey)))
  await other.mutablePut(keyPair, text('third'), { seq: 3 })
  note(result(await node.mutableGet(keyPair.publicKey)))
  // Signed elsewhere, stored again, empty.
  const asked = []
  const signed = await node.mutablePut({ publicKey: keyPair.publicKey }, text('fourth'), {
    seq: 4,
    signMutable: async (seq, value) => {
      asked.push(seq, value)
      return await signElsewhere(seq, value, keyPair)
    }
  })
  note(asked, signed.signature.byteLength, result(await other.mutableGet(keyPair.publicKey)))
  const refreshed = []
  for (const again of [false, true]) {
    note(result(await reader.mutableGet(keyPair.publicKey, { refresh: ({ seq, value }) => { refreshed.push([seq, value.toString()]); return again } })))
  }
  note(refreshed)
  await node.mutablePut(keyPair, Buffer.alloc(0), { seq: 5 })
  note(result(await reader.mutableGet(keyPair.publicKey)))
  // Not by its owner: no node takes it.
  note((await told(() => node.mutablePut(keyPair, text('forged'), { seq: 6, signMutable: () => Buffer.alloc(64) }))).value === undefined, (await reader.mutableGet(keyPair.publicKey)).seq)
})

sameNodes('searches for a peer', async ({ DHT, create, other, note }) => {
  const node = create()
  const server = other.createServer()
  await server.listen()
  const found = async (finder, key, options) => {
    const results = []
    const query = finder.findPeer(key, options)
    for await (const { token, from, to, peer } of query) results.push([token.byteLength, from.id?.byteLength, typeof to.port, peer.publicKey.equals(server.publicKey), Array.isArray(peer.relayAddresses)])
    return { results: results.length > 0 ? [...new Set(results.map((entry) => JSON.stringify(entry)))] : [], nodes: nodes(query.closestNodes) }
  }
  note(await found(node, server.publicKey), await found(node, DHT.hash(server.publicKey), { hash: false }), await found(node, DHT.keyPair().publicKey))
  const ours = node.createServer()
  await ours.listen()
  note((await found(other, ours.publicKey)).results.length)
})

sameNodes('queries', async ({ DHT, create, note }) => {
  const node = create()
  await node.fullyBootstrapped()
  const value = randomBytes(20)
  const target = DHT.hash(value)
  const query = node.findNode(target)
  note(query.closestReplies, query.closestNodes, query.target === target, query.command, query.internal, query.errors, query.successes, query.k, query.concurrency)
  const seen = []
  for await (const reply of query) {
    seen.push([reply.from.id?.byteLength ?? null, reply.token === null ? null : reply.token.byteLength, reply.error, reply.value, typeof reply.rtt, typeof reply.tid, reply.from.host, reply.to.host, Array.isArray(reply.closerNodes) || reply.closerNodes])
  }
  note(seen.filter(([id]) => id !== null).length, [...new Set(seen.map(([, , ...rest]) => JSON.stringify(rest.slice(0, 6))))])
  note(query.destroyed, nodes(query.closestNodes), query.closestReplies.length, query.successes >= query.closestReplies.length, query.errors)
  const distances = query.closestNodes.map(({ id }) => Buffer.from(id.map((byte, i) => byte ^ target[i])).toString('hex'))
  note(distances.join() === [...distances].sort().join())
  note(await query.finished())

  // With a command, what becomes of replies, and what is done at the end.
  const mapped = node.query({ target, command: 9 }, { map: (reply) => reply.value ? null : reply.error + 1 })
  const values = []
  for await (const value of mapped) values.push(value)
  note([...new Set(values)], values.length > 0)
  const committed = []
  const writing = node.query({ target, command: 9, value: null }, {
    commit: async (reply, dht, query) => {
      committed.push([reply.from.id.byteLength, dht === node, query === writing])
      const answer = await dht.request({ token: reply.token, target, command: 8, value }, reply.from)
      return committed.push(answer.error, answer.value, answer.from.host)
    }
  })
  note(await writing.finished(), committed.length === writing.closestNodes.length * 4, committed.slice(-3), (await node.immutableGet(target)).value.equals(value))
  const failing = node.query({ target, command: 9 }, { commit: async () => { throw new Error('all of them') } })
  note(await told(() => failing.finished()), await told(() => failing.finished()))
  let first = true
  const halfway = node.query({ target, command: 9 }, { commit: async () => { if (!first) throw new Error('all but one'); first = false } })
  note(await told(() => halfway.finished()))

  // Given up, before and after they began, and by a program that leaves a loop.
  const never = node.findNode(target)
  never.destroy()
  await closed(never)
  note(await told(() => never.finished()), never.closestNodes)
  const early = node.findNode(target)
  early.once('data', () => { early.destroy(new Error('enough')) })
  early.on('error', () => {})
  await closed(early)
  note(await told(() => early.finished()))
  const left = node.lookup(target)
  for await (const _ of left) break
  note(left.destroyed)
  const waiting = node.findNode(target)
  await node.destroy()
  note(await told(() => node.findNode(target)), await told(() => node.query({ target, command: 9 })), (await told(() => waiting.finished())).value === undefined)
})

sameNodes('what announcements tell', async ({ DHT, create, other, note }) => {
  const node = create()
  const topic = DHT.keyPair().publicKey
  const keyPair = DHT.keyPair()
  const announce = node.announce(topic, keyPair, [])
  note(announce.closestNodes)
  await announce.finished()
  const known = nodes(announce.closestNodes)
  note(known, announce.closestReplies.length === known.length, announce.destroyed)
  const lookup = other.lookup(topic)
  await lookup.finished()
  note(announce.closestNodes.map(({ port }) => port).sort().join() === lookup.closestNodes.map(({ port }) => port).sort().join())
  const own = node.lookup(topic)
  const results = []
  for await (const { token, from, to, peers, bump } of own) {
    results.push([token.byteLength, from.id?.byteLength, typeof to.port, peers.map(({ publicKey, relayAddresses }) => [publicKey.equals(keyPair.publicKey), relayAddresses]), bump])
  }
  note([...new Set(results.map((entry) => JSON.stringify(entry)))].length, results[0], nodes(own.closestNodes))
  const taken = node.lookupAndUnannounce(topic, keyPair)
  let count = 0
  for await (const { peers } of taken) count += peers.length
  note(count > 0, nodes(taken.closestNodes), await node.unannounce(topic, keyPair))
  note((await told(async () => { for await (const _ of other.lookup(topic)) throw new Error('somebody is there') })).error)
})

sameNodes('how fast nodes answer', async ({ create, note }) => {
  const node = create()
  await node.fullyBootstrapped()
  const { successes, errors, responses, closestReplies } = await node.rttStats()
  note(successes > 0, errors)
  for (const { avgRtt, errors, avgCloserNodes } of [responses, closestReplies]) note(Number.isFinite(avgRtt), errors, avgCloserNodes > 0)
})

test('what needs a socket of its own says so, and a relay that carries no values, too', async (t) => {
  const { bootstrap } = await startTestnet(t)
  const relay = await startRelay(t, { bootstrap, args: ['--allow-private', '--per-address-lookups-per-minute', '6'] })
  const create = (url) => {
    const dht = new DHT({ relay: url, webrtc: false })
    defer(t, () => dht.destroy({ force: true }))
    return dht
  }
  const dht = create(relay.url)
  const target = DHT.hash(text('target'))
  const code = async (run) => (await told(run)).error?.code
  assert.equal(await code(() => dht.request({ target, command: 8, value: text('target') }, { host: '127.0.0.1', port: 1 })), 'NOT_SUPPORTED')
  assert.equal(await code(() => dht.ping({ host: '127.0.0.1', port: 1 })), 'NOT_SUPPORTED')
  assert.equal(await code(() => dht.query({ target, command: 4 }).finished()), 'NOT_SUPPORTED')
  assert.equal(await code(() => dht.immutablePut(Buffer.alloc(2000))), 'VALUE_TOO_LARGE')
  assert.equal(await code(() => dht.mutablePut(DHT.keyPair(), Buffer.alloc(1100))), 'VALUE_TOO_LARGE')
  const put = await dht.immutablePut(text('counted'))
  assert.equal(await relayFigure(relay, 'dht_queries_total{kind="query"}'), 1)
  assert.equal(await relayFigure(relay, 'dht_queries_total{kind="write"}'), put.closestNodes.length)
  for (let left = 5; left > 0; left--) assert.ok(await dht.immutableGet(put.hash))
  assert.equal(await code(() => dht.immutableGet(put.hash)), 'RELAY_BUSY')

  const upstream = startProcess(t, 'node', [fileURLToPath(new URL('./support/upstream-relay.mjs', import.meta.url)), ...bootstrap])
  const theirs = create((await upstream.next('listening')).url)
  for (const run of [
    () => theirs.immutableGet(put.hash), () => theirs.immutablePut(text('no')), () => theirs.mutableGet(target),
    () => theirs.mutablePut(DHT.keyPair(), text('no')), () => theirs.findPeer(target).finished(), () => theirs.findNode(target).finished()
  ]) {
    const { error } = await told(run)
    assert.equal(error?.code, 'NOT_SUPPORTED')
    assert.match(error.message, /is not carried by this relay/)
  }
  // What upstream's protocol has words for goes on.
  const keyPair = DHT.keyPair()
  await theirs.announce(target, keyPair, []).finished()
  const native = new Upstream({ bootstrap: parseBootstrap(bootstrap), host: '127.0.0.1', firewalled: false })
  defer(t, () => native.destroy({ force: true }))
  for (const finder of [native, theirs]) {
    const keys = new Set()
    for await (const { peers } of finder.lookup(target)) for (const { publicKey } of peers) keys.add(toHex(publicKey))
    assert.deepEqual([...keys], [toHex(keyPair.publicKey)])
  }
})

/** Signs as upstream does, with upstream's own function. */
function signElsewhere (seq, value, keyPair) {
  return Persistent.signMutable(seq, value, keyPair)
}

sameNodes('announcements that are signed somewhere else', async ({ DHT, create, other, note }) => {
  const node = create()
  const owner = DHT.keyPair()
  const { publicKey } = owner
  const asked = new Set()
  const signing = Object.fromEntries(['signAnnounce', 'signUnannounce'].map((name) => [name, async (target, token, id, record, keyPair) => {
    const what = { ...record, peer: { ...record.peer, publicKey: record.peer.publicKey.equals(publicKey) } }
    asked.add(`${name} ${target.equals(topic)} ${token.byteLength} ${id.byteLength} ${keyPair.publicKey.equals(publicKey)} ${keyPair.secretKey} ${JSON.stringify(what)}`)
    return await Persistent[name](target, token, id, record, owner)
  }]))
  const topic = DHT.hash(text('signed elsewhere'))
  const announced = async () => {
    for await (const { peers } of other.lookup(topic)) if (peers.some((peer) => peer.publicKey.equals(publicKey))) return true
    return false
  }

  await node.announce(topic, { publicKey }, [{ host: '1.2.3.4', port: 5 }], { clear: true, bump: 7, ...signing }).finished()
  note([...asked], await announced())
  asked.clear()
  await node.unannounce(topic, { publicKey }, signing)
  note([...asked].length > 0, [...asked].every((what) => what.startsWith('signUnannounce true')), await announced())
  note(await told(() => node.announce(topic, { publicKey }, [], { signAnnounce: () => { throw new Error('not today') } }).finished()), await announced())
  await node.announce(topic, { publicKey }, [], signing).finished()
  note(await told(() => node.unannounce(topic, { publicKey }, { signUnannounce: () => { throw new Error('not today') } })), await announced())
  const server = node.createServer()
  const served = []
  await server.listen(owner, {
    signAnnounce: (target, ...rest) => {
      served.push(target.equals(DHT.hash(publicKey)))
      return Persistent.signAnnounce(target, ...rest)
    }
  })
  let found = 0
  for await (const { peer } of other.findPeer(publicKey)) if (peer.publicKey.equals(publicKey)) found++
  note(served.length > 0, served.every(Boolean), found > 0)
  await server.close()
  found = 0
  for await (const { peer } of other.findPeer(publicKey)) if (peer.publicKey.equals(publicKey)) found++
  note(found)
})
