// Figures of one relay, ours or upstream's: node relay.mjs ours|upstream [--tabs 1000,10000]. Prints NAME, VALUE and UNIT, a
// line each.
//
// First with a load that costs little beside a relay, `relay-load`, then with clients and a peer of upstream's, which encrypt in
// JavaScript and limit both relays. Everything runs on one machine, the network of three nodes too. Processor times are the
// relay's own.

import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { connect } from 'node:net'
import { availableParallelism } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

import RelayedDHT from '@hyperswarm/dht-relay'
import RelayStream from '@hyperswarm/dht-relay/ws'
import DHT from 'hyperdht'
import createTestnet from 'hyperdht/testnet.js'
import WebSocket from 'ws'

import { releaseProgram } from '../../scripts/lib/cargo.mjs'
import { JsonProcess } from '../../scripts/lib/json-process.mjs'

const MIB = 1024 * 1024
const CHUNK = Buffer.alloc(64 * 1024, 7)

/** Bytes of one transfer, dials, and echoes: those of the load, and those with upstream's ends. */
const LOAD_BULK = 256 * MIB
const LOAD_DIALS = 2000
const LOAD_PATIENCE = 300_000
const BULK = 48 * MIB
const DIALS = 200
const DIALS_AT_ONCE = 16
const ECHOES = 1000

/** How long a dial may take before another is tried, in milliseconds. */
const DIAL_PATIENCE = 5000

/** Clock ticks of /proc a second, as Linux has them everywhere. */
const TICKS = 100

/** Frames of a tab of upstream's that does nothing: it opens the channel and introduces itself. */
const OPEN = Buffer.from('00010115406879706572737761726d2f6468742d72656c617900', 'hex')
const HANDSHAKE = Buffer.concat([Buffer.from('010000', 'hex'), Buffer.alloc(32, 0x11)])

/** What a tab of ours opens besides, so that its links outlive their WebSockets. */
const CHANNELS = ['hypertab/relay-credit', 'hypertab/relay-queries', 'hypertab/relay-resume']
const OURS = CHANNELS.map((name, at) => Buffer.concat([Buffer.from([0, 1, at + 2, name.length]), Buffer.from(name), Buffer.from([0])]))

const [kind, ...options] = process.argv.slice(2)
const tabs = (options[options.indexOf('--tabs') + 1] ?? '1000').split(',').map(Number).filter((count) => count > 0)

const support = (name) => fileURLToPath(new URL(`../interop/support/${name}`, import.meta.url))

await measureLoad()
await measureTraffic()
for (const count of tabs) await measureTabs(count)
process.exit(0)

/** What a relay does while it alone is the limit. */
async function measureLoad () {
  const load = await releaseProgram('relay-load')
  const nodes = []
  const bootstrap = []
  while (nodes.length < 3) {
    const node = new JsonProcess(await releaseProgram('dht-node'), [])
    nodes.push(node)
    bootstrap.push((await node.ask('start', { bootstrapper: true, bootstrap })).address)
  }
  const peer = new JsonProcess(load, ['peer', ...bootstrap])
  const { keys } = await peer.next('listening')
  const relay = await startRelay(bootstrap)
  const tab = new JsonProcess(load, ['tab', relay.url, ...keys])
  for (const _ of keys) await tab.ask('dial', { dials: 1, atOnce: 1 })

  for (const { name, streams } of [{ name: 'one stream', streams: 1 }, { name: '100 streams', streams: 100 }]) {
    await tab.ask('open', { streams })
    for (const [way, command] of [['up', 'send'], ['down', 'receive']]) {
      const ticks = processorTime(relay)
      const { seconds } = await tab.ask(command, { bytes: LOAD_BULK })
      print(`load, ${name}, ${way}`, LOAD_BULK / MIB / seconds, 'MiB/s')
      print(`load, processor, ${name}, ${way}`, (processorTime(relay) - ticks) / (LOAD_BULK / MIB), 'ms/MiB')
    }
    await tab.ask('close')
  }

  const ticks = processorTime(relay)
  const ends = () => processorTime(tab) + processorTime(peer)
  const before = ends()
  const { seconds, failed } = await tab.ask('dial', { dials: LOAD_DIALS, atOnce: DIALS_AT_ONCE }, LOAD_PATIENCE)
  print('load, dials without an answer', failed, 'of 2,000')
  print('load, connections set up', LOAD_DIALS / seconds, '1/s')
  const each = (processorTime(relay) - ticks) / LOAD_DIALS
  print('load, processor of a connection', each, 'ms')
  // Tab and peer have no part in this: it is what the relay sets up with a processor of its own.
  print('load, connections of a second of processor', 1000 / each, '1/s')
  printBound('load, ', (ends() - before) / LOAD_DIALS)
  for (const child of [tab, relay, peer, ...nodes]) await child.kill()
}

