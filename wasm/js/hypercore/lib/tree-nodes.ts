// Nodes of a tree as they are stored, and what is told from them.
//
// Source: hypercore 11.35, `lib/merkle-tree.js`.

import { HypercoreError } from '../../errors.js'
import { userBytes } from '../../platform.js'
import { look } from '../../runtime.js'
import { concat } from '../../support/bytes.js'
import type { TreeNode } from '../proof.js'
import { fullRoots, leaves, leftChild, leftSpan, rightSpan, sibling } from './flat-tree.js'

/** A log, or a head of one, whose nodes are stored. */
export interface TreeSession {
  readonly storage: NodeStorage
  readonly roots: TreeNode[]
  readonly length: number
  readonly byteLength: number
  readonly fork: number
}

/** Where nodes are read. */
export interface NodeStorage {
  read (): { getTreeNode (index: number): Promise<TreeNode | null>, tryFlush (): void }
}

/** Finds a byte by the nodes that are stored. */
export class ByteSeeker {
  readonly session: TreeSession
  readonly bytes: number
  readonly padding: number
  /** Blocks that the byte may be in: first, and end, exclusive. */
  start: number
  end: number

  constructor (session: TreeSession, bytes: number, padding = 0) {
    const isBeyond = bytes >= session.byteLength - session.length * padding
    this.session = session
    this.bytes = bytes
    this.padding = padding
    this.start = isBeyond ? session.length : 0
    this.end = isBeyond ? 0 : session.length
  }

  /** The block that holds the byte, and where in it; null when nodes are needed that are not here, or there is no such byte. */
  async update (): Promise<[index: number, offset: number] | null> {
    const found = await this.#find()
    if (found === null) return null
    const [node, offset] = found
    if (node % 2 === 0) return [node / 2, offset]
    this.start = leftSpan(node) / 2
    this.end = rightSpan(node) / 2 + 1
    return null
  }

  async #find (): Promise<[node: number, offset: number] | null> {
    let left = this.bytes
    if (!left) return [0, 0]
    const sizeOf = ({ index, size }: TreeNode) => size - this.padding * leaves(index)
    for (const root of this.session.roots) {
      const size = sizeOf(root)
      if (left === size) return [rightSpan(root.index) + 2, 0]
      if (left > size) {
        left -= size
        continue
      }
      let at = root.index
      while (at % 2 === 1) {
        const child = await readNode(this.session.storage, leftChild(at))
        if (child === null) break
        const size = sizeOf(child)
        if (left === size) return [rightSpan(child.index) + 2, 0]
        at = child.index
        if (left < size) continue
        left -= size
        at = sibling(at)
      }
      return [at, left]
    }
    return null
  }
}

/** The roots of the tree over so many blocks. */
export async function rootsAt (storage: NodeStorage, length: number): Promise<TreeNode[]> {
  const indexes = fullRoots(length)
  const roots = await readNodes(storage, indexes)
  return roots.map((root, at) => root ?? missing(indexes[at]!))
}

/** Bytes below nodes. */
export function sizeOf (nodes: TreeNode[]): number {
  return nodes.reduce((sum, { size }) => sum + size, 0)
}

/** Blocks below nodes. */
export function lengthOf (nodes: TreeNode[]): number {
  return nodes.reduce((sum, { index }) => sum + leaves(index), 0)
}

/** Bytes in front of a node. */
export async function byteOffset (session: TreeSession, index: number): Promise<number> {
  if (index === 2 * session.length) return session.byteLength
  const leaf = leftSpan(index)
  let offset = 0
  for (const root of session.roots) {
    if (leaf > rightSpan(root.index)) {
      offset += root.size
      continue
    }
    const skipped: number[] = []
    for (let at = root.index; at !== leaf;) {
      const left = leftChild(at)
      if (leaf < at) {
        at = left
      } else {
        skipped.push(left)
        at = sibling(left)
      }
    }
    const nodes = await readNodes(session.storage, skipped)
    return offset + nodes.reduce((sum, node, at) => sum + (node ?? missing(skipped[at]!)).size, 0)
  }
  throw HypercoreError.ASSERTION('Failed to find offset')
}

export async function readNode (storage: NodeStorage, index: number): Promise<TreeNode | null> {
  return (await readNodes(storage, [index]))[0]!
}

export async function readNodes (storage: NodeStorage, indexes: number[]): Promise<Array<TreeNode | null>> {
  const reader = storage.read()
  const nodes = indexes.map((index) => reader.getTreeNode(index))
  reader.tryFlush()
  return await Promise.all(nodes)
}

export function missing (index: number): never {
  throw HypercoreError.INVALID_OPERATION(`Expected tree node ${index} from storage, got (nil)`)
}

/** The hash that is signed. */
export function treeHash (roots: TreeNode[]): Uint8Array {
  const parts = roots.map(({ index, size, hash }) => concat([hash, uint64(index), uint64(size)]))
  return userBytes(look((engine) => engine.hash([Uint8Array.of(2), ...parts])))
}

/** Eight bytes, the lowest first. */
export function uint64 (value: number): Uint8Array {
  const bytes = new Uint8Array(8)
  new DataView(bytes.buffer).setBigUint64(0, BigInt(value), true)
  return bytes
}
