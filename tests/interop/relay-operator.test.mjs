// What an operator sets, and what the relay withstands, seen by upstream's client and by raw sockets.

import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'

import RelayedDHT from '@hyperswarm/dht-relay'
import RelayStream from '@hyperswarm/dht-relay/ws'
import DHT from 'hyperdht'
import WebSocket from 'ws'

import { DHT as OurDHT } from 'hypertab'

import { makeCertificate } from './support/certificates.mjs'
import { defer } from './support/cleanup.mjs'
import { send } from './support/raw-client.mjs'
import { relayFigure, relayFigures, relayProgram, startRelay } from './support/relay.mjs'
import { parseBootstrap } from './support/testnet.mjs'

const SECRET = 'a secret that nobody guesses'
const OPEN = '00010115406879706572737761726d2f6468742d72656c617900'
const HANDSHAKE = '010000' + '11'.repeat(32)

test('a token lets in, by query, header or subprotocol, for what it says', async (t) => {
  const relay = await startRelay(t, { testnet: true, args: ['--access-token-secret', SECRET] })
  const make = async (...args) => execFileSync(await relayProgram(), ['token', ...args], {
    env: { ...process.env, HYPERTAB_RELAY_ACCESS_TOKEN_SECRET: SECRET }
  }).toString().trim()
  const token = await make('--for', '1h')

  assert.match(await refusal(relay.url), /401/)
  assert.match(await refusal(`${relay.url}?token=${token}x`), /401/)
  for (const open of [
    () => new WebSocket(`${relay.url}?token=${token}`),
    () => new WebSocket(relay.url, { headers: { Authorization: `Bearer ${token}` } }),
    () => new WebSocket(relay.url, ['hypertab-relay', `token.${token}`])
  ]) await works(t, open())

  const lookups = await make('--may', 'lookup')
  const dht = await works(t, new WebSocket(`${relay.url}?token=${lookups}`))
  const [error] = await once(dht.connect(DHT.keyPair().publicKey), 'error')
  assert.match(error.message, /RELAY_NOT_PERMITTED/)
})

test('our client brings its token, in the address or as an option, and does not show it', async (t) => {
  const relay = await startRelay(t, { testnet: true, args: ['--access-token-secret', SECRET] })
  const token = execFileSync(await relayProgram(), ['token', '--access-token-secret', SECRET]).toString().trim()
  for (const options of [{ relay: `${relay.url}?token=${token}` }, { relay: relay.url, relayToken: token }]) {
    const dht = new OurDHT(options)
    defer(t, () => dht.destroy())
    const [url] = await once(dht, 'relay-open')
    assert.ok(!url.includes(token))
  }
})

test('a page of a foreign origin hears why it is closed', async (t) => {
  const relay = await startRelay(t, { testnet: true, args: ['--access-origins', 'https://good.example'] })
  await works(t, new WebSocket(relay.url, { origin: 'https://good.example' }))

  const bad = new WebSocket(relay.url, { origin: 'https://bad.example' })
  const [code, reason] = await once(bad, 'close')
  assert.equal(code, 1008)
  assert.match(reason.toString(), /origin/)
})

test('keys are served by list, and a callback decides', async (t) => {
  const [good, bad] = [DHT.keyPair(), DHT.keyPair()]
  const asked = []
  const server = createServer(async (request, response) => {
    let body = ''
    for await (const chunk of request) body += chunk
    asked.push(JSON.parse(body))
    response.writeHead(asked.at(-1).key === good.publicKey.toString('hex') ? 200 : 403).end()
  }).listen(0, '127.0.0.1')
  defer(t, () => server.close())
  await once(server, 'listening')
  for (const args of [
    ['--access-allow-keys', good.publicKey.toString('hex')],
    ['--access-deny-keys', bad.publicKey.toString('hex')],
    ['--access-callback', `http://127.0.0.1:${server.address().port}/admit`]
  ]) {
    const relay = await startRelay(t, { testnet: true, args })
    await works(t, new WebSocket(relay.url), good)
    const socket = new WebSocket(relay.url)
    client(t, socket, bad)
    const [code, reason] = await once(socket, 'close')
    assert.equal(code, 1008)
    assert.match(reason.toString(), /does not serve this key/)
  }
  assert.equal(asked.length, 2)
  assert.equal(asked[0].address, '127.0.0.1')
})