/** What a relay adds for clients and a peer of upstream's. */
async function measureTraffic () {
  const network = await createTestnet(3, { host: '127.0.0.1' })
  const bootstrap = network.bootstrap.map(({ host, port }) => `${host}:${port}`)
  const peer = new JsonProcess('node', [fileURLToPath(new URL('./relay-peer.mjs', import.meta.url)), ...bootstrap])
  const remote = Buffer.from((await peer.next('listening')).key, 'hex')
  const open = (dht) => dial(dht, remote)
  const relay = await startRelay(bootstrap)
  const client = await startClient(relay)
  const stream = await open(client)
  await echo(stream, 50)
  const times = await echo(stream, ECHOES)
  const native = await startNative(network)
  const direct = await open(native)
  await echo(direct, 50)
  const without = await echo(direct, ECHOES)
  direct.destroy()
  print('added latency, p50', percentile(times, 0.5) - percentile(without, 0.5), 'ms')
  print('added latency, p99', percentile(times, 0.99) - percentile(without, 0.99), 'ms')

  for (const { name, streams } of [{ name: 'one stream', streams: 1 }, { name: '100 streams', streams: 100 }]) {
    const open_ = streams === 1 ? [stream] : await Promise.all(Array.from({ length: streams }, () => open(client)))
    for (const way of ['up', 'down']) {
      const ticks = processorTime(relay)
      const start = performance.now()
      await Promise.all(open_.map((stream) => (way === 'up' ? send : receive)(stream, Math.floor(BULK / streams))))
      const seconds = (performance.now() - start) / 1000
      print(`${name}, ${way}`, BULK / MIB / seconds, 'MiB/s')
      print(`processor, ${name}, ${way}`, (processorTime(relay) - ticks) / (BULK / MIB), 'ms/MiB')
    }
    for (const stream of open_) stream.destroy()
  }

  const ticks = processorTime(relay)
  const ends = () => processorTime(process) + processorTime(peer)
  const before = ends()
  const start = performance.now()
  let left = DIALS
  await Promise.all(Array.from({ length: DIALS_AT_ONCE }, async () => {
    while (left-- > 0) (await open(client)).destroy()
  }))
  print('connections set up', DIALS / (performance.now() - start) * 1000, '1/s')
  print('processor of a connection', (processorTime(relay) - ticks) / DIALS, 'ms')
  printBound('', (ends() - before) / DIALS)
  await client.destroy({ force: true })
  await native.destroy({ force: true })
  for (const child of [relay, peer]) await child.kill()
  await network.destroy()
}

async function measureTabs (count) {
  const network = await createTestnet(3, { host: '127.0.0.1' })
  const relay = await startRelay(network.bootstrap.map(({ host, port }) => `${host}:${port}`))
  const warm = await Promise.all(Array.from({ length: 50 }, () => openTab(relay)))
  for (const tab of warm) tab.destroy()
  await sleep(1000)
  const before = memory(relay)
  const open = []
  while (open.length < count) open.push(...await Promise.all(Array.from({ length: Math.min(50, count - open.length) }, () => openTab(relay))))
  await sleep(2000)
  print(`memory of an idle tab, of ${count}`, (memory(relay) - before) / count / 1024, 'KiB')
  for (const tab of open) tab.destroy()
  await relay.kill()
  await network.destroy()
}

async function startRelay (bootstrap) {
  const relay = kind === 'ours'
    ? new JsonProcess(process.env.HYPERTAB_RELAY ?? await releaseProgram('hypertab-relay'), [
        '--listen', '127.0.0.1:0', '--allow-private', ...bootstrap.flatMap((address) => ['--bootstrap', address]), ...limits()
      ])
    : new JsonProcess('node', [support('upstream-relay.mjs'), '--shared', ...bootstrap])
  const { url } = await relay.next('listening')
  return Object.assign(relay, { url })
}

