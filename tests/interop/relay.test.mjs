// Upstream's relay client against our relay: what a tab of upstream's stack would do, and what a hostile one would.

import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { request } from 'node:http'
import { connect } from 'node:net'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'

import RelayedDHT from '@hyperswarm/dht-relay'
import RelayStream from '@hyperswarm/dht-relay/ws'
import DHT from 'hyperdht'
import WebSocket from 'ws'

import { defer } from './support/cleanup.mjs'
import { openSocket, send, u32 } from './support/raw-client.mjs'
import { finished, keys, startClient, startNative } from './support/relayed.mjs'
import { startRelay } from './support/relay.mjs'
import { startTestnet } from './support/testnet.mjs'

const MIB = 1024 * 1024

const networks = {
  'a network of upstream nodes': async (t) => {
    const { bootstrap } = await startTestnet(t, 4)
    return await startRelay(t, { bootstrap, args: ['--allow-private'] })
  },
  'a network of our nodes': (t) => startRelay(t, { testnet: true })
}

for (const [name, start] of Object.entries(networks)) {
  test(`${name}: announces and lookups cross over`, async (t) => {
    const relay = await start(t)
    const native = await startNative(t, relay)
    const { dht } = await startClient(t, relay)
    const [topic, other, pair] = [randomBytes(32), randomBytes(32), DHT.keyPair()]

    await finished(dht.announce(topic, pair))
    assert.deepEqual(await keys(native.lookup(topic)), [pair.publicKey.toString('hex')])
    assert.deepEqual(await keys(dht.lookup(topic)), [pair.publicKey.toString('hex')])

    await native.announce(other, native.defaultKeyPair).finished()
    assert.deepEqual(await keys(dht.lookup(other)), [native.defaultKeyPair.publicKey.toString('hex')])

    await dht.unannounce(topic, pair)
    assert.deepEqual(await keys(native.lookup(topic)), [])
  })

  test(`${name}: a client dials a native server`, async (t) => {
    const relay = await start(t)
    const native = await startNative(t, relay)
    const { dht } = await startClient(t, relay)
    const pair = await listen(t, native)
    const own = DHT.keyPair()

    const stream = dht.connect(pair.publicKey, { keyPair: own })
    await echo(stream, MIB)

    assert.deepEqual(stream.remotePublicKey, pair.publicKey)
    assert.deepEqual(stream.publicKey, own.publicKey)
    stream.end()
    await once(stream, 'close')
  })

  test(`${name}: a native peer dials a client's server, again and again`, async (t) => {
    const relay = await start(t)
    const native = await startNative(t, relay)
    const { dht } = await startClient(t, relay)
    const pair = DHT.keyPair()
    const server = dht.createServer(reflect)
    await server.listen(pair)

    for (let round = 0; round < 4; round++) {
      const stream = native.connect(pair.publicKey)
      await echo(stream, MIB)
      // An abort ends upstream's own relay; ours has to live with it.
      if (round % 2) stream.end()
      else stream.destroy()
      await once(stream, 'close')
    }

    await server.close()
    const late = native.connect(pair.publicKey)
    const [error] = await once(late, 'error')
    assert.match(error.message, /PEER_NOT_FOUND|PEER_CONNECTION_FAILED/)
  })
}

test('two clients meet through one relay', async (t) => {
  const relay = await startRelay(t, { testnet: true })
  const [one, two] = [await startClient(t, relay), await startClient(t, relay)]
  const pair = DHT.keyPair()
  await one.dht.createServer(reflect).listen(pair)

  await echo(two.dht.connect(pair.publicKey), 4 * MIB)
})

test('two clients meet through two relays', async (t) => {
  const { bootstrap } = await startTestnet(t, 4)
  const relays = [
    await startRelay(t, { bootstrap, args: ['--allow-private'] }),
    await startRelay(t, { bootstrap, args: ['--allow-private'] })
  ]
  const [one, two] = [await startClient(t, relays[0]), await startClient(t, relays[1])]
  const pair = DHT.keyPair()
  await one.dht.createServer(reflect).listen(pair)

  await echo(two.dht.connect(pair.publicKey), MIB)
})

