// Upstream on both sides of a relay: a node of the network, and a client that keeps its keys.

import RelayedDHT from '@hyperswarm/dht-relay'
import RelayStream from '@hyperswarm/dht-relay/ws'
import DHT from 'hyperdht'
import WebSocket from 'ws'

import { defer } from './cleanup.mjs'
import { parseBootstrap } from './testnet.mjs'

/** Starts a native node that can be reached. */
export async function startNative (t, { bootstrap }) {
  const dht = new DHT({ bootstrap: parseBootstrap(bootstrap), host: '127.0.0.1', firewalled: false })
  defer(t, () => dht.destroy({ force: true }))
  await dht.fullyBootstrapped()
  return dht
}

/** Starts a client of a relay. */
export async function startClient (t, { url }) {
  const socket = new WebSocket(url)
  const dht = new RelayedDHT(new RelayStream(true, socket), { custodial: false })
  defer(t, () => dht.destroy({ force: true }))
  await dht.ready()
  return { dht, socket }
}

/** Waits for the end of a query. */
export async function finished (query) {
  for await (const _ of query) ;
}

/** Returns the keys that a query finds, in hex. */
export async function keys (query) {
  const found = new Set()
  for await (const { peers } of query) for (const { publicKey } of peers) found.add(publicKey.toString('hex'))
  return [...found]
}