/** None that the bench could meet: upstream's has none at all. */
function limits () {
  const scopes = ['per-link', 'per-address', 'per-key', 'total']
  const counts = [
    ...scopes.flatMap((scope) => [`${scope}-streams`, `${scope}-handshakes`]),
    ...scopes.slice(1).flatMap((scope) => [`${scope}-links`, `${scope}-links-per-second`, `${scope}-links-burst`]),
    'per-link-requests-per-second', 'per-link-requests-burst', 'total-requests'
  ]
  return [...counts.flatMap((name) => [`--${name}`, '1000000']), '--per-link-idle-timeout', '1h']
}

async function startClient ({ url }) {
  const client = new RelayedDHT(new RelayStream(true, new WebSocket(url)), { custodial: false })
  await client.ready()
  // Upstream's relay hands the same answer over twice now and then, at which its client throws out of anybody's reach.
  const handshakes = client._handshakes
  const set = handshakes.set.bind(handshakes)
  handshakes.set = (id, handshake) => {
    const receive = handshake._onNoiseReceive.bind(handshake)
    handshake._onNoiseReceive = (message) => { if (!handshake.complete) receive(message) }
    return set(id, handshake)
  }
  return client
}

async function startNative (network) {
  const dht = new DHT({ bootstrap: network.bootstrap, host: '127.0.0.1', firewalled: false })
  await dht.fullyBootstrapped()
  return dht
}

async function dial (dht, remote) {
  while (true) {
    const stream = dht.connect(remote, { keyPair: DHT.keyPair() })
    stream.on('error', () => {})
    const isOpen = await Promise.race([once(stream, 'open').then(() => true), sleep(DIAL_PATIENCE, false, { ref: false })])
    if (isOpen) return stream
    stream.destroy()
  }
}

/** What a relay that costs nothing would set up here, where the ends have all the cores. */
function printBound (prefix, each) {
  print(`${prefix}processor of both ends of a connection`, each, 'ms')
  print(`${prefix}connections, were the relay free`, availableParallelism() * 1000 / each, '1/s')
}

/** A tab as raw bytes, so that thousands of them cost this process little. */
async function openTab ({ url }) {
  const { port } = new URL(url)
  const socket = connect(Number(port), '127.0.0.1')
  socket.on('error', () => {})
  await once(socket, 'connect')
  socket.write('GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n')
  const [answer] = await once(socket, 'data')
  if (!String(answer).startsWith('HTTP/1.1 101')) throw new Error(`the relay refuses a tab: ${String(answer).split('\r\n')[0]}`)
  socket.write(Buffer.concat([OPEN, HANDSHAKE, ...(kind === 'ours' ? OURS : [])].map(frame)))
  // Pings are answered by nobody; the bench is over before that matters.
  socket.resume()
  return socket
}

function frame (payload) {
  return Buffer.concat([Buffer.from([0x82, 0x80 | payload.byteLength, 0, 0, 0, 0]), payload])
}

/** Sends words back and forth; returns how long each took, in milliseconds. */
async function echo (stream, rounds) {
  const times = []
  for (let round = 0; round < rounds; round++) {
    const start = performance.now()
    stream.write(Buffer.alloc(32, 1))
    await once(stream, 'data')
    times.push(performance.now() - start)
  }
  return times
}

/** Sends bytes and waits until the peer has them. */
async function send (stream, bytes) {
  stream.write(Buffer.from(`u${bytes}`))
  for (let left = bytes; left > 0; left -= CHUNK.byteLength) {
    if (!stream.write(left >= CHUNK.byteLength ? CHUNK : CHUNK.subarray(0, left))) await once(stream, 'drain')
  }
  await once(stream, 'data')
}

async function receive (stream, bytes) {
  stream.write(Buffer.from(`d${bytes}`))
  let left = bytes
  await /** @type {Promise<void>} */ (new Promise((resolve) => {
    stream.on('data', function take (data) {
      left -= data.byteLength
      if (left > 0) return
      stream.off('data', take)
      resolve()
    })
  }))
}

/** Milliseconds of processor time that a process has used. */
function processorTime ({ pid }) {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1].split(' ')
  return (Number(fields[11]) + Number(fields[12])) * 1000 / TICKS
}

function memory ({ pid }) {
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))[1]) * 1024
}

function percentile (values, part) {
  return [...values].sort((a, b) => a - b)[Math.floor((values.length - 1) * part)]
}

function print (name, value, unit) {
  console.log(`${name}\t${value}\t${unit}`)
}
