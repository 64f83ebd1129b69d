// A log that whoever knows its key can follow: each line that is typed becomes a block.

import Hypercore from 'hypercore'
import Hyperswarm from 'hyperswarm'

import { network, say, typed } from './network.mjs'

const core = new Hypercore(process.argv[2])
const swarm = new Hyperswarm(network)
await core.ready()

swarm.on('connection', (connection) => core.replicate(connection))
await swarm.join(core.discoveryKey).flushed()
say('key', { key: core.key.toString('hex'), length: core.length })

for await (const line of typed()) {
  await core.append(line)
  say('appended', { length: core.length })
}
await swarm.destroy()
await core.close()
