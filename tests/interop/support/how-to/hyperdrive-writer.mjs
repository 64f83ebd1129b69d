// A folder whose files are put into a drive whenever a line is typed.

import Corestore from 'corestore'
import Hyperdrive from 'hyperdrive'
import Hyperswarm from 'hyperswarm'
import Localdrive from 'localdrive'

import { network, say, typed } from './network.mjs'

const store = new Corestore(process.argv[2])
const swarm = new Hyperswarm(network)
swarm.on('connection', (connection) => store.replicate(connection))

const local = new Localdrive(process.argv[3])
const drive = new Hyperdrive(store)
await drive.ready()
await swarm.join(drive.discoveryKey).flushed()
say('key', { key: drive.key.toString('hex') })

for await (const _ of typed()) {
  const mirror = local.mirror(drive)
  await mirror.done()
  say('mirrored', { count: mirror.count })
}
await swarm.destroy()
await drive.close()
