// A dictionary that is written once, and words that are typed.

import Corestore from 'corestore'
import Hyperbee from 'hyperbee'
import Hyperswarm from 'hyperswarm'

import { network, say, typed } from './network.mjs'

const store = new Corestore(process.argv[2])
const swarm = new Hyperswarm(network)
swarm.on('connection', (connection) => store.replicate(connection))

const core = store.get({ name: 'dictionary' })
const bee = new Hyperbee(core, { keyEncoding: 'utf-8', valueEncoding: 'utf-8' })
await core.ready()
await swarm.join(core.discoveryKey).flushed()

if (core.length <= 1) {
  const batch = bee.batch()
  for (let i = 0; i < 2000; i++) await batch.put(`word-${String(i).padStart(4, '0')}`, `means ${i}`)
  await batch.flush()
}
say('key', { key: core.key.toString('hex'), length: core.length })

for await (const { word, meaning } of typed()) {
  await bee.put(word, meaning)
  say('put', { version: bee.version })
}
await swarm.destroy()
await store.close()
