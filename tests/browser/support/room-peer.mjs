// A member of a room in Node, made of nothing but upstream's packages and what the page's README says of rooms.

import { EventEmitter } from 'node:events'

import c from 'compact-encoding'
import Corestore from 'corestore'
import crypto from 'hypercore-crypto'
import idEncoding from 'hypercore-id-encoding'
import Protomux from 'protomux'

import { defer } from '../../interop/support/cleanup.mjs'
import { temporaryFolder } from '../../interop/support/folder.mjs'
import { createSwarm } from '../../interop/support/testnet.mjs'

/** Joins a room by its secret, as 52 characters. */
export async function joinRoom (t, bootstrap, id, name, options) {
  const member = new RoomPeer(t, bootstrap, id, name, options)
  await member.start()
  return member
}

class RoomPeer extends EventEmitter {
  constructor (t, bootstrap, id, name, { isMember = true } = {}) {
    super()
    this.secret = idEncoding.decode(id)
    this.name = name
    this.isMember = isMember
    this.cores = new Map()
    this.lines = new Set()
    /** What members told of themselves, by log. */
    this.present = new Map()
    /** Proofs that were asked for and not given. */
    this.refused = 0
    this.store = new Corestore(temporaryFolder(t))
    defer(t, () => this.store.close())
    this.swarm = createSwarm(t, { bootstrap })
  }

  async start () {
    this.own = this.store.get({ name: 'room', encryptionKey: this.derived('encryption') })
    await this.own.ready()
    this.cores.set(this.own.id, this.own)
    this.swarm.on('connection', (connection) => {
      connection.on('error', () => {})
      this.store.replicate(connection)
      this.talk(connection)
    })
    await this.swarm.join(this.derived('topic')).flushed()
  }

  derived (use) {
    return crypto.hash([Buffer.from(`hypertab room: ${use}`), this.secret])
  }

  proof ({ handshakeHash }, isInitiator) {
    return crypto.hash([Buffer.from('hypertab room: member'), this.isMember ? this.secret : Buffer.alloc(32), handshakeHash, Buffer.from([isInitiator ? 1 : 0])])
  }

  talk (connection) {
    const mux = Protomux.from(connection)
    const name = { protocol: 'hypertab/room', id: this.derived('channel') }
    const open = () => {
      const channel = mux.createChannel({
        ...name,
        handshake: c.raw,
        messages: [
          { encoding: c.raw, onmessage: (message) => { for (let at = 0; at < message.length; at += 32) this.meet(message.subarray(at, at + 32)) } },
          { encoding: c.raw.json, onmessage: (presence) => { this.present.set(presence.id, presence) } }
        ],
        onopen: (proof) => {
          if (!proof.equals(this.proof(connection, !connection.isInitiator))) this.refused++
          this.lines.add(channel)
          this.introduce(channel)
        },
        onclose: () => { this.lines.delete(channel); this.emit('closed') }
      })
      channel?.open(this.proof(connection, connection.isInitiator))
    }
    mux.pair(name, open)
    open()
  }

  introduce (channel) {
    channel.messages[0].send(Buffer.concat([...this.cores.values()].map(({ key }) => key)))
    channel.messages[1].send({ id: this.own.id, name: this.name, isTyping: false })
  }

  async meet (key) {
    const id = idEncoding.encode(key)
    if (this.cores.has(id)) return
    const core = this.store.get({ key, encryptionKey: this.derived('encryption') })
    this.cores.set(id, core)
    await core.ready()
    core.download({ start: 0, end: -1 })
    for (const channel of this.lines) this.introduce(channel)
  }

  async write (operation) {
    const clock = Math.max(0, ...(await this.operations()).map(({ clock }) => clock)) + 1
    await this.own.append(Buffer.from(JSON.stringify({ clock, time: Date.now(), name: this.name, ...operation })))
    return `${this.own.id}:${this.own.length - 1}`
  }

  /** Everything that is here, in order. */
  async operations () {
    const all = []
    for (const [author, core] of this.cores) {
      for (let index = 0; index < core.length; index++) {
        if (await core.has(index)) all.push({ author, index, ...JSON.parse(await core.get(index)) })
      }
    }
    return all.sort((a, b) => a.clock - b.clock || (a.author < b.author ? -1 : 1))
  }

  /** What was said, in order. */
  async said () {
    return (await this.operations()).filter(({ op }) => op === 'say').map(({ name, text }) => `${name}: ${text}`)
  }
}