test('a server refuses whom its firewall refuses', async (t) => {
  const relay = await startRelay(t, { testnet: true })
  const native = await startNative(t, relay)
  const { dht } = await startClient(t, relay)
  const [pair, friend] = [DHT.keyPair(), DHT.keyPair()]
  const server = dht.createServer({ firewall: (key) => !key.equals(friend.publicKey) }, reflect)
  await server.listen(pair)

  const refused = native.connect(pair.publicKey, { keyPair: DHT.keyPair() })
  refused.on('open', () => assert.fail('a stranger was let in'))
  const [error] = await once(refused, 'error')
  assert.match(error.message, /PEER_CONNECTION_FAILED|PEER_NOT_FOUND/)
  await echo(native.connect(pair.publicKey, { keyPair: friend }), 1024)
})

test('dialling a key that nobody has fails in words', async (t) => {
  const relay = await startRelay(t, { testnet: true })
  const { dht } = await startClient(t, relay)

  const stream = dht.connect(DHT.keyPair().publicKey)
  const [error] = await once(stream, 'error')

  assert.match(error.message, /PEER_NOT_FOUND/)
})

test('a key goes to its newest owner, who has to prove it', async (t) => {
  const relay = await startRelay(t, { testnet: true })
  const native = await startNative(t, relay)
  const [old, fresh, thief] = [await startClient(t, relay), await startClient(t, relay), await startClient(t, relay)]
  const pair = DHT.keyPair()
  const taken = old.dht.createServer(reflect)
  await taken.listen(pair)
  const replaced = once(taken, 'close')

  // A thief has the public key only, so nothing it signs is right.
  const stolen = thief.dht.createServer(() => assert.fail('a thief was connected'))
  const turnedAway = once(stolen, 'close')
  await stolen.listen({ publicKey: pair.publicKey, secretKey: DHT.keyPair().secretKey })
  await turnedAway
  await echo(native.connect(pair.publicKey), 1024)

  let arrived = 0
  await fresh.dht.createServer((stream) => { arrived++; reflect(stream) }).listen(pair)
  await replaced
  await echo(native.connect(pair.publicKey), 1024)
  assert.equal(arrived, 1)
})

test('the servers of a client that is gone are gone', async (t) => {
  const relay = await startRelay(t, { testnet: true })
  const native = await startNative(t, relay)
  const [first, second] = [await startClient(t, relay), await startClient(t, relay)]
  const pair = DHT.keyPair()
  await first.dht.createServer(reflect).listen(pair)
  const stream = native.connect(pair.publicKey)
  stream.on('error', () => {})
  await echo(stream, 1024)

  const closed = new Promise((resolve) => stream.on('close', resolve))
  first.socket.terminate()
  await closed
  await second.dht.createServer(reflect).listen(pair)
  await echo(native.connect(pair.publicKey), 1024)
})

test('who dials a key of a client that is gone does not wait for it, and finds it where it has come back', { timeout: 60_000 }, async (t) => {
  const { bootstrap } = await startTestnet(t, 4)
  const [relay, elsewhere] = [
    await startRelay(t, { bootstrap, args: ['--allow-private'] }),
    await startRelay(t, { bootstrap, args: ['--allow-private'] })
  ]
  const [gone, caller, back] = [await startClient(t, relay), await startClient(t, relay), await startClient(t, elsewhere)]
  const pair = DHT.keyPair()
  await gone.dht.createServer(reflect).listen(pair)
  await echo(caller.dht.connect(pair.publicKey), 1024)
  gone.socket.terminate()
  // A page that is loaded anew takes less.
  await sleep(10_500)

  const start = performance.now()
  const stream = caller.dht.connect(pair.publicKey)
  const [error] = await once(stream, 'error')
  const took = performance.now() - start
  assert.match(error.message, /PEER_CONNECTION_FAILED/)
  assert.ok(took < 2000, `${took} ms, where upstream waits for four to eight seconds`)

  await back.dht.createServer(reflect).listen(pair)
  await echo(caller.dht.connect(pair.publicKey), 1024)
})

