// Keys and values as bytes.

import { bytesFrom, textOf, userBytes } from '../platform.js'
import { concat, isBytes } from '../support/bytes.js'
import { decodeValue, encodeValue, resolveEncoding, type CompactEncoding } from '../support/encoding.js'

/** Bounds of a range, before or after they are encoded. */
export interface Bounds<T = any> {
  /** Keys after this one. */
  gt?: T
  /** This key, and those after it. */
  gte?: T
  /** Keys before this one. */
  lt?: T
  /** This key, and those before it. */
  lte?: T
}

/** Turns keys or values into bytes and back. */
export interface BeeCodec<T = any> {
  /** What it is called. */
  name?: string
  /** Gives the bytes of a value. */
  encode (value: T): Uint8Array
  /** Gives the value of bytes. */
  decode (bytes: Uint8Array): T
  /** Encodes a whole range, for keys that have prefixes of their own. */
  encodeRange? (range: Bounds<T>): Bounds<Uint8Array>
}

/** A name, a codec, or an encoding of the package `compact-encoding`. */
export type BeeEncoding = string | BeeCodec | CompactEncoding

/** How the keys and values of one read are encoded. */
export interface Encoding {
  key: BeeCodec | null
  value: BeeCodec | null
}

/** What ends a name in a prefix. */
export const SEPARATOR = userBytes(new Uint8Array(1))
export const EMPTY = userBytes(new Uint8Array(0))

const binary: BeeCodec = {
  name: 'binary',
  encode: (value) => typeof value === 'string' ? bytesFrom(value) : toBytes(value),
  decode: userBytes
}

const utf8: BeeCodec = {
  name: 'utf-8',
  encode: (value) => bytesFrom(isText(value) ? value : textBy(value)),
  decode: textOf
}

const STRINGS: Record<string, string> = {
  ascii: 'ascii',
  'utf-8': 'utf-8',
  utf8: 'utf-8',
  hex: 'hex',
  base64: 'base64',
  'ucs-2': 'ucs2',
  ucs2: 'ucs2',
  'utf16-le': 'utf16le',
  utf16le: 'utf16le'
}

/** Turns any kind of encoding into a codec. An unknown name is binary, as upstream's. */
export function codec (encoding?: BeeEncoding | null): BeeCodec {
  if (typeof encoding === 'object' && encoding !== null) {
    return 'preencode' in encoding
      ? fromCompact(encoding as CompactEncoding, 'compact-encoding')
      : encoding as BeeCodec
  }
  if (encoding === 'json' || encoding === 'ndjson') return { ...fromCompact(resolveEncoding(encoding), encoding), decode: (bytes) => JSON.parse(textOf(bytes)) }
  const name = encoding ? STRINGS[encoding] : undefined
  if (!name) return binary
  if (name === 'utf-8') return utf8
  const text = fromCompact(resolveEncoding(encoding!), name)
  return { ...text, encode: (value) => text.encode(meant(name, typeof value === 'string' ? value : value.toString())) }
}

/** Encodes one key or value; null stays null, and text without an encoding is UTF-8. */
export function encode (encoding: BeeCodec | null, value: unknown): Uint8Array | null {
  if (value === undefined || value === null) return null
  if (encoding !== null) return encoding.encode(value)
  return typeof value === 'string' ? bytesFrom(value) : value as Uint8Array
}

/** Encodes the bounds of a range; the keys of a part have defaults of their own. */
export function encodeRange<T extends Bounds> (encoding: BeeCodec | null, range: T, isSub: boolean): T {
  if (encoding === null) return range
  const bounds: T = { ...range }
  const { gt, gte, lt, lte } = range
  if (encoding.encodeRange) return Object.assign(bounds, { gt: undefined, gte: undefined, lt: undefined, lte: undefined }, encoding.encodeRange({ gt, gte, lt, lte }))
  if (gt !== undefined) bounds.gt = encode(encoding, gt)
  if (gte !== undefined) bounds.gte = encode(encoding, gte)
  if (lt !== undefined) bounds.lt = encode(encoding, lt)
  if (lte !== undefined) bounds.lte = encode(encoding, lte)
  if (isSub && !bounds.gt && !bounds.gte) bounds.gt = encode(encoding, SEPARATOR)
  if (isSub && !bounds.lt && !bounds.lte) bounds.lt = bump(encode(encoding, EMPTY)!)
  return bounds
}

/** The bounds as the engine takes them: what is empty is not there. */
export function engineBounds ({ gt, gte, lt, lte }: Bounds): Bounds<Uint8Array> {
  const bounds: Bounds<Uint8Array> = {}
  if (gt) bounds.gt = keyBytes(gt)
  if (gte) bounds.gte = keyBytes(gte)
  if (lt) bounds.lt = keyBytes(lt)
  if (lte) bounds.lte = keyBytes(lte)
  return bounds
}

/** An encoded key, which has to be bytes. */
export function keyBytes (key: unknown): Uint8Array {
  if (isBytes(key)) return key
  if (typeof key === 'string') return bytesFrom(key)
  throw new TypeError(`a key is bytes once it is encoded, not ${key === null ? 'null' : typeof key}`)
}

/** An encoded value, which has to be bytes or null. */
export function valueBytes (value: unknown): Uint8Array | undefined {
  if (value === null || value === undefined) return undefined
  if (isBytes(value)) return value
  if (typeof value === 'string') return bytesFrom(value)
  throw new TypeError(`a value is bytes once it is encoded, not ${typeof value}`)
}

/** Puts a prefix before every key. */
export function prefixed (prefix: Uint8Array, encoding: BeeCodec | null): BeeCodec {
  return {
    encode: (key) => userBytes(concat([prefix, isBytes(key) ? key : keyBytes(encode(encoding, key))])),
    decode: (key) => {
      const own = key.subarray(prefix.byteLength)
      return encoding ? encoding.decode(own) : own
    }
  }
}

// The first key after all that start with this one, as upstream has it.
function bump (key: Uint8Array): Uint8Array {
  const next = userBytes(Uint8Array.from(key))
  next[next.byteLength - 1]!++
  return next
}

function fromCompact (encoding: CompactEncoding, name: string): BeeCodec {
  return {
    name,
    encode: (value) => encodeValue(encoding, value),
    decode: (bytes) => decodeValue(encoding, bytes)
  }
}

/** What of a text is digits or letters of an encoding; the rest is nothing here. */
function meant (name: string, text: string): string {
  if (name === 'hex') return /^([0-9a-f]{2})*/i.exec(text)![0]
  return name === 'base64' ? text.replace(/[^A-Za-z0-9+/_-]/g, '') : text
}

function isText (value: unknown): value is string {
  return typeof value === 'string'
}

function textBy (value: { toString (): unknown }): string {
  const text = value.toString()
  if (isText(text)) return text
  throw new TypeError(`text is needed, not ${text === null ? 'null' : typeof text}`)
}

function toBytes (value: unknown): Uint8Array {
  if (isBytes(value)) return userBytes(value)
  if (ArrayBuffer.isView(value)) return userBytes(new Uint8Array(value.buffer, value.byteOffset, value.byteLength))
  throw new TypeError(`only text and bytes are binary, not ${value === null ? 'null' : typeof value}`)
}
