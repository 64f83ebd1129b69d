// Manifests as objects, and the bytes that a core's key is the hash of.

import { HypercoreError } from '../errors.js'
import { userBytes } from '../platform.js'
import { concat, equal, fromHex, isBytes } from '../support/bytes.js'
import { look } from '../runtime.js'
import { hypercoreNamespace } from '../support/crypto.js'

/** One of those who sign a core. */
export interface Signer {
  /** The kind of signature. */
  signature: 'ed25519'
  /** What is signed besides the log, 32 bytes. */
  namespace: Uint8Array
  /** 32 bytes. */
  publicKey: Uint8Array
}

/** What a core's key commits to. */
export interface Manifest {
  /** Of the format. */
  version: number
  /** What everything is hashed with. */
  hash: 'blake2b'
  /** Whether signers may sign different lengths. */
  allowPatch: boolean
  /** How many have to sign. */
  quorum: number
  /** Who signs. */
  signers: Signer[]
  /** Blocks that the key fixes; null for none. */
  prologue: { hash: Uint8Array, length: number } | null
  /** Keys of cores that belong to this one; null for none. */
  linked: Uint8Array[] | null
  /** Anything else that the key commits to; null for nothing. */
  userData: Uint8Array | null
}

/** What a program gives for a manifest: the rest has defaults. */
export interface ManifestInput {
  /** 1 by default; 2 where there is `linked` or `userData`. */
  version?: number | undefined
  /** `blake2b`, and nothing else. */
  hash?: string
  /** Whether signers may sign different lengths; false by default. */
  allowPatch?: boolean
  /** How many have to sign; more than half of the signers by default. */
  quorum?: number
  /** Who signs. */
  signers?: Array<{ signature?: string, namespace?: Uint8Array | undefined, publicKey: Uint8Array }>
  /** Blocks that the key fixes: how many, and the hash of their tree, 32 bytes. */
  prologue?: { hash: Uint8Array, length: number } | null
  /** Keys of cores that belong to this one, 32 bytes each. */
  linked?: Uint8Array[] | null
  /** Anything else that the key commits to. */
  userData?: Uint8Array | null
}

/** The namespace that a signer has unless it names another: `namespace('hypercore', 6)[4]`. */
export const DEFAULT_NAMESPACE = fromHex('4144eea531e483d54e0c14f4ca68e0644f355343ff6fcb0f005200e12cd747cb')!

const PATCH = 1
const PROLOGUE = 2
const LINKED = 4
const USER_DATA = 8

/** Fills in the defaults, or decodes. */
export function createManifest (input: ManifestInput | Uint8Array | null | undefined): Manifest | null {
  if (!input) return null
  if (isBytes(input)) return decodeManifest(input)
  if (input.quorum && input.quorum < 0) throw HypercoreError.BAD_ARGUMENT('Quorum cannot be negative')
  if (input.quorum && input.signers && input.quorum > input.signers.length) {
    throw HypercoreError.BAD_ARGUMENT('Quorum should not be higher than the number of signers')
  }
  if (input.hash && input.hash !== 'blake2b') throw HypercoreError.BAD_ARGUMENT('Only Blake2b hashes are supported')
  const manifest: Manifest = {
    version: versionOf(input),
    hash: 'blake2b',
    allowPatch: !!input.allowPatch,
    quorum: quorumOf(input),
    signers: (input.signers || []).map(createSigner),
    prologue: input.prologue ?? null,
    linked: input.linked?.length ? input.linked : null,
    userData: input.userData ?? null
  }
  checkFields(manifest)
  return manifest
}

/** The manifest of a core that one key signs. */
export function singleSigner (publicKey: Uint8Array): Manifest {
  return createManifest({ signers: [{ publicKey }] })!
}

/** The key of the core that a manifest describes. */
export function manifestKey (manifest: Manifest): Uint8Array {
  return userBytes(look((engine) => engine.hash([hypercoreNamespace(3), encodeManifest(manifest)])))
}

