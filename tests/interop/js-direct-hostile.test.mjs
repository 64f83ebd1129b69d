// Signals of a direct path from a peer that wants to tire this end out: sessions, descriptions and candidates without end, and a text
// that says how much memory it would like.

import assert from 'node:assert/strict'
import test from 'node:test'

import { Hypercore, memory, Protomux } from 'hypertab'

import { eventually } from './support/both.mjs'
import { defer } from './support/cleanup.mjs'
import { startRelay } from './support/relay.mjs'
import { createOurSwarm } from './support/swarms.mjs'

const TOPIC = Buffer.alloc(32, 7)

/** What a page has, as far as it is used, counting. */
class Session {
  static all = []
  remoteDescription = null
  localDescription = { type: 'answer', sdp: 'x' }
  descriptions = 0
  candidates = 0
  data = { readyState: 'connecting', bufferedAmount: 0 }

  constructor () { Session.all.push(this) }
  createDataChannel () { return this.data }
  async createAnswer () { return this.localDescription }
  async setLocalDescription () {}
  async setRemoteDescription (description) { this.descriptions++; this.remoteDescription = description }
  async addIceCandidate () { this.candidates++ }
  close () {}
}

test('a peer makes this end begin, keep and allocate no more than it has to', async (t) => {
  const relay = await startRelay(t, { testnet: true })
  const core = new Hypercore(memory())
  defer(t, () => core.close())
  await core.append(['a', 'b'])
  const ours = createOurSwarm(t, relay.url, { webrtc: { RTCPeerConnection: Session } })
  const connections = []
  ours.on('connection', (connection) => {
    connections.push(connection)
    core.replicate(connection)
  })
  await ours.join(TOPIC, { client: false }).flushed()

  const theirs = createOurSwarm(t, relay.url, { webrtc: false })
  const copy = new Hypercore(memory(), core.key)
  defer(t, () => copy.close())
  const opened = new Promise((resolve) => {
    theirs.on('connection', (connection) => {
      copy.replicate(connection)
      const channel = Protomux.from(connection).createChannel({ protocol: 'hypertab/direct', messages: [{}], onopen: () => { resolve(channel.messages[0]) } })
      channel.open()
    })
  })
  theirs.join(TOPIC, { server: false })
  const signal = await opened
  const send = (value) => { signal.send(Buffer.from(JSON.stringify(value))) }

  for (let attempt = 1; attempt <= 500; attempt++) send({ attempt, description: { type: 'offer', sdp: 'x' } })
  for (let count = 0; count < 200; count++) {
    send({ attempt: 1, description: { type: 'offer', sdp: 'x' } })
    send({ attempt: 1, candidate: { candidate: String(count) } })
  }
  for (const odd of [null, 7, 'x', [], {}, { attempt: 'x' }, { attempt: 1e308, description: null }]) send(odd)
  assert.equal(String(await copy.get(1)), 'b')

  const [first] = Session.all
  await eventually(() => first.candidates > 0, 'the candidates to be taken')
  assert.ok(Session.all.length < 4, `${Session.all.length} sessions were begun`)
  assert.equal(first.descriptions, 1)
  assert.ok(first.candidates <= 64, `${first.candidates} candidates were taken`)
  first.data.onmessage({ data: '3000000000' })
  await core.append('c')
  assert.equal(String(await copy.get(2)), 'c')
  assert.deepEqual(connections.map(({ path, destroying }) => [path, destroying]), [['relay', false]])
})
