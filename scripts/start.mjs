// Builds everything, starts a relay and a sample peer, and serves the demo page: npm start
//
//   npm start                      an isolated network on this machine
//   npm start -- --public          the public HyperDHT
//   npm start -- --port 8000       the page's port; what a page stored belongs to its port
//
// The page learns the rest from /config.json: {"relay":"ws://…","network":"local","sample":"<key>","sampleDrive":"<key>","sampleTable":"<key>"}.

import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { parseArgs } from 'node:util'

import { build, buildDemo, buildRelay } from './build.mjs'
import { JsonProcess } from './lib/json-process.mjs'
import { Failure, main, root, say } from './lib/run.mjs'
import { serveStatic } from './lib/static-server.mjs'
import { ensureTools } from './setup.mjs'

const DEFAULT_PORT = 8470

/** How long the relay and the sample peer may take to join the network. */
const START_MS = 120_000

/** How long children get to clean up after themselves before they are killed. */
const STOP_MS = 3_000

/** A Ctrl-C reaches the children too: their end must not look like a failure before it is seen here. */
const SETTLE_MS = 100

// The children's temporary files go with this process, however the children end.
const scratch = mkdtempSync(join(tmpdir(), 'hypertab-start-'))
process.on('exit', () => rmSync(scratch, { recursive: true, force: true }))

const children = []
let stopping = false

// Also while it builds: a signal alone ends a process without what is to be done at its exit.
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => stop(0))

await main(async () => {
  const { port, isPublic } = readArguments()
  await checkPort(port)
  await ensureTools()
  await build()
  const relayProgram = process.env.HYPERTAB_RELAY ?? await buildRelay()
  await buildDemo()

  say(isPublic ? 'starting the relay on the public HyperDHT' : 'starting the relay with a network of its own')
  const relay = start('the relay', relayProgram, ['--listen', '127.0.0.1:0', '--mirror-directory', join(scratch, 'copies'), ...(isPublic ? [] : ['--testnet'])])
  const { url: relayUrl } = await relay.next('listening', { patience: START_MS })
  const bootstrap = isPublic ? [] : (await relay.next('testnet', { patience: START_MS })).bootstrap

  say('starting the sample peer')
  const samplePeer = start('the sample peer', 'node', [
    join(root, 'scripts', 'sample-peer.mjs'),
    ...bootstrap.flatMap((address) => ['--bootstrap', address])
  ])
  const sample = await samplePeer.next('ready', { patience: START_MS })

  const config = { relay: relayUrl, network: isPublic ? 'public' : 'local', sample: sample.key, sampleDrive: sample.drive, sampleTable: sample.table }
  const server = await serveStatic({
    '/': join(root, 'web-demo', 'dist'),
    '/config.json': { type: 'application/json; charset=utf-8', body: JSON.stringify(config) }
  }, { port })
  console.log(`
  page         ${server.url}
  relay        ${relayUrl}
  sample core  ${sample.key}, ${sample.length} blocks
  drive        ${sample.drive}
  table        ${sample.table}

  Ctrl-C stops all of it.
`)
})

function readArguments () {
  let values
  try {
    values = parseArgs({ options: { public: { type: 'boolean', default: false }, port: { type: 'string' } } }).values
  } catch (error) {
    throw new Failure(`${error.message}; npm start takes --public and --port N, after a --`)
  }
  const port = Number(values.port ?? DEFAULT_PORT)
  if (!Number.isInteger(port) || port < 0 || port > 65535) throw new Failure(`--port takes a number up to 65535, not ${values.port}`)
  return { port, isPublic: values.public }
}

// Before minutes of building, not after.
async function checkPort (port) {
  const server = createServer()
  try {
    server.listen(port, '127.0.0.1')
    await once(server, 'listening')
  } catch (error) {
    throw new Failure(`port ${port} cannot be used (${error.code}); choose another: npm start -- --port 8000`)
  }
  server.close()
  await once(server, 'close')
}

function start (what, program, args) {
  const child = new JsonProcess(program, args, { env: { TMPDIR: scratch } })
  children.push(child)
  child.exited.then(async ({ code, signal }) => {
    await setTimeout(SETTLE_MS)
    if (stopping) return
    process.stderr.write(`\nfailed: ${what} ended with ${signal ?? `code ${code}`}\n${child.stderr}`)
    await stop(1)
  })
  return child
}

async function stop (code) {
  stopping = true
  for (const child of children) child.stop()
  await Promise.race([setTimeout(STOP_MS), Promise.all(children.map((child) => child.exited))])
  process.exit(code)
}