/** Whether a core with that key is signed as before manifests: the key is the public key. */
export function isCompat (key: Uint8Array, manifest: Manifest | null): boolean {
  return manifest !== null && manifest.signers.length === 1 && equal(key, manifest.signers[0]!.publicKey)
}

export function encodeManifest (manifest: Manifest): Uint8Array {
  const parts = [uint(manifest.version)]
  if (manifest.version === 0) {
    parts.push(...encodeV0(manifest))
  } else {
    const flags = (manifest.allowPatch ? PATCH : 0) | (manifest.prologue ? PROLOGUE : 0) |
      (manifest.linked ? LINKED : 0) | (manifest.userData ? USER_DATA : 0)
    parts.push(uint(flags), uint(0), uint(manifest.quorum), ...encodeSigners(manifest.signers))
    if (manifest.prologue) parts.push(manifest.prologue.hash, uint(manifest.prologue.length))
    if (manifest.linked) parts.push(uint(manifest.linked.length), ...manifest.linked)
    if (manifest.userData) parts.push(uint(manifest.userData.byteLength), manifest.userData)
  }
  return userBytes(concat(parts))
}

export function decodeManifest (bytes: Uint8Array): Manifest {
  return decodeManifestFrom(bytes).manifest
}

/** Decodes the manifest in front of other bytes, and says how many were its own. */
export function decodeManifestFrom (bytes: Uint8Array): { manifest: Manifest, length: number } {
  const reader = new Reader(bytes)
  const manifest = read(reader)
  return { manifest, length: reader.offset }
}

function read (reader: Reader): Manifest {
  const version = reader.uint()
  if (version === 0) return decodeV0(reader)
  if (version > 2) throw new Error('Unknown version: ' + version)
  const flags = reader.uint()
  reader.kind('hash')
  return {
    version,
    hash: 'blake2b',
    allowPatch: (flags & PATCH) !== 0,
    quorum: reader.uint(),
    signers: decodeSigners(reader),
    prologue: (flags & PROLOGUE) !== 0 ? { hash: reader.take(32), length: reader.uint() } : null,
    linked: (flags & LINKED) !== 0 ? reader.list(() => reader.take(32)) : null,
    userData: (flags & USER_DATA) !== 0 ? reader.take(reader.uint()) : null
  }
}

function encodeV0 (manifest: Manifest): Uint8Array[] {
  if (manifest.prologue && manifest.signers.length === 0) return [uint(0), uint(0), manifest.prologue.hash]
  if (manifest.quorum === 1 && manifest.signers.length === 1 && !manifest.allowPatch) {
    return [uint(0), uint(1), ...encodeSigner(manifest.signers[0]!)]
  }
  return [uint(0), uint(2), uint(manifest.allowPatch ? 1 : 0), uint(manifest.quorum), ...encodeSigners(manifest.signers)]
}

function decodeV0 (reader: Reader): Manifest {
  reader.kind('hash')
  const type = reader.uint()
  if (type > 2) throw new Error('Unknown type: ' + type)
  const base: Manifest = {
    version: 0, hash: 'blake2b', allowPatch: false, quorum: 0, signers: [], prologue: null, linked: null, userData: null
  }
  if (type === 0) return { ...base, prologue: { hash: reader.take(32), length: 0 } }
  if (type === 1) return { ...base, quorum: 1, signers: [decodeSigner(reader)] }
  const flags = reader.uint()
  return { ...base, allowPatch: (flags & 1) !== 0, quorum: reader.uint(), signers: decodeSigners(reader) }
}

function encodeSigners (signers: Signer[]): Uint8Array[] {
  return [uint(signers.length), ...signers.flatMap(encodeSigner)]
}

function encodeSigner ({ namespace, publicKey }: Signer): Uint8Array[] {
  if (!isBytes(namespace) || !isBytes(publicKey)) throw new TypeError('A signer has a namespace and a public key of bytes')
  if (namespace.byteLength !== 32 || publicKey.byteLength !== 32) throw new Error('Incorrect buffer size')
  return [uint(0), namespace, publicKey]
}

