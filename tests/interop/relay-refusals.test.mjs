// Everything that the relay refuses: each time with a code and a sentence, and counted under a name of its own.

import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'

import RelayedDHT from '@hyperswarm/dht-relay'
import RelayStream from '@hyperswarm/dht-relay/ws'
import DHT from 'hyperdht'
import { DHT as OurDHT } from 'hypertab'
import WebSocket from 'ws'

import { makeCertificate } from './support/certificates.mjs'
import { defer } from './support/cleanup.mjs'
import { startEcho } from './support/dht-node.mjs'
import { temporaryFolder } from './support/folder.mjs'
import { openSocket, send, u32 } from './support/raw-client.mjs'
import { finished, startClient, startNative } from './support/relayed.mjs'
import { relayFigures, relayProgram, startRelay } from './support/relay.mjs'

const SECRET = 'a secret that nobody guesses'
const OPEN = '00010115406879706572737761726d2f6468742d72656c617900'
const HANDSHAKE = '010000' + '11'.repeat(32)
const LISTEN = '010a0001000000' + '22'.repeat(32)

/** Reasons that were seen here, to find those that were not. */
const seen = new Set()

/** Why a link is closed: settings, what a client does, the status, and the sentence. */
const closed = {
  custodial: [[], (socket) => send(socket, OPEN, '010001' + '11'.repeat(96)), 1008, /secret keys/],
  no_handshake: [['--per-link-handshake-timeout', '500ms'], () => {}, 1008, /no handshake/],
  malformed: [[], (socket) => send(socket, '00ff'), 1002, /malformed/],
  text: [[], (socket) => socket.send('hello'), 1003, /binary/],
  too_big: [['--per-link-message-size', '64KiB'], (socket) => socket.send(Buffer.alloc(65537)), 1009, /65536/],
  channel_closed: [[], (socket) => send(socket, OPEN, HANDSHAKE, '000301'), 1001, /closed/],
  number_in_use: [[], (socket) => send(socket, OPEN, HANDSHAKE, LISTEN, LISTEN), 1002, /in use/],
  too_many_requests: [['--per-link-requests-refused', '5', '--per-link-requests-burst', '1'], (socket) => {
    send(socket, OPEN, HANDSHAKE)
    for (let id = 1; id < 50; id++) send(socket, '0113' + u32(id) + '33'.repeat(32))
  }, 1008, /too many requests/],
  not_reading: [['--per-link-control-buffer', '64KiB'], (socket) => {
    send(socket, OPEN, HANDSHAKE)
    socket._socket.pause()
    const pings = Buffer.from('000001' + '0101'.repeat(400_000), 'hex')
    for (let round = 0; round < 40; round++) socket.send(pings)
    setTimeout(() => socket._socket.resume(), 1000)
  }, 1008, /not read/],
  silent: [['--per-link-idle-timeout', '500ms'], (socket) => send(socket, OPEN, HANDSHAKE), 1001, /nothing was heard/],
  key_denied: [['--access-deny-keys', '11'.repeat(32)], (socket) => send(socket, OPEN, HANDSHAKE), 1008, /does not serve this key/],
  day_spent: [['--per-link-bytes-per-day', '1KB'], (socket) => {
    send(socket, OPEN, HANDSHAKE)
    socket.ping(Buffer.alloc(120))
    for (let round = 0; round < 10; round++) send(socket, '0110' + '00'.repeat(200))
  }, 1013, /traffic of today/],
  expired: [['--per-link-max-life', '500ms'], () => {}, 1008, /time of this connection/]
}

for (const [reason, [args, act, code, sentence]] of Object.entries(closed)) {
  test(`${reason}: a link is closed with ${code}`, async (t) => {
    const relay = await startRelay(t, { testnet: true, args })
    const socket = await openSocket(t, relay.url)
    const ended = once(socket, 'close')
    act(socket)

    await told(ended, code, sentence)
    await counted(relay, reason)
  })
}

