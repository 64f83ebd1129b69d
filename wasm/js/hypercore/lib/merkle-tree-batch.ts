// A head that grows, is cut, or becomes that of another history, without being stored.
//
// Source: hypercore 11.35, `lib/merkle-tree.js`, `MerkleTreeBatch` and `ReorgBatch`.

import type { CoreTX } from '../../storage/core-storage.js'
import { HypercoreError } from '../../errors.js'
import { userBytes } from '../../platform.js'
import { equal } from '../../support/bytes.js'
import { hash } from '../../support/crypto.js'
import type { Proof, ProofOptions, TreeNode } from '../proof.js'
import type { State } from '../state.js'
import { treeSignable, treeSignableCompat } from './caps.js'
import { contains, fullRoots, largestSpan, leaves, leftChild, leftSpan, parent, rightSpan, sibling } from './flat-tree.js'
import { byteOffset, ByteSeeker, lengthOf, missing, readNode, rootsAt, sizeOf, treeHash, uint64 } from './tree-nodes.js'
import { prove, type TreeProof } from './tree-proof.js'

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
  signature: Uint8Array | null
  /** Nodes that were added. */
  nodes: TreeNode[] = []
  upgraded = false
  committed = false
  truncated = false
  /** Blocks that the log has as well. */
  ancestors: number
  /** The log that it was made from. */
  readonly treeLength: number
  readonly treeFork: number
  readonly prologue: State['prologue']
  readonly session: State

  constructor (session: State) {
    this.session = session
    this.ancestors = this.treeLength = session.length
    this.treeFork = session.fork
    this.fork = session.fork
    this.roots = [...session.roots]
    this.length = session.length
    this.byteLength = session.byteLength
    this.signature = session.signature
    this.prologue = session.prologue
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

  get storage (): State['storage'] {
    return this.session.storage
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

  /** Writes the nodes; the log does not get longer by that. */
  commit (tx: CoreTX | undefined): this {
    if (tx === undefined) throw HypercoreError.INVALID_OPERATION('No database batch was passed')
    if (this.session.core.isLost) throw HypercoreError.ASSERTION('Cannot commit while repair mode is on')
    if (!this.commitable()) throw HypercoreError.INVALID_OPERATION('Tree was modified during batch, refusing to commit')
    if (this.upgraded && this.ancestors < this.treeLength) this.#cut(tx)
    for (const node of this.nodes) tx.putTreeNode(node)
    this.committed = true
    return this
  }

  append (block: Uint8Array): void {
    this.#add(blockNode(this.length * 2, block))
  }

  addNodesUnsafe (nodes: TreeNode[]): void {
    this.nodes.push(...nodes)
  }

  /** A node of the head; one that was added, or is stored. */
  async get (index: number): Promise<TreeNode | null> {
    if (index >= 2 * this.length) return null
    return this.nodes.find((node) => node.index === index) ?? await readNode(this.storage, index)
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

  /** Bytes in front of a node, and of it. */
  async byteRange (index: number): Promise<[offset: number, size: number]> {
    if (rightSpan(index) >= 2 * this.length) throw HypercoreError.BAD_ARGUMENT('Index is out of bounds')
    const [offset, node] = await Promise.all([byteOffset(this, index), readNode(this.storage, index)])
    return [offset, (node ?? missing(index)).size]
  }

  /** Bytes in front of a node. */
  async byteOffset (index: number): Promise<number> {
    return await byteOffset(this, index)
  }

  seek (bytes: number, padding?: number): ByteSeeker {
    return new ByteSeeker(this, bytes, padding)
  }

  /** Goes back, or on, to another length of the log. */
  async restore (length: number): Promise<this> {
    if (length === this.length) return this
    const { session } = this
    this.become(length === session.length ? session.roots : await rootsAt(this.storage, length))
    this.ancestors = length
    return this
  }

  /** Goes back to a length whose roots are among those that were added, or are given. */
  checkout (length: number, additionalRoots: TreeNode[] = []): void {
    const known = new Map([...additionalRoots, ...this.nodes, ...this.roots].map((node) => [node.index, node]))
    const roots = fullRoots(length).map((index) => known.get(index))
    if (roots.includes(undefined)) throw HypercoreError.BAD_ARGUMENT('root missing for given length')
    this.become(roots as TreeNode[])
    const between = gaps(length)
    this.nodes = this.nodes.filter(({ index }) => index <= 2 * length - 2 && !between.has(index))
  }

  /** Forgets nodes that a log of that length has. */
  prune (length: number): void {
    if (length === 0) return
    const between = gaps(length)
    this.nodes = this.nodes.filter(({ index }) => index > 2 * length - 2 || between.has(index))
  }

  /** @deprecated what the log has that it was made from, which `proof` of a session proves as well */
  proof (_reader: unknown, options: ProofOptions): Promise<TreeProof> {
    return prove(this.session, options)
  }

  /** Whether nothing is left of it but nodes, because the log has got there meanwhile. */
  async downgrade (): Promise<boolean> {
    if (!this.upgraded) return true
    for (const root of this.roots) {
      const stored = await readNode(this.storage, root.index)
      if (stored === null || !equal(stored.hash, root.hash)) return false
    }
    this.upgraded = false
    return true
  }

  /** Takes what a proof brings; true when its block or hash is proven by the head. */
  verifyUpgrade (proof: Proof): boolean {
    if (!proof.upgrade) throw HypercoreError.INVALID_OPERATION('Expected upgrade proof')
    return this.take(proof) === null
  }

  /** @internal Takes what a proof brings, and gives the node that it does not prove, if there is one. */
  take (proof: Proof): TreeNode | null {
    const root = climb(proof, this.nodes)
    return proof.upgrade ? this.#grow(proof.fork, proof.upgrade, root) : root
  }

  /** @internal */
  become (roots: TreeNode[]): void {
    this.roots = [...roots]
    this.length = lengthOf(roots)
    this.byteLength = sizeOf(roots)
    this.signature = null
  }

  #grow (fork: number, upgrade: NonNullable<Proof['upgrade']>, root: TreeNode | null): TreeNode | null {
    const { prologue } = this
    if (prologue && upgrade.start < prologue.length && (upgrade.start !== 0 || upgrade.length < prologue.length)) {
      throw HypercoreError.INVALID_PROOF('Upgrade does not satisfy prologue')
    }
    const queue = new NodeQueue(upgrade.nodes, root)
    const end = 2 * (upgrade.start + upgrade.length)
    while (2 * this.length < end) {
      const at = 2 * this.length
      this.#add(queue.shift(at + largestSpan(at, end) / 2 - 1))
    }
    if (prologue && this.length === prologue.length && !equal(prologue.hash, this.hash())) throw HypercoreError.INVALID_PROOF('Invalid hash')
    for (const node of upgrade.additionalNodes ?? []) {
      if (leftSpan(node.index) !== 2 * this.length) throw HypercoreError.INVALID_OPERATION(`Unexpected node: ${node.index}`)
      this.#add(node)
    }
    this.signature = upgrade.signature && userBytes(upgrade.signature)
    this.fork = fork
    return queue.extra
  }

  #add (node: TreeNode): void {
    this.upgraded = true
    this.length += leaves(node.index)
    this.byteLength += node.size
    this.nodes.push(node)
    this.roots.push(node)
    while (this.roots.length > 1) {
      const [a, b] = this.roots.slice(-2) as [TreeNode, TreeNode]
      if (sibling(b.index) !== a.index) break
      const above = parentNode(parent(b.index), a, b)
      this.nodes.push(above)
      this.roots.splice(-2, 2, above)
    }
  }

  // Parents of what is cut are of no use, either.
  #cut (tx: CoreTX): void {
    const head = 2 * this.ancestors
    tx.deleteTreeNodeRange(head, 2 * this.treeLength)
    if (head === 0) return
    for (let at = head - 2; ; at = parent(at)) {
      if (at < head && contains(at, head)) tx.deleteTreeNode(at)
      if (leftSpan(at) === 0) break
    }
    this.truncated = true
  }
}

