// The messages in a bee's blocks, and between its peers, for programs that read them by hand.
//
// Source: hyperbee 2.27, `lib/messages.js`; protobuf, with what is repeated and a number packed.

import { bytesFrom, userBytes } from '../../platform.js'
import { concat, fromUtf8, isBytes, toUtf8 } from '../../support/bytes.js'

/** Reads and writes messages of one kind. */
export interface MessageCodec<T> {
  readonly buffer: true
  /** Bytes that a message takes. */
  encodingLength (message: Partial<T>): number
  /** Writes a message, into bytes of its own unless it is given some; `encode.bytes` is how many it wrote last. */
  encode: { (message: Partial<T>, buffer?: Uint8Array, offset?: number): Uint8Array, bytes: number }
  /** Reads a message from `offset` up to `end`; `decode.bytes` is how many bytes that were. */
  decode: { (buffer: Uint8Array, offset?: number, end?: number): T, bytes: number }
}

/** How the value of a field is written: as a number, or as bytes behind their length. */
interface Kind<T> {
  readonly isNumber?: true
  /** Written once for each value of a list. */
  readonly isRepeated?: true
  /** What a message without the field has; made anew for each. */
  empty (): T
  write (value: T): Uint8Array
  /** @param before what the message has of it so far */
  read (bytes: Uint8Array, before: T): T
}

interface Field<T> {
  readonly tag: number
  readonly kind: Kind<T>
  readonly isRequired: boolean
}

type Fields<T> = { [K in keyof T]: Field<T[K]> }

const optional = <T>(tag: number, kind: Kind<T>): Field<T> => ({ tag, kind, isRequired: false })
const required = <T>(tag: number, kind: Kind<T>): Field<T> => ({ tag, kind, isRequired: true })

const number: Kind<number> = { isNumber: true, empty: () => 0, write: varint, read: (bytes) => readVarint(bytes, 0)[0] }

const flag: Kind<boolean> = { isNumber: true, empty: () => false, write: (value) => varint(value ? 1 : 0), read: (bytes) => readVarint(bytes, 0)[0] > 0 }

const text: Kind<string> = { empty: () => '', write: fromUtf8, read: toUtf8 }

const blob: Kind<Uint8Array | null> = {
  empty: () => null,
  write: (value) => isBytes(value) ? value : bytesFrom(value),
  read: (bytes) => bytes
}

const numbers: Kind<number[]> = {
  empty: () => [],
  write: (values) => concat(values.filter(isDefined).map(varint)),
  read (bytes, before) {
    for (let at = 0; at < bytes.byteLength;) {
      const [value, next] = readVarint(bytes, at)
      before.push(value)
      at = next
    }
    return before
  }
}

const one = <T>(codec: MessageCodec<T>): Kind<T | null> => ({
  empty: () => null,
  write: (message) => codec.encode(message!),
  read: (bytes) => codec.decode(bytes)
})

const many = <T>(codec: MessageCodec<T>): Kind<T[]> => ({
  isRepeated: true,
  empty: () => [],
  write: ([message]) => codec.encode(message!),
  read (bytes, before) {
    before.push(codec.decode(bytes))
    return before
  }
})

export interface Level { keys: number[], children: number[] }
export interface YoloIndex { levels: Level[] }
export interface HeaderMetadata { contentFeed: Uint8Array | null, userData: Uint8Array | null }
export interface Header { protocol: string, metadata: HeaderMetadata | null }
export interface Node { index: Uint8Array | null, key: Uint8Array | null, value: Uint8Array | null }
export interface Cache { start: number, end: number, blocks: number[] }
export interface Get { version: number, key: Uint8Array | null }
export interface Iterator {
  version: number
  gte: Uint8Array | null
  gt: Uint8Array | null
  lte: Uint8Array | null
  lt: Uint8Array | null
  limit: number
  reverse: boolean
  checkpoint: number[]
}
export interface Extension { cache: Cache | null, get: Get | null, iterator: Iterator | null }

const LevelCodec = message<Level>({ keys: optional(1, numbers), children: optional(2, numbers) })

/** Where the keys and children of the nodes are that a block wrote; children are pairs of a block and a place in it. */
export const YoloIndex = Object.assign(message<YoloIndex>({ levels: optional(1, many(LevelCodec)) }), { Level: LevelCodec })

const MetadataCodec = message<HeaderMetadata>({ contentFeed: optional(1, blob), userData: optional(2, blob) })

/** Block 0 of a bee. */
export const Header = Object.assign(message<Header>({ protocol: required(1, text), metadata: optional(2, one(MetadataCodec)) }), { Metadata: MetadataCodec })

/** Every other block of a bee. */
export const Node = message<Node>({ index: required(1, blob), key: required(2, blob), value: optional(3, blob) })

