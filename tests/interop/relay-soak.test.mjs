// Tabs that come, do something and go, for as long as one likes: neither memory nor descriptors of the relay grow.
//
//   npm run soak -- relay --minutes 30

import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'

import RelayedDHT from '@hyperswarm/dht-relay'
import RelayStream from '@hyperswarm/dht-relay/ws'
import DHT from 'hyperdht'
import WebSocket from 'ws'

import { defer } from './support/cleanup.mjs'
import { relayFigure, startRelay } from './support/relay.mjs'
import { parseBootstrap } from './support/testnet.mjs'

const MIB = 1024 * 1024

/** A run within all tests takes seconds, with fewer tabs. */
const minutes = Number(process.env.HYPERTAB_MINUTES ?? 0)
const duration = minutes > 0 ? minutes * 60_000 : 15_000
const tabs = minutes > 0 ? 500 : 60

/** What the relay may have more at the end than after the first third: caches that fill, pages that the allocator keeps. */
const SLACK = 12 * MIB

/** How long a tab waits for what may never come, in milliseconds. */
const PATIENCE = 20_000

const limits = ['address', 'key', 'total'].flatMap((scope) => ['links', 'links-per-second', 'links-burst', 'streams', 'handshakes', 'listens', 'topics', 'lookups-per-minute']
  .flatMap((name) => [`--${scope === 'total' ? '' : 'per-'}${scope}-${name}`, '1000000'])).concat('--total-requests', '10000', '--ban-after', 'none')

test(`${tabs} tabs come and go for ${duration / 1000} s, and leave nothing behind`, { timeout: duration + 180_000 }, async (t) => {
  // Upstream's client throws out of anybody's reach when its relay says what a stream that it gave up would have heard.
  const ignore = () => {}
  process.on('uncaughtException', ignore)
  defer(t, () => process.off('uncaughtException', ignore))
  // The network is another process: what it stores for tabs is no memory of the relay's.
  const { bootstrap } = await startRelay(t, { testnet: true })
  const relay = await startRelay(t, { bootstrap, args: [...limits, '--allow-private'] })
  const native = new DHT({ bootstrap: parseBootstrap(relay.bootstrap), host: '127.0.0.1', firewalled: false })
  // Upstream's node may wait for ever for streams that broke off.
  defer(t, () => inTime(native.destroy({ force: true })))
  await native.fullyBootstrapped()
  const server = native.createServer(reflect)
  defer(t, () => inTime(server.close()))
  await server.listen()
  const descriptors = openDescriptors(relay)
  const start = Date.now()
  const samples = []
  const done = {}

  const sampling = (async () => {
    while (Date.now() - start < duration) {
      await sleep(duration / 30)
      samples.push(memory(relay))
    }
  })()
  await Promise.all(Array.from({ length: tabs }, async () => {
    while (Date.now() - start < duration) {
      const name = Object.keys(lives)[Math.floor(Math.random() * Object.keys(lives).length)]
      const tab = connect(relay)
      const isDone = await inTime(tab.dht.ready().then(() => lives[name](tab, native, server)))
      done[name] = (done[name] ?? 0) + (isDone ? 1 : 0)
      if (Math.random() < 0.5) await inTime(tab.dht.destroy({ force: true }))
      tab.socket.terminate()
      tab.dht.destroy({ force: true }).catch(() => {})
    }
  }))
  await sampling

  await settled(relay)
  const accounts = await relayFigure(relay, 'accounts')
  const middle = (from, to) => samples.slice(Math.floor(samples.length * from), Math.ceil(samples.length * to)).sort((a, b) => a - b).at(Math.floor(samples.length * (to - from) / 2))
  const [early, late] = [middle(1 / 3, 1 / 2), middle(5 / 6, 1)]
  t.diagnostic(`${JSON.stringify(done)}; ${samples.map((bytes) => (bytes / MIB).toFixed(1)).join(' ')} MiB; ${accounts} accounts; ${openDescriptors(relay)} descriptors, ${descriptors} before`)
  for (const name of Object.keys(lives)) assert.ok(done[name] > 0, `no tab has ever done this: ${name}`)
  assert.ok(accounts <= 8 * tabs + 2048, `${accounts} keys and addresses are remembered`)
  assert.ok(late < early + SLACK, `memory grows from ${early} to ${late} bytes`)
  assert.ok(openDescriptors(relay) <= descriptors + 2, `${openDescriptors(relay)} descriptors, ${descriptors} before`)
})

/** What tabs do. */
const lives = {
  async lookup ({ dht }) {
    for await (const _ of dht.lookup(randomBytes(32))) ;
  },
  async announce ({ dht }) {
    const [topic, pair] = [randomBytes(32), DHT.keyPair()]
    for await (const _ of dht.announce(topic, pair)) ;
    await dht.unannounce(topic, pair)
  },
  async dial ({ dht }, native, server) {
    await echo(dht.connect(server.publicKey))
  },
  async abandon ({ dht }, native, server) {
    dht.connect(server.publicKey).on('error', () => {})
    await sleep(20)
  },
  async listen ({ dht }, native) {
    const pair = DHT.keyPair()
    await dht.createServer(reflect).listen(pair)
    await echo(native.connect(pair.publicKey))
  },
  async idle () {
    await sleep(200)
  }
}

function connect ({ url }) {
  const socket = new WebSocket(url)
  socket.on('error', () => {})
  const stream = new RelayStream(true, socket)
  stream.on('error', () => {})
  return { dht: new RelayedDHT(stream, { custodial: false }), socket }
}

/** Returns whether something happens before patience ends. No timer stays behind that would keep a tab in memory. */
async function inTime (promise) {
  const over = new AbortController()
  const late = sleep(PATIENCE, false, { signal: over.signal }).catch(() => false)
  const isDone = await Promise.race([promise.then(() => true, () => false), late])
  over.abort()
  return isDone
}

async function echo (stream) {
  const bytes = randomBytes(20_000)
  let length = 0
  await new Promise((resolve, reject) => {
    stream.on('error', reject)
    stream.on('close', () => { reject(new Error('closed')) })
    stream.on('data', (data) => { if ((length += data.byteLength) >= bytes.byteLength) resolve() })
    stream.write(bytes)
  })
  stream.destroy()
}

function reflect (stream) {
  stream.on('error', () => {})
  stream.pipe(stream)
}

async function settled (relay) {
  const url = `${relay.url.replace('ws:', 'http:')}/metrics`
  while (!/^hypertab_relay_links 0$/m.test(await (await fetch(url)).text())) await sleep(50)
  await sleep(500)
}

function memory ({ process: { pid } }) {
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))[1]) * 1024
}

function openDescriptors ({ process: { pid } }) {
  return readdirSync(`/proc/${pid}/fd`).length
}