/** Another history of a log, whose common beginning is looked for from the top of the tree down. */
export class ReorgBatch extends MerkleTreeBatch {
  /** The highest node that is known to differ. */
  diff: TreeNode | null = null
  /** What is to be proven next: a hash below that node, so many nodes deep. Null once it is known where they part. */
  want: { nodes: number, start: number, end: number } | null = { nodes: 0, start: 0, end: 0 }
  /** @internal What it was made of. */
  readonly proofs: Proof[] = []

  constructor (session: State) {
    super(session)
    this.roots = []
    this.length = 0
    this.byteLength = 0
    this.ancestors = 0
    // It is signed.
    this.upgraded = true
  }

  get finished (): boolean {
    return this.want === null
  }

  /** Takes the proof that was wanted; true once it is known where the histories part. */
  async update (proof: Proof): Promise<boolean> {
    if (this.want === null) return true
    const nodes: TreeNode[] = []
    const root = climb(proof, nodes)
    if (root === null || !equal(root.hash, this.diff!.hash)) return false
    this.proofs.push(proof)
    this.nodes.push(...nodes)
    return await this.#descend(nodes)
  }

  /** @internal Takes the first proof, and looks which of its roots differs first. */
  async begin (session: State, proof: Proof): Promise<void> {
    if (this.take(proof) !== null) throw HypercoreError.INVALID_PROOF('Fork proof not verifiable')
    this.proofs.push(proof)
    for (const root of this.roots) {
      const stored = await readNode(session.storage, root.index)
      if (stored !== null && equal(stored.hash, root.hash)) continue
      this.#found(root)
      break
    }
    if (this.diff !== null) {
      await this.#descend(this.nodes)
    } else {
      this.want = null
      this.ancestors = this.length
    }
  }