test('a slow client makes the peer wait and costs no memory', async (t) => {
  const relay = await startRelay(t, { testnet: true })
  const native = await startNative(t, relay)
  const { dht, socket } = await startClient(t, relay)
  const pair = DHT.keyPair()
  let sent = 0
  const server = native.createServer((stream) => {
    stream.on('error', () => {})
    const chunk = Buffer.alloc(65536)
    const write = () => { do sent += chunk.length; while (stream.write(chunk)) }
    stream.on('drain', write)
    write()
  })
  defer(t, () => server.close())
  await server.listen(pair)

  const stream = dht.connect(pair.publicKey)
  stream.on('error', () => {})
  await once(stream, 'open')
  socket._socket.pause()
  let before = -1
  while (sent > before) {
    before = sent
    await sleep(1000)
    // TCP's own buffers and the stream's window; without an end, nothing would hold the peer back.
    assert.ok(sent < 32 * MIB, `${sent} bytes are on their way to a client that does not read`)
  }
  socket._socket.resume()
  let received = 0
  stream.on('data', (data) => { received += data.length })
  while (received < 2 * before) await sleep(20)
  stream.destroy()
})

test('a client that offers its secret key is refused', async (t) => {
  const relay = await startRelay(t, { testnet: true })
  const socket = new WebSocket(relay.url)
  const dht = new RelayedDHT(new RelayStream(true, socket), { custodial: true })
  defer(t, () => dht.destroy({ force: true }))

  const [code, reason] = await once(socket, 'close')

  assert.equal(code, 1008)
  assert.match(reason.toString(), /secret keys.*custodial: false/)
})

const OPEN = '00010115406879706572737761726d2f6468742d72656c617900'
const HANDSHAKE = '010000' + '11'.repeat(32)

const attacks = {
  'a text message': [1003, /binary/, (socket) => socket.send('hello')],
  'a message of more than 1 MiB': [1009, /1048576/, (socket) => socket.send(Buffer.alloc(MIB + 1))],
  'bytes that are no frame': [1002, /malformed/, (socket) => socket.send(Buffer.from('00ff', 'hex'))],
  'a batch in a batch': [1002, /malformed/, (socket) => socket.send(Buffer.from('00000005000001010000', 'hex'))],
  'a message cut short': [1002, /malformed/, (socket) => send(socket, OPEN, HANDSHAKE, '010301')],
  'an alias used twice': [1002, /in use/, (socket) => {
    const listen = '010a0001000000' + '22'.repeat(32)
    send(socket, OPEN, HANDSHAKE, listen, listen)
  }],
  'a channel closed': [1001, /closed/, (socket) => send(socket, OPEN, HANDSHAKE, '000301')],
  'a flood of requests': [1008, /too many/, (socket) => {
    send(socket, OPEN, HANDSHAKE)
    for (let id = 1; id < 1000; id++) send(socket, '0113' + u32(id) + '33'.repeat(32))
  }],
  'a flood of pings': [1008, /not read/, (socket) => {
    send(socket, OPEN, HANDSHAKE)
    socket._socket.pause()
    // Batches of pings, each of which would have its pong.
    const pings = Buffer.from('000001' + '0101'.repeat(400_000), 'hex')
    for (let round = 0; round < 40; round++) socket.send(pings)
    setTimeout(() => socket._socket.resume(), 2000)
  }]
}

for (const [name, [code, reason, attack]] of Object.entries(attacks)) {
  test(`${name} closes the link with ${code}`, async (t) => {
    const relay = await startRelay(t, { testnet: true })
    const socket = await openSocket(t, relay.url)
    const closed = once(socket, 'close')

    attack(socket)
    const [found, text] = await closed

    assert.equal(found, code, text.toString())
    assert.match(text.toString(), reason)
    // The relay serves others as before.
    const { dht } = await startClient(t, relay)
    await finished(dht.lookup(randomBytes(32)))
  })
}