test('a believed proxy names the client, whose links are counted', async (t) => {
  const args = ['--access-trusted-proxies', '127.0.0.0/8', '--per-address-links', '1']
  const relay = await startRelay(t, { testnet: true, args })
  const from = (address) => new WebSocket(relay.url, { headers: { 'X-Forwarded-For': `6.6.6.6, ${address}` } })

  await works(t, from('2001:db8::1'))
  await works(t, from('2001:db8:0:1::1'))
  const [error] = await once(from('2001:db8::2'), 'error')
  assert.match(error.message, /429/)
})

test('bytes per second hold a client back, and a day ends', async (t) => {
  const args = ['--per-link-bytes-per-second', '100KB', '--per-address-bytes-per-day', '400KB']
  const relay = await startRelay(t, { testnet: true, args })
  const socket = new WebSocket(relay.url)
  await once(socket, 'open')
  send(socket, OPEN, HANDSHAKE)
  const started = Date.now()
  for (let round = 0; round < 10; round++) socket.send(Buffer.concat([Buffer.from('0110', 'hex'), Buffer.alloc(5), Buffer.alloc(50_000)]))
  const [code, reason] = await once(socket, 'close')

  assert.equal(code, 1013, reason.toString())
  assert.ok(Date.now() - started > 1500, 'it was not held back')
  assert.match(await refusal(relay.url), /429/)
})

test('connections that say nothing or little by little do not keep others out', async (t) => {
  const relay = await startRelay(t, { testnet: true, args: ['--per-link-request-timeout', '2s', '--total-requests', '400'] })
  const { port } = new URL(relay.url)
  const before = await memory(relay)
  const sockets = Array.from({ length: 300 }, () => connect(port, '127.0.0.1').on('error', () => {}))
  defer(t, () => { for (const socket of sockets) socket.destroy() })
  for (const socket of sockets) socket.write('GET / HTTP/1.1\r\nX-')
  const drip = setInterval(() => { for (const socket of sockets) if (!socket.destroyed) socket.write('a') }, 100)
  defer(t, () => clearInterval(drip))

  await sleep(2500)
  await works(t, new WebSocket(relay.url))
  assert.equal(await relayFigure(relay, 'refusals_total{reason="request_timeout"}'), 100)
  assert.ok(await memory(relay) < before + 16e6)
})

test('floods of every message cost the flooder its link, and nobody else anything', { timeout: 120_000 }, async (t) => {
  const relay = await startRelay(t, { testnet: true, args: ['--ban-after', 'none'] })
  const honest = await works(t, new WebSocket(relay.url))
  const flood = async (type) => {
    const socket = new WebSocket(relay.url).on('error', () => {})
    await once(socket, 'open')
    send(socket, OPEN, HANDSHAKE)
    for (let id = 1; id < 3000 && socket.readyState === WebSocket.OPEN; id++) {
      const message = randomBytes(120)
      message[0] = 1
      message[1] = type
      message[2] = 0
      socket.send(message)
    }
    const gone = once(socket, 'close')
    socket.close()
    await gone
  }
  for (let type = 0; type < 30; type++) await flood(type)
  const before = await memory(relay)
  for (let type = 0; type < 30; type++) await flood(type)

  for await (const _ of honest.lookup(randomBytes(32))) ;
  await sleep(500)
  assert.equal(await relayFigure(relay, 'links'), 1)
  assert.ok(await memory(relay) < before + 24e6, 'memory grows with every flood')
})

