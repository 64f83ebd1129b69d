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
  /** Where it is: 0 for the engine that tells of it, else the number of the one there that this works through. */
  place: number
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
  layers: Float64Array
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

declare const HYPERTAB_VERSION: string

/** The version of this package. Tabs that share a store have the same: what they tell each other may change with any. */
export const VERSION: string = HYPERTAB_VERSION

/** What kind of storage is meant by a name. */
export type StorageKind = 'indexed-db' | 'opfs' | 'memory'

/** A request was given up because the engine that had it is gone: it is to be asked again where the store is now. */
export const MOVED: Failure = { code: 'STORAGE_MOVED', message: 'the store is open elsewhere now' }

/** Whether that is why something failed. */
export function hasMoved (error: unknown): error is Error & { code: string } {
  return (error as { code?: unknown } | null)?.code === MOVED.code
}

/** The code of a write that the store refused, because it has a new owner. */
export const TAKEN_OVER = 'STORAGE_TAKEN_OVER'

/** Whether a write was refused, or an opening in vain, because the store belongs to somebody else by now. */
export function isTakenOver (error: unknown): error is Error & { code: string } {
  return (error as { cause?: { code?: unknown } | null } | null)?.cause?.code === TAKEN_OVER
}

/** What is told of an error. */
export function asFailure (error: Error & { code?: string }, code = 'STORAGE_FAILED'): Failure {
  const { message, cause } = error as { message: string, cause?: { code?: string, message: string } }
  return { code: error.code ?? code, message, ...(cause?.code === undefined ? {} : { cause: { code: cause.code, message: cause.message } }) }
}

/** Name of what records that a write was done. */
export const RECORDS = 'hypertab/done/'