test('random bytes never harm the relay', async (t) => {
  const relay = await startRelay(t, { testnet: true })
  for (let round = 0; round < 40; round++) {
    const socket = await openSocket(t, relay.url)
    const closed = once(socket, 'close')
    send(socket, OPEN, HANDSHAKE)
    for (let message = 0; message < 200 && socket.readyState === WebSocket.OPEN; message++) {
      const bytes = randomBytes(1 + Math.floor(Math.random() * 120))
      bytes[0] = 1
      bytes[1] = Math.floor(Math.random() * 30)
      socket.send(bytes)
    }
    socket.close()
    await closed
  }
  const { dht } = await startClient(t, relay)
  await finished(dht.lookup(randomBytes(32)))
})

test('a client that stays silent is let go', { timeout: 60_000 }, async (t) => {
  const relay = await startRelay(t, { testnet: true })
  const socket = await openSocket(t, relay.url)

  const [code, reason] = await once(socket, 'close')

  assert.equal(code, 1008)
  assert.match(reason.toString(), /handshake/)
})

test('requests that are no WebSocket are answered', async (t) => {
  const relay = await startRelay(t, { testnet: true })
  const url = relay.url.replace('ws:', 'http:')

  assert.deepEqual(await get(`${url}/healthz`), [200, 'ok\n'])
  assert.equal((await get(`${url}/readyz`))[0], 200)
  assert.match((await get(url))[1], /<h1>hypertab relay<\/h1>/)
  assert.match((await get(`${url}/metrics`))[1], /^hypertab_relay_links 0$/m)
  assert.equal((await get(`${url}/nothing`))[0], 404)

  const { port } = new URL(url)
  const raw = connect(port, '127.0.0.1')
  raw.write('\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n')
  const [answer] = await once(raw, 'data')
  assert.match(answer.toString(), /^HTTP\/1.1 400 /)
  raw.destroy()
})

test('more links than an address may have are turned away', async (t) => {
  const relay = await startRelay(t, { testnet: true, args: ['--per-address-links', '2'] })
  const first = await openSocket(t, relay.url)
  await openSocket(t, relay.url)

  const third = new WebSocket(relay.url)
  const [error] = await once(third, 'error')
  assert.match(error.message, /429/)

  first.close()
  await once(first, 'close')
  await sleep(100)
  await openSocket(t, relay.url)
})

test('a relay that is stopped says so', async (t) => {
  const relay = await startRelay(t, { testnet: true })
  const { socket } = await startClient(t, relay)
  const closed = once(socket, 'close')

  process.kill(relay.process.pid, 'SIGTERM')
  const [code] = await closed
  const { code: status } = await relay.process.exited

  assert.equal(code, 1001)
  assert.equal(status, 0)
})

/** Starts a native server that sends back what it gets; returns its key pair. */
async function listen (t, native) {
  const pair = DHT.keyPair()
  const server = native.createServer(reflect)
  defer(t, () => server.close())
  await server.listen(pair)
  return pair
}

function reflect (stream) {
  stream.on('error', () => {})
  stream.pipe(stream)
}

/** Sends random bytes and waits until all of them are back. */
async function echo (stream, size) {
  const sent = randomBytes(size)
  const back = new Promise((resolve, reject) => {
    const chunks = []
    let length = 0
    stream.on('error', reject)
    stream.on('close', () => reject(new Error(`closed after ${length} of ${size} bytes`)))
    stream.on('data', (chunk) => {
      chunks.push(chunk)
      length += chunk.length
      if (length >= size) resolve(Buffer.concat(chunks))
    })
  })
  for (let at = 0; at < size; at += 65536) stream.write(sent.subarray(at, at + 65536))
  assert.ok((await back).equals(sent), 'what came back differs')
}

async function get (url) {
  const sent = request(url).end()
  const [response] = await once(sent, 'response')
  let body = ''
  for await (const chunk of response) body += chunk
  return [response.statusCode, body]
}
