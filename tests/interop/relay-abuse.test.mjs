// What hostile clients and peers do to the relay, and what honest ones notice of it: nothing.

import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { readdirSync } from 'node:fs'
import { connect } from 'node:net'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'

import DHT from 'hyperdht'
import { Hyperswarm } from 'hypertab'
import WebSocket from 'ws'

import { defer } from './support/cleanup.mjs'
import { startEcho } from './support/dht-node.mjs'
import { freePort } from './support/ports.mjs'
import { openSocket, send, u32 } from './support/raw-client.mjs'
import { startClient, startNative } from './support/relayed.mjs'
import { relayFigure, startRelay } from './support/relay.mjs'
import { createSwarm, startTestnet } from './support/testnet.mjs'

const MIB = 1024 * 1024

/** What a relay may keep of a crowd that is gone: pages that the allocator holds on to. */
const KEPT = 24 * MIB

/** Nobody here is to be kept out for opening much. */
const OPEN_HOUSE = ['address', 'key', 'total'].flatMap((scope) => [
  `--per-${scope}-links`, '100000', `--per-${scope}-links-per-second`, '100000', `--per-${scope}-links-burst`, '100000'
]).map((flag) => flag.replace('--per-total', '--total')).concat('--total-requests', '100000', '--ban-after', 'none')

test('ten thousand links without a handshake are let go, and leave nothing', { timeout: 180_000 }, async (t) => {
  const relay = await startRelay(t, { testnet: true, args: [...OPEN_HOUSE, '--per-link-handshake-timeout', '2s'] })
  const honest = await startHonest(t, relay)
  await honest.works()
  const crowd = async (count) => {
    const sockets = []
    for (let at = 0; at < count; at++) {
      const socket = new WebSocket(relay.url)
      socket.on('error', () => {})
      sockets.push(once(socket, 'close'))
      if (at % 500 === 499) await Promise.all(sockets.splice(0))
    }
    await Promise.all(sockets)
  }
  await crowd(1000)
  await settled(relay)
  const [memory, descriptors] = [await residentMemory(relay), openDescriptors(relay)]

  await crowd(10_000)

  await honest.works()
  await settled(relay)
  assert.ok(openDescriptors(relay) <= descriptors, `${openDescriptors(relay)} descriptors after ${descriptors}`)
  assert.ok(await residentMemory(relay) < memory + KEPT, 'the memory of links without handshake stays')
})

test('a flood of handshakes for a client costs others nothing', { timeout: 120_000 }, async (t) => {
  const relay = await startRelay(t, { testnet: true, args: OPEN_HOUSE })
  const honest = await startHonest(t, relay)
  const { dht } = await startClient(t, relay)
  const pair = DHT.keyPair()
  // It never decides, so that everybody waits.
  await dht.createServer({ firewall: () => new Promise(() => {}) }, () => {}).listen(pair)
  const flooder = await startNative(t, relay)
  const flood = async () => {
    const calls = Array.from({ length: 300 }, () => {
      const call = flooder.connect(pair.publicKey, { keyPair: DHT.keyPair() })
      call.on('error', () => {})
      return call
    })
    await sleep(500)
    await honest.works()
    for (const call of calls) call.destroy()
  }
  await flood()
  const memory = await residentMemory(relay)
  for (let round = 0; round < 3; round++) await flood()

  assert.ok(await residentMemory(relay) < memory + KEPT, 'memory grows with every flood')
  assert.ok(await relayFigure(relay, 'streams_half_open') <= 300)
})

test('a client that makes the relay dial whoever it names is held to its share', async (t) => {
  const relay = await startRelay(t, { testnet: true, args: OPEN_HOUSE })
  const honest = await startHonest(t, relay)
  // Somebody says of a key that it is reached through an address, where a victim is.
  const native = await startNative(t, relay)
  let victim = 0
  const { createSocket } = await import('node:dgram')
  const socket = createSocket('udp4')
  socket.on('message', () => { victim++ })
  await new Promise((resolve) => socket.bind(0, '127.0.0.1', resolve))
  defer(t, () => socket.close())
  const forged = DHT.keyPair()
  await native.announce(DHT.hash(forged.publicKey), forged, [{ host: '127.0.0.1', port: socket.address().port }]).finished()

  const attacker = await openSocket(t, relay.url)
  const closed = once(attacker, 'close')
  send(attacker, OPEN, HANDSHAKE)
  const before = await relayFigure(relay, DIALS)
  for (let alias = 1; alias <= 2000 && attacker.readyState === WebSocket.OPEN; alias++) {
    send(attacker, `010300${u32(alias)}${'11'.repeat(32)}${forged.publicKey.toString('hex')}`)
  }
  const [code] = await closed
  await honest.works()

  assert.equal(code, 1008)
  const dials = await relayFigure(relay, DIALS) - before
  // As many as may be half open, and the honest one.
  assert.ok(dials > 10 && dials <= 65, `${dials} dials for 2000 requests`)
  assert.ok(await relayFigure(relay, 'turned_down_total{resource="handshakes",scope="link"}') > 200)
  assert.equal(victim, 0, 'an address was dialled because somebody has written it down')
})

