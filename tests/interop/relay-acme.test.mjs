// A certificate that the relay fetches by itself, from Let's Encrypt's own test authority (pebble).

import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import { get } from 'node:https'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'

import RelayedDHT from '@hyperswarm/dht-relay'
import RelayStream from '@hyperswarm/dht-relay/ws'
import WebSocket from 'ws'

import { makeCertificate } from './support/certificates.mjs'
import { defer } from './support/cleanup.mjs'
import { temporaryFolder } from './support/folder.mjs'
import { freePort } from './support/ports.mjs'
import { startProcess } from './support/process.mjs'
import { missing } from './support/programs.mjs'
import { startRelay } from './support/relay.mjs'

const NAME = 'relay.example.org'

test('a certificate is fetched over the port of the WebSockets, and is there after a restart without the authority', {
  timeout: 120_000,
  skip: missing('pebble', 'pebble-challtestsrv', 'openssl')
}, async (t) => {
  const folder = temporaryFolder(t)
  const port = await freePort()
  const authority = await startAuthority(t, folder, port)
  const options = {
    listen: `127.0.0.1:${port}`,
    testnet: true,
    args: ['--acme-domains', NAME, '--acme-contact', 'operator@example.org', '--acme-directory', authority.directory,
      '--acme-root', authority.root, '--acme-cache', join(folder, 'acme')]
  }
  const relay = await startRelay(t, options)
  assert.match(relay.url, /^wss:/)
  const ca = await authority.issuer()
  const first = await certificate(port, ca, relay)

  assert.equal(first.subjectaltname, `DNS:${NAME}`)
  await works(t, port, ca)

  await relay.process.kill()
  await authority.stop()
  const again = await startRelay(t, options)
  assert.equal((await certificate(port, ca, again)).fingerprint256, first.fingerprint256)
  await works(t, port, ca)
})

/** Starts an authority that looks for its proofs on a port of loopback, whatever the name. */
async function startAuthority (t, folder, port) {
  const [acme, management, dns, control] = await Promise.all(Array.from({ length: 4 }, freePort))
  const { root, certificate, key } = makeCertificate(folder, ['DNS:localhost', 'IP:127.0.0.1'])
  const config = join(folder, 'pebble.json')
  writeFileSync(config, JSON.stringify({
    pebble: {
      listenAddress: `127.0.0.1:${acme}`,
      managementListenAddress: `127.0.0.1:${management}`,
      certificate,
      privateKey: key,
      httpPort: port,
      tlsPort: port,
      ocspResponderURL: '',
      externalAccountBindingRequired: false
    }
  }))
  startProcess(t, 'pebble-challtestsrv', ['-defaultIPv4', '127.0.0.1', '-defaultIPv6', '', '-dns01', `127.0.0.1:${dns}`,
    '-http01', '', '-https01', '', '-tlsalpn01', '', '-management', `127.0.0.1:${control}`])
  const pebble = startProcess(t, 'pebble', ['-config', config, '-dnsserver', `127.0.0.1:${dns}`], {
    env: { PEBBLE_VA_NOSLEEP: '1', PEBBLE_WFE_NONCEREJECT: '0' }
  })
  const ca = readFileSync(root)
  const issuer = () => text(`https://127.0.0.1:${management}/roots/0`, ca)
  for (let tries = 0; ; tries++) {
    try {
      await issuer()
      break
    } catch (error) {
      if (tries > 100) throw error
      await sleep(100)
    }
  }
  return { directory: `https://127.0.0.1:${acme}/dir`, root, issuer, stop: () => pebble.kill() }
}

/** Waits for the relay to have a certificate, and returns it. */
async function certificate (port, ca, relay) {
  for (let tries = 0; ; tries++) {
    const socket = open(port, ca)
    const outcome = await once(socket, 'open').then(() => null, (error) => error)
    if (outcome === null) {
      const found = socket._socket.getPeerCertificate()
      socket.terminate()
      return found
    }
    assert.ok(tries < 150, `${outcome.message}\n${relay.process.stderr}`)
    await sleep(200)
  }
}

function open (port, ca) {
  return new WebSocket(`wss://127.0.0.1:${port}`, { ca, servername: NAME }).on('error', () => {})
}

async function works (t, port, ca) {
  const dht = new RelayedDHT(new RelayStream(true, open(port, ca)), { custodial: false })
  defer(t, () => dht.destroy({ force: true }))
  await dht.ready()
  for await (const _ of dht.lookup(randomBytes(32))) ;
}

function text (url, ca) {
  return new Promise((resolve, reject) => {
    get(url, { ca }, async (response) => {
      let body = ''
      for await (const chunk of response) body += chunk
      resolve(body)
    }).on('error', reject)
  })
}
