// A store as one file: frames that follow each other, each with a checksum over it and all before it.
//
//   "hypertab store 1" | frames of: u32 length | 8 bytes checksum | u8 kind | payload
//
// The checksum of a frame is the start of BLAKE2b of the checksum before it, all 32 bytes, and the frame from its kind on. Integers are
// little-endian. A frame says what kind it is:
//
//   1  store      the primary key and the core that is opened when none is named
//   2  core       who it is and who signs it; what follows up to the next one belongs to it
//   3  proof      a message `data` as peers send it: the head at first, then blocks as they follow
//   4  user data  a name and a value
//   5  end        how many cores there were

import { HypertabError } from '../errors.js'
import { concat, equal, fromUtf8 } from '../support/bytes.js'
import { buffer, fixed32, fixed64, flagged, string, struct, uint } from '../support/compact.js'
import { hash } from '../support/crypto.js'
import { decodeValue, encodeValue } from '../support/encoding.js'
import { wire } from '../hypercore/lib/messages.js'
import type { EngineProof } from '../hypercore/proof.js'
import type { Alias } from './records.js'

const MAGIC = fromUtf8('hypertab store 1')
const HEADER = 4 + 8

/** Bytes of a frame: a block of 15 MiB with its proof is less. */
const LARGEST = 32 << 20

export interface StoreFrame {
  seed: Uint8Array | null
  default: Uint8Array | null
}

export interface CoreFrame {
  key: Uint8Array
  fork: number
  length: number
  compat: boolean
  manifest: Uint8Array | null
  publicKey: Uint8Array | null
  secretKey: Uint8Array | null
  alias: Alias | null
}

export type ProofFrame = EngineProof & { request: number }

/** What a frame holds, by its kind. */
export type Frame =
  | { kind: 'store', value: StoreFrame }
  | { kind: 'core', value: CoreFrame }
  | { kind: 'proof', value: ProofFrame }
  | { kind: 'userData', value: { name: string, value: Uint8Array | null } }
  | { kind: 'end', value: { cores: number } }

const KINDS: ReadonlyArray<Frame['kind']> = ['store', 'core', 'proof', 'userData', 'end']

const encodings = {
  store: flagged<StoreFrame>({}, { seed: { flag: 1, encoding: fixed32 }, default: { flag: 2, encoding: fixed32 } }),
  core: flagged<CoreFrame>({ key: fixed32, fork: uint, length: uint }, {
    compat: { flag: 1 },
    manifest: { flag: 2, encoding: buffer },
    publicKey: { flag: 4, encoding: fixed32 },
    secretKey: { flag: 8, encoding: fixed64 },
    alias: { flag: 16, encoding: struct<Alias>({ name: string, namespace: fixed32 }) }
  }),
  proof: wire.data,
  userData: struct<{ name: string, value: Uint8Array | null }>({ name: string, value: buffer }),
  end: struct<{ cores: number }>({ cores: uint })
}

/** Puts frames together. */
export class FrameWriter {
  #chain = hash(MAGIC)

  /** What the file begins with. */
  begin (): Uint8Array {
    return MAGIC
  }

  /** The bytes of a frame. */
  frame (frame: Frame): Uint8Array[] {
    const payload = encodeValue(encodings[frame.kind], frame.value)
    const header = new Uint8Array(HEADER + 1)
    new DataView(header.buffer).setUint32(0, payload.byteLength + 1, true)
    header[HEADER] = KINDS.indexOf(frame.kind) + 1
    this.#chain = hash([this.#chain, header.subarray(HEADER), payload])
    header.set(this.#chain.subarray(0, 8), 4)
    return [header, payload]
  }
}

/** Takes frames apart. */
export class FrameReader {
  #chain = hash(MAGIC)
  #parts: Uint8Array[] = []
  #length = 0
  #begun = false

  /** Whether a frame has begun that has not ended. */
  get isWithin (): boolean {
    return this.#length > 0
  }

  /** Takes some more bytes of the file. */
  push (bytes: Uint8Array): void {
    if (bytes.byteLength === 0) return
    this.#parts.push(bytes)
    this.#length += bytes.byteLength
  }

  /** The next frame; null when more bytes are needed. */
  next (): Frame | null {
    if (!this.#begun) {
      const start = this.#peek(Math.min(MAGIC.byteLength, this.#length))
      if (!equal(start, MAGIC.subarray(0, start.byteLength))) throw notOne()
      if (start.byteLength < MAGIC.byteLength) return null
      this.#take(MAGIC.byteLength)
      this.#begun = true
    }
    if (this.#length < HEADER) return null
    const header = this.#peek(HEADER)
    const length = new DataView(header.buffer, header.byteOffset).getUint32(0, true)
    if (length < 1 || length > LARGEST) throw damaged()
    if (this.#length < HEADER + length) return null
    const frame = this.#take(HEADER + length)
    const body = frame.subarray(HEADER)
    this.#chain = hash([this.#chain, body])
    if (!equal(frame.subarray(4, HEADER), this.#chain.subarray(0, 8))) throw damaged()
    const kind = KINDS[body[0]! - 1]
    if (!kind) throw damaged()
    try {
      return { kind, value: decodeValue(encodings[kind], body.subarray(1)) } as Frame
    } catch {
      throw damaged()
    }
  }

  #peek (length: number): Uint8Array {
    if (length === 0) return new Uint8Array(0)
    if (this.#parts[0]!.byteLength < length) this.#join(length)
    return this.#parts[0]!.subarray(0, length)
  }

  #take (length: number): Uint8Array {
    const taken = this.#peek(length)
    this.#length -= length
    const first = this.#parts[0]!
    if (first.byteLength === length) this.#parts.shift()
    else this.#parts[0] = first.subarray(length)
    return taken
  }

  // Joins as many parts as are needed, each of them once.
  #join (length: number): void {
    let count = 0
    for (let joined = 0; joined < length;) joined += this.#parts[count++]!.byteLength
    this.#parts.splice(0, count, concat(this.#parts.slice(0, count)))
  }
}

function notOne (): HypertabError {
  return new HypertabError('NOT_A_STORE', 'the file is no exported store')
}

export function damaged (cause?: unknown): HypertabError {
  return new HypertabError('FILE_DAMAGED', 'the file of the store is damaged, or ends early', cause ? { cause } : {})
}