for (const [reason, args, sentence] of [
  ['too_many_links', ['--per-key-links', '1'], /too many connections/],
  ['too_fast', ['--per-key-links-burst', '1', '--per-key-links-per-second', '1'], /too often/]
]) {
  test(`${reason}: a second link of a key is closed with 1013`, async (t) => {
    const relay = await startRelay(t, { testnet: true, args })
    const [first, second] = [await openSocket(t, relay.url), await openSocket(t, relay.url)]
    send(first, OPEN, HANDSHAKE)
    await sleep(50)
    const ended = once(second, 'close')
    send(second, OPEN, HANDSHAKE)

    await told(ended, 1013, sentence)
    await counted(relay, reason)
    assert.equal(first.readyState, WebSocket.OPEN)
  })
}

test('key_denied: whoever a callback does not answer about, or not in words that it knows, stays out', async (t) => {
  const answers = { silence: null, nonsense: 'no such thing\r\n\r\n', 'a failure': 'HTTP/1.1 500 Oh\r\n\r\n', 'half a yes': 'HTTP/1.1 2' }
  for (const [name, answer] of Object.entries(answers)) {
    const server = createServer((socket) => socket.on('error', () => {}).once('data', () => {
      if (answer !== null) socket.end(answer)
    }))
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const relay = await startRelay(t, {
      testnet: true,
      args: ['--access-callback', `http://127.0.0.1:${server.address().port}/`, '--access-callback-timeout', '300ms']
    })
    for (const isThere of [true, false]) {
      if (!isThere) server.close()
      const socket = await openSocket(t, relay.url)
      const ended = once(socket, 'close')
      send(socket, OPEN, HANDSHAKE)
      await told(ended, 1008, /does not serve this key/)
      assert.match(relay.process.stderr, /the callback does not decide/, name)
    }
    await counted(relay, 'key_denied')
  }
})

/** Why nobody is let in: settings, the status, the sentence, and what is tried, after a first one was let in or not. */
const kept = {
  address_denied: [['--access-deny-addresses', '127.0.0.0/8'], 403, /not served/],
  origin_denied: [['--access-origins', 'https://good.example'], 403, /origin/],
  token_missing: [['--access-token-secret', SECRET], 401, /takes a token/],
  token_invalid: [['--access-token-secret', SECRET], 401, /not made for this relay/, () => '?token=x.y.z'],
  token_expired: [['--access-token-secret', SECRET], 401, /expired/, async () => {
    const token = await makeToken('--for', '1s')
    await sleep(1100)
    return `?token=${token}`
  }],
  relay_full: [['--total-links', '1'], 503, /is full/, first],
  address_full: [['--per-address-links', '1'], 429, /too many connections/, first],
  relay_rate: [['--total-links-burst', '1', '--total-links-per-second', '1'], 503, /at this moment/, first],
  address_rate: [['--per-address-links-burst', '1', '--per-address-links-per-second', '1'], 429, /too often/, first],
  relay_day_spent: [['--total-bytes-per-day', '100B'], 429, /relay has used up/, spender],
  address_day_spent: [['--per-address-bytes-per-day', '100B'], 429, /address has used up/, spender],
  banned: [['--ban-after', '1'], 403, /banned/, async (t, relay) => {
    const socket = await openSocket(t, relay.url)
    const ended = once(socket, 'close')
    send(socket, '00ff')
    await ended
  }]
}

for (const [reason, [args, status, sentence, prepare]] of Object.entries(kept)) {
  test(`${reason}: a program hears it by the status ${status}, and a page by its WebSocket`, async (t) => {
    const relay = await startRelay(t, { testnet: true, args })
    const query = await prepare?.(t, relay) ?? ''

    // A program has no origin, so it is not kept out by it.
    if (reason !== 'origin_denied') {
      const program = new WebSocket(relay.url + query)
      program.on('error', () => {})
      const [, answer] = await once(program, 'unexpected-response')
      assert.equal(answer.statusCode, status)
      assert.match(String(await new Promise((resolve) => answer.once('data', resolve))), sentence)
      await counted(relay, reason)
    }
    const page = new WebSocket(relay.url + query, { origin: 'https://page.example' })
    await told(once(page, 'close'), status === 401 || status === 403 ? 1008 : 1013, sentence)
    await counted(relay, reason)
  })
}

