// Two browsers that meet by topic through the relay, and go on over a data channel: what a tab of each sees.

import assert from 'node:assert/strict'
import test from 'node:test'

import { defer } from '../interop/support/cleanup.mjs'
import { relayFigure, relayFigures, startRelay } from '../interop/support/relay.mjs'
import { createSwarm } from '../interop/support/testnet.mjs'
import { createCore } from '../interop/support/upstream.mjs'
import { openPage, servePackage, startBrowser } from './support/browser.mjs'

const TOPIC = Array.from({ length: 32 }, (_, byte) => byte)

test('two browsers meet by topic, move to a data channel and back, and not a byte is missing', async (t) => {
  const relay = await startRelay(t, { testnet: true })
  const { url } = await servePackage(t)
  const [first, second] = await Promise.all([openTab(t, url), openTab(t, url)])
  const key = await first.evaluate(serve, { relay: relay.url, topic: TOPIC })
  await second.evaluate(fetchFrom, { relay: relay.url, topic: TOPIC, key })
  await Promise.all([first, second].map((page) => page.waitForFunction(() => globalThis.paths.at(-1)?.[0] === 'direct')))

  // On the data channel: nothing of it goes through the relay.
  const before = await relayed(relay)
  assert.equal(await second.evaluate(readBlocks, [0, 100]), 100)
  assert.ok(await relayed(relay) - before < 64 * 1024, 'the blocks went through the relay')

  // In the middle of a download one end loses the data channel.
  const rest = second.evaluate(readBlocks, [100, 600])
  await second.waitForFunction(() => globalThis.fetched > 150)
  await first.evaluate(() => { for (const peer of globalThis.peers.splice(0)) peer.close() })
  assert.equal(await rest, 500)
  const [ours, theirs] = await Promise.all([first, second].map((page) => page.evaluate(() => globalThis.paths)))
  assert.ok(ours.some(([path, reason]) => path === 'relay' && ['CHANNEL_CLOSED', 'REMOTE'].includes(reason)), JSON.stringify(ours))
  assert.ok(theirs.some(([path, reason]) => path === 'relay' && ['CHANNEL_CLOSED', 'REMOTE', 'ICE_DISCONNECTED'].includes(reason)), JSON.stringify(theirs))
  assert.deepEqual(await second.evaluate(() => [globalThis.met, globalThis.lost]), [1, 0])

  // And another one is made.
  await second.waitForFunction(() => globalThis.paths.at(-1)[0] === 'direct')
  const later = await relayed(relay)
  assert.equal(await second.evaluate(readBlocks, [600, 700]), 100)
  assert.ok(await relayed(relay) - later < 64 * 1024, 'the blocks went through the relay')
})

test('where no data channel comes about the stream stays on the relay, and says why', async (t) => {
  const relay = await startRelay(t, { testnet: true })
  const { url } = await servePackage(t)
  const [first, second] = await Promise.all([openTab(t, url), openTab(t, url)])
  // Only by a TURN server, of which there is none.
  const webrtc = { iceTransportPolicy: 'relay' }
  const key = await first.evaluate(serve, { relay: relay.url, topic: TOPIC, webrtc })
  await second.evaluate(fetchFrom, { relay: relay.url, topic: TOPIC, key, webrtc })

  assert.equal(await second.evaluate(readBlocks, [0, 50]), 50)
  await second.waitForFunction(() => /^ICE_(FAILED|TIMEOUT)$/.test(globalThis.paths.at(-1)?.[1]))
  assert.equal(await second.evaluate(readBlocks, [50, 100]), 50)
  assert.deepEqual(await second.evaluate(() => [globalThis.met, globalThis.lost]), [1, 0])
})

