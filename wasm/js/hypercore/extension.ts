// Messages of a program's own beside a core's replication.

import type { CompactEncoding, ValueEncoding } from '../support/encoding.js'
import { decodeValue, encodeValue, raw, resolveEncoding } from '../support/encoding.js'
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

  /** @internal */
  receive (bytes: Uint8Array, peer: Peer): void {
    this.handlers.onmessage?.(decodeValue(this.encoding, bytes) as T, peer)
  }
}

// An extension's message fills its payload, but the default encoding carries a length as upstream's does.
function encodingOf (handlers: ExtensionHandlers): CompactEncoding {
  return handlers.encoding ? resolveEncoding(handlers.encoding) : buffer
}

const buffer: CompactEncoding<Uint8Array | null> = {
  preencode (state, value) {
    state.end += value ? lengthSize(value.byteLength) + value.byteLength : 1
  },
  encode (state, value) {
    const length = value?.byteLength ?? 0
    const view = new DataView(state.buffer!.buffer, state.buffer!.byteOffset)
    if (length <= 0xfc) view.setUint8(state.start, length)
    else if (length <= 0xffff) { view.setUint8(state.start, 0xfd); view.setUint16(state.start + 1, length, true) }
    else { view.setUint8(state.start, 0xfe); view.setUint32(state.start + 1, length, true) }
    state.start += lengthSize(length)
    if (value) raw.encode(state, value)
  },
  decode (state) {
    const view = new DataView(state.buffer!.buffer, state.buffer!.byteOffset)
    const first = view.getUint8(state.start)
    const length = first <= 0xfc ? first : first === 0xfd ? view.getUint16(state.start + 1, true) : view.getUint32(state.start + 1, true)
    state.start += lengthSize(length)
    if (length === 0) return null
    if (state.end - state.start < length) throw new Error('Out of bounds')
    return state.buffer!.subarray(state.start, state.start += length)
  }
}

function lengthSize (length: number): number {
  return length <= 0xfc ? 1 : length <= 0xffff ? 3 : 5
}
