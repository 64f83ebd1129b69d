// Follows a log from where it was when this began.

import Hypercore from 'hypercore'
import Hyperswarm from 'hyperswarm'

import { network, say } from './network.mjs'

const core = new Hypercore(process.argv[2], process.argv[3])
const swarm = new Hyperswarm(network)
await core.ready()

const foundPeers = core.findingPeers()
swarm.on('connection', (connection) => core.replicate(connection))
swarm.join(core.discoveryKey)
swarm.flush().then(() => foundPeers())
await core.update()

let position = core.length
say('skipped', { length: position })
for await (const block of core.createReadStream({ start: position, live: true })) say('block', { index: position++, text: String(block) })
