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

/** How a core, or a session of it, is opened. Options of the core itself count for the first session, which opens it. */
export interface HypercoreOptions {
  /** Where it is stored, in place of the first argument. */
  storage?: StorageInput | null
  /** The public key, 32 bytes or its text, in place of the second argument. Without one, the core of the storage, or a new one. */
  key?: Uint8Array | string | null
  /** False to fail with `STORAGE_EMPTY` where no such core is stored; true by default. */
  createIfMissing?: boolean
  /** Makes a new core in the place of the one that is stored, or lets a named session start over, for all who have it open; false by default. */
  overwrite?: boolean
  /** With `overwrite`, also where the stored core has another key; false by default. */
  force?: boolean
  /** Who signs; of a new core, also who it belongs to. Fresh keys by default. */
  keyPair?: KeyPairInput | null
  /** What the key commits to, where that is more than one signer. Fails with `STORAGE_CONFLICT` where the key is not its hash. */
  manifest?: ManifestInput | Uint8Array | null
  /** Makes a core as they were before manifests, whose key is that of its signer; false by default. */
  compat?: boolean
  /** Signs and verifies a core whose key signs itself as very old versions did. */
  legacy?: boolean
  /** Opens a stored core whose key is not known, 32 bytes. */
  discoveryKey?: Uint8Array | null
  /** What blocks are made from and into: `'binary'`, the default, `'utf-8'`, `'json'`, or an encoding of the package `compact-encoding`. */
  valueEncoding?: ValueEncoding | null
  /** Makes the blocks of a whole `append()` in place of `valueEncoding`. */
  encodeBatch?: ((blocks: any[]) => Uint8Array[]) | null
  /** Encrypts blocks: `{ key }` with 32 bytes, or an object that does so itself. */
  encryption?: EncryptionInput
  /** The same as `encryption: { key }`. */
  encryptionKey?: Uint8Array | null
  /** The encryption key is that of the blocks, and nothing is derived from it; false by default. */
  isBlockKey?: boolean
  /** False refuses `append()` and `truncate()` (`SESSION_NOT_WRITABLE`). By default whoever has the secret key can write. */
  writable?: boolean
  /** False makes `get()` and the like resolve to null where a block is not here; true by default. */
  wait?: boolean
  /** Milliseconds to wait for a block of a peer, after which `get()` fails with `REQUEST_TIMEOUT`; 0, the default, for as long as it takes. */
  timeout?: number
  /** Called with each block that has to be waited for. */
  onwait?: ((index: number, session: Hypercore) => unknown) | null
  /** Called with each block that is read. */
  onseq?: ((index: number, session: Hypercore) => unknown) | null
  /** Called when the session is closed. */
  ongc?: ((session: Hypercore) => unknown) | null
  /** Keeps to the length that the log has when the session opens; false by default. */
  snapshot?: boolean
  /** False for a session that wants no blocks: nothing is fetched ahead for it, and its peers may be let go; true by default. */
  active?: boolean
  /** Does not keep the core open: the session closes with the last one that does; false by default. */
  weak?: boolean
  /** Waits until no other exclusive session is open, and makes others wait; false by default. */
  exclusive?: boolean
  /** More options, which are waited for before the core is opened. */
  preload?: Promise<Partial<HypercoreOptions>> | null
  /** Is waited for before the core is opened. */
  preopen?: Promise<unknown> | null
  /** Stored beside the log when the session opens, by name. */
  userData?: Record<string, Uint8Array | string>
  /** False to ask for a longer log only when `update()` is called; true by default. */
  eagerUpgrade?: boolean
  /** Milliseconds that peers are kept for after the last session wanted blocks; by default some 20,000 to 40,000, by chance. */
  notDownloadingLinger?: number
  /** False to stay with the history that is here when a peer has another one, of a higher fork; true by default. */
  allowFork?: boolean
  /** Takes blocks that were not asked for; false by default. */
  allowPush?: boolean
  /** Asks for nothing, and takes what is pushed; false by default. */
  pushOnly?: boolean
  /** Has the last block fetched along with each longer log; false by default. */
  allowLatestBlock?: boolean
  /** Fewest and most blocks that one peer is asked for at a time; 16 and 512 by default. */
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
  /** The session that this one comes from. */
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
  /** What `session()` makes, in place of a Hypercore. */
  class?: new (storage: any, key: any, options: any) => Hypercore
}

/** Whether and how long to wait for peers. */
export interface WaitOptions {
  /** False not to wait for peers; by default as the session says. */
  wait?: boolean
  /** Milliseconds to wait at most (`REQUEST_TIMEOUT`); 0 for as long as it takes. By default as the session says. */
  timeout?: number
  /** The list that the request is in while it is under way, for `Hypercore.clearRequests()`. */
  activeRequests?: ActiveRequests
}

/** How a block is read. */
export interface GetOptions extends WaitOptions {
  /** Called when the block has to be waited for, before the one of the session. */
  onwait?: (index: number, session: Hypercore) => unknown
  /** In place of that of the session. */
  valueEncoding?: ValueEncoding
  /** False leaves the block as it is stored, without the room in front. */
  decrypt?: boolean
  /** The block as it is stored. */
  raw?: boolean
  /** Asks for the block also where the core is `pushOnly`. */
  force?: boolean
}

/** How blocks are appended. */
export interface AppendOptions {
  /** Who signs, in place of the session's. */
  keyPair?: KeyPairInput | null
  /** A signature of the log as it is afterwards, 64 bytes, in place of one that is made here. */
  signature?: Uint8Array | null
  /** Appends nothing when the log would get longer. */
  maxLength?: number
  /** True also without a key pair, as where a manifest asks for no signature. */
  writable?: boolean
  /** Runs once the blocks are stored, before anybody is told. */
  postappend?: ((blocks: Uint8Array[]) => unknown) | null
}

/** How a log is cut. */
export interface TruncateOptions {
  /** The fork of the new history; one more than that of the old one by default. */
  fork?: number
  /** Who signs, in place of the session's. */
  keyPair?: KeyPairInput | null
  /** A signature of the log as it is afterwards, 64 bytes, in place of one that is made here. */
  signature?: Uint8Array | null
}

/** How peers are asked for a longer log. */
export interface UpdateOptions {
  /** Whether to wait for a first peer; by default while somebody looks for peers (`findingPeers()`). */
  wait?: boolean
  /** Asks also where the session can write, which has the newest itself otherwise. */
  force?: boolean
  /** As of `WaitOptions`. */
  activeRequests?: ActiveRequests
}

/** Which blocks to fetch; all, also those that are yet to come, by default. */
export interface DownloadRange {
  /** First block; 0 by default. */
  start?: number
  /** Before which block to stop; -1, the default, to go on for ever. */
  end?: number
  /** How many blocks, in place of `end`. */
  length?: number
  /** These blocks instead. */
  blocks?: number[] | null
  /** In order, rather than as they come. */
  linear?: boolean
  /** As of `WaitOptions`. */
  activeRequests?: ActiveRequests
}

/** Of the stream that is made to replicate on. */
export interface ReplicateOptions {
  /** Milliseconds without a message after which an empty one is sent; 5000 by default or with true, false for never. */
  keepAlive?: boolean | number
  /** Who we are to the other end; fresh keys by default. */
  keyPair?: ConnectionKeys | Promise<ConnectionKeys>
  /** A stream to replicate on, in place of a new one. */
  stream?: unknown
  /** Called with the discovery key of each core that the other end asks for and that is not open here. */
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
