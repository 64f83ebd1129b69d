// What drives take and give.

import type { Hypercore } from '../hypercore/hypercore.js'
import type { GetCoreOptions } from '../corestore/options.js'
import type { BlobId } from '../hyperblobs/hyperblobs.js'
import type { Hyperbee } from '../hyperbee/hyperbee.js'
import type { Ignore } from '../support/path.js'
import type { Hyperdrive } from './hyperdrive.js'

/** What a drive needs of a Corestore. It closes the one it was given. */
export interface DriveStore {
  get (options: GetCoreOptions): Hypercore
  session (): DriveStore
  replicate (isInitiator: any, options?: any): any
  findingPeers (): () => void
  close (): Promise<unknown>
}

export interface HyperdriveOptions {
  /** Encrypts both cores. */
  encryptionKey?: Uint8Array | null
  /** False not to be told of new blocks until `setActive(true)`. */
  active?: boolean
  /** Called for each block that has to be waited for. */
  onwait?: ((index: number, session: Hypercore) => unknown) | null
  /** False to send and take no hints of which blocks a lookup needs. */
  extension?: boolean
  /** A drive as they were before manifests. */
  compat?: boolean
  /** @internal */
  _db?: Hyperbee | undefined
  /** @internal */
  _checkout?: Hyperdrive | null
  /** @internal */
  _batching?: boolean
  /** @internal */
  _sessions?: Set<Hyperdrive>
}

/** What a drive keeps of a file. */
export interface DriveValue {
  executable: boolean
  /** Where a link leads. */
  linkname: string | null
  /** The content; null for a link. */
  blob: BlobId | null
  /** JSON of the writer's own. */
  metadata: any
}

/** A file of a drive. */
export interface DriveEntry {
  /** The version that put it. */
  seq: number
  key: string
  value: DriveValue
}

/** How a file differs from another version: null where there is none. */
export interface DriveDifference {
  left: DriveEntry | null
  right: DriveEntry | null
}

export interface WaitOptions {
  /** False to fail, or to return null, when a block is not here. */
  wait?: boolean
  /** Milliseconds to wait for a block; 0 for as long as it takes. */
  timeout?: number
}

export interface EntryOptions extends WaitOptions {
  /** Goes on to where links lead, through up to 16 of them. */
  follow?: boolean
}

export interface ReadOptions extends WaitOptions {
  /** First byte. */
  start?: number
  /** Last byte, inclusive. */
  end?: number
  /** Bytes; counts before `end`. */
  length?: number
  highWaterMark?: number
}

export interface FileOptions {
  executable?: boolean
  metadata?: any
}

export interface WriteOptions extends FileOptions {
  /** Stores chunks that the file has already only once. */
  dedup?: boolean
}

export interface ListOptions extends WaitOptions {
  /** False for the first file of each child only. */
  recursive?: boolean
  /** Paths that are left out, with all below them, or a function that says so. */
  ignore?: Ignore
}

/** A difference between two versions: as it is here, and as it was there. */
export interface DriveDifference {
  left: DriveEntry | null
  right: DriveEntry | null
}

/** Blocks of the entries' core or of the blobs' core, as `core.download` takes them. */
export type { DownloadRange } from '../hypercore/options.js'