test('a client that pings by its WebSocket and takes no answer fills no memory', async (t) => {
  const relay = await startRelay(t, { testnet: true, args: OPEN_HOUSE })
  const honest = await startHonest(t, relay)
  await honest.works()
  const memory = await residentMemory(relay)
  const { port } = new URL(relay.url)
  const socket = connect({ port: Number(port), host: '127.0.0.1' })
  defer(t, () => socket.destroy())
  socket.on('error', () => {})
  socket.write(UPGRADE)
  await once(socket, 'data')
  socket.pause()

  // Masked with zeros, and as long as a ping may be.
  const pings = Buffer.concat(Array(8192).fill(Buffer.concat([Buffer.from([0x89, 0x80 | 125, 0, 0, 0, 0]), Buffer.alloc(125)])))
  let sent = 0
  let isStuck = false
  while (sent < 96 * MIB && !isStuck) {
    sent += pings.byteLength
    isStuck = !socket.write(pings) && !await Promise.race([once(socket, 'drain').then(() => true), sleep(2000, false)])
  }

  assert.ok(await residentMemory(relay) < memory + KEPT, 'answers are kept')
  assert.ok(isStuck, 'the client is read on')
  await honest.works()
})

test('a client that pings and takes the answers gets all of them', async (t) => {
  const relay = await startRelay(t, { testnet: true })
  const socket = await openSocket(t, relay.url)
  const pongs = []
  socket.on('pong', (data) => pongs.push(String(data)))

  const sent = Array.from({ length: 1000 }, (_, at) => `ping ${at}`)
  for (const ping of sent) socket.ping(ping)
  while (pongs.length < sent.length) await once(socket, 'pong')

  assert.deepEqual(pongs, sent)
})

test('a relay that stood still goes on, with the streams that it had', async (t) => {
  const relay = await startRelay(t, { testnet: true })
  const honest = await startHonest(t, relay)
  const stream = await honest.call()
  await echo(stream, 1000)

  process.kill(relay.process.pid, 'SIGSTOP')
  stream.write(Buffer.from('are you there'))
  await sleep(4000)
  process.kill(relay.process.pid, 'SIGCONT')

  const [data] = await once(stream, 'data')
  assert.equal(String(data), 'are you there')
  await echo(stream, MIB)
  await honest.works()
})

test('a relay that is killed and started again has its clients back, announced as before', async (t) => {
  const { bootstrap } = await startTestnet(t, 4)
  const listen = `127.0.0.1:${await freePort()}`
  const options = { bootstrap, listen, args: ['--allow-private'] }
  let relay = await startRelay(t, options)
  const topic = randomBytes(32)
  const swarm = new Hyperswarm({ relay: relay.url, backoffs: [100, 100, 100, 100] })
  defer(t, () => swarm.destroy({ force: true }))
  swarm.on('connection', (connection) => {
    connection.on('error', () => {})
    connection.write(Buffer.from('here again'))
  })
  await swarm.join(topic, { client: false }).flushed()

  for (let round = 0; round < 3; round++) {
    const changed = once(swarm.dht, 'network-change')
    const listening = once(swarm.server, 'listening')
    await relay.process.kill()
    relay = await startRelay(t, options)
    await Promise.all([changed, listening])
    await swarm.flush()
  }

  const native = createSwarm(t, { bootstrap })
  defer(t, () => native.clear())
  native.join(topic, { server: false })
  const [connection] = await once(native, 'connection')
  connection.on('error', () => {})
  const [data] = await once(connection, 'data')
  assert.equal(String(data), 'here again')
})

const UPGRADE = 'GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n'
const DIALS = 'handshakes_total{side="dial",outcome="started"}'
const OPEN = '00010115406879706572737761726d2f6468742d72656c617900'
const HANDSHAKE = '010000' + '11'.repeat(32)

/** A client of upstream's with a peer to call. */
async function startHonest (t, relay) {
  const native = await startNative(t, relay)
  const server = await startEcho(t, native)
  const { dht } = await startClient(t, relay)
  const call = async () => {
    const stream = dht.connect(server.publicKey)
    stream.on('error', () => {})
    await once(stream, 'open')
    return stream
  }
  return {
    call,
    async works () {
      const stream = await call()
      await echo(stream, 1000)
      stream.destroy()
      for await (const _ of dht.lookup(randomBytes(32))) ;
    }
  }
}

async function echo (stream, size) {
  const sent = randomBytes(size)
  const parts = []
  let length = 0
  const back = new Promise((resolve) => {
    stream.on('data', function take (data) {
      parts.push(data)
      length += data.byteLength
      if (length < size) return
      stream.off('data', take)
      resolve(Buffer.concat(parts))
    })
  })
  for (let at = 0; at < size; at += 65536) stream.write(sent.subarray(at, at + 65536))
  assert.ok((await back).equals(sent), 'what came back differs')
}

/** Waits until the honest client alone is left. */
async function settled (relay) {
  while (await relayFigure(relay, 'links') > 1) await sleep(50)
}

async function residentMemory (relay) {
  return await relayFigure(relay, 'resident_memory_bytes')
}

function openDescriptors (relay) {
  return readdirSync(`/proc/${relay.process.pid}/fd`).length
}
