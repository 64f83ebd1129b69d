// One program, run with nodes of upstream on a test network and with ours behind a relay.

import assert from 'node:assert/strict'
import test from 'node:test'

import Upstream from 'hyperdht'
import { DHT as Hypertab } from 'hypertab'

import { defer } from './cleanup.mjs'
import { startRelay } from './relay.mjs'
import { plain } from './scene.mjs'
import { parseBootstrap, startTestnet } from './testnet.mjs'

/**
 * Runs a program with nodes of each kind and compares what it notes.
 *
 * The program gets `{ DHT, create, other, note }`: `create(options)` makes a node, `other` is a node of upstream's on the same
 * network, and `note(...values)` writes down what is to be the same.
 */
export function sameNodes (name, program) {
  test(name, async (t) => {
    const { bootstrap } = await startTestnet(t)
    const native = (options) => new Upstream({ bootstrap: parseBootstrap(bootstrap), host: '127.0.0.1', firewalled: false, ...options })
    const expected = await play(t, program, Upstream, native, native)
    const { url } = await startRelay(t, { bootstrap, args: ['--allow-private'] })
    const notes = await play(t, program, Hypertab, (options) => new Hypertab({ relay: url, webrtc: false, ...options }), native)
    assert.deepEqual(notes, expected)
  })
}

async function play (t, program, DHT, make, makeNative) {
  const notes = []
  const nodes = []
  const keep = (node) => {
    nodes.push(node)
    return node
  }
  const end = async () => {
    for (const node of nodes.splice(0)) await node.destroy({ force: true }).catch(() => {})
  }
  defer(t, end)
  await program({ DHT, create: (options) => keep(make(options)), other: keep(makeNative({})), note: (...values) => { notes.push(...values.map(plain)) } })
  await end()
  return notes
}
