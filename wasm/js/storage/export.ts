// What is stored of one core, to be looked at or kept elsewhere.

import type { TreeNode } from '../hypercore/proof.js'
import { fixed32, uint } from '../support/compact.js'
import type { EntryStream, StoredAuth, StoredCore, StoredHead } from './records.js'

export type RecordKind = 'blocks' | 'tree' | 'bitfield'

/** A record of a log, and which block, node or page it is. */
export interface StoredRecord {
  index: number
  value: Uint8Array
}

/** Where a core and its branches are. */
export interface StoredBranches {
  core: StoredCore
  branches: Array<{ name: string, dataPointer: number }>
}

/** A log as it is stored. */
export interface ExportedLog {
  blocks: StoredRecord[]
  tree: TreeNode[]
  bitfield: Array<{ index: number, page: Uint8Array }>
}

export interface ExportedCore {
  head: StoredHead | null
  auth: StoredAuth
  /** Names of its branches. */
  sessions: string[]
  /** The log, and its branches where they are wanted. */
  data: ExportedLog[]
}

export async function exportLog (records: (kind: RecordKind) => EntryStream<StoredRecord>): Promise<ExportedLog> {
  const [blocks, nodes, pages] = await Promise.all((['blocks', 'tree', 'bitfield'] as const).map((kind) => all(records(kind))))
  return {
    blocks: blocks!,
    tree: nodes!.map(({ value }) => decodeNode(value)),
    bitfield: pages!.map(({ index, value }) => ({ index, page: value }))
  }
}

/** Bits of a page of the bitfield. */
const PAGE_BITS = 4096 * 8

/** The blocks of a log that are here, as ranges in their order: so many from the start, and what the pages say. */
export async function * storedRanges (pages: AsyncIterable<StoredRecord>, contiguous: number, length: number): AsyncGenerator<[start: number, end: number], void> {
  let [start, end] = [0, contiguous]
  // A log that is whole has nothing further.
  if (contiguous < length) {
    for await (const { index, value } of pages) {
      const first = index * PAGE_BITS
      for (let bit = Math.max(0, end - first); bit < PAGE_BITS && first + bit < length; bit++) {
        if ((value[bit >> 3]! & (1 << (bit & 7))) === 0) continue
        const block = first + bit
        if (block > end) {
          if (end > start) yield [start, end]
          start = block
        }
        end = block + 1
      }
    }
  }
  if (end > start) yield [start, end]
}

function decodeNode (buffer: Uint8Array): TreeNode {
  const state = { buffer, start: 0, end: buffer.byteLength }
  return { index: uint.decode(state), size: uint.decode(state), hash: fixed32.decode(state) }
}

async function all<T> (entries: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = []
  for await (const entry of entries) list.push(entry)
  return list
}
