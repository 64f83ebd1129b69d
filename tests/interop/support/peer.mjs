// An upstream peer as a process of its own: unmodified hypercore and hyperswarm, told what to do by JSON
// lines on stdin, one reply a command on stdout.
//
//   {"id":1,"do":"open","version":11,"key":null}       one core; key as hex, null for a writable one
//   {"id":2,"do":"seed","count":200,"size":1024}       deterministic blocks, see upstream.mjs
//   {"id":3,"do":"append","blocks":["text"]}
//   {"id":4,"do":"forge","indexes":[3]}                lie about these blocks, or about all without indexes
//   {"id":5,"do":"listen"} / {"do":"connect","port":1} TCP
//   {"id":6,"do":"swarm","bootstrap":["127.0.0.1:1"],"server":true,"client":true}   join the core's discovery key
//   {"id":7,"do":"download","start":0,"end":200}       waits until every block is here
//   {"id":8,"do":"get","index":5}                      {"hex": "…"}
//   {"id":9,"do":"info"}                               see summary() in upstream.mjs
//   {"id":10,"do":"update"}                            waits for the peers' news, then info
//
// Unasked: {"event":"append","length":5}, {"event":"peer","count":1}.

import { createInterface } from 'node:readline'

import { connect, listen } from './tcp.mjs'
import { createSwarm } from './testnet.mjs'
import { createCore, forgeBlocks, seed, summary } from './upstream.mjs'

const undo = []
const life = { after: (step) => { undo.push(step) } }
let core = null

const commands = {
  async open ({ version = 11, key = null }) {
    core = await createCore(life, { version, key: key && Buffer.from(key, 'hex') })
    core.on('append', () => say({ event: 'append', length: core.length }))
    core.on('peer-add', () => say({ event: 'peer', count: core.peers.length }))
    core.on('peer-remove', () => say({ event: 'peer', count: core.peers.length }))
    return await summary(core)
  },
  async seed ({ count, size }) {
    await seed(core, count, size)
    return await summary(core)
  },
  async append ({ blocks }) {
    await core.append(blocks.map((text) => Buffer.from(text)))
    return await summary(core)
  },
  forge ({ indexes = null }) {
    forgeBlocks(core, (index) => indexes === null || indexes.includes(index))
  },
  async listen () {
    return { port: await listen(life, core) }
  },
  async connect ({ port }) {
    await connect(life, core, port)
  },
  async swarm ({ bootstrap, server = true, client = true }) {
    const swarm = createSwarm(life, { bootstrap })
    swarm.on('connection', (connection) => {
      connection.on('error', () => {})
      core.replicate(connection)
    })
    const discovery = swarm.join(core.discoveryKey, { server, client })
    await discovery.flushed()
    return { publicKey: swarm.keyPair.publicKey.toString('hex') }
  },
  async download ({ start = 0, end }) {
    await core.download({ start, end }).done()
    return await summary(core)
  },
  async get ({ index }) {
    return { hex: Buffer.from(await core.get(index)).toString('hex') }
  },
  async info () {
    return await summary(core)
  },
  async update () {
    await core.update({ wait: true })
    return await summary(core)
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  const { id, do: command, ...fields } = JSON.parse(line)
  answer(id, command, fields)
}
for (const step of undo.reverse()) await step()
process.exit(0)

// Not awaited by the loop: a download may wait for blocks that a later command brings.
async function answer (id, command, fields) {
  try {
    say({ id, result: (await commands[command](fields)) ?? null })
  } catch (error) {
    say({ id, error: error.message })
  }
}

function say (message) {
  process.stdout.write(JSON.stringify(message) + '\n')
}
