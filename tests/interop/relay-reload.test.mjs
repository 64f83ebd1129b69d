// SIGHUP: what an operator changes is in force, and nobody is dropped who may stay.

import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'

import RelayedDHT from '@hyperswarm/dht-relay'
import RelayStream from '@hyperswarm/dht-relay/ws'
import DHT from 'hyperdht'
import WebSocket from 'ws'

import { defer } from './support/cleanup.mjs'
import { startEcho } from './support/dht-node.mjs'
import { temporaryFolder } from './support/folder.mjs'
import { freePort } from './support/ports.mjs'
import { startProcess } from './support/process.mjs'
import { startNative } from './support/relayed.mjs'
import { relayProgram } from './support/relay.mjs'

const SECRETS = ['a secret that nobody guesses', 'another one that nobody guesses']

test('lists and limits change under the links that are open, and streams go on', async (t) => {
  const relay = await startWith(t, '')
  const [friend, foe] = [DHT.keyPair(), DHT.keyPair()]
  const [kept, denied] = [await open(t, relay, friend), await open(t, relay, foe)]
  const native = await startNative(t, relay)
  const server = await startEcho(t, native)
  const stream = kept.dht.connect(server.publicKey)
  stream.on('error', () => {})
  await once(stream, 'open')

  const closed = once(denied.socket, 'close')
  await relay.reload(`[access]\ndeny-keys = ["${foe.publicKey.toString('hex')}"]\n[per-address]\nlinks = 2\n`)

  const [code, reason] = await closed
  assert.equal(code, 1008)
  assert.match(reason.toString(), /key/)
  stream.write('still here')
  const [data] = await once(stream, 'data')
  assert.equal(String(data), 'still here')
  assert.equal(kept.socket.readyState, WebSocket.OPEN)
  await open(t, relay, DHT.keyPair())
  assert.match(await refusal(relay.url), /429/)

  await relay.reload('')
  await open(t, relay, foe)
})

test('a new secret is asked for, and a token that is revoked ends its link', async (t) => {
  const relay = await startWith(t, `[access]\ntoken-secret = "${SECRETS[0]}"\n`)
  const make = async (secret) => execFileSync(await relayProgram(), ['token', '--access-token-secret', secret]).toString().trim()
  const [old, next] = [await make(SECRETS[0]), await make(SECRETS[1])]
  const { socket } = await open(t, relay, DHT.keyPair(), `?token=${old}`)

  await relay.reload(`[access]\ntoken-secret = "${SECRETS[1]}"\n`)
  assert.match(await refusal(`${relay.url}?token=${old}`), /401/)
  await open(t, relay, DHT.keyPair(), `?token=${next}`)
  assert.equal(socket.readyState, WebSocket.OPEN)

  const closed = once(socket, 'close')
  await relay.reload(`[access]\ntoken-secret = "${SECRETS[1]}"\nrevoked-tokens = ["${tokenId(old)}"]\n`)
  assert.equal((await closed)[0], 1008)
})

test('a mistake leaves everything as it was, and what takes a restart is named', async (t) => {
  const relay = await startWith(t, '[per-address]\nlinks = 1\n')
  const { socket } = await open(t, relay, DHT.keyPair())
  const { listen } = relay

  await relay.reload('[per-address]\nlinks = "many"\n', /left as they were.*links/)
  assert.match(await refusal(relay.url), /429/)
  await relay.reload('[per-address]\nlinks = 2\n', /read again/, listen.replace('127.0.0.1', '127.0.0.2'))
  assert.match(relay.process.stderr, /take a restart settings=listen/)
  assert.equal(socket.readyState, WebSocket.OPEN)
  await open(t, relay, DHT.keyPair())
})

/** Starts a relay with a file of settings, which `reload` replaces. */
async function startWith (t, settings) {
  const file = join(temporaryFolder(t), 'relay.toml')
  const listen = `127.0.0.1:${await freePort()}`
  const write = (text, address = listen) => writeFileSync(file, `listen = "${address}"\ntestnet = true\n${text}`)
  write(settings)
  const child = startProcess(t, await relayProgram(), ['--config', file])
  const { url } = await child.next('listening')
  const { bootstrap } = await child.next('testnet')
  const reload = async (text, wanted = /read again/, address = listen) => {
    write(text, address)
    const seen = child.stderr.length
    process.kill(child.pid, 'SIGHUP')
    for (let tries = 0; !wanted.test(child.stderr.slice(seen)); tries++) {
      assert.ok(tries < 200, child.stderr)
      await sleep(20)
    }
  }
  return { url, bootstrap, process: child, listen, reload }
}

/** Connects as a client with this key, and uses the DHT. */
async function open (t, relay, keyPair, query = '') {
  const socket = new WebSocket(relay.url + query)
  socket.on('error', () => {})
  const dht = new RelayedDHT(new RelayStream(true, socket), { custodial: false, keyPair })
  defer(t, () => dht.destroy({ force: true }))
  await dht.ready()
  for await (const _ of dht.lookup(keyPair.publicKey)) ;
  assert.equal(socket.readyState, WebSocket.OPEN)
  return { dht, socket }
}

/** The part of a token that names it, before its signature. */
function tokenId (token) {
  return token.split('.').at(-2)
}

async function refusal (url) {
  const [error] = await once(new WebSocket(url), 'error')
  return error.message
}