test('a certificate is taken from files, and again when they change', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'relay-'))
  defer(t, () => rmSync(folder, { recursive: true }))
  const [certificate, key] = [join(folder, 'cert.pem'), join(folder, 'key.pem')]
  const make = () => execFileSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1',
    '-nodes', '-days', '1', '-subj', '/CN=localhost', '-keyout', key, '-out', certificate], { stdio: 'ignore' })
  make()
  const relay = await startRelay(t, { testnet: true, args: ['--tls-certificate', certificate, '--tls-key', key] })
  const open = () => new WebSocket(relay.url, { rejectUnauthorized: false })
  const fingerprint = async () => {
    const socket = open()
    defer(t, () => socket.terminate())
    await once(socket, 'open')
    return socket._socket.getPeerCertificate().fingerprint256
  }
  await works(t, open())
  const before = await fingerprint()
  await sleep(20)
  make()
  process.kill(relay.process.pid, 'SIGHUP')
  for (let tries = 0; await fingerprint() === before; tries++) {
    assert.ok(tries < 50, 'the old certificate is still in force')
    await sleep(50)
  }
})

test('a certificate is renewed without a signal, files that do not fit change nothing, and links stay', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'relay-'))
  defer(t, () => rmSync(folder, { recursive: true }))
  const [certificate, key] = [join(folder, 'fullchain.pem'), join(folder, 'privkey.pem')]
  const make = () => makeCertificate(folder, ['DNS:localhost'])
  make()
  const relay = await startRelay(t, { testnet: true, args: ['--tls-certificate', certificate, '--tls-key', key, '--tls-reload', '1s'] })
  const open = () => new WebSocket(relay.url, { rejectUnauthorized: false })
  const fingerprint = async () => {
    const socket = open()
    await once(socket, 'open')
    defer(t, () => socket.terminate())
    return socket._socket.getPeerCertificate().fingerprint256
  }
  const dht = await works(t, open())
  const before = await fingerprint()

  // The certificate of a renewal comes before its key, or half of it.
  const old = readFileSync(key)
  make()
  const renewed = readFileSync(key)
  for (const [path, bytes] of [[key, old], [key, renewed.subarray(0, 60)], [key, '']]) {
    writeFileSync(path, bytes)
    await sleep(1200)
    assert.equal(await fingerprint(), before)
  }
  writeFileSync(key, renewed)
  for (let tries = 0; await fingerprint() === before; tries++) {
    assert.ok(tries < 100, 'the old certificate is still in force')
    await sleep(50)
  }
  for await (const _ of dht.lookup(randomBytes(32))) ;
  await works(t, open())
})

test('check-config looks into the files of the certificate, and says which of them is wrong', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'relay-'))
  defer(t, () => rmSync(folder, { recursive: true }))
  const path = (name) => join(folder, name)
  for (const name of ['one', 'other']) {
    execFileSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '1', '-subj', '/CN=localhost',
      '-keyout', path(`${name}.key`), '-out', path(`${name}.crt`)], { stdio: 'ignore' })
  }
  const program = await relayProgram()
  const check = (certificate, key) => {
    const { status, stdout, stderr } = spawnSync(program, ['check-config', '--tls-certificate', path(certificate), '--tls-key', path(key)], { encoding: 'utf8' })
    assert.match(stdout, /^\[tls\]$/m)
    assert.equal(status, stderr === '' ? 0 : 2)
    return stderr.trim().replaceAll(`${folder}/`, '')
  }
  assert.equal(check('one.crt', 'one.key'), '')
  assert.equal(check('one.crt', 'other.key'), 'other.key is not the key of the certificate in one.crt.')
  assert.equal(check('one.key', 'one.key'), 'one.key holds no certificate (PEM).')
  assert.equal(check('one.crt', 'one.crt'), 'one.crt holds no key (PEM).')
  assert.match(check('none.crt', 'one.key'), /^none\.crt cannot be read: No such file/)
})

