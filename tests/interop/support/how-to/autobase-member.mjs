// One of several who write a list of messages; whoever is a writer may let others be.

import Autobase from 'autobase'
import Corestore from 'corestore'
import Hyperswarm from 'hyperswarm'

import { network, say, typed } from './network.mjs'

const [, , folder, bootstrap = null] = process.argv
const store = new Corestore(folder)
const swarm = new Hyperswarm(network)
swarm.on('connection', (connection) => base.replicate(connection))

const base = new Autobase(store, bootstrap && Buffer.from(bootstrap, 'hex'), {
  valueEncoding: 'json',
  ackInterval: 100,
  open: (store) => store.get('messages', { valueEncoding: 'json' }),
  async apply (nodes, view, host) {
    for (const { value } of nodes) {
      if (value.add) await host.addWriter(Buffer.from(value.add, 'hex'), { indexer: true })
      else await view.append(value)
    }
  }
})
await base.ready()
await swarm.join(base.discoveryKey).flushed()
say('key', { key: base.key.toString('hex'), local: base.local.key.toString('hex') })

const tell = async () => {
  const messages = []
  for (let i = 0; i < base.view.length; i++) messages.push((await base.view.get(i)).text)
  say('view', { messages, signed: base.view.signedLength, writable: base.writable })
}
// A view that changes while it is read is told again.
base.on('update', () => { tell().catch(() => {}) })
base.on('writable', () => { tell().catch(() => {}) })
await tell()

for await (const value of typed()) await base.append(value)
await swarm.destroy()
await base.close()
await store.close()
