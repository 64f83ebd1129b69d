// The outer side of an encrypted stream: the bytes that travel, in both directions.

import { Duplex } from 'streamx'

import type { LinkHandle } from '../binding.js'
import { bytesFrom, userBytes } from '../platform.js'
import { call } from '../runtime.js'
import { isBytes } from '../support/bytes.js'
import type { Connection } from './connection.js'

/** Bytes that the engine may have on their way to the other side of this stream. */
const CREDIT = 1 << 20

/** A duplex for the transport: pipe it into a socket, and the socket into it. */
export class Bridge extends Duplex {
  readonly noiseStream: Connection
  userData: unknown = null
  bytesReceived = 0
  bytesTransmitted = 0
  #link: LinkHandle | null = null
  #closed = false
  /** Nothing more is written to this side, or to the other. */
  #ended = false
  #finished = false
  /** Bytes read by nobody yet: the engine gets credit for them once they are. */
  #unread = 0
  #waiting: { data: Uint8Array | null, done: (error?: Error | null) => void } | null = null

  constructor (noiseStream: Connection) {
    super()
    this.noiseStream = noiseStream
    // The stream within tells of it. Programs that only pipe this side are not ended by a transport that breaks.
    this.on('error', () => {})
  }

  get publicKey (): Uint8Array | null {
    return this.noiseStream.publicKey
  }

  get remotePublicKey (): Uint8Array | null {
    return this.noiseStream.remotePublicKey
  }

  get handshakeHash (): Uint8Array | null {
    return this.noiseStream.handshakeHash
  }

  /** @internal The engine has a link now. */
  linked (link: LinkHandle): void {
    this.#link = link
    call((engine) => { engine.linkCredit(link, CREDIT) })
    const waiting = this.#waiting
    this.#waiting = null
    if (waiting) this.#receive(waiting.data, waiting.done)
  }

  /** @internal The engine has bytes for the other side. */
  transmit (bytes: Uint8Array): void {
    this.bytesTransmitted += bytes.byteLength
    this.#unread += bytes.byteLength
    if (this.push(userBytes(bytes))) this.#grant()
  }

  /** @internal Nothing more travels that way. */
  finished (): void {
    if (this.#finished) return
    this.#finished = true
    this.push(null)
  }

  /** @internal The link is over, and nothing more travels. */
  unlinked (): void {
    this.#closed = true
    this.#link = null
    const waiting = this.#waiting
    this.#waiting = null
    waiting?.done(null)
    this.finished()
  }

  override _read (done: (error: Error | null) => void): void {
    this.#grant()
    done(null)
  }

  override _write (data: unknown, done: (error: Error | null) => void): void {
    this.#receive(isBytes(data) ? data : bytesFrom(data), done as (error?: Error | null) => void)
  }

  override _final (done: (error: Error | null) => void): void {
    this.#receive(null, done as (error?: Error | null) => void)
  }

  override _predestroy (): void {
    const waiting = this.#waiting
    this.#waiting = null
    waiting?.done(new Error('Stream destroyed'))
    // What ended both ways has brought everything, and the stream may still be read.
    if (!this.#ended || !this.#finished) this.noiseStream.rawClosed(this)
  }

  #receive (data: Uint8Array | null, done: (error?: Error | null) => void): void {
    if (this.#closed) return done(null)
    if (this.#link === null) {
      this.#waiting = { data, done }
      return
    }
    const link = this.#link
    if (data === null) {
      this.#ended = true
      call((engine) => { engine.linkHalfEnded(link) })
    } else {
      this.bytesReceived += data.byteLength
      call((engine) => { engine.linkBytes(link, data) })
    }
    done(null)
  }

  #grant (): void {
    if (this.#unread === 0 || this.#link === null) return
    const [link, bytes] = [this.#link, this.#unread]
    this.#unread = 0
    call((engine) => { engine.linkCredit(link, bytes) })
  }
}
