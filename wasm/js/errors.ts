// Errors with upstream's codes and upstream's words.

import type { Failure } from './binding.js'
import { encodeId } from './support/id.js'

/** An error with a stable `code`. */
export class HypertabError extends Error {
  /** Stable; the readme lists them. */
  readonly code: string

  constructor (code: string, message: string, options?: ErrorOptions) {
    super(`${code}: ${message}`, options)
    this.code = code
  }

  override get name (): string {
    return 'HypertabError'
  }
}

/** An error of a node of the DHT, as upstream's: `CODE: message`. */
export class DHTError extends Error {
  readonly code: string

  constructor (message: string, code: string) {
    super(`${code}: ${message}`)
    this.code = code
  }

  override get name (): string {
    return 'DHTError'
  }

  static ALREADY_LISTENING (message = 'Already listening'): DHTError {
    return new DHTError(message, 'ALREADY_LISTENING')
  }

  static KEYPAIR_ALREADY_USED (message = 'Keypair already used'): DHTError {
    return new DHTError(message, 'KEYPAIR_ALREADY_USED')
  }

  static NODE_DESTROYED (message = 'Node destroyed'): DHTError {
    return new DHTError(message, 'NODE_DESTROYED')
  }

  static DUPLICATE_CONNECTION (message = 'Duplicate connection'): DHTError {
    return new DHTError(message, 'DUPLICATE_CONNECTION')
  }

  static SUSPENDED (message = 'Suspended'): DHTError {
    return new DHTError(message, 'SUSPENDED')
  }

  static REQUEST_TIMEOUT (message = 'Request timed out'): DHTError {
    return new DHTError(message, 'REQUEST_TIMEOUT')
  }

  static VALUE_TOO_LARGE (limit: number): DHTError {
    return new DHTError(`a value of the DHT has at most ${limit} bytes`, 'VALUE_TOO_LARGE')
  }

  /** What the relay in use has no words for. */
  static RELAY_NOT_ABLE (name: string): DHTError {
    return new DHTError(`${name} is not carried by this relay; hypertab-relay carries it`, 'NOT_SUPPORTED')
  }

  /** What only a node with a socket of its own can do. */
  static NOT_SUPPORTED (name: string): DHTError {
    return new DHTError(`${name} needs a node with a socket of its own; behind a relay there is none`, 'NOT_SUPPORTED')
  }
}

/** Why a stream through a relay ended: the other end and the network say it as `CODE: text`. */
export function streamError ({ code, message }: Failure): Error {
  const [, word, text] = /^([A-Z][A-Z_]+): (.+)$/s.exec(message) ?? []
  if (!word) return new HypertabError(code, message)
  // The system's are no errors of the DHT.
  return SYSTEM_ERROR.test(word) ? Object.assign(new Error(text), { code: word }) : new DHTError(text!, word)
}

const SYSTEM_ERROR = /^E[A-Z]+$/

/** An error of a core, as upstream's: `CODE: message (discovery key: …)`. */
export class HypercoreError extends Error {
  /** Stable, as upstream's. */
  readonly code: string
  /** Of the core; null where it is of none. */
  readonly discoveryKey: Uint8Array | null

  constructor (message: string, code: string, discoveryKey: Uint8Array | null = null) {
    super(`${code}: ${discoveryKey ? `${message} (discovery key: ${encodeId(discoveryKey)})` : message}`)
    this.code = code
    this.discoveryKey = discoveryKey
  }

  override get name (): string {
    return 'HypercoreError'
  }

  static ASSERTION (message: string, discoveryKey: Uint8Array | null = null): HypercoreError {
    return new HypercoreError(message, 'ERR_ASSERTION', discoveryKey)
  }

  static BAD_ARGUMENT (message: string, discoveryKey: Uint8Array | null = null): HypercoreError {
    return new HypercoreError(message, 'BAD_ARGUMENT', discoveryKey)
  }

  static STORAGE_EMPTY (message: string, discoveryKey: Uint8Array | null = null): HypercoreError {
    return new HypercoreError(message, 'STORAGE_EMPTY', discoveryKey)
  }

  static STORAGE_CONFLICT (message: string, discoveryKey: Uint8Array | null = null): HypercoreError {
    return new HypercoreError(message, 'STORAGE_CONFLICT', discoveryKey)
  }

  static INVALID_SIGNATURE (message: string, discoveryKey: Uint8Array | null = null): HypercoreError {
    return new HypercoreError(message, 'INVALID_SIGNATURE', discoveryKey)
  }

  static INVALID_CAPABILITY (message: string, discoveryKey: Uint8Array | null = null): HypercoreError {
    return new HypercoreError(message, 'INVALID_CAPABILITY', discoveryKey)
  }

  static INVALID_CHECKSUM (message = 'Invalid checksum', discoveryKey: Uint8Array | null = null): HypercoreError {
    return new HypercoreError(message, 'INVALID_CHECKSUM', discoveryKey)
  }

  static INVALID_OPERATION (message: string, discoveryKey: Uint8Array | null = null): HypercoreError {
    return new HypercoreError(message, 'INVALID_OPERATION', discoveryKey)
  }

  static INVALID_PROOF (message = 'Proof not verifiable', discoveryKey: Uint8Array | null = null): HypercoreError {
    return new HypercoreError(message, 'INVALID_PROOF', discoveryKey)
  }

