// Three logs of one store, the first of which names the others.

import Corestore from 'corestore'
import Hyperswarm from 'hyperswarm'

import { network, say, typed } from './network.mjs'

const store = new Corestore(process.argv[2])
const swarm = new Hyperswarm(network)

const core1 = store.get({ name: 'core-1', valueEncoding: 'json' })
const core2 = store.get({ name: 'core-2' })
const core3 = store.get({ name: 'core-3' })
await Promise.all([core1.ready(), core2.ready(), core3.ready()])

if (core1.length === 0) await core1.append({ otherKeys: [core2, core3].map((core) => core.key.toString('hex')) })

swarm.on('connection', (connection) => store.replicate(connection))
await swarm.join(core1.discoveryKey).flushed()
say('key', { key: core1.key.toString('hex'), lengths: [core1.length, core2.length, core3.length] })

for await (const line of typed()) {
  const core = line.length < 5 ? core2 : core3
  await core.append(Buffer.from(line))
  say('appended', { length: core.length })
}
await swarm.destroy()
await store.close()