test('a relay that is killed has its bans, its port and its key as blind relay again', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'relay-'))
  defer(t, () => rmSync(folder, { recursive: true }))
  const options = { testnet: true, args: ['--blind-relay', '--ban-after', '2', '--state', join(folder, 'state.redb')] }
  const relay = await startRelay(t, options)
  const { key } = await relay.process.next('blind-relay')
  for (let round = 0; round < 2; round++) {
    const socket = new WebSocket(relay.url)
    await once(socket, 'open')
    send(socket, '00ff')
    await once(socket, 'close')
  }
  assert.match(await refusal(relay.url), /403/)
  const ports = udpPorts(relay.process.pid)

  process.kill(relay.process.pid, 'SIGKILL')
  await relay.process.exited
  const next = await startRelay(t, options)
  assert.equal((await next.process.next('blind-relay')).key, key)
  assert.match(await refusal(next.url), /403/)
  // The nodes of the isolated network have new ports every time; the relay's own is the one that comes back.
  const kept = udpPorts(next.process.pid).filter((port) => ports.includes(port))
  assert.equal(kept.length, 1, `UDP ports ${ports.join(' ')} before, ${udpPorts(next.process.pid).join(' ')} after`)
})

test('native peers that meet at the blind relay have no more of it than their keys may have', async (t) => {
  const relay = await startRelay(t, { testnet: true, args: ['--blind-relay', '--per-key-bytes-per-day', '512KiB'] })
  const stream = await meet(t, relay)
  let echoed = 0
  stream.on('data', ({ byteLength }) => { echoed += byteLength })

  stream.write(Buffer.alloc(50_000))
  await until(() => echoed === 50_000)
  assert.deepEqual([await relayFigure(relay, 'blind_relay_sessions'), await relayFigure(relay, 'blind_relay_pairs')], [2, 1])
  assert.ok(await relayFigure(relay, 'blind_relay_bytes_total') > 100_000)

  stream.write(Buffer.alloc(2_000_000))
  await until(async () => (await relayFigures(relay))['turned_down_total{resource="blind_relay_bytes_per_day",scope="key"}'] > 0)
  await until(async () => await relayFigure(relay, 'blind_relay_pairs') === 0)
  const bytes = await relayFigure(relay, 'blind_relay_bytes_total')
  // The last packet may go beyond.
  assert.ok(bytes > 500_000 && bytes < 512 * 1024 + 1500, `${bytes} bytes were forwarded`)
  assert.ok(echoed < 300_000, `${echoed} bytes came back`)
})

test('native peers that send too fast through the blind relay lose packets, are slowed down, and lose no byte', async (t) => {
  const rate = 256 * 1024
  const relay = await startRelay(t, { testnet: true, args: ['--blind-relay', '--per-key-bytes-per-second', `${rate}`, '--per-key-bytes-burst', '64KiB'] })
  const stream = await meet(t, relay)
  const sent = randomBytes(300_000)
  const parts = []
  let echoed = 0
  stream.on('data', (data) => {
    parts.push(data)
    echoed += data.byteLength
  })
  const start = performance.now()
  stream.write(sent)
  await until(() => {
    assert.ok(!stream.destroyed, `the stream is over after ${echoed} bytes`)
    return echoed === sent.byteLength
  })
  const seconds = (performance.now() - start) / 1000
  assert.ok(Buffer.concat(parts).equals(sent))
  const figures = await relayFigures(relay)
  assert.ok(figures['turned_down_total{resource="blind_relay_bytes_per_second",scope="key"}'] > 0)
  assert.deepEqual([figures.blind_relay_sessions, figures.blind_relay_pairs], [2, 1], 'nobody was sent away')
  // Of either key as many went each way as came back, and what was dropped does not count.
  const most = 2 * (rate * seconds + 64 * 1024) + 4 * 1500
  assert.ok(figures.blind_relay_bytes_total <= most, `${figures.blind_relay_bytes_total} bytes in ${seconds} s`)
})

