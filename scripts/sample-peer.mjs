// An unmodified upstream peer, so that the demo page has somebody to meet: it seeds four poems, a line a block; a drive
// with a small site; and a table of numbers.
//
//   node scripts/sample-peer.mjs [--bootstrap HOST:PORT]      without --bootstrap: the public HyperDHT
//
// Prints {"event":"ready","key":"<z-base-32>","length":218,"drive":"<z-base-32>","table":"<z-base-32>"}, then
// {"event":"peer","count":1} as peers of the log come and go.

import { readFileSync } from 'node:fs'
import { parseArgs } from 'node:util'

import Corestore from 'corestore'

import { temporaryFolder } from '../tests/interop/support/folder.mjs'
import { createSwarm } from '../tests/interop/support/testnet.mjs'
import { makeDrive } from './lib/sample-drive.mjs'
import { makeTable } from './lib/sample-table.mjs'

const { values } = parseArgs({ options: { bootstrap: { type: 'string', multiple: true } } })
const undo = []
const life = { after: (step) => { undo.push(step) } }
let stopping = false

const store = new Corestore(temporaryFolder(life))
life.after(() => store.close())
const core = store.get({ name: 'log' })
await core.ready()
const text = readFileSync(new URL('sample-text.txt', import.meta.url), 'utf8')
await core.append(text.trimEnd().split('\n').map((line) => Buffer.from(line)))
for (const change of ['peer-add', 'peer-remove']) core.on(change, () => say({ event: 'peer', count: core.peers.length }))
const drive = await makeDrive(store.namespace('site'))
const table = await makeTable(store.get({ name: 'numbers' }))

const swarm = createSwarm(life, { bootstrap: values.bootstrap ?? null })
swarm.on('connection', (connection) => {
  connection.on('error', () => {})
  store.replicate(connection)
})
await Promise.all([core, drive, table].map(({ discoveryKey }) => swarm.join(discoveryKey).flushed()))
say({ event: 'ready', key: core.id, length: core.length, drive: drive.id, table: table.id })

// The parent's end of stdin closes with it, however it ends.
process.stdin.resume().on('end', stop)
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, stop)

async function stop () {
  if (stopping) return
  stopping = true
  for (const step of undo.reverse()) await step()
  process.exit(0)
}

function say (message) {
  process.stdout.write(JSON.stringify(message) + '\n')
}