function decodeSigners (reader: Reader): Signer[] {
  return reader.list(() => decodeSigner(reader))
}

function decodeSigner (reader: Reader): Signer {
  reader.kind('signature')
  return { signature: 'ed25519', namespace: reader.take(32), publicKey: reader.take(32) }
}

function createSigner (signer: NonNullable<ManifestInput['signers']>[number]): Signer {
  if (!signer?.publicKey) throw HypercoreError.BAD_ARGUMENT('Signer missing public key')
  if (signer.signature && signer.signature !== 'ed25519') {
    throw HypercoreError.BAD_ARGUMENT('Only Ed25519 signatures are supported')
  }
  return { signature: 'ed25519', namespace: signer.namespace || userBytes(DEFAULT_NAMESPACE), publicKey: signer.publicKey }
}

function checkFields (manifest: Manifest): void {
  const { prologue, version } = manifest
  if (prologue && !(isBytes(prologue.hash) && prologue.hash.byteLength === 32 && prologue.length >= 0)) {
    throw HypercoreError.BAD_ARGUMENT('Invalid prologue')
  }
  if (manifest.userData !== null && version < 2) throw HypercoreError.BAD_ARGUMENT('Invalid field: userData')
  if (manifest.linked === null) return
  if (version < 2) throw HypercoreError.BAD_ARGUMENT('Invalid field: linked')
  if (!manifest.linked.every((key) => isBytes(key) && key.byteLength === 32)) throw HypercoreError.BAD_ARGUMENT('Invalid key')
}

function versionOf (input: ManifestInput): number {
  if (typeof input.version === 'number') return input.version
  return input.linked?.length || input.userData ? 2 : 1
}

function quorumOf (input: ManifestInput): number {
  if (typeof input.quorum === 'number') return input.quorum
  return input.signers?.length ? (input.signers.length >> 1) + 1 : 0
}

function uint (value: number): Uint8Array {
  if (value <= 0xfc) return Uint8Array.of(value)
  const bytes = new Uint8Array(9)
  const view = new DataView(bytes.buffer)
  if (value <= 0xffff) {
    bytes[0] = 0xfd
    view.setUint16(1, value, true)
    return bytes.subarray(0, 3)
  }
  if (value <= 0xffffffff) {
    bytes[0] = 0xfe
    view.setUint32(1, value, true)
    return bytes.subarray(0, 5)
  }
  bytes[0] = 0xff
  view.setBigUint64(1, BigInt(value), true)
  return bytes
}

class Reader {
  #bytes
  #view
  #offset = 0

  constructor (bytes: Uint8Array) {
    this.#bytes = bytes
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }

  /** Bytes that were read. */
  get offset (): number {
    return this.#offset
  }

  take (length: number): Uint8Array {
    if (this.#offset + length > this.#bytes.byteLength) throw new Error('Out of bounds')
    const start = this.#offset
    this.#offset += length
    return userBytes(this.#bytes.slice(start, this.#offset))
  }

  uint (): number {
    const first = this.take(1)[0]!
    const start = this.#offset
    if (first <= 0xfc) return first
    this.take(first === 0xfd ? 2 : first === 0xfe ? 4 : 8)
    if (first === 0xfd) return this.#view.getUint16(start, true)
    if (first === 0xfe) return this.#view.getUint32(start, true)
    const value = this.#view.getBigUint64(start, true)
    if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw new Error('uint64 exceeds max safe integer')
    return Number(value)
  }

  /** The number of a hash or signature; there is one of each. */
  kind (what: string): void {
    const id = this.uint()
    if (id !== 0) throw new Error(`Unknown ${what} id: ${id}`)
  }

  list<T> (read: () => T): T[] {
    const length = this.uint()
    if (length > this.#bytes.byteLength) throw new Error('Out of bounds')
    return Array.from({ length }, read)
  }
}