test('no key and no address has more than its share of the places at the blind relay', async (t) => {
  const relay = await startRelay(t, { testnet: true, args: ['--blind-relay', '--blind-relay-sessions', '40'] })
  const key = Buffer.from((await relay.process.next('blind-relay')).key, 'hex')
  const [one, two, three] = ['127.0.0.2', '127.0.0.3', '127.0.0.4'].map((host) => native(t, relay, { host, firewalled: false }))
  const figures = async () => [await relayFigure(relay, 'blind_relay_sessions'), await relayFigure(relay, 'blind_relay_refused_total')]
  const open = async (dht, keyPairs) => {
    const streams = keyPairs.map((keyPair) => dht.connect(key, { keyPair }))
    // Who is turned away was connected for a moment.
    for (const stream of streams) stream.on('error', () => {})
    await Promise.all(streams.map((stream) => stream.opened))
    return streams
  }
  const pairs = (count) => Array.from({ length: count }, () => DHT.keyPair())

  const keyPair = DHT.keyPair()
  const mine = await open(one, new Array(18).fill(keyPair))
  await until(async () => (await figures()).join() === '16,2')
  // The key has no more at another address, and the address none for other keys; others have theirs.
  await open(two, [keyPair])
  await until(async () => (await figures()).join() === '16,3')
  await open(one, pairs(1))
  await until(async () => (await figures()).join() === '16,4')
  await open(two, pairs(17))
  await until(async () => (await figures()).join() === '32,5')
  await open(three, pairs(9))
  await until(async () => (await figures()).join() === '40,6')
  // A place that is free is somebody else's.
  for (const stream of mine) stream.destroy()
  await until(async () => (await figures())[0] === 24)
  await open(three, pairs(1))
  await until(async () => (await figures()).join() === '25,6')
})

const until = async (isSo) => { while (!await isSo()) await sleep(50) }

function native (t, relay, options) {
  const dht = new DHT({ bootstrap: parseBootstrap(relay.bootstrap), host: '127.0.0.1', ...options })
  defer(t, () => dht.destroy({ force: true }))
  return dht
}

/** Two native peers, one of which echoes, with a stream that nobody but the blind relay forwards. */
async function meet (t, relay) {
  const relayThrough = Buffer.from((await relay.process.next('blind-relay')).key, 'hex')
  const node = () => native(t, relay, { firewalled: true, quickFirewall: false })
  // Nobody says where it is, and the server has no socket to be punched: one that it gives up answers pings before, and a client
  // that hears one moves its stream there for good, away from the relay.
  const server = node().createServer({ relayThrough, shareLocalAddress: false, holepunch: false }, (stream) => {
    stream.on('error', () => {})
    stream.pipe(stream)
  })
  await server.listen()
  const stream = node().connect(server.publicKey, { localConnection: false, fastOpen: false, holepunch: () => false })
  stream.on('error', () => {})
  return stream
}

/** Returns the UDP ports that a process has bound. */
function udpPorts (pid) {
  const inodes = new Set()
  for (const fd of readdirSync(`/proc/${pid}/fd`)) {
    try {
      inodes.add(/^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/${pid}/fd/${fd}`))?.[1])
    } catch (error) {
      // One that was closed since it was listed.
      if (error.code !== 'ENOENT') throw error
    }
  }
  const lines = readFileSync(`/proc/${pid}/net/udp`, 'latin1').trim().split('\n').slice(1).map((line) => line.trim().split(/\s+/))
  return lines.filter((fields) => inodes.has(fields[9])).map((fields) => parseInt(fields[1].split(':')[1], 16))
}

function client (t, socket, keyPair = DHT.keyPair()) {
  socket.on('error', () => {})
  const dht = new RelayedDHT(new RelayStream(true, socket), { custodial: false, keyPair })
  defer(t, () => dht.destroy({ force: true }))
  return dht
}

/** Uses the DHT through a socket, which shows that its client is served. */
async function works (t, socket, keyPair) {
  const dht = client(t, socket, keyPair)
  await dht.ready()
  for await (const _ of dht.lookup(randomBytes(32))) ;
  assert.equal(socket.readyState, WebSocket.OPEN)
  return dht
}

async function refusal (url) {
  const [error] = await once(new WebSocket(url), 'error')
  return error.message
}

async function memory (relay) {
  return await relayFigure(relay, 'resident_memory_bytes')
}