test('who is here hears which list keeps it out from now on', async (t) => {
  const file = join(temporaryFolder(t), 'relay.toml')
  const write = (text) => writeFileSync(file, `[access]\ntoken-secret = "${SECRET}"\n${text}`)
  write('')
  const relay = await startRelay(t, { testnet: true, args: ['--config', file] })
  const token = await makeToken()
  const url = `${relay.url}?token=${token}`
  for (const [text, reason, sentence] of [
    [`revoked-tokens = ["${token.split('.').at(-2)}"]`, 'token_revoked', /this token was revoked/],
    ['deny-addresses = ["127.0.0.1/32"]', 'address_denied', /this address is not served/]
  ]) {
    const socket = new WebSocket(url)
    socket.on('error', () => {})
    await once(socket, 'open')
    const ended = once(socket, 'close')
    write(text)
    process.kill(relay.process.pid, 'SIGHUP')
    await told(ended, 1008, sentence)
    await counted(relay, reason)
    assert.equal(await isLetIn(url), false)
    write('')
    process.kill(relay.process.pid, 'SIGHUP')
    while (!await isLetIn(url)) await sleep(20)
  }
})

test('a relay that drains says so to who is idle, to who comes, and in the end to who stays', async (t) => {
  const relay = await startRelay(t, { testnet: true, args: ['--drain', '2s'] })
  const { publicKey } = await startEcho(t, await startNative(t, relay))
  const busy = await startClient(t, relay)
  const stream = busy.dht.connect(publicKey)
  stream.on('error', () => {})
  await once(stream, 'open')
  const [idle, stays] = [once(await openSocket(t, relay.url), 'close'), once(busy.socket, 'close')]

  process.kill(relay.process.pid, 'SIGTERM')

  await told(idle, 1001, /connect again or to another one/)
  await counted(relay, 'draining')
  await told(once(new WebSocket(relay.url, { origin: 'https://page.example' }), 'close'), 1013, /another one/)
  stream.write('still here')
  assert.equal(String((await once(stream, 'data'))[0]), 'still here')
  assert.deepEqual(await get(relay, '/readyz'), [503, 'draining\n'])
  await told(stays, 1001, /connect again or to another one/)
  assert.equal((await relay.process.exited).code, 0)
})

test('what is no request, or takes too long, is answered in HTTP', async (t) => {
  const relay = await startRelay(t, { testnet: true, args: ['--per-link-request-timeout', '500ms', '--total-requests', '4'] })
  const open = () => {
    const socket = connect(Number(new URL(relay.url).port), '127.0.0.1').on('error', () => {})
    defer(t, () => socket.destroy())
    return socket
  }
  for (const [text, reason, answer] of [
    ['hello\r\n\r\n', 'bad_request', /^HTTP\/1.1 400 [^]*\r\n\r\n.+/],
    ['GET / HT', 'request_timeout', /^HTTP\/1.1 408 [^]*took too long/]
  ]) {
    const socket = open()
    socket.write(text)
    assert.match(String((await once(socket, 'data'))[0]), answer)
    await counted(relay, reason)
  }
  // One address has a quarter of the places; an answer to who has more would cost more than the question.
  const [first, second] = [open(), open()]
  await once(second.resume(), 'close')
  first.destroy()
  await counted(relay, 'too_many_requests_open')
})

test('what is no TLS, and who takes nothing, is counted', async (t) => {
  const { certificate, key } = makeCertificate(temporaryFolder(t), ['IP:127.0.0.1'])
  const secure = await startRelay(t, { testnet: true, args: ['--tls-certificate', certificate, '--tls-key', key, '--metrics', 'all'] })
  const plain = connect(Number(new URL(secure.url).port), '127.0.0.1').on('error', () => {})
  plain.end('GET / HTTP/1.1\r\n\r\n')
  await once(plain.resume(), 'close')
  // Its figures are read over a connection of curl's, which believes any certificate when told to.
  const read = () => execFileSync('curl', ['-sk', `${secure.url.replace('wss:', 'https:')}/metrics`]).toString()
  while (!/refusals_total\{reason="tls"\} 1\n/.test(read())) await sleep(50)
  seen.add('tls')

  const relay = await startRelay(t, { testnet: true, args: ['--per-link-write-timeout', '1s', '--per-link-resume-grace', 'none'] })
  const native = await startNative(t, relay)
  const chunk = Buffer.alloc(65536)
  const server = native.createServer((stream) => {
    stream.on('error', () => {})
    const write = () => { while (stream.write(chunk)); }
    stream.on('drain', write)
    write()
  })
  defer(t, () => server.close())
  await server.listen()
  const { dht, socket } = await startClient(t, relay)
  const stream = dht.connect(server.publicKey)
  stream.on('error', () => {})
  await once(stream, 'open')
  socket._socket.pause()
  await counted(relay, 'write_timeout')
})

