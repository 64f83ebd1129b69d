// Blobs that share blocks: which blocks make one up.

import { exports as engine } from '../binding.js'
import type { Hypercore } from '../hypercore/hypercore.js'
import { userBytes } from '../platform.js'
import { look } from '../runtime.js'
import { hash } from '../support/crypto.js'
import { toHex } from '../support/bytes.js'
import type { BlobId } from './hyperblobs.js'

/** One block of a blob. */
export interface MappedBlock {
  index: number
  byteLength: number
}

export interface BlockMap {
  /** The blocks by the hash of their content, if that was asked for. */
  hashes: Map<string, MappedBlock> | null
  blocks: MappedBlock[]
}

/** Most blocks of a map. */
const MAX_BLOCKS = 64

export interface BlockMapOptions {
  /** Reads the blocks, too, to know them by their content. */
  hashes?: boolean
}

/** Reads which blocks make up a blob; null when the map is not here and not to be waited for. */
export async function getBlockMap (core: Hypercore, id: BlobId, { hashes = false }: BlockMapOptions = {}): Promise<BlockMap | null> {
  const blocks = id.blockMap ? await readMap(core, id) : await inferMap(core, id)
  if (blocks === null || !hashes) return blocks && { hashes: null, blocks }
  if (id.blockMap && !core.writable) core.download({ blocks: blocks.map((block) => block.index) })
  const known = new Map<string, MappedBlock>()
  for (const mapped of blocks) {
    const block = await core.get(mapped.index) as Uint8Array | null
    if (block === null) return null
    known.set(hashOf(block), mapped)
  }
  return { hashes: known, blocks }
}

/** The blocks that hold a map. */
export function encodeBlockMap (blocks: MappedBlock[]): Uint8Array[] {
  const numbers = new Float64Array(2 * blocks.length)
  blocks.forEach(({ index, byteLength }, i) => {
    numbers[2 * i] = index
    numbers[2 * i + 1] = byteLength
  })
  return look(() => engine.encodeBlockMap(numbers)).map(userBytes)
}

/** What a chunk is known by. */
export function hashOf (chunk: Uint8Array): string {
  return toHex(hash(chunk))
}

async function readMap (core: Hypercore, id: BlobId): Promise<MappedBlock[] | null> {
  if (id.blockLength > MAX_BLOCKS) throw new Error('Block map is too large')
  const indexes = Array.from({ length: id.blockLength }, (_, i) => id.blockOffset + i)
  const parts = await Promise.all(indexes.map((index) => core.get(index) as Promise<Uint8Array | null>))
  if (parts.includes(null)) return null
  const numbers = look(() => engine.decodeBlockMap(parts as Uint8Array[]))
  return Array.from({ length: numbers.length / 2 }, (_, i) => ({ index: numbers[2 * i]!, byteLength: numbers[2 * i + 1]! }))
}

// A blob without a map has one all the same: its blocks, one after the other.
async function inferMap (core: Hypercore, id: BlobId): Promise<MappedBlock[] | null> {
  const blocks: MappedBlock[] = []
  for (let index = id.blockOffset; index < id.blockOffset + id.blockLength; index++) {
    const block = await core.get(index) as Uint8Array | null
    if (block === null) return null
    blocks.push({ index, byteLength: block.byteLength })
  }
  return blocks
}