test('an upstream peer leaves the channel alone, and a program may switch it off', async (t) => {
  const relay = await startRelay(t, { testnet: true })
  const { url } = await servePackage(t)
  const page = await openTab(t, url)
  const native = createSwarm(t, { bootstrap: relay.bootstrap })
  defer(t, () => native.clear())
  const core = await createCore(t)
  await core.append(Array.from({ length: 100 }, (_, index) => Buffer.alloc(1000, index)))
  native.on('connection', (connection) => {
    connection.on('error', () => {})
    core.replicate(connection)
  })
  await native.join(Buffer.from(TOPIC), { client: false }).flushed()
  const key = Array.from(core.key)

  await page.evaluate(fetchFrom, { relay: relay.url, topic: TOPIC, key })
  assert.equal(await page.evaluate(readBlocks, [0, 100]), 100)
  await page.waitForFunction(() => globalThis.paths.at(-1)?.[1] === 'REFUSED')

  const off = await openTab(t, url)
  await off.evaluate(fetchFrom, { relay: relay.url, topic: TOPIC, key, webrtc: false })
  assert.equal(await off.evaluate(readBlocks, [0, 100]), 100)
  assert.deepEqual(await off.evaluate(() => globalThis.path), ['relay', 'OFF'])
})

test('the relay tells pages their address by STUN', async (t) => {
  const relay = await startRelay(t, { testnet: true })
  const { url } = await servePackage(t)
  const page = await openTab(t, url)
  const { host, port } = await page.evaluate(async (relay) => {
    const { DHT } = await import('/hypertab/browser/index.js')
    const node = new DHT({ relay })
    const server = await node.createServer().listen()
    return server.address()
  }, relay.url)

  const types = await page.evaluate(async (urls) => {
    const peer = new RTCPeerConnection({ iceServers: [{ urls }] })
    peer.createDataChannel('x')
    const types = []
    const done = new Promise((resolve) => {
      peer.onicecandidate = ({ candidate }) => {
        if (candidate) types.push(candidate.type)
        else resolve()
      }
    })
    await peer.setLocalDescription()
    await done
    return types
  }, `stun:${host}:${port}`)
  assert.ok(types.includes('host'), types.join())
  assert.ok(await relayFigure(relay, 'stun_total{outcome="answered"}') > 0)
})

async function openTab (t, url) {
  const { page } = await openPage(await startBrowser(t), url)
  await page.evaluate(() => {
    globalThis.paths = []
    globalThis.peers = []
    globalThis.met = 0
    globalThis.lost = 0
    globalThis.fetched = 0
    const Native = RTCPeerConnection
    globalThis.RTCPeerConnection = class extends Native {
      constructor (...args) {
        super(...args)
        globalThis.peers.push(this)
      }
    }
    globalThis.watch = (connection) => {
      globalThis.met++
      globalThis.path = [connection.path, connection.pathReason]
      connection.on('path', (...change) => {
        globalThis.paths.push(change)
        globalThis.path = [connection.path, connection.pathReason]
      })
      connection.on('error', () => {})
      connection.on('close', () => { globalThis.lost++ })
    }
  })
  return page
}

async function serve ({ relay, topic, webrtc }) {
  const { Hypercore, Hyperswarm, memory } = await import('/hypertab/browser/index.js')
  const core = new Hypercore(memory())
  await core.append(Array.from({ length: 700 }, (_, index) => new Uint8Array(16 * 1024).fill(index)))
  const swarm = new Hyperswarm({ relay, webrtc })
  swarm.on('connection', (connection) => {
    globalThis.watch(connection)
    core.replicate(connection)
  })
  await swarm.join(Uint8Array.from(topic), { client: false }).flushed()
  return Array.from(core.key)
}

async function fetchFrom ({ relay, topic, key, webrtc }) {
  const { Hypercore, Hyperswarm, memory } = await import('/hypertab/browser/index.js')
  globalThis.core = new Hypercore(memory(), Uint8Array.from(key))
  globalThis.core.on('download', () => { globalThis.fetched++ })
  const swarm = new Hyperswarm({ relay, webrtc })
  swarm.on('connection', (connection) => {
    globalThis.watch(connection)
    globalThis.core.replicate(connection)
  })
  swarm.join(Uint8Array.from(topic), { server: false })
  await globalThis.core.update({ wait: true })
}

async function readBlocks ([start, end]) {
  let right = 0
  await Promise.all(Array.from({ length: end - start }, async (_, at) => {
    const block = await globalThis.core.get(start + at)
    if (block.every((byte) => byte === ((start + at) & 0xff))) right++
  }))
  return right
}

/** Bytes that went through the relay. */
async function relayed (relay) {
  const figures = Object.entries(await relayFigures(relay))
  return figures.filter(([name]) => name.startsWith('bytes_total')).reduce((total, [, value]) => total + value, 0)
}