/** What is turned down on a link that stays: the account it is on, settings, and who asks for one too many. */
const SCOPES = { link: '--per-link', address: '--per-address', key: '--per-key', total: '--total' }

for (const [scope, prefix] of Object.entries(SCOPES)) {
  test(`what is too much for the account of the ${scope} fails by itself, in words, and is counted`, async (t) => {
    const limit = (name, bound) => [`${prefix}-${name}`, String(bound)]
    const busy = async (resource, args, ask) => {
      const relay = await startRelay(t, { testnet: true, args })
      const dht = new OurDHT({ relay: relay.url })
      defer(t, () => dht.destroy({ force: true }))
      await dht.ready()
      await ask(dht, relay)
      const figures = await relayFigures(relay)
      assert.ok(figures[`turned_down_total{resource="${resource}",scope="${scope}"}`] > 0, resource)
    }
    const dialTwice = async (dht, relay) => {
      // It never decides, so that the first one waits.
      const server = (await startNative(t, relay)).createServer({ firewall: () => new Promise(() => {}) })
      defer(t, () => server.close())
      await server.listen()
      dht.connect(server.publicKey).on('error', () => {})
      const [error] = await once(dht.connect(server.publicKey), 'error')
      assert.equal(error.code, 'RELAY_BUSY')
    }
    await busy('streams', limit('streams', 1), dialTwice)
    await busy('handshakes', limit('handshakes', 1), dialTwice)
    await busy('listens', limit('listens', 1), async (dht) => {
      await dht.createServer().listen(DHT.keyPair())
      await isTurnedAway(dht)
    })
    await busy('lookups', limit('lookups-per-minute', 1), async (dht) => {
      await assert.rejects(async () => {
        for (let round = 0; round < 3; round++) await finished(dht.lookup(randomBytes(32)))
      }, { code: 'RELAY_BUSY' })
    })
    await busy('topics', limit('topics', 1), async (dht) => {
      await dht.announce(randomBytes(32), DHT.keyPair()).finished()
      await assert.rejects(dht.announce(randomBytes(32), DHT.keyPair()).finished(), { code: 'RELAY_BUSY' })
    })
  })
}

test('a token allows each of what it names, and what it does not name fails by itself, in words, and is counted', async (t) => {
  const relay = await startRelay(t, { testnet: true, args: ['--access-token-secret', SECRET] })
  const native = await startNative(t, relay)
  const { publicKey } = await startEcho(t, native)
  const attempts = {
    dial: async (dht) => { await isOpened(dht.connect(publicKey)) },
    listen: async (dht, isAllowed) => {
      if (!isAllowed) return await isTurnedAway(dht)
      const keyPair = DHT.keyPair()
      await dht.createServer((stream) => stream.on('error', () => {})).listen(keyPair)
      await isOpened(native.connect(keyPair.publicKey))
    },
    lookup: async (dht) => { await finished(dht.lookup(randomBytes(32))) },
    announce: async (dht) => { await dht.announce(randomBytes(32), DHT.keyPair()).finished() }
  }
  const names = Object.keys(attempts)
  for (const may of [...names, 'dial,announce', 'all']) {
    const dht = new OurDHT({ relay: relay.url, relayToken: await makeToken('--may', may) })
    defer(t, () => dht.destroy({ force: true }))
    await dht.ready()
    for (const name of names) {
      const isAllowed = may === 'all' || may.split(',').includes(name)
      if (isAllowed || name === 'listen') await attempts[name](dht, isAllowed)
      else await assert.rejects(attempts[name](dht), { code: name === 'dial' ? 'RELAY_NOT_PERMITTED' : 'RELAY_BUSY' }, `${name} with ${may}`)
    }
  }

  const figures = await relayFigures(relay)
  for (const resource of ['announces', 'dials', 'listens', 'lookups']) {
    assert.ok(figures[`turned_down_total{resource="${resource}",scope="token"}`] > 0, resource)
  }
})

