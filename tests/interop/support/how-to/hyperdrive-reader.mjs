// Keeps a folder as a drive is that somebody else writes.

import Corestore from 'corestore'
import Hyperbee from 'hyperbee'
import Hyperdrive from 'hyperdrive'
import Hyperswarm from 'hyperswarm'
import Localdrive from 'localdrive'

import { network, say } from './network.mjs'

const store = new Corestore(process.argv[2])
const swarm = new Hyperswarm(network)
swarm.on('connection', (connection) => store.replicate(connection))

const local = new Localdrive(process.argv[3])
const drive = new Hyperdrive(store, Buffer.from(process.argv[4], 'hex'))
await drive.ready()

// A mirror that begins while another runs waits for it.
let running = Promise.resolve()
const mirror = () => { running = running.then(mirrorDrive) }
drive.core.on('append', mirror)

const foundPeers = store.findingPeers()
swarm.join(drive.core.discoveryKey, { client: true, server: false })
swarm.flush().then(() => foundPeers())
mirror()

async function mirrorDrive () {
  const mirror = drive.mirror(local)
  await mirror.done()
  // The entries of a drive are a bee that can be read by itself.
  const bee = new Hyperbee(store.get({ key: drive.key }), { keyEncoding: 'utf-8', valueEncoding: 'json' }).sub('files')
  const files = []
  for await (const { key } of bee.createReadStream()) files.push(key)
  say('mirrored', { count: mirror.count, version: drive.version, files })
}
