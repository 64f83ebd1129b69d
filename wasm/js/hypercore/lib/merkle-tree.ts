// The tree over the blocks of a log, as far as programs build on it: `hypercore/lib/merkle-tree`.

import { HypercoreError } from '../../errors.js'
import { userBytes } from '../../platform.js'
import { look } from '../../runtime.js'
import { concat } from '../../support/bytes.js'
import { hash } from '../../support/crypto.js'
import type { EngineProof, ProofOptions, TreeNode } from '../proof.js'
import { fromEngine, type Proof } from '../proof.js'
import type { State } from '../state.js'
import { treeSignable, treeSignableCompat } from './caps.js'

/** A head that a log may get. */
export interface GrowingHead {
  fork: number
  length: number
  byteLength: number
  roots: TreeNode[]
  signature: Uint8Array | null
}

/** A head that blocks are added to, without storing them. */
export class MerkleTreeBatch {
  fork: number
  roots: TreeNode[]
  length: number
  byteLength: number
  signature: Uint8Array | null = null
  /** Nodes that were added. */
  nodes: TreeNode[] = []
  upgraded = false
  /** Blocks that the log has as well. */
  ancestors: number
  /** The log that it was made from. */
  readonly treeLength: number
  readonly treeFork: number
  readonly session: State

  constructor (session: State) {
    this.session = session
    this.ancestors = this.treeLength = session.length
    this.treeFork = session.fork
    this.fork = session.fork
    this.roots = session.roots
    this.length = session.length
    this.byteLength = session.byteLength
  }

  /** @internal A head that a peer proved. */
  static ofHead (session: State, { fork, length, byteLength, roots, signature }: GrowingHead): MerkleTreeBatch {
    return Object.assign(new MerkleTreeBatch(session), {
      fork,
      length,
      byteLength,
      roots: roots.map(({ index, size, hash }) => ({ index, size, hash: userBytes(hash) })),
      signature: signature && userBytes(signature),
      upgraded: true
    })
  }

  clone (): MerkleTreeBatch {
    const copy = new MerkleTreeBatch(this.session)
    const { fork, length, byteLength, signature, upgraded } = this
    return Object.assign(copy, { fork, length, byteLength, signature, upgraded, roots: [...this.roots], nodes: [...this.nodes] })
  }

  /** Whether the log is still the one that it was made from. */
  commitable (): boolean {
    const { session, treeFork, treeLength, upgraded } = this
    return treeFork === session.fork && (upgraded ? treeLength === session.length : treeLength <= session.length)
  }

  append (block: Uint8Array): void {
    this.#add(blockNode(this.length * 2, block))
  }

  hash (): Uint8Array {
    return treeHash(this.roots)
  }

  signable (manifestHash: Uint8Array): Uint8Array {
    return treeSignable(manifestHash, this.hash(), this.length, this.fork)
  }

  signableCompat (noHeader = false): Uint8Array {
    return treeSignableCompat(this.hash(), this.length, this.fork, noHeader)
  }

  /** Goes back, or on, to another length of the log. */
  async restore (length: number): Promise<this> {
    if (length === this.length) return this
    this.roots = await MerkleTree.getRoots(this.session, length)
    this.byteLength = MerkleTree.size(this.roots)
    this.length = length
    this.signature = null
    return this
  }

  /** Adds the roots that a proof of a longer log brings. */
  verifyUpgrade ({ upgrade }: { upgrade: { start: number, length: number, nodes: TreeNode[] } | null }): boolean {
    if (!upgrade) throw HypercoreError.INVALID_OPERATION('Expected upgrade proof')
    const end = 2 * (upgrade.start + upgrade.length)
    const left = [...upgrade.nodes]
    while (2 * this.length < end) {
      const at = 2 * this.length
      const span = largestSpan(at, end)
      const node = left.shift()
      const index = at + span / 2 - 1
      if (node?.index !== index) throw HypercoreError.INVALID_OPERATION(`Expected node ${index}, got ${node ? `node ${node.index}` : '(nil)'}`)
      this.#add(node)
    }
    return left.length === 0
  }

  #add (node: TreeNode): void {
    this.upgraded = true
    this.length += leaves(node.index)
    this.byteLength += node.size
    this.nodes.push(node)
    this.roots.push(node)
    while (this.roots.length > 1) {
      const [a, b] = this.roots.slice(-2) as [TreeNode, TreeNode]
      // Siblings span as many blocks, and the left one begins where a pair does.
      const span = 2 * leaves(a.index)
      if (leaves(a.index) !== leaves(b.index) || (a.index + 1 - span / 2) % (2 * span) !== 0) break
      const parent = parentNode((a.index + b.index) / 2, a, b)
      this.nodes.push(parent)
      this.roots.splice(-2, 2, parent)
    }
  }
}

/** What is told of a tree without changing it. */
export class MerkleTree {
  static hash (state: { roots: TreeNode[] }): Uint8Array {
    return treeHash(state.roots)
  }

  static size (roots: TreeNode[]): number {
    return roots.reduce((sum, { size }) => sum + size, 0)
  }

  /** Twice the blocks below the roots. */
  static span (roots: TreeNode[]): number {
    return 2 * roots.reduce((sum, { index }) => sum + leaves(index), 0)
  }

  static async getRoots (state: State, length: number): Promise<TreeNode[]> {
    if (length === state.length) return state.roots
    if (length === 0) return []
    const { upgrade } = await MerkleTree.proof(state, null, { upgrade: { start: 0, length } })
    return upgrade!.nodes
  }

  static async proof (state: State, _reader: unknown, options: ProofOptions): Promise<Proof> {
    return fromEngine(await state.request<EngineProof>((core, engine) => engine.coreProof(core, options)).promise)
  }

  static async missingNodes (state: State, index: number): Promise<number> {
    return await state.request<number>((core, engine) => engine.coreMissingNodes(core, Math.floor(index / 2))).promise
  }
}

/** Blocks below a node. */
function leaves (index: number): number {
  let count = 1
  for (let at = index; at % 2 === 1; at = (at - 1) / 2) count *= 2
  return count
}

/** Twice the blocks of the largest tree that begins at a leaf and ends before `end`. */
export function largestSpan (at: number, end: number): number {
  let span = 2
  while (at % (2 * span) === 0 && at + 2 * span <= end) span *= 2
  return span
}

function blockNode (index: number, block: Uint8Array): TreeNode {
  return { index, size: block.byteLength, hash: hash([Uint8Array.of(0), uint64(block.byteLength), block]) }
}

function parentNode (index: number, a: TreeNode, b: TreeNode): TreeNode {
  const [left, right] = a.index <= b.index ? [a, b] : [b, a]
  const size = a.size + b.size
  return { index, size, hash: hash([Uint8Array.of(1), uint64(size), left.hash, right.hash]) }
}

/** The hash that is signed. */
export function treeHash (roots: TreeNode[]): Uint8Array {
  const parts = roots.map(({ index, size, hash }) => concat([hash, uint64(index), uint64(size)]))
  return userBytes(look((engine) => engine.hash([Uint8Array.of(2), ...parts])))
}

function uint64 (value: number): Uint8Array {
  const bytes = new Uint8Array(8)
  new DataView(bytes.buffer).setBigUint64(0, BigInt(value), true)
  return bytes
}
