// One program, run with swarms of upstream and with ours: over nodes of a test network, and ours behind a relay, too.

import assert from 'node:assert/strict'
import test from 'node:test'

import DHT from 'hyperdht'
import Upstream from 'hyperswarm'
import { DHT as Node, Hyperswarm as Hypertab } from 'hypertab'

import { defer } from './cleanup.mjs'
import { playSwarms } from './network-scene.mjs'
import { startRelay } from './relay.mjs'
import { parseBootstrap, startTestnet } from './testnet.mjs'

/**
 * Runs a program with swarms of each kind and compares what it notes.
 *
 * The program gets `{ create, note }`: `create(options)` makes a swarm on a network of its own, `note(...values)` writes down what
 * is to be the same.
 */
export function sameSwarms (name, program) {
  test(name, async (t) => {
    const { bootstrap } = await startTestnet(t)
    const life = { defer: (step) => { defer(t, step) } }
    // Bound to loopback and said to be reachable: otherwise upstream's first punches at the machine's other addresses.
    const createNode = () => new DHT({ bootstrap: parseBootstrap(bootstrap), host: '127.0.0.1', firewalled: false })
    const expected = await playSwarms(program, { Hyperswarm: Upstream, createNode }, life)
    assert.deepEqual(await playSwarms(program, { Hyperswarm: Hypertab, createNode }, life), expected)
    const { url } = await startRelay(t, { bootstrap, args: ['--allow-private'] })
    const createRelayed = () => new Node({ relay: url, webrtc: false })
    assert.deepEqual(await playSwarms(program, { Hyperswarm: Hypertab, createNode: createRelayed }, life), expected)
  })
}
