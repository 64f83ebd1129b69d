// The pieces that messages and records are encoded with, as the package `compact-encoding` has them.

import { userBytes } from '../platform.js'
import { fromUtf8, toUtf8 } from './bytes.js'
import type { CompactEncoding, EncodingState } from './encoding.js'

/** Items an array may have, as upstream's. */
const MAX_ITEMS = 0x100000

export const uint: CompactEncoding<number> = {
  preencode (state, value) {
    state.end += value <= 0xfc ? 1 : value <= 0xffff ? 3 : value <= 0xffffffff ? 5 : 9
  },
  encode (state, value) {
    const view = viewOf(state)
    const at = state.start
    if (value <= 0xfc) {
      view.setUint8(at, value)
      state.start += 1
    } else if (value <= 0xffff) {
      view.setUint8(at, 0xfd)
      view.setUint16(at + 1, value, true)
      state.start += 3
    } else if (value <= 0xffffffff) {
      view.setUint8(at, 0xfe)
      view.setUint32(at + 1, value, true)
      state.start += 5
    } else {
      view.setUint8(at, 0xff)
      view.setBigUint64(at + 1, BigInt(value), true)
      state.start += 9
    }
  },
  decode (state) {
    const first = take(state, 1)[0]!
    if (first <= 0xfc) return first
    const at = state.start
    const view = viewOf(state)
    take(state, first === 0xfd ? 2 : first === 0xfe ? 4 : 8)
    if (first === 0xfd) return view.getUint16(at, true)
    if (first === 0xfe) return view.getUint32(at, true)
    const value = view.getBigUint64(at, true)
    if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw new Error('uint64 exceeds max safe integer')
    return Number(value)
  }
}

/** Bytes of one length. */
export function fixed (length: number): CompactEncoding<Uint8Array> {
  return {
    preencode (state, value) {
      if (value.byteLength !== length) throw new Error('Incorrect buffer size')
      state.end += length
    },
    encode: put,
    decode: (state) => take(state, length)
  }
}

export const fixed32 = fixed(32)
export const fixed64 = fixed(64)

/** Bytes with their length in front; none at all when there are none. */
export const buffer: CompactEncoding<Uint8Array | null> = {
  preencode (state, value) {
    const length = value?.byteLength ?? 0
    uint.preencode(state, length)
    state.end += length
  },
  encode (state, value) {
    uint.encode(state, value?.byteLength ?? 0)
    if (value) put(state, value)
  },
  decode (state) {
    const length = uint.decode(state)
    return length === 0 ? null : take(state, length)
  }
}

export const string: CompactEncoding<string> = {
  preencode (state, value) { buffer.preencode(state, fromUtf8(value)) },
  encode (state, value) { buffer.encode(state, fromUtf8(value)) },
  decode: (state) => toUtf8(buffer.decode(state) ?? new Uint8Array(0))
}

/** Bytes that fill the state to its end. */
export const rest: CompactEncoding<Uint8Array> = {
  preencode (state, value) { state.end += value.byteLength },
  encode: put,
  decode: (state) => take(state, state.end - state.start)
}

export const uint32array: CompactEncoding<Uint32Array> = {
  preencode (state, value) {
    uint.preencode(state, value.length)
    state.end += value.byteLength
  },
  encode (state, value) {
    uint.encode(state, value.length)
    const view = viewOf(state)
    for (const word of value) {
      view.setUint32(state.start, word, true)
      state.start += 4
    }
  },
  decode (state) {
    const bytes = take(state, uint.decode(state) * 4)
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    return Uint32Array.from({ length: bytes.byteLength / 4 }, (_, i) => view.getUint32(i * 4, true))
  }
}

export function array<T> (item: CompactEncoding<T>): CompactEncoding<T[]> {
  return {
    preencode (state, values) {
      uint.preencode(state, values.length)
      for (const value of values) item.preencode(state, value)
    },
    encode (state, values) {
      uint.encode(state, values.length)
      for (const value of values) item.encode(state, value)
    },
    decode (state) {
      const length = uint.decode(state)
      if (length > MAX_ITEMS) throw new Error('Array is too big')
      return Array.from({ length }, () => item.decode(state))
    }
  }
}

/** Fields one after the other. */
export function struct<T extends object> (fields: { [K in keyof T]: CompactEncoding<T[K]> }): CompactEncoding<T> {
  const entries = Object.entries(fields) as Array<[keyof T, CompactEncoding]>
  return {
    preencode (state, value) { for (const [name, field] of entries) field.preencode(state, value[name]) },
    encode (state, value) { for (const [name, field] of entries) field.encode(state, value[name]) },
    decode: (state) => Object.fromEntries(entries.map(([name, field]) => [name, field.decode(state)])) as T
  }
}

/** A field of {@link flagged}: a flag by itself, or one that says whether a value follows. */
export interface FlaggedField {
  flag: number
  encoding?: CompactEncoding
  /** What it is without the flag. */
  none?: unknown
}

/** Flags in one byte, fields that are always there, and those that the flags announce, in order. */
export function flagged<T> (always: Record<string, CompactEncoding>, optional: Record<string, FlaggedField>): CompactEncoding<T> {
  const flags = (value: any) => Object.entries(optional).reduce((sum, [name, { flag }]) => sum | (value[name] ? flag : 0), 0)
  const each = (value: any, act: (encoding: CompactEncoding, field: unknown) => void) => {
    for (const [name, encoding] of Object.entries(always)) act(encoding, value[name])
    for (const [name, { encoding }] of Object.entries(optional)) if (encoding && value[name]) act(encoding, value[name])
  }
  return {
    preencode (state, value) {
      uint.preencode(state, flags(value))
      each(value, (encoding, field) => { encoding.preencode(state, field) })
    },
    encode (state, value) {
      uint.encode(state, flags(value))
      each(value, (encoding, field) => { encoding.encode(state, field) })
    },
    decode (state) {
      const set = uint.decode(state)
      const value: Record<string, unknown> = {}
      for (const [name, encoding] of Object.entries(always)) value[name] = encoding.decode(state)
      for (const [name, { flag, encoding, none = null }] of Object.entries(optional)) {
        const isSet = (set & flag) !== 0
        value[name] = !encoding ? isSet : isSet ? encoding.decode(state) : none
      }
      return value as T
    }
  }
}

function put (state: EncodingState, value: Uint8Array): void {
  state.buffer!.set(value, state.start)
  state.start += value.byteLength
}

function take (state: EncodingState, length: number): Uint8Array {
  if (state.end - state.start < length) throw new Error('Out of bounds')
  const start = state.start
  state.start += length
  return userBytes(state.buffer!.subarray(start, state.start))
}

function viewOf ({ buffer }: EncodingState): DataView {
  return new DataView(buffer!.buffer, buffer!.byteOffset, buffer!.byteLength)
}
