// Swarms on both sides of a relay.

import assert from 'node:assert/strict'

import { Hypercore, Hyperswarm, memory } from 'hypertab'

import { defer } from './cleanup.mjs'
import { createSwarm } from './testnet.mjs'
import { block, countDownloads, createCore, seed } from './upstream.mjs'

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

/** Two logs of as many blocks, one of upstream's and one of ours, and a copy of each at the other end; upstream's end is announced. */
export async function startBothWays (t, bootstrap, blocks, size) {
  const theirs = await createCore(t)
  await seed(theirs, blocks, size)
  const ours = new Hypercore(memory())
  defer(t, () => ours.close())
  await ours.append(Array.from({ length: blocks }, (_, index) => block(index, size)))
  const ourCopy = new Hypercore(memory(), theirs.key)
  defer(t, () => ourCopy.close())
  const theirCopy = await createCore(t, { key: ours.key })
  const native = createNative(t, bootstrap, theirs, theirCopy)
  await native.join(theirs.discoveryKey, { client: false }).flushed()
  return {
    topic: theirs.discoveryKey,
    native,
    /** How many blocks each copy has fetched: upstream fetches in no order, so that what is there without a gap says little. */
    fetched: [ourCopy, theirCopy].map(countDownloads),
    /** Replicates our end over a connection. */
    replicate (connection) {
      ours.replicate(connection)
      ourCopy.replicate(connection)
    },
    /** Fetches all of both. */
    download: async () => { await Promise.all([ourCopy, theirCopy].map((copy) => copy.download({ start: 0, end: blocks }).done())) },
    async check () {
      assert.deepEqual(await ourCopy.treeHash(), await theirs.treeHash())
      assert.deepEqual(await theirCopy.treeHash(), await ours.treeHash())
      for (const copy of [ourCopy, theirCopy]) {
        for (const index of [0, blocks / 2, blocks - 1]) assert.deepEqual(await copy.get(index), block(index, size))
      }
    }
  }
}
