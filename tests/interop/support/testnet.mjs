// An isolated HyperDHT on loopback, made of upstream's own nodes.

import DHT from 'hyperdht'
import createTestnet from 'hyperdht/testnet.js'
import Hyperswarm from 'hyperswarm'

import { defer } from './cleanup.mjs'

/**
 * Starts a test network that ends with the test.
 *
 * @returns {Promise<{ bootstrap: string[], dht: object }>} `bootstrap` as `HOST:PORT`, as the relay takes it
 */
export async function startTestnet (t, size = 3) {
  const dht = await createTestnet(size, { host: '127.0.0.1' })
  defer(t, () => dht.destroy())
  return { bootstrap: dht.bootstrap.map(({ host, port }) => `${host}:${port}`), dht }
}

/**
 * Starts an upstream swarm, on a loopback network or, with `bootstrap: null`, on the public one; anything else
 * in `options` goes to the constructor.
 *
 * On loopback, the node is bound to loopback and says that it is reachable, which it is. Left to find out, upstream takes
 * it for firewalled and punches at the machine's other addresses first: about every second connection then
 * takes 15 seconds. Pass `firewalled: true` where punching is what a test is about.
 */
export function createSwarm (t, { bootstrap, firewalled = false, ...options }) {
  const dht = bootstrap === null
    ? new DHT()
    : new DHT({ bootstrap: parseBootstrap(bootstrap), host: '127.0.0.1', firewalled })
  const swarm = new Hyperswarm({ dht, ...options })
  defer(t, async () => {
    // Forced, it leaves the timers of its topics behind, which keep the process for ten minutes.
    swarm.clear().catch(() => {})
    await swarm.destroy({ force: true })
  })
  return swarm
}

/** Turns `HOST:PORT` strings into what upstream's constructors take. */
export function parseBootstrap (bootstrap) {
  return bootstrap.map((address) => {
    const colon = address.lastIndexOf(':')
    return { host: address.slice(0, colon), port: Number(address.slice(colon + 1)) }
  })
}
