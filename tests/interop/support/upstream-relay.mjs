// Upstream's relay, for networks on loopback: node upstream-relay.mjs [--shared] HOST:PORT…, prints
// {"event":"listening","url":"…"}. With --shared all clients have one DHT node, as with upstream's program; a key can then be
// listened on once, and a second time ends it.

import { once } from 'node:events'

import { relay } from '@hyperswarm/dht-relay'
import Stream from '@hyperswarm/dht-relay/ws'
import DHT from 'hyperdht'
import { WebSocketServer } from 'ws'

import { parseBootstrap } from './testnet.mjs'

// It throws, out of anybody's reach, when a peer resets a stream.
process.on('uncaughtException', () => {})
process.on('unhandledRejection', () => {})

const isShared = process.argv[2] === '--shared'
const bootstrap = parseBootstrap(process.argv.slice(isShared ? 3 : 2))
const createNode = () => new DHT({ bootstrap, host: '127.0.0.1', firewalled: false })
const shared = isShared ? repaired(createNode()) : null
if (shared) await shared.fullyBootstrapped()
const server = new WebSocketServer({ port: 0, host: '127.0.0.1' })
await once(server, 'listening')
server.on('connection', async (socket) => {
  const dht = shared ?? repaired(createNode())
  if (!shared) socket.on('close', () => dht.destroy({ force: true }))
  const stream = new Stream(false, socket)
  stream.on('error', () => {})
  await relay(dht, stream)
})
console.log(JSON.stringify({ event: 'listening', url: `ws://127.0.0.1:${server.address().port}/` }))

// The relay hands the whole record where the client's list of relay addresses belongs, which the present
// compact-encoding refuses: nothing would ever be announced.
function repaired (dht) {
  const repair = (options) => {
    const fixed = { ...options }
    for (const name of ['signAnnounce', 'signUnannounce']) {
      const sign = options?.[name]
      if (sign) fixed[name] = (target, token, id, { peer }) => sign(target, token, id, { peer: Array.isArray(peer) ? peer : peer.relayAddresses ?? [] })
    }
    return fixed
  }
  const { connect, createServer, announce, lookupAndUnannounce } = dht
  // The same answer comes through several nodes. The relay asks its client about each and takes one reply for that to the last
  // question only, so that a dial whose answers come together never ends.
  dht.connect = (key, options) => connect.call(dht, key, options?.createHandshake
    ? { ...options, createHandshake: (...args) => hearingOnce(options.createHandshake(...args)) }
    : options)
  dht.createServer = (...args) => {
    const server = createServer.apply(dht, args)
    const { listen } = server
    server.listen = (keyPair, options) => listen.call(server, keyPair, repair(options))
    return server
  }
  dht.announce = (topic, keyPair, relays, options) => announce.call(dht, topic, keyPair, relays, repair(options))
  dht.lookupAndUnannounce = (topic, keyPair, options) => lookupAndUnannounce.call(dht, topic, keyPair, repair(options))
  return dht
}

function hearingOnce (handshake) {
  const recv = handshake.recv.bind(handshake)
  let heard = null
  handshake.recv = (message) => { heard ??= recv(message); return heard }
  return handshake
}
