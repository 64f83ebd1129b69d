// Another history of a log, whose common beginning is looked for from the top of the tree down.
//
// Source: hypercore 11.35, `lib/merkle-tree.js`, `ReorgBatch`.

import { equal } from '../../support/bytes.js'
import type { Proof, TreeNode } from '../proof.js'
import type { State } from '../state.js'
import { leaves, leftChild, leftSpan, rightSpan, sibling } from './flat-tree.js'
import { climb, MerkleTreeBatch } from './merkle-tree-batch.js'
import { readNode } from './tree-nodes.js'

export class ReorgBatch extends MerkleTreeBatch {
  /** The highest node that is known to differ. */
  diff: TreeNode | null = null
  /** What is to be proven next: a hash below that node, so many nodes deep. Null once it is known where they part. */
  want: { nodes: number, start: number, end: number } | null = { nodes: 0, start: 0, end: 0 }

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
    this.nodes.push(...nodes)
    return await this.#descend(nodes)
  }

  /** @internal Looks which of the roots differs first. */
  async begin (session: State): Promise<void> {
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
