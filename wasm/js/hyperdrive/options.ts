// What drives take and give.

import type { Duplex } from 'streamx'

import type { Hypercore } from '../hypercore/hypercore.js'
import type { GetCoreOptions } from '../corestore/options.js'
import type { BlobId } from '../hyperblobs/hyperblobs.js'
import type { Hyperbee } from '../hyperbee/hyperbee.js'
import type { Ignore } from '../support/path.js'
import type { Hyperdrive } from './hyperdrive.js'

/** What a drive needs of a Corestore. It closes the one it was given. */
export interface DriveStore {
  /** A core, by its name or key. */
  get (options: GetCoreOptions): Hypercore
  /** A session of the store, which the drive closes. */
  session (): DriveStore
  /** Replicates everything in it. */
  replicate (isInitiator: boolean | object, options?: object): Duplex
  /** Has cores wait for a first peer, until what it returns is called. */
  findingPeers (): () => void
  /** Closes the session. */
  close (): Promise<unknown>
}

/** How a drive is opened. */
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
  /** Whether the file is a program. */
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
  /** The path, which begins with `/`. */
  key: string
  /** What there is of the file. */
  value: DriveValue
}

/** How a file differs from another version: null where there is none. */
export interface DriveDifference {
  /** As it is here. */
  left: DriveEntry | null
  /** As it was there. */
  right: DriveEntry | null
}

/** Whether and how long to wait for peers. */
export interface WaitOptions {
  /** False to fail, or to return null, when a block is not here. */
  wait?: boolean
  /** Milliseconds to wait for a block; 0 for as long as it takes. */
  timeout?: number
}

/** How an entry is looked up. */
export interface EntryOptions extends WaitOptions {
  /** Goes on to where links lead, through up to 16 of them. */
  follow?: boolean
}

/** Which bytes of a file are read; all of them by default. */
export interface ReadOptions extends WaitOptions {
  /** First byte. */
  start?: number
  /** Last byte, inclusive. */
  end?: number
  /** Bytes; counts before `end`. */
  length?: number
  /** Bytes that the stream reads ahead; 16384 by default. */
  highWaterMark?: number
}

/** What is kept with a file. */
export interface FileOptions {
  /** Whether it is a program; false by default. */
  executable?: boolean
  /** JSON of the writer's own; null by default. */
  metadata?: any
}

/** How a file is written. */
export interface WriteOptions extends FileOptions {
  /** Stores chunks that the file has already only once. */
  dedup?: boolean
}

/** Which entries are listed. */
export interface ListOptions extends WaitOptions {
  /** False for the first file of each child only. */
  recursive?: boolean
  /** Paths that are left out, with all below them, or a function that says so. */
  ignore?: Ignore
}

/** Blocks of the entries' core or of the blobs' core, as `core.download` takes them. */
export type { DownloadRange } from '../hypercore/options.js'
