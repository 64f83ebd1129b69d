// Our DHT peer among upstream's, and upstream's among ours.

import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import test from 'node:test'

import DHT from 'hyperdht'

import { echo, idle, startEcho, startNode, startUpstream } from './support/dht-node.mjs'
import { startTestnet } from './support/testnet.mjs'

const MEBIBYTE = 1024 * 1024
const seed = (byte) => Buffer.alloc(32, byte).toString('hex')

/** Collects what an upstream query finds. */
async function collect (query) {
  const found = []
  for await (const reply of query) found.push(reply)
  return found
}

test('finds out that it can be reached, and turns persistent when told to', async (t) => {
  const { bootstrap } = await startTestnet(t, 6)

  const adaptive = await startNode(t, { bootstrap })
  const persistent = await startNode(t, { bootstrap, persistent: true })
  await persistent.next('persistent')

  await adaptive.next('reachable')
  assert.equal((await adaptive.ask('info')).id, null)
  assert.equal((await persistent.ask('info')).id.length, 64)
})

test('announces and lookups cross over', async (t) => {
  const { bootstrap } = await startTestnet(t, 8)
  const ours = await startNode(t, { bootstrap })
  const theirs = await startUpstream(t, bootstrap)
  const [topicA, topicB] = [randomBytes(32), randomBytes(32)]
  const relays = [{ host: '1.2.3.4', port: 5 }]

  await theirs.announce(topicA, theirs.defaultKeyPair, relays).finished()
  const { found } = await ours.ask('lookup', { topic: topicA.toString('hex') })
  assert.ok(found.length >= 5)
  for (const peer of found) {
    assert.equal(peer.publicKey, theirs.defaultKeyPair.publicKey.toString('hex'))
    assert.deepEqual(peer.relays, ['1.2.3.4:5'])
  }

  for (const external of [false, true]) {
    const announce = { topic: topicB.toString('hex'), seed: seed(1), relays: ['1.2.3.4:5'], external }
    await ours.ask('announce', announce)
    const replies = await collect(theirs.lookup(topicB))
    assert.ok(replies.length >= 5)
    for (const { peers } of replies) {
      assert.deepEqual(peers.map((peer) => peer.publicKey.toString('hex')), [DHT.keyPair(Buffer.alloc(32, 1)).publicKey.toString('hex')])
      assert.deepEqual(peers[0].relayAddresses, relays)
    }
    await ours.ask('unannounce', announce)
    assert.equal((await collect(theirs.lookup(topicB))).length, 0)
  }
})

test('immutable and mutable values cross over', async (t) => {
  const { bootstrap } = await startTestnet(t, 8)
  const ours = await startNode(t, { bootstrap })
  const theirs = await startUpstream(t, bootstrap)
  const [value, other] = [randomBytes(900), randomBytes(100)]

  const { target } = await ours.ask('immutablePut', { value: value.toString('hex') })
  assert.deepEqual((await theirs.immutableGet(Buffer.from(target, 'hex'))).value, value)
  const { hash } = await theirs.immutablePut(other)
  assert.equal((await ours.ask('immutableGet', { target: hash.toString('hex') })).value, other.toString('hex'))

  const keyPair = DHT.keyPair(Buffer.alloc(32, 2))
  await ours.ask('mutablePut', { seed: seed(2), seq: 3, value: value.toString('hex') })
  const found = await theirs.mutableGet(keyPair.publicKey)
  assert.equal(found.seq, 3)
  assert.deepEqual(found.value, value)
  await theirs.mutablePut(keyPair, other, { seq: 4 })
  assert.deepEqual(
    await ours.ask('mutableGet', { key: keyPair.publicKey.toString('hex') }),
    { seq: 4, value: other.toString('hex') }
  )
  await assert.rejects(ours.ask('mutablePut', { seed: seed(2), seq: 1, value: '00' }), /17/)
})

for (const firewalled of [false, true]) {
  for (const external of [false, true]) {
    const place = `${firewalled ? 'firewalled' : 'open'} upstream, keys ${external ? 'elsewhere' : 'at the node'}`

    test(`dials and echoes: ${place}`, async (t) => {
      const { bootstrap } = await startTestnet(t, 8)
      const theirs = await startUpstream(t, bootstrap, { firewalled })
      const server = await startEcho(t, theirs)
      const ours = await startNode(t, { bootstrap })

      const key = server.publicKey.toString('hex')
      const result = await ours.ask('connect', { key, seed: seed(3), bytes: MEBIBYTE, external })

      assert.equal(result.received, MEBIBYTE)
      assert.equal(result.intact, true)
      assert.equal((await ours.next('closed')).error, null)
      await idle(theirs)
    })

    test(`is dialled and echoes: ${place}`, async (t) => {
      const { bootstrap } = await startTestnet(t, 8)
      const ours = await startNode(t, { bootstrap })
      const { publicKey } = await ours.ask('listen', { seed: seed(4), external })
      const theirs = await startUpstream(t, bootstrap, { firewalled })

      for (let round = 0; round < 5; round++) {
        const bytes = randomBytes(round === 0 ? MEBIBYTE : 1000)
        const socket = theirs.connect(Buffer.from(publicKey, 'hex'))
        assert.deepEqual(await echo(socket, bytes), bytes)
      }
      await idle(theirs)
    })
  }
}

