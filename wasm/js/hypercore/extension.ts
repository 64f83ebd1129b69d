// Messages of a program's own beside a core's replication.

import type { CompactEncoding, ValueEncoding } from '../support/encoding.js'
import { buffer as sized } from '../support/compact.js'
import { bytesOf, decodeValue, encodeValue, resolveEncoding } from '../support/encoding.js'
import type { Hypercore } from './hypercore.js'
import type { Peer } from './peer.js'

export interface ExtensionHandlers<T = any> {
  encoding?: ValueEncoding
  onmessage? (message: T, peer: Peer): unknown
}

/** One extension of one core. */
export class Extension<T = any> {
  readonly name: string
  handlers: ExtensionHandlers<T>
  encoding: CompactEncoding
  session: Hypercore

  /** @internal */
  constructor (session: Hypercore, name: string, handlers: ExtensionHandlers<T>) {
    this.name = name
    this.session = session
    this.handlers = handlers
    this.encoding = encodingOf(handlers)
  }

  /** @internal Another registration takes the name over. */
  replace (session: Hypercore, handlers: ExtensionHandlers<T>): void {
    this.session = session
    this.handlers = handlers
    this.encoding = encodingOf(handlers)
  }

  send (message: T, peer: Peer): void {
    peer.extension(this.name, encodeValue(this.encoding, message))
  }

  broadcast (message: T): void {
    const bytes = encodeValue(this.encoding, message)
    for (const peer of this.session.peers) peer.extension(this.name, bytes)
  }

  destroy (): void {
    for (const peer of this.session.peers) {
      if (peer.extensions.get(this.name) === this) peer.extensions.delete(this.name)
    }
    this.session.extensions.delete(this.name)
  }

  /** @internal What cannot be decoded, or fails in the handler, ends the stream, as on any channel. */
  receive (bytes: Uint8Array, peer: Peer): void {
    try {
      const message = decodeValue(this.encoding, bytes) as T
      this.handlers.onmessage?.(message, peer)
    } catch (error) {
      // A stream of another tab is not ours to end.
      if (!peer.mux) throw error
      peer.mux.destroy(error as Error)
    }
  }
}

// An extension's message fills its payload, but the default encoding carries a length as upstream's does.
function encodingOf (handlers: ExtensionHandlers): CompactEncoding {
  return handlers.encoding ? resolveEncoding(handlers.encoding) : buffer
}

const buffer: CompactEncoding<Uint8Array> = {
  preencode (state, value) { sized.preencode(state, bytesOf(value)) },
  encode (state, value) { sized.encode(state, bytesOf(value)) },
  decode (state) { return sized.decode(state) ?? state.buffer!.subarray(state.start, state.start) }
}