const CacheCodec = message<Cache>({ start: required(1, number), end: required(2, number), blocks: optional(3, numbers) })
const GetCodec = message<Get>({ version: optional(1, number), key: optional(2, blob) })
const IteratorCodec = message<Iterator>({
  version: optional(1, number),
  gte: optional(2, blob),
  gt: optional(3, blob),
  lte: optional(4, blob),
  lt: optional(5, blob),
  limit: optional(6, number),
  reverse: optional(7, flag),
  checkpoint: optional(8, numbers)
})

/** What peers of a bee ask and tell each other. */
export const Extension = Object.assign(
  message<Extension>({ cache: optional(1, one(CacheCodec)), get: optional(2, one(GetCodec)), iterator: optional(3, one(IteratorCodec)) }),
  { Get: GetCodec, Iterator: IteratorCodec, Cache: CacheCodec }
)

function message<T extends object> (fields: Fields<T>): MessageCodec<T> {
  const all = Object.entries(fields) as Array<[string & keyof T, Field<any>]>
  const write = (message: Partial<T>): Uint8Array => concat(all.flatMap(([name, { tag, kind, isRequired }]) => {
    const value = message[name]
    if (!isDefined(value)) {
      if (isRequired) throw new Error(`${name} is required`)
      return []
    }
    if (!kind.isRepeated) return written(tag, kind, value)
    return (value as unknown[]).filter(isDefined).flatMap((item) => written(tag, kind, [item]))
  }))

  const encode = (message: Partial<T>, buffer?: Uint8Array | null, offset = 0): Uint8Array => {
    const bytes = write(message)
    encode.bytes = bytes.byteLength
    if (!buffer) return userBytes(bytes)
    buffer.set(bytes, offset)
    return buffer
  }
  encode.bytes = 0

  const decode = (buffer: Uint8Array, offset = 0, end = 0): T => {
    const last = end || buffer.byteLength
    if (last > buffer.byteLength || offset > buffer.byteLength) throw new Error(INVALID)
    const found = Object.fromEntries(all.map(([name, { kind }]) => [name, kind.empty()])) as T
    const missing = new Set(all.filter(([, { isRequired }]) => isRequired).map(([name]) => name))
    let at = offset
    while (at < last) {
      const [head, start] = readVarint(buffer, at)
      const [from, to] = extent(head & 7, buffer, start)
      if (to > buffer.byteLength) throw new Error(INVALID)
      const field = all.find(([, { tag }]) => tag === Math.floor(head / 8))
      if (field) {
        const [name, { kind }] = field
        found[name] = kind.read(buffer.subarray(from, to), found[name])
        missing.delete(name)
      }
      at = to
    }
    if (missing.size > 0) throw new Error(INVALID)
    decode.bytes = at - offset
    return found
  }
  decode.bytes = 0

  return { buffer: true, encodingLength: (message) => write(message).byteLength, encode, decode }
}

// A list of no numbers is not written at all.
function written (tag: number, kind: Kind<any>, value: unknown): Uint8Array[] {
  const bytes: Uint8Array = kind.write(value)
  if (kind.isNumber) return [varint(tag * 8), bytes]
  return kind === numbers && bytes.byteLength === 0 ? [] : [varint(tag * 8 + 2), varint(bytes.byteLength), bytes]
}

/** Where the value of a field begins and ends, whose wire type was read. */
function extent (type: number, bytes: Uint8Array, at: number): [from: number, to: number] {
  if (type === 1) return [at, at + 8]
  if (type === 5) return [at, at + 4]
  if (type === 3 || type === 4) throw new Error('Groups are not supported')
  if (type > 5) throw new Error(`Unknown wire type: ${type}`)
  const [value, next] = readVarint(bytes, at)
  return type === 0 ? [at, next] : [next, next + value]
}

function varint (value: number): Uint8Array {
  if (!(value >= 0 && value <= Number.MAX_SAFE_INTEGER)) throw new RangeError('Could not encode varint')
  const bytes = []
  for (; value > 127; value = Math.floor(value / 128)) bytes.push((value % 128) + 128)
  bytes.push(value)
  return Uint8Array.from(bytes)
}

function readVarint (bytes: Uint8Array, at: number): [value: number, next: number] {
  let value = 0
  for (let scale = 1; scale < 2 ** 56 && at < bytes.byteLength; scale *= 128) {
    const byte = bytes[at++]!
    value += (byte & 127) * scale
    if (byte < 128) return [value, at]
  }
  throw new RangeError('Could not decode varint')
}

function isDefined (value: unknown): boolean {
  return value !== null && value !== undefined && !Number.isNaN(value)
}

const INVALID = 'Decoded message is not valid'