test('both sides firewalled: dials and is dialled', async (t) => {
  const { bootstrap } = await startTestnet(t, 8)
  const theirs = await startUpstream(t, bootstrap, { firewalled: true })
  const server = await startEcho(t, theirs)
  const ours = await startNode(t, { bootstrap, firewalled: true })
  assert.equal((await ours.ask('info')).firewalled, true)
  const { publicKey } = await ours.ask('listen', { seed: seed(5) })

  for (const lan of [true, false]) {
    const result = await ours.ask('connect', { key: server.publicKey.toString('hex'), seed: seed(3), bytes: 10_000, lan })
    assert.equal(result.intact, true)
  }
  for (const localConnection of [true, false]) {
    const bytes = randomBytes(10_000)
    const socket = theirs.connect(Buffer.from(publicKey, 'hex'), { localConnection })
    assert.deepEqual(await echo(socket, bytes), bytes)
  }
  await idle(theirs)
})

test('a server that closes is not found, and can listen again', async (t) => {
  const { bootstrap } = await startTestnet(t, 8)
  const ours = await startNode(t, { bootstrap })
  const theirs = await startUpstream(t, bootstrap)
  const { publicKey } = await ours.ask('listen', { seed: seed(4), external: true })
  const key = Buffer.from(publicKey, 'hex')

  await ours.ask('close', { seed: seed(4) })
  const failed = theirs.connect(key)
  await assert.rejects(new Promise((resolve, reject) => failed.on('open', resolve).on('error', reject)), /PEER_NOT_FOUND/)

  await ours.ask('listen', { seed: seed(4), external: true })
  const bytes = randomBytes(1000)
  assert.deepEqual(await echo(theirs.connect(key), bytes), bytes)
})

test('a dial that nobody answers fails as upstream has it', async (t) => {
  const { bootstrap } = await startTestnet(t, 4)
  const ours = await startNode(t, { bootstrap })

  await assert.rejects(ours.ask('connect', { key: seed(9), seed: seed(3) }), /PEER_NOT_FOUND: /)
})

test('a network of our own nodes serves upstream peers', async (t) => {
  const first = await startNode(t, { bootstrapper: true })
  const bootstrap = [first.info.address]
  const nodes = [first]
  for (let index = 0; index < 5; index++) nodes.push(await startNode(t, { bootstrap, persistent: true }))
  const [a, b] = [await startUpstream(t, bootstrap), await startUpstream(t, bootstrap)]

  const topic = randomBytes(32)
  await a.announce(topic, a.defaultKeyPair, []).finished()
  assert.ok((await collect(b.lookup(topic))).length >= 4)
  const { hash } = await a.immutablePut(Buffer.from('stored by ours'))
  assert.equal((await b.immutableGet(hash)).value.toString(), 'stored by ours')

  const server = await startEcho(t, a)
  const bytes = randomBytes(MEBIBYTE)
  assert.deepEqual(await echo(b.connect(server.publicKey), bytes), bytes)

  // Firewalled peers of upstream find each other through our nodes' routing of handshakes and punches.
  const [c, d] = [await startUpstream(t, bootstrap, { firewalled: true }), await startUpstream(t, bootstrap, { firewalled: true })]
  const hidden = await startEcho(t, c)
  const small = randomBytes(10_000)
  assert.deepEqual(await echo(d.connect(hidden.publicKey, { localConnection: false }), small), small)
})

test('upstream forms its test network around our bootstrap node', async (t) => {
  const first = await startNode(t, { bootstrapper: true })
  const bootstrap = [first.info.address]
  const nodes = []
  for (let index = 0; index < 6; index++) nodes.push(await startUpstream(t, bootstrap, { ephemeral: false }))
  assert.ok(nodes.every((node) => node.id !== null))

  const ours = await startNode(t, { bootstrap })
  const server = await startEcho(t, nodes[0], DHT.keyPair(Buffer.alloc(32, 6)))
  const result = await ours.ask('connect', { key: server.publicKey.toString('hex'), seed: seed(3), bytes: MEBIBYTE })

  assert.equal(result.intact, true)
  await idle(nodes[0])
})

test('one mebibyte arrives although every twentieth datagram is lost', async (t) => {
  const { bootstrap } = await startTestnet(t, 8)
  const theirs = await startUpstream(t, bootstrap)
  const server = await startEcho(t, theirs)
  const ours = await startNode(t, { bootstrap, losesEvery: 20 })

  const result = await ours.ask('connect', { key: server.publicKey.toString('hex'), seed: seed(3), bytes: MEBIBYTE }, 60_000)

  assert.equal(result.intact, true)
  await idle(theirs)
})
