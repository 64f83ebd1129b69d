// What a store knows as a whole, as upstream's storage tells it.

import { Readable } from 'streamx'

import { userBytes } from '../platform.js'
import type { KeyPair } from '../binding.js'
import { decodeManifest, type Manifest } from '../hypercore/manifest.js'
import type { ReadableOf } from '../support/readable.js'

/** A name in a namespace. */
export interface Alias {
  name: string
  namespace: Uint8Array
}

/** Where a core is in its store. */
export interface StoredCore {
  version: number
  corePointer: number
  dataPointer: number
  alias: Alias | null
}

/** Who a core is and who signs it. */
export interface StoredAuth {
  key: Uint8Array
  discoveryKey: Uint8Array
  manifest: Manifest | null
  keyPair: KeyPair | null
  encryptionKey: Uint8Array | null
}

/** How long a core is, and what was signed. */
export interface StoredHead {
  fork: number
  length: number
  rootHash: Uint8Array
  signature: Uint8Array | null
  timestamp: number
}

/** What would otherwise have to be searched for. */
export interface StoredHints {
  contiguousLength: number
  remoteContiguousLength: number
  recovering: number
}

/** What is stored about a core. */
export interface StoredInfo {
  discoveryKey: Uint8Array
  core: StoredCore
  auth: StoredAuth | null
  head: StoredHead | null
  hints: StoredHints | null
}

/** Which parts of {@link StoredInfo} are wanted; all by default. */
export interface InfoOptions {
  auth?: boolean
  head?: boolean
  hints?: boolean
}

/** Which changes of a group are wanted, in milliseconds of Unix time, and in which order. */
export interface GroupUpdateOptions {
  since?: number
  reverse?: boolean
}

/** How many entries are fetched at once. */
const PAGE = 256

/** A page of a list as the engine gives it: entries, and where to go on. */
export type Page<T> = [entries: T[], next: Uint8Array | null]

/** A stream of entries, one a read. */
export type EntryStream<T> = ReadableOf<T>

/** A list of any length as a stream. */
export function pages<T, R> (
  fetch: (from: Uint8Array | null, limit: number) => Promise<Page<T>>, pick: (entry: T) => R, count = PAGE
): EntryStream<R> {
  let from: Uint8Array | null = null
  let isOver = false
  return new Readable({
    read (this: Readable, done: (error: Error | null) => void) {
      if (isOver) {
        this.push(null)
        return done(null)
      }
      fetch(from, count).then(([entries, next]) => {
        for (const entry of entries) this.push(pick(entry))
        from = next
        isOver = next === null
        if (isOver) this.push(null)
        done(null)
      }, done)
    }
  }) as EntryStream<R>
}

/** An object of the engine with the bytes that users of this platform expect. */
export function userInfo (info: (Omit<StoredInfo, 'auth'> & { auth: Omit<StoredAuth, 'manifest'> & { manifest: Uint8Array | null } }) | null): StoredInfo | null {
  if (info === null) return null
  const { manifest, ...auth } = userFields(info.auth)
  return { ...userFields(info), auth: { ...auth, manifest: manifest && decodeManifest(manifest) } }
}

/** Upstream gives Buffers in Node, at any depth. */
export function userFields<T> (value: T): T {
  if (value instanceof Uint8Array) return userBytes(value) as T
  if (Array.isArray(value)) return value.map(userFields) as T
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([name, field]) => [name, userFields(field)])) as T
}
