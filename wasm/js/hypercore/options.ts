// What may be given to cores, sessions and their methods.

import type { KeyPair } from '../binding.js'
import type { StorageInput } from '../storage/parse.js'
import type { LegacyFiles } from '../storage/storage.js'
import type { ValueEncoding } from '../support/encoding.js'
import type { OnDiscoveryKey } from '../links/mux.js'
import type { ConnectionKeys } from '../links/connection.js'
import type { EncryptionInput } from './encryption.js'
import type { Core } from './core.js'
import type { Hypercore } from './hypercore.js'
import type { ManifestInput } from './manifest.js'
import type { ActiveRequests } from './requests.js'
import type { Atom, ForeignAtom } from './atom.js'

/** A pair that a program gives; one without a secret only names who signs. */
export type KeyPairInput = { publicKey: Uint8Array, secretKey?: Uint8Array | null } | KeyPair

export interface HypercoreOptions {
  storage?: StorageInput | null
  key?: Uint8Array | string | null
  createIfMissing?: boolean
  overwrite?: boolean
  force?: boolean
  keyPair?: KeyPairInput | null
  manifest?: ManifestInput | Uint8Array | null
  compat?: boolean
  /** Signs and verifies a core whose key signs itself as very old versions did. */
  legacy?: boolean
  discoveryKey?: Uint8Array | null
  valueEncoding?: ValueEncoding | null
  encodeBatch?: ((blocks: any[]) => Uint8Array[]) | null
  encryption?: EncryptionInput
  encryptionKey?: Uint8Array | null
  isBlockKey?: boolean
  writable?: boolean
  wait?: boolean
  timeout?: number
  onwait?: ((index: number, session: Hypercore) => unknown) | null
  onseq?: ((index: number, session: Hypercore) => unknown) | null
  ongc?: ((session: Hypercore) => unknown) | null
  snapshot?: boolean
  active?: boolean
  weak?: boolean
  exclusive?: boolean
  preload?: Promise<Partial<HypercoreOptions>> | null
  preopen?: Promise<unknown> | null
  userData?: Record<string, Uint8Array | string>
  eagerUpgrade?: boolean
  notDownloadingLinger?: number
  allowFork?: boolean
  allowPush?: boolean
  pushOnly?: boolean
  allowLatestBlock?: boolean
  inflightRange?: [number, number] | null
  /** Topic of 32 bytes: the group that the core belongs to, once and for all. */
  group?: Uint8Array | null
  /** Something that programs share among the sessions of a core. */
  globalCache?: unknown
  /** Opens a branch of the log, which is found again by this name. */
  name?: string | null
  /** Opens a session whose writes are stored when the atom is flushed. */
  atom?: Atom | ForeignAtom
  /** Cuts a branch to this length at once. */
  checkout?: number
  parent?: Hypercore | null
  /** The list that the session enters itself into, and those made from it. */
  sessions?: Hypercore[]
  /** @internal Files of an older version to take the core from; by default those that are beside the store. */
  legacyFiles?: LegacyFiles | null
  /** Under which name a store finds the core that is made. */
  alias?: { name: string, namespace: Uint8Array } | null
  /** @internal It is not in the store before that is asked for; the fork of one that is made. */
  incoming?: number
  /** A core that is open already. */
  core?: Core
  class?: new (storage: any, key: any, options: any) => Hypercore
}

export interface WaitOptions {
  /** Waits for peers. */
  wait?: boolean
  /** Milliseconds to wait at most; 0 for as long as it takes. */
  timeout?: number
  activeRequests?: ActiveRequests
}

export interface GetOptions extends WaitOptions {
  onwait?: (index: number, session: Hypercore) => unknown
  valueEncoding?: ValueEncoding
  /** False leaves the block as it is stored, without the room in front. */
  decrypt?: boolean
  /** The block as it is stored. */
  raw?: boolean
  force?: boolean
}

export interface AppendOptions {
  keyPair?: KeyPairInput | null
  signature?: Uint8Array | null
  /** Appends nothing when the log would get longer. */
  maxLength?: number
  writable?: boolean
  /** Runs once the blocks are stored, before anybody is told. */
  postappend?: ((blocks: Uint8Array[]) => unknown) | null
}

export interface TruncateOptions {
  fork?: number
  keyPair?: KeyPairInput | null
  signature?: Uint8Array | null
}

export interface UpdateOptions {
  wait?: boolean
  force?: boolean
  activeRequests?: ActiveRequests
}

export interface DownloadRange {
  start?: number
  /** Before which block to stop; -1 to go on for ever. */
  end?: number
  length?: number
  /** These blocks instead. */
  blocks?: number[] | null
  /** In order, rather than as they come. */
  linear?: boolean
  activeRequests?: ActiveRequests
}

export interface ReplicateOptions {
  /** False for none; otherwise 5000 milliseconds, or these. */
  keepAlive?: boolean | number
  keyPair?: ConnectionKeys | Promise<ConnectionKeys>
  stream?: unknown
  ondiscoverykey?: OnDiscoveryKey
  [other: string]: unknown
}

/** With a null where there is no secret. */
export function normalKeyPair (keyPair: KeyPairInput): KeyPair {
  return { publicKey: keyPair.publicKey, secretKey: keyPair.secretKey || null }
}

/** Whether upstream takes it for an index: whatever is zero or above. */
export function isIndex (value: unknown): boolean {
  return value === 0 || (value as number) > 0
}

/** An index as the engine takes it: upstream loses what is behind the point when it is encoded. */
export function toIndex (value: number): number {
  return Math.min(Math.trunc(value), Number.MAX_SAFE_INTEGER)
}

/** The end of a range that a program gives, whatever it is; no number is 0. */
export function toBound (value: unknown): number {
  return Math.max(0, toIndex(Number(value) || 0))
}

/** The length that a log must not get beyond, for the engine. What is below zero, or no number, is none. */
export function limit (maxLength: number | null | undefined): { maxLength?: number } {
  return maxLength! >= 0 && maxLength !== Infinity ? { maxLength: toIndex(Number(maxLength)) } : {}
}
