// An unmodified upstream peer that seeds four poems, a line a block, so that the demo page has somebody to meet.
//
//   node scripts/sample-peer.mjs [--bootstrap HOST:PORT]      without --bootstrap: the public HyperDHT
//
// Prints {"event":"ready","key":"<z-base-32>","length":218}, then {"event":"peer","count":1} as peers come and go.

import { readFileSync } from 'node:fs'
import { parseArgs } from 'node:util'

import { createSwarm } from '../tests/interop/support/testnet.mjs'
import { createCore } from '../tests/interop/support/upstream.mjs'

const { values } = parseArgs({ options: { bootstrap: { type: 'string', multiple: true } } })
const undo = []
const life = { after: (step) => { undo.push(step) } }
let stopping = false

const core = await createCore(life)
const text = readFileSync(new URL('sample-text.txt', import.meta.url), 'utf8')
await core.append(text.trimEnd().split('\n').map((line) => Buffer.from(line)))
for (const change of ['peer-add', 'peer-remove']) core.on(change, () => say({ event: 'peer', count: core.peers.length }))

const swarm = createSwarm(life, { bootstrap: values.bootstrap ?? null })
swarm.on('connection', (connection) => {
  connection.on('error', () => {})
  core.replicate(connection)
})
await swarm.join(core.discoveryKey).flushed()
say({ event: 'ready', key: core.id, length: core.length })

// The parent's end of stdin closes with it, however it ends.
process.stdin.resume().on('end', stop)
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, stop)

async function stop () {
  if (stopping) return
  stopping = true
  for (const step of undo) await step()
  process.exit(0)
}

function say (message) {
  process.stdout.write(JSON.stringify(message) + '\n')
}
