// Relays that keep copies, and who asks them to.

import Corestore from 'corestore'
import Hyperdrive from 'hyperdrive'
import { BlindPeering, Corestore as OurStore, DHT, Hyperswarm, findMirror, memory } from 'hypertab'

import { eventually } from './both.mjs'
import { defer } from './cleanup.mjs'
import { temporaryFolder } from './folder.mjs'
import { relayFigures, startRelay } from './relay.mjs'
import { createSwarm } from './testnet.mjs'

/** Starts a relay that keeps copies in a folder. */
export async function startMirror (t, { bootstrap, folder = temporaryFolder(t), args = [], ...options }) {
  const relay = await startRelay(t, { bootstrap, args: ['--allow-private', '--mirror-directory', folder, ...args], ...options })
  return { ...relay, folder, info: await findMirror(relay.url) }
}

/** Stops a relay in order, and waits until it is gone. */
export async function stop (relay) {
  process.kill(relay.process.pid, 'SIGTERM')
  await relay.process.exited
}

/** Opens our side of things behind a relay: a store, a swarm that replicates it, and whoever asks for copies. */
export async function startClient (t, relay, { seed, keys = [relay.info.publicKey] } = {}) {
  const dht = new DHT({ relay: relay.url, webrtc: false, ...(seed ? { seed } : {}) })
  const swarm = new Hyperswarm({ dht })
  const store = new OurStore(memory())
  const blind = new BlindPeering(dht, store, { keys })
  swarm.on('connection', (connection) => {
    connection.on('error', () => {})
    store.replicate(connection)
  })
  const close = async () => {
    await blind.close()
    await swarm.destroy({ force: true })
    await store.close()
  }
  let closing
  const client = { dht, swarm, store, blind, close: () => (closing ??= close()) }
  defer(t, client.close)
  await dht.ready()
  return client
}

/** Opens an unmodified upstream drive that finds its peers by itself. */
export async function readDrive (t, bootstrap, key, options = {}) {
  const store = new Corestore(temporaryFolder(t))
  defer(t, () => store.close())
  const drive = new Hyperdrive(store, key, options)
  await drive.ready()
  const swarm = createSwarm(t, { bootstrap })
  swarm.on('connection', (connection) => {
    connection.on('error', () => {})
    store.replicate(connection)
  })
  swarm.join(drive.discoveryKey, { server: false })
  // Found, connected, and told how long the drive is.
  await eventually(() => drive.core.length > 1, 'somebody has the drive', 30_000)
  return { drive, swarm, store }
}

/** Reads the figures of a relay that begin with `mirror_`, as they are called without it. */
export async function figures (relay) {
  const mirror = Object.entries(await relayFigures(relay)).filter(([name]) => name.startsWith('mirror_'))
  return Object.fromEntries(mirror.map(([name, value]) => [name.slice('mirror_'.length), value]))
}
