// Value encodings: names, compact encodings, abstract encodings and codecs, all turned into one kind.

import { userBytes } from '../platform.js'
import { fromHex, fromUtf8, isBytes, toHex, toUtf8 } from './bytes.js'

/** Where a compact encoding reads or writes. */
export interface EncodingState {
  start: number
  end: number
  buffer: Uint8Array | null
}

/** A compact encoding, as the package `compact-encoding` has them. */
export interface CompactEncoding<T = any> {
  preencode (state: EncodingState, value: T): void
  encode (state: EncodingState, value: T): void
  decode (state: EncodingState): T
}

/** A codec that works on whole buffers. */
export interface Codec<T = any> {
  encode (value: T): Uint8Array
  decode (buffer: Uint8Array): T
}

/** An abstract encoding, as older packages have them. */
export interface AbstractEncoding<T = any> {
  encodingLength (value: T): number
  encode: ((value: T, buffer: Uint8Array, offset: number) => unknown) & { bytes?: number }
  decode: ((buffer: Uint8Array, start: number, end: number) => T) & { bytes?: number }
}

export type EncodingName =
  'binary' | 'utf-8' | 'utf8' | 'json' | 'ndjson' | 'hex' | 'base64' | 'ascii' | 'ucs-2' | 'ucs2' | 'utf16le' | 'utf16-le'

export type ValueEncoding = EncodingName | (string & {}) | CompactEncoding | Codec | AbstractEncoding

/** Turns any kind of encoding into a compact one. An unknown name is binary, as upstream's. */
export function resolveEncoding (encoding: ValueEncoding): CompactEncoding {
  if (typeof encoding === 'string') return named[encoding] ?? binary
  const { preencode, encodingLength } = encoding as Partial<CompactEncoding & AbstractEncoding>
  if (preencode) return encoding as CompactEncoding
  if (encodingLength) return fromAbstract(encoding as AbstractEncoding)
  return fromCodec(encoding as Codec)
}

/** Encodes one value by itself. */
export function encodeValue (encoding: CompactEncoding, value: unknown): Uint8Array {
  const state: EncodingState = { start: 0, end: 0, buffer: null }
  encoding.preencode(state, value)
  state.buffer = userBytes(new Uint8Array(state.end))
  encoding.encode(state, value)
  return state.buffer
}

/** Decodes one value that fills a buffer. */
export function decodeValue (encoding: CompactEncoding, buffer: Uint8Array): unknown {
  return encoding.decode({ start: 0, end: buffer.byteLength, buffer })
}

/** Bytes that fill the state to its end. */
export const raw: CompactEncoding<Uint8Array> = fromCodec({ encode: (value) => value, decode: (buffer) => buffer })

const binary = fromCodec<unknown>({ encode: (value) => typeof value === 'string' ? fromUtf8(value) : bytesOf(value), decode: (buffer) => buffer })
const utf8 = text(fromUtf8, toUtf8)
const json = text((value) => fromUtf8(value), (buffer) => JSON.parse(toUtf8(buffer)), JSON.stringify)
const ndjson = text((value) => fromUtf8(value + '\n'), (buffer) => JSON.parse(toUtf8(buffer)), JSON.stringify)

// What is no digit ends it; the room for what follows is there all the same, as upstream's.
const hex = text((value) => {
  const bytes = new Uint8Array(value.length >> 1)
  for (let i = 0; i < bytes.byteLength; i++) {
    const byte = fromHex(value.slice(2 * i, 2 * i + 2))
    if (byte === null) break
    bytes.set(byte, i)
  }
  return bytes
}, toHex)

const ascii = text(
  (value) => Uint8Array.from({ length: value.length }, (_, i) => value.charCodeAt(i)),
  (buffer) => Array.from(buffer, (byte) => String.fromCharCode(byte & 0x7f)).join('')
)

// Of either alphabet. What is of none is left out, and has its room all the same, as upstream's.
const base64 = text((value) => {
  const length = value.replace(/={1,2}$/, '').length
  const letters = value.replaceAll('-', '+').replaceAll('_', '/').replace(/[^A-Za-z0-9+/]/g, '')
  const decoded = atob(letters.length % 4 === 1 ? letters.slice(0, -1) : letters)
  const bytes = new Uint8Array((length * 3) >>> 2)
  for (let i = 0; i < decoded.length; i++) bytes[i] = decoded.charCodeAt(i)
  return bytes
}, (buffer) => btoa(Array.from(buffer, (byte) => String.fromCharCode(byte)).join('')))

const utf16 = text(
  (value) => {
    const bytes = new Uint8Array(2 * value.length)
    for (let i = 0; i < value.length; i++) {
      bytes[2 * i] = value.charCodeAt(i) & 0xff
      bytes[2 * i + 1] = value.charCodeAt(i) >> 8
    }
    return bytes
  },
  (buffer) => {
    let text = ''
    for (let i = 0; i + 1 < buffer.byteLength; i += 2) text += String.fromCharCode(buffer[i]! | buffer[i + 1]! << 8)
    return text
  }
)

const named: Record<string, CompactEncoding> = {
  ascii,
  'utf-8': utf8,
  utf8,
  hex,
  base64,
  'utf16-le': utf16,
  utf16le: utf16,
  'ucs-2': utf16,
  ucs2: utf16,
  ndjson,
  json,
  binary
}

/** Text as bytes. What is no text, also once it was written as such, is refused instead of being made some. */
function text<T = string> (encode: (text: string) => Uint8Array, decode: (bytes: Uint8Array) => T, write: (value: T) => unknown = (value) => value): CompactEncoding<T> {
  return fromCodec({
    encode (value) {
      const written = write(value)
      if (typeof written !== 'string') throw new TypeError(`text is needed, not ${kindOf(value)}`)
      return encode(written)
    },
    decode
  })
}

/** Bytes of whatever has some. */
export function bytesOf (value: unknown): Uint8Array {
  if (isBytes(value)) return value
  if (ArrayBuffer.isView(value)) return new Uint8Array(value.buffer, value.byteOffset, value.byteLength)
  if (value instanceof ArrayBuffer) return new Uint8Array(value)
  throw new (value === null || value === undefined ? TypeError : RangeError)(`text or bytes are needed, not ${kindOf(value)}`)
}

function kindOf (value: unknown): string {
  return value === null ? 'null' : typeof value
}

function fromCodec<T> (codec: Codec<T>): CompactEncoding<T> {
  // What preencode made is what encode writes: a codec need not give the same bytes twice.
  let value: T | undefined
  let encoded: Uint8Array | null = null
  return {
    preencode (state, next) {
      value = next
      encoded = codec.encode(next)
      state.end += encoded.byteLength
    },
    encode (state, next) {
      const bytes = encoded !== null && next === value ? encoded : codec.encode(next)
      value = undefined
      encoded = null
      state.buffer!.set(bytes, state.start)
      state.start += bytes.byteLength
    },
    decode (state) {
      return codec.decode(take(state))
    }
  }
}

function fromAbstract (encoding: AbstractEncoding): CompactEncoding {
  return {
    preencode (state, value) {
      state.end += encoding.encodingLength(value)
    },
    encode (state, value) {
      encoding.encode(value, state.buffer!, state.start)
      state.start += encoding.encode.bytes ?? encoding.encodingLength(value)
    },
    decode (state) {
      const value = encoding.decode(state.buffer!, state.start, state.end)
      state.start += encoding.decode.bytes ?? state.end - state.start
      return value
    }
  }
}

function take (state: EncodingState): Uint8Array {
  const bytes = state.buffer!.subarray(state.start, state.end)
  state.start = state.end
  return bytes
}
