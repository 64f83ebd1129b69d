// Swarms on both sides of a relay.

import { Hyperswarm } from 'hypertab'

import { defer } from './cleanup.mjs'
import { createSwarm } from './testnet.mjs'

/** Starts an upstream swarm that replicates these cores, or stores, with whoever connects. */
export function createNative (t, bootstrap, ...cores) {
  const swarm = createSwarm(t, { bootstrap })
  // Upstream forgets the timers of its topics when it is destroyed by force.
  defer(t, () => swarm.clear())
  swarm.on('connection', (connection) => {
    connection.on('error', () => {})
    for (const core of cores) core.replicate(connection)
  })
  return swarm
}

/** Starts a swarm of ours behind a relay, or one of several. */
export function createOurSwarm (t, relay, options = {}) {
  const swarm = new Hyperswarm({ relay, ...options })
  swarm.on('connection', (connection) => connection.on('error', () => {}))
  defer(t, () => swarm.destroy({ force: true }))
  return swarm
}