  async #descend (nodes: TreeNode[]): Promise<boolean> {
    const known = new Map(nodes.map((node) => [node.index, node]))
    const from = this.diff!
    let next: TreeNode | null = null
    for (let at = from.index; at % 2 === 1;) {
      const left = known.get(leftChild(at))
      if (!left) break
      const stored = await readNode(this.session.storage, left.index)
      const differs = stored === null || !equal(stored.hash, left.hash)
      next = differs ? left : known.get(sibling(left.index)) ?? null
      at = differs ? left.index : sibling(left.index)
    }
    if (this.diff!.index % 2 === 0) return true
    if (next === null || from !== this.diff) return false
    return this.#found(next)
  }

  #found (diff: TreeNode): boolean {
    if (this.want === null) return true
    const start = leftSpan(diff.index) / 2
    const end = Math.min(this.treeLength, rightSpan(diff.index) / 2 + 1)
    this.ancestors = start
    this.diff = diff
    if (diff.index % 2 === 0 || this.want.start >= this.treeLength || end <= start) {
      this.want = null
      return true
    }
    this.want = { nodes: Math.log2(leaves(diff.index)), start, end }
    return false
  }
}

/** Nodes of a proof in their order, and one that was climbed to, wherever it belongs. */
class NodeQueue {
  readonly #nodes: TreeNode[]
  #next = 0
  extra: TreeNode | null

  constructor (nodes: TreeNode[], extra: TreeNode | null = null) {
    this.#nodes = nodes
    this.extra = extra
  }

  get isEmpty (): boolean {
    return this.#next === this.#nodes.length && this.extra === null
  }

  shift (index: number): TreeNode {
    const { extra } = this
    if (extra?.index === index) {
      this.extra = null
      return extra
    }
    const node = this.#nodes[this.#next++]
    if (node?.index === index) return node
    throw HypercoreError.INVALID_OPERATION(`Expected node ${index}, got ${node ? `node ${node.index}` : '(nil)'}`)
  }
}

/** Climbs from what is asked for as far as the proof goes, and gives the node there. */
function climb ({ block, hash, seek }: Proof, nodes: TreeNode[]): TreeNode | null {
  let root: TreeNode | null = null
  const up = (queue: NodeQueue, first: TreeNode) => {
    nodes.push(first)
    let top = first
    while (!queue.isEmpty) {
      const beside = queue.shift(sibling(top.index))
      top = parentNode(parent(top.index), top, beside)
      nodes.push(beside, top)
    }
    return top
  }
  if (seek?.nodes.length) {
    const queue = new NodeQueue(seek.nodes)
    root = up(queue, queue.shift(seek.nodes[0]!.index))
  }
  if (block) {
    const queue = new NodeQueue(block.nodes, root)
    root = up(queue, block.value ? blockNode(2 * block.index, block.value) : queue.shift(2 * block.index))
  } else if (hash) {
    const queue = new NodeQueue(hash.nodes, root)
    root = up(queue, queue.shift(hash.index))
  }
  return root
}

/** Parents between the trees over so many blocks. */
function gaps (length: number): Set<number> {
  return new Set(fullRoots(length).map((root) => leftSpan(root) - 1).filter((index) => index > 0))
}

function blockNode (index: number, block: Uint8Array): TreeNode {
  return { index, size: block.byteLength, hash: hash([Uint8Array.of(0), uint64(block.byteLength), block]) }
}

function parentNode (index: number, a: TreeNode, b: TreeNode): TreeNode {
  const [left, right] = a.index <= b.index ? [a, b] : [b, a]
  const size = a.size + b.size
  return { index, size, hash: hash([Uint8Array.of(1), uint64(size), left.hash, right.hash]) }
}