  static BLOCK_NOT_AVAILABLE (message = 'Block is not available', discoveryKey: Uint8Array | null = null): HypercoreError {
    return new HypercoreError(message, 'BLOCK_NOT_AVAILABLE', discoveryKey)
  }

  static SNAPSHOT_NOT_AVAILABLE (message = 'Snapshot is not available', discoveryKey: Uint8Array | null = null): HypercoreError {
    return new HypercoreError(message, 'SNAPSHOT_NOT_AVAILABLE', discoveryKey)
  }

  static REQUEST_CANCELLED (message = 'Request was cancelled', discoveryKey: Uint8Array | null = null): HypercoreError {
    return new HypercoreError(message, 'REQUEST_CANCELLED', discoveryKey)
  }

  static REQUEST_TIMEOUT (message = 'Request timed out', discoveryKey: Uint8Array | null = null): HypercoreError {
    return new HypercoreError(message, 'REQUEST_TIMEOUT', discoveryKey)
  }

  static SESSION_NOT_WRITABLE (message = 'Session is not writable', discoveryKey: Uint8Array | null = null): HypercoreError {
    return new HypercoreError(message, 'SESSION_NOT_WRITABLE', discoveryKey)
  }

  static SESSION_CLOSED (message = 'Session is closed', discoveryKey: Uint8Array | null = null): HypercoreError {
    return new HypercoreError(message, 'SESSION_CLOSED', discoveryKey)
  }

  static DECODING_ERROR (message = 'Decoding error', discoveryKey: Uint8Array | null = null): HypercoreError {
    return new HypercoreError(message, 'DECODING_ERROR', discoveryKey)
  }

  static WRITE_FAILED (message = 'Write to storage failed', discoveryKey: Uint8Array | null = null): HypercoreError {
    return new HypercoreError(message, 'WRITE_FAILED', discoveryKey)
  }

  static SESSION_MOVED (message = 'Session moved', discoveryKey: Uint8Array | null = null): HypercoreError {
    return new HypercoreError(message, 'SESSION_MOVED', discoveryKey)
  }

  static BATCH_UNFLUSHED (message = 'Batch not yet flushed', discoveryKey: Uint8Array | null = null): HypercoreError {
    return new HypercoreError(message, 'BATCH_UNFLUSHED', discoveryKey)
  }

  static BATCH_ALREADY_EXISTS (message = 'Batch already exists', discoveryKey: Uint8Array | null = null): HypercoreError {
    return new HypercoreError(message, 'BATCH_ALREADY_EXISTS', discoveryKey)
  }

  static BATCH_ALREADY_FLUSHED (message = 'Batch has already been flushed', discoveryKey: Uint8Array | null = null): HypercoreError {
    return new HypercoreError(message, 'BATCH_ALREADY_FLUSHED', discoveryKey)
  }

  static OPLOG_CORRUPT (message = 'Oplog file appears corrupt or out of date', discoveryKey: Uint8Array | null = null): HypercoreError {
    return new HypercoreError(message, 'OPLOG_CORRUPT', discoveryKey)
  }

  static OPLOG_HEADER_OVERFLOW (message = 'Oplog header exceeds page size', discoveryKey: Uint8Array | null = null): HypercoreError {
    return new HypercoreError(message, 'OPLOG_HEADER_OVERFLOW', discoveryKey)
  }

  static INVALID_OPLOG_VERSION (message = 'Invalid header version', discoveryKey: Uint8Array | null = null): HypercoreError {
    return new HypercoreError(message, 'INVALID_OPLOG_VERSION', discoveryKey)
  }

  static NOT_SUPPORTED (message: string, discoveryKey: Uint8Array | null = null): HypercoreError {
    return new HypercoreError(message, 'NOT_SUPPORTED', discoveryKey)
  }
}

/** Messages of the engine that upstream words differently. */
const MESSAGES: Record<string, string> = {
  'append is not consistent with the prologue': 'Append is not consistent with prologue',
  'truncation breaks the prologue': 'Truncation breaks prologue',
  'public key is not a declared signer': 'Public key is not a declared signer',
  'manifest does not hash to the key': 'Manifest does not hash to provided key',
  'another hypercore is stored here': 'Another Hypercore is stored here',
  'key must be the public key of a compat core': 'Key must match publicKey when in compat mode'
}

/** What upstream says without naming the core. */
const UNNAMED = 'public key is not a declared signer'

/** What upstream says where the engine has words of its own. */
const WORDS: Record<string, string> = {
  INVALID_PROOF: 'Proof not verifiable',
  INVALID_SIGNATURE: 'Proof contains an invalid signature',
  STORAGE_EMPTY: 'No Hypercore is stored here',
  BLOCK_NOT_AVAILABLE: 'Block is not available',
  REQUEST_CANCELLED: 'Request was cancelled',
  REQUEST_TIMEOUT: 'Request timed out'
}

/** The error that the engine reported. Its text may start with its code already. */
export function fromFailure (failure: Failure, discoveryKey: Uint8Array | null = null): HypercoreError {
  const prefix = `${failure.code}: `
  const message = failure.message.startsWith(prefix) ? failure.message.slice(prefix.length) : failure.message
  const named = message === UNNAMED ? null : discoveryKey
  const error = new HypercoreError(WORDS[failure.code] ?? MESSAGES[message] ?? message, failure.code, named)
  if (failure.cause) error.cause = new HypertabError(failure.cause.code, failure.cause.message)
  return error
}
