// Follows the logs that another one names.

import Corestore from 'corestore'
import Hyperswarm from 'hyperswarm'

import { network, say } from './network.mjs'

const store = new Corestore(process.argv[2])
const swarm = new Hyperswarm(network)
swarm.on('connection', (connection) => store.replicate(connection))

const core = store.get({ key: Buffer.from(process.argv[3], 'hex'), valueEncoding: 'json' })
await core.ready()
const foundPeers = store.findingPeers()
swarm.join(core.discoveryKey)
swarm.flush().then(() => foundPeers())
await core.update()
if (core.length === 0) throw new Error('could not connect to the writer')

const { otherKeys } = await core.get(0)
for (const [place, key] of otherKeys.entries()) {
  const other = store.get({ key: Buffer.from(key, 'hex') })
  other.on('append', () => {
    const index = other.length - 1
    other.get(index).then((block) => { say('block', { place, index, text: String(block) }) })
  })
  await other.ready()
}
say('following', { otherKeys })
