// Clocks that are set while the relay runs: what has a date is judged by the new time, and everything else goes on.

import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'

import RelayedDHT from '@hyperswarm/dht-relay'
import RelayStream from '@hyperswarm/dht-relay/ws'
import WebSocket from 'ws'

import { defer } from './support/cleanup.mjs'
import { startEcho } from './support/dht-node.mjs'
import { temporaryFolder } from './support/folder.mjs'
import { startProcess } from './support/process.mjs'
import { missing } from './support/programs.mjs'
import { openSocket, send } from './support/raw-client.mjs'
import { startNative } from './support/relayed.mjs'
import { relayProgram } from './support/relay.mjs'

const SECRET = 'a secret that nobody guesses'
const HOUR = 3600

test('a clock that is set forward and back ends tokens and bans, and no stream, announce or timer', {
  timeout: 120_000,
  skip: missing('faketime')
}, async (t) => {
  const clock = await startClock(t)
  const relay = await startUnder(t, clock, ['--access-token-secret', SECRET, '--ban-after', '1', '--ban-time', '2h'])
  const token = execFileSync(await relayProgram(), ['token', '--access-token-secret', SECRET, '--for', '1h']).toString().trim()
  const address = `${relay.url}?token=${token}`
  const native = await startNative(t, relay)
  const server = await startEcho(t, native)
  const { dht } = await client(t, address)
  const stream = dht.connect(server.publicKey)
  stream.on('error', () => {})
  await once(stream, 'open')
  const listening = dht.createServer((stream) => { stream.on('error', () => {}) })
  await listening.listen()
  const works = async () => {
    const words = randomBytes(50_000)
    stream.write(words)
    for (let received = 0; received < words.byteLength;) received += (await once(stream, 'data'))[0].byteLength
    for await (const _ of dht.lookup(randomBytes(32))) ;
    const call = native.connect(listening.publicKey)
    await once(call, 'open')
    call.destroy()
  }
  await works()

  for (const hours of [48, -48, 2, 0]) {
    clock.set(hours * HOUR)
    await works()
    const isOver = hours > 0
    if (isOver) assert.match(await refusal(address), /401/, `${hours} hours on`)
    else await client(t, address)
  }

  const hostile = await openSocket(t, address)
  send(hostile, '00ff')
  await once(hostile, 'close')
  assert.match(await refusal(address), /403/)
  await works()
  clock.set(3 * HOUR)
  assert.match(await refusal(address), /401/, 'the ban is over, and so is the token')
  await works()
})

/** A clock that programs are shown, which starts at the real time. */
async function startClock (t) {
  const file = join(temporaryFolder(t), 'clock')
  const library = execFileSync('faketime', ['0', 'sh', '-c', 'echo $LD_PRELOAD']).toString().trim()
  const set = (seconds) => writeFileSync(file, `${seconds < 0 ? '' : '+'}${seconds}`)
  set(0)
  // Only what is read as a date; timers go by a clock that nobody sets.
  return { set, env: { LD_PRELOAD: library, FAKETIME_TIMESTAMP_FILE: file, FAKETIME_NO_CACHE: '1', FAKETIME_DONT_FAKE_MONOTONIC: '1' } }
}

async function startUnder (t, clock, args) {
  const child = startProcess(t, await relayProgram(), ['--listen', '127.0.0.1:0', '--testnet', ...args], { env: clock.env })
  const { url } = await child.next('listening')
  const { bootstrap } = await child.next('testnet')
  return { url, bootstrap, process: child }
}

async function client (t, url) {
  const socket = new WebSocket(url)
  socket.on('error', () => {})
  const dht = new RelayedDHT(new RelayStream(true, socket), { custodial: false })
  defer(t, () => dht.destroy({ force: true }))
  await dht.ready()
  return { dht, socket }
}

async function refusal (url) {
  const [error] = await once(new WebSocket(url), 'error')
  return error.message
}