test('key_denied: a token that was made for a key lets nobody in who says another', async (t) => {
  const relay = await startRelay(t, { testnet: true, args: ['--access-token-secret', SECRET] })
  const url = `${relay.url}?token=${await makeToken('--key', '11'.repeat(32))}`
  const own = await openSocket(t, url)
  send(own, OPEN, HANDSHAKE)
  const other = await openSocket(t, url)
  const ended = once(other, 'close')
  send(other, OPEN, '010000' + '12'.repeat(32))
  await told(ended, 1008, /does not serve this key/)
  await counted(relay, 'key_denied')
  assert.equal(own.readyState, WebSocket.OPEN)
  assert.equal((await relayFigures(relay)).links, 1)
})

test('too many searches at once, or requests in a second, are counted', async (t) => {
  for (const [resource, args] of [['queries', ['--per-link-queries', '1']], ['requests', ['--per-link-requests-burst', '1']]]) {
    const relay = await startRelay(t, { testnet: true, args })
    const { dht } = await startClient(t, relay)
    await Promise.all([1, 2, 3].map(() => finished(dht.lookup(randomBytes(32)))))
    assert.ok((await relayFigures(relay))[`turned_down_total{resource="${resource}",scope="link"}`] > 0, resource)
  }
})

test('every reason has its figure from the start, and was seen above', async (t) => {
  const relay = await startRelay(t, { testnet: true })
  const figures = await relayFigures(relay)
  const reasons = Object.keys(figures).flatMap((name) => /^refusals_total\{reason="(.*)"\}$/.exec(name)?.[1] ?? [])

  assert.deepEqual(reasons.sort(), [...seen].sort())
  for (const [name, value] of Object.entries(figures)) if (/^(refusals|turned_down)_total/.test(name)) assert.equal(value, 0, name)
  assert.equal(Object.keys(figures).filter((name) => name.startsWith('turned_down_total')).length, 33)
})

/** Upstream's protocol says that it is listened on, and then that it is not. */
async function isTurnedAway (dht) {
  const told = once(dht, 'server-error')
  const server = dht.createServer()
  await server.listen(DHT.keyPair())
  const [error, which] = await told
  assert.equal(error.code, 'SERVER_CLOSED')
  assert.equal(which, server)
}

/** Waits for a connection; throws why there is none. */
async function isOpened (stream) {
  await once(stream, 'open')
  stream.on('error', () => {}).destroy()
}

async function told (ended, code, sentence) {
  const [found, reason] = await ended
  assert.equal(found, code, String(reason))
  assert.match(String(reason), sentence)
}

/** Waits until somebody was refused for a reason. */
async function counted (relay, reason) {
  const name = `refusals_total{reason="${reason}"}`
  for (let tries = 0; ; tries++) {
    // Who reads it may be one too many for a moment.
    const figures = await relayFigures(relay).catch(() => ({}))
    if (figures[name] > 0) break
    assert.ok(tries < 200, `${reason} is not counted`)
    await sleep(50)
  }
  seen.add(reason)
}

async function makeToken (...args) {
  return execFileSync(await relayProgram(), ['token', '--access-token-secret', SECRET, ...args]).toString().trim()
}

async function first (t, relay) {
  await openSocket(t, relay.url)
}

/** Uses up what may pass in a day. */
async function spender (t, relay) {
  const socket = await openSocket(t, relay.url)
  const ended = once(socket, 'close')
  for (let round = 0; round < 10; round++) socket.ping(Buffer.alloc(100))
  await ended
}

async function isLetIn (url) {
  const socket = new WebSocket(url)
  const isOpen = await once(socket, 'open').then(() => true, () => false)
  socket.on('error', () => {}).terminate()
  return isOpen
}

async function get (relay, path) {
  const answer = await fetch(relay.url.replace('ws:', 'http:') + path)
  return [answer.status, await answer.text()]
}
