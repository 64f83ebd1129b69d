// Peers behind every kind of network find each other: upstream's, our native ones, and a tab without UDP behind a relay.

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

import { nativeProgram } from '../../scripts/lib/cargo.mjs'
import { OWN_MACHINE, withoutNetworks } from './support/programs.mjs'
import { relayProgram } from './support/relay.mjs'

const skip = withoutNetworks()

for (const [wanted, title, count, failures = []] of [
  ['direct', 'whoever is reached, or has one port for all, is connected directly; a tab is reached by its relay', 24],
  ['random', 'a network with a port for every destination is punched from one with one port for all', 5],
  ['upgraded', 'a stream that began at a relay goes on directly once a punch succeeds', 2],
  ['relayed', 'two networks with a port for every destination meet at a blind relay, upstream\'s or ours', 14, [/randomized|HOLEPUNCH_/]]
]) {
  test(title, { timeout: 400_000, skip }, async (t) => {
    const scene = fileURLToPath(new URL('./support/nat-scene.mjs', import.meta.url))
    const args = [...OWN_MACHINE, scene, await relayProgram(), await nativeProgram('dht-node'), wanted]
    const { stdout } = await promisify(execFile)('unshare', args, { timeout: 390_000 })
    const results = stdout.trim().split('\n').map((line) => JSON.parse(line))
    for (const { name, ms, remote, error } of results) t.diagnostic(`${name}: ${error ?? `${ms} ms, ${remote ?? ''}`}`)

    const [failed, connected] = [results.filter(({ error }) => error), results.filter(({ error }) => !error)]
    assert.equal(failed.length, failures.length, JSON.stringify(failed))
    for (const [at, { error }] of failed.entries()) assert.match(error, failures[at])
    assert.ok(connected.every(({ received }) => received >= 100_000))
    assert.equal(connected.length, count)
  })
}
