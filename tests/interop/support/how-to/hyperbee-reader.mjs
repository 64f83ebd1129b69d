// Looks up words that are typed; reads blocks as they are, too.

import Corestore from 'corestore'
import Hyperbee from 'hyperbee'
import { Node } from 'hyperbee/lib/messages.js'
import Hyperswarm from 'hyperswarm'

import { network, say, typed } from './network.mjs'

const store = new Corestore(process.argv[2])
const swarm = new Hyperswarm(network)
swarm.on('connection', (connection) => store.replicate(connection))

const core = store.get({ key: Buffer.from(process.argv[3], 'hex') })
const bee = new Hyperbee(core, { keyEncoding: 'utf-8', valueEncoding: 'utf-8' })
await core.ready()
swarm.join(core.discoveryKey)
const foundPeers = store.findingPeers()
swarm.flush().then(() => foundPeers())
await bee.update()

const last = Node.decode(await core.get(core.length - 1))
say('opened', { length: core.length, key: String(last.key), value: String(last.value) })

core.on('append', () => { say('updated', { version: bee.version }) })
for await (const word of typed()) {
  const entry = await bee.get(word)
  say('found', { word, value: entry && entry.value, isSparse: core.contiguousLength < core.length })
}
await swarm.destroy()
await store.close()
