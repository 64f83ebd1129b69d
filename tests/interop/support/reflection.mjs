// A network of its own with addresses as on the internet, which the test runs this in (`unshare --net`): a peer says in its
// handshake that it is reached at a victim's address, and a client has the relay dial that peer again and again. Prints
// one line: {"datagrams","bytes","seconds","dials","dropped","honest"}.

import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { createSocket } from 'node:dgram'
import { EventEmitter, once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'

import RelayedDHT from '@hyperswarm/dht-relay'
import RelayStream from '@hyperswarm/dht-relay/ws'
import DHT from 'hyperdht'
import WebSocket from 'ws'

import { JsonProcess } from '../../../scripts/lib/json-process.mjs'
import { relayFigure } from './relay.mjs'

const nodes = ['20.0.1.1', '20.0.1.2', '20.0.1.3', '20.0.1.4']
const [relayHost, hostile, honestHost, victim] = ['20.0.0.2', '20.0.0.3', '20.0.0.4', '20.0.0.9']
const PATIENCE_MS = 60_000

process.on('uncaughtException', (error) => {
  // Upstream's client throws out of anybody's reach when a dial fails, or when it hears of one twice.
  if (!/noise-handshake|dht-relay/.test(error.stack)) throw error
})
execFileSync('ip', ['link', 'set', 'lo', 'up'])
for (const host of [...nodes, relayHost, hostile, honestHost, victim]) execFileSync('ip', ['addr', 'add', `${host}/32`, 'dev', 'lo'])

// Each has an address of its own; bound to all of them, a node would have another one for everybody.
const bootstrap = []
for (const host of nodes) {
  const node = new DHT({ ephemeral: false, firewalled: false, bootstrap: [...bootstrap], host })
  await node.fullyBootstrapped()
  if (bootstrap.length === 0) bootstrap.push({ host, port: node.address().port })
}
const port = 40_000
const relay = new JsonProcess(process.argv[2], [
  '--listen', '127.0.0.1:0', '--udp', `${relayHost}:${port}`, '--public-address', `${relayHost}:${port}`,
  ...bootstrap.flatMap(({ host, port }) => ['--bootstrap', `${host}:${port}`]),
  '--per-link-streams', '100000', '--per-link-handshakes', '100000', '--per-link-requests-per-second', '100000', '--per-link-requests-burst', '100000',
  '--per-address-streams', '100000', '--per-address-handshakes', '100000', '--per-key-streams', '100000', '--per-key-handshakes', '100000', '--total-streams', '100000', '--total-handshakes', '100000'
])
const { url } = await relay.next('listening')

let [datagrams, bytes] = [0, 0]
const socket = createSocket('udp4')
socket.on('message', (message) => {
  datagrams++
  bytes += message.byteLength + 28
})
await new Promise((resolve) => socket.bind(0, victim, resolve))

const liar = new DHT({ bootstrap, host: hostile, firewalled: false })
await liar.fullyBootstrapped()
liar.remoteAddress = () => ({ host: victim, port: socket.address().port })
// Where it answers from is believed instead, so it answers nothing that comes from the relay itself, which is a node of the network as well, and says
// nothing on its streams.
const answer = liar.onrequest.bind(liar)
liar.onrequest = (request) => request.from.host !== relayHost && answer(request)
const server = liar.createServer({ shareLocalAddress: false, createSecretStream: () => new EventEmitter() })
await server.listen()

const friend = new DHT({ bootstrap, host: honestHost, firewalled: false })
await friend.fullyBootstrapped()
const echo = friend.createServer((stream) => {
  stream.on('error', () => {})
  stream.pipe(stream)
})
await echo.listen()

const open = async () => {
  const dht = new RelayedDHT(new RelayStream(true, new WebSocket(url)), { custodial: false })
  await dht.ready()
  return dht
}
const [attacker, client] = [await open(), await open()]
const start = Date.now()
const figure = (name) => relayFigure({ url }, name)
const withheld = () => figure('udp_dropped_total{reason="unanswered_out"}')
// Until the victim would get more than it may, and a while longer.
while (await withheld() === 0 && Date.now() - start < PATIENCE_MS) {
  for (let dial = 0; dial < 50; dial++) attacker.connect(server.publicKey, { keyPair: DHT.keyPair() }).on('error', () => {})
  await sleep(50)
}
await sleep(2000)

const call = client.connect(echo.publicKey)
call.on('error', () => {})
const words = randomBytes(1000)
call.write(words)
const [echoed] = await Promise.race([once(call, 'data'), sleep(10_000, [Buffer.alloc(0)])])
const dropped = await withheld()
const dials = await figure('handshakes_total{side="dial",outcome="connected"}')
const seconds = (Date.now() - start) / 1000
console.log(JSON.stringify({ datagrams, bytes, seconds, dials, dropped, honest: words.equals(echoed) }))
await relay.kill()
process.exit(0)
