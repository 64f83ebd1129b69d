// What may be given to stores and to their methods.

import type { HypercoreOptions } from '../hypercore/options.js'
import type { Corestore } from './corestore.js'

/** How a store, or a session of it, is opened. */
export interface CorestoreOptions {
  /** What every key of the store is derived from; 32 bytes. Needs {@link unsafe}. */
  primaryKey?: Uint8Array | null
  /** Says that whoever gives the primary key knows what follows from it. */
  unsafe?: boolean
  /** Where the names of this session are; 32 bytes. */
  namespace?: Uint8Array | null
  /** Of the manifests that are made for names and key pairs; 1 by default. */
  manifestVersion?: number
  /** False makes sessions that cannot write. */
  writable?: boolean
  /** As `writable: false`; and a folder is opened as it is now, also while somebody else has it open. */
  readOnly?: boolean
  /** Waits until nobody else has a folder open, instead of failing. */
  wait?: boolean
  /** False serves what peers ask for, and begins nothing. */
  active?: boolean
  /** False makes `suspend()` do nothing. */
  suspend?: boolean
  /** Kept for programs that give one; the engine has its own. */
  globalCache?: unknown
  /** @internal */
  root?: Corestore | null
  [storageOption: string]: unknown
}

/** Which core is wanted, by `name`, `key`, `discoveryKey`, `keyPair` or `manifest`, and options of its session. */
export interface GetCoreOptions extends HypercoreOptions {
  /** Derives the key pair, and finds the core again. */
  name?: string
  /** Options that are not known yet. */
  preload?: Promise<Partial<GetCoreOptions>> | null
  /** As of `CorestoreOptions`. */
  globalCache?: unknown
  /** Kept, and as upstream's not looked at. */
  draft?: boolean
  [sessionOption: string]: unknown
}

/** How a store is suspended. */
export interface SuspendOptions {
  /** Called with what is being done. */
  log?: (message: string) => unknown
}

/** Signing keys. */
export interface NamedKeyPair {
  /** 32 bytes. */
  publicKey: Uint8Array
  /** 64 bytes. */
  secretKey: Uint8Array
}
