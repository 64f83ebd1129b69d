// Nodes of the tree, for programs that walk it by hand. What is read for them is decoded here; the engine walks on its own.
//
// Source: hyperbee 2.27, `index.js`, `BlockEntry` and `TreeNode`, and `lib/messages.js`.

import { HypercoreError } from '../errors.js'
import { userBytes } from '../platform.js'
import { compare, equal } from '../support/bytes.js'
import type { Entry } from './blocks.js'
import type { Encoding } from './encodings.js'

/** Where the blocks of a version come from. */
export interface NodeSource {
  getBlock (seq: number): Promise<BlockEntry>
  getKey (seq: number): Promise<Uint8Array>
}

/** A key of a node: the block that put it, and the key itself once it was read. */
export interface NodeKey {
  seq: number
  value: Uint8Array | null
}

/** A child of a node: the block that has it and its place there, and the node itself once it was read. */
export interface NodeChild {
  seq: number
  offset: number
  value: TreeNode | null
}

/** The keys and children of one node. */
interface Level {
  keys: NodeKey[]
  children: NodeChild[]
}

/** A node of the tree. */
export class TreeNode {
  readonly block: BlockEntry
  /** Its place in the block. */
  readonly offset: number
  readonly keys: NodeKey[]
  readonly children: NodeChild[]
  readonly changed = false

  /** @internal */
  constructor (block: BlockEntry, { keys, children }: Level, offset: number) {
    this.block = block
    this.keys = keys
    this.children = children
    this.offset = offset
  }

  /** A key, as it is stored. */
  async getKey (index: number): Promise<Uint8Array> {
    const key = this.keys[index]!
    const { block } = this
    key.value ??= key.seq === block.seq ? block.key : await block.tree.getKey(key.seq)
    return key.value
  }

  /** The block that put a key. */
  async getKeyNode (index: number): Promise<BlockEntry> {
    return await this.block.tree.getBlock(this.keys[index]!.seq)
  }

  async getChildNode (index: number): Promise<TreeNode> {
    const child = this.children[index]!
    const { block } = this
    child.value ??= (child.seq === block.seq ? block : await block.tree.getBlock(child.seq)).getTreeNode(child.offset)
    return child.value
  }
}

/** What a block put or deleted, and the nodes that came with it. */
export class BlockEntry {
  readonly seq: number
  readonly tree: NodeSource
  readonly key: Uint8Array
  readonly value: Uint8Array | null
  /** The nodes, once somebody asked for them. */
  index: Index | null = null
  readonly #index: Uint8Array

  /** @internal */
  constructor (seq: number, tree: NodeSource, block: Uint8Array) {
    const { index, key, value } = decodeBlock(block)
    this.seq = seq
    this.tree = tree
    this.key = userBytes(key)
    this.value = value && userBytes(value)
    this.#index = index
  }

  isTarget (key: Uint8Array): boolean {
    return equal(this.key, key)
  }

  inflate (): Index {
    this.index ??= new Index(this.#index)
    return this.index
  }

  /** Whether it deleted its key. */
  isDeletion (): boolean {
    return this.value === null && !this.inflate().hasKey(this.seq)
  }

  /** Key and value as the program has them. */
  final (encoding: Encoding): Entry {
    const { seq, key, value } = this
    return { seq, key: encoding.key ? encoding.key.decode(key) : key, value: value && (encoding.value ? encoding.value.decode(value) : value) }
  }

  getTreeNode (offset: number): TreeNode {
    const level = this.inflate().get(offset)
    if (!level) throw HypercoreError.DECODING_ERROR('a node is missing')
    return new TreeNode(this, level, offset)
  }
}

/** The nodes of a block. */
export class Index {
  readonly levels: Level[]

  /** @internal */
  constructor (bytes: Uint8Array) {
    this.levels = fields(bytes).filter(([tag]) => tag === 1).map(([, level]) => {
      const numbers = (wanted: number): number[] => fields(level).filter(([tag]) => tag === wanted).flatMap(([, packed]) => varints(packed))
      const places = numbers(2)
      return {
        keys: numbers(1).map((seq) => ({ seq, value: null })),
        children: Array.from({ length: places.length >> 1 }, (_, i) => ({ seq: places[2 * i]!, offset: places[2 * i + 1]!, value: null }))
      }
    })
  }

  get (offset: number): Level | undefined {
    return this.levels[offset]
  }

  hasKey (seq: number): boolean {
    return this.levels.some(({ keys }) => keys.some((key) => key.seq === seq))
  }
}

/** Levels that a tree may have: one of 2^53 keys has fewer. */
const MAX_DEPTH = 64

/** Whether what is below a node leads to a block by the way that a key goes. */
export async function links (root: TreeNode | null, key: Uint8Array, seq: number): Promise<boolean> {
  let node = root
  for (let depth = 0; node !== null; depth++) {
    // Somebody else's tree may lead in a circle.
    if (depth === MAX_DEPTH) throw HypercoreError.DECODING_ERROR('the tree is too deep')
    if (node.block.seq === seq) return true
    if (node.block.isTarget(key)) return false
    let [start, end] = [0, node.keys.length]
    while (start < end) {
      const middle = (start + end) >> 1
      if (node.keys[middle]!.seq === seq) return true
      const order = compare(key, await node.getKey(middle))
      if (order === 0) return false
      if (order < 0) end = middle
      else start = middle + 1
    }
    node = node.children.length > 0 ? await node.getChildNode(start) : null
  }
  return false
}

function decodeBlock (block: Uint8Array): { index: Uint8Array, key: Uint8Array, value: Uint8Array | null } {
  const found = new Map(fields(block))
  const [index, key] = [found.get(1), found.get(2)]
  if (!index || !key) throw HypercoreError.DECODING_ERROR('the block is no node')
  return { index, key, value: found.get(3) ?? null }
}

/** The fields of a message of Protocol Buffers that are bytes, by their numbers. */
function fields (bytes: Uint8Array): Array<[tag: number, value: Uint8Array]> {
  const found: Array<[number, Uint8Array]> = []
  for (let at = 0; at < bytes.byteLength;) {
    const [head, start] = varint(bytes, at)
    const type = head & 7
    const [length, from] = type === 1 ? [8, start] : type === 5 ? [4, start] : varint(bytes, start)
    at = type === 0 ? from : from + length
    if (![0, 1, 2, 5].includes(type) || at > bytes.byteLength) throw HypercoreError.DECODING_ERROR('the block is no node')
    if (type === 2) found.push([Math.floor(head / 8), bytes.subarray(from, at)])
  }
  return found
}

function varints (bytes: Uint8Array): number[] {
  const found = []
  for (let at = 0; at < bytes.byteLength;) {
    const [value, next] = varint(bytes, at)
    found.push(value)
    at = next
  }
  return found
}

function varint (bytes: Uint8Array, at: number): [value: number, next: number] {
  let value = 0
  for (let scale = 1; scale < 2 ** 56 && at < bytes.byteLength; scale *= 128) {
    const byte = bytes[at++]!
    value += (byte & 127) * scale
    if (byte < 128) return [value, at]
  }
  throw HypercoreError.DECODING_ERROR('the block is no node')
}
