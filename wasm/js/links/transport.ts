// What stands for the transport of a stream that a relay carries. Programs listen for its end there, break it off, and look at what
// upstream's has of it that is known here.

import { EventEmitter } from '../support/emitter.js'
import type { Connection } from './connection.js'

export class CarriedTransport extends EventEmitter<{ connect: [], close: [], error: [error: Error] }> {
  /** Nothing measures these on the way through relays, and nothing counts packets. */
  readonly rtt = 0
  readonly mtu = 0
  readonly cwnd = 0
  readonly inflight = 0
  readonly packetsReceived = 0
  readonly packetsTransmitted = 0
  readonly retransmits = 0
  readonly fastRecoveries = 0
  readonly rtoCount = 0
  /** Where the other end is, the relay knows. */
  readonly remoteHost = null
  readonly remotePort = 0
  readonly remoteFamily = 0
  readonly socket = null
  readonly #connection: Connection

  /** @internal */
  constructor (connection: Connection) {
    super()
    this.#connection = connection
    connection.once('connect', () => { this.emit('connect') })
    connection.once('close', () => { this.emit('close') })
  }

  get connected (): boolean {
    return this.#connection.connected
  }

  get bytesReceived (): number {
    return this.#connection.rawBytesRead
  }

  get bytesTransmitted (): number {
    return this.#connection.rawBytesWritten
  }

  get destroying (): boolean {
    return this.#connection.destroying
  }

  get destroyed (): boolean {
    return this.#connection.destroyed
  }

  destroy (error?: Error | null): this {
    this.#connection.destroy(error)
    return this
  }

  toJSON (): object {
    const { connected, destroying, destroyed, remoteHost, remoteFamily, remotePort, rtt, bytesReceived, bytesTransmitted } = this
    return { connected, destroying, destroyed, remoteHost, remoteFamily, remotePort, rtt, bytesReceived, bytesTransmitted }
  }
}
