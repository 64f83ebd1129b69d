// A hostile peer: upstream's encrypted streams, channels and messages, around answers that are changed on their way out.

import SecretStream from '@hyperswarm/secret-stream'
import caps from 'hypercore/lib/caps.js'
import messages from 'hypercore/lib/messages.js'
import Protomux from 'protomux'

import { serve } from './tcp.mjs'

const { wire } = messages

/** The messages of a core's channel, in the order of their numbers. */
const KINDS = ['sync', 'request', 'cancel', 'data', 'noData', 'want', 'unwant', 'bitfield', 'range', 'extension']

/**
 * Serves a core of upstream's, with lies.
 *
 * @param {import('./cleanup.mjs').Life} t
 * @param {import('hypercore')} core what is told where nothing is changed
 * @param {{
 *   capability?: (capability: Buffer) => Buffer,
 *   sync?: (sync: object) => object,
 *   data?: (data: object) => object | null,
 *   onopen?: (liar: Liar) => void
 * }} lies
 * @returns {Promise<number>} the port on 127.0.0.1
 */
export function startLiar (t, core, lies) {
  return serve(t, (socket) => new Liar(socket, core, lies))
}

class Liar {
  #core
  #lies
  #send

  constructor (socket, core, lies) {
    this.#core = core
    this.#lies = lies
    this.socket = socket
    this.stream = new SecretStream(false, null)
    const raw = this.stream.rawStream
    socket.on('error', () => {}).on('close', () => this.stream.destroy())
    raw.on('error', () => {}).on('close', () => socket.destroy())
    this.stream.on('error', () => {})
    socket.pipe(raw).pipe(socket)
    this.mux = Protomux.from(this.stream)
    this.stream.once('connect', () => this.#open())
  }

  /** Sends a message of the channel. */
  send (kind, message) {
    return this.#send[kind].send(message)
  }

  /** Sends a frame of the channel with bytes of any kind, which no encoder would make. */
  sendRaw (kind, bytes) {
    this.stream.write(Buffer.concat([Buffer.from([this.channel._localId, typeof kind === 'number' ? kind : KINDS.indexOf(kind)]), bytes]))
  }

  #open () {
    const on = { request: (request) => this.#answer(request), sync: () => {} }
    this.channel = this.mux.createChannel({
      protocol: 'hypercore/alpha',
      id: this.#core.discoveryKey,
      handshake: wire.handshake,
      messages: KINDS.map((kind) => ({ encoding: wire[kind], onmessage: on[kind] ?? (() => {}) })),
      onopen: () => this.#greet()
    })
    this.#send = Object.fromEntries(KINDS.map((kind, i) => [kind, this.channel.messages[i]]))
    const { isInitiator, handshakeHash } = this.stream
    const capability = caps.replicate(isInitiator, this.#core.key, handshakeHash)
    this.channel.open({ seeks: true, capability: this.#lies.capability?.(capability) ?? capability })
  }

  #greet () {
    const { fork, length } = this.#core
    const sync = { fork, length, remoteLength: 0, canUpgrade: true, uploading: true, downloading: true, hasManifest: true, allowPush: false }
    this.send('sync', this.#lies.sync?.(sync) ?? sync)
    this.send('range', { drop: false, start: 0, length })
    this.#lies.onopen?.(this)
  }

  async #answer ({ id, fork, block, hash, seek, upgrade, manifest }) {
    // A core of this length has no proof that starts elsewhere: whoever made us ask for it gets the whole head.
    const known = upgrade && upgrade.start + upgrade.length > this.#core.length ? { start: 0, length: this.#core.length } : upgrade
    const proof = await this.#core.proof({ block, hash, seek, upgrade: known }).catch(() => null)
    if (proof === null) return this.send('noData', { request: id, reason: 1 })
    if (proof.block) proof.block.value = await this.#core.get(proof.block.index, { raw: true })
    const data = { request: id, fork, ...proof, manifest: manifest ? this.#core.manifest : null }
    const told = this.#lies.data ? this.#lies.data(data) : data
    if (told !== null && !this.channel.closed) this.send('data', told)
  }
}
