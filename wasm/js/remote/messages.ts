// What an engine and those who use it from elsewhere tell each other.

import type { CoreHandle, Detours, EngineEvent, Failure, KeyPair, PeerStatus } from '../binding.js'
import type { PageChange } from './block-bits.js'

/** A call: its name, its arguments, and what the handles that it makes are to be called. */
export type Call = [name: string, args: unknown[], makes: number[]]

/** From those who use it. */
export interface Calls {
  calls: Call[]
}

/** From the engine: what changed, and what happened. */
export interface News {
  cores: Array<[core: CoreHandle, change: Partial<CoreState>]>
  links: Array<[link: number, stats: { bytesIn: number, bytesOut: number }]>
  events: EngineEvent[]
  /** How many messages of calls were carried out. */
  taken: number
}

/** What is known of a core wherever it is used. */
export interface CoreState {
  key: Uint8Array
  discoveryKey: Uint8Array
  manifest: Uint8Array | null
  keyPair: KeyPair | null
  isCompat: boolean
  group: Uint8Array | null
  length: number
  fork: number
  byteLength: number
  contiguousLength: number
  remoteContiguousLength: number
  sharedLength: number
  recovering: number
  isLost: boolean
  downloads: boolean
  roots: Array<{ index: number, size: number, hash: Uint8Array }>
  signature: Uint8Array | null
  peers: PeerStatus[]
  traffic: [sent: number[], received: number[]] | null
  detours: Detours
  /** Pages that changed of the blocks that are here. */
  blocks: PageChange[]
  /** The same of what peers announced. */
  peerBlocks: Array<[peer: number, pages: PageChange[]]>
}

/** What kind of storage is meant by a name. */
export type StorageKind = 'indexed-db' | 'opfs' | 'memory'

/** A request was given up because the engine that had it is gone: it is to be asked again where the store is now. */
export const MOVED: Failure = { code: 'STORAGE_MOVED', message: 'the store is open elsewhere now' }

/** Name of what records that a write was done. */
export const RECORDS = 'hypertab/done/'
