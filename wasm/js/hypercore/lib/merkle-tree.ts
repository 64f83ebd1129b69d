// The tree over the blocks of a log, as far as programs build on it: `hypercore/lib/merkle-tree`.
//
// Source: hypercore 11.35, `lib/merkle-tree.js`.

import { HypercoreError } from '../../errors.js'
import { equal } from '../../support/bytes.js'
import type { Proof, ProofOptions, TreeNode } from '../proof.js'
import type { State } from '../state.js'
import { contains, fullRoots, parent, rightSpan } from './flat-tree.js'
import { MerkleTreeBatch, type ReorgBatch } from './merkle-tree-batch.js'
import { treeSignable } from './caps.js'
import { byteOffset, ByteSeeker, lengthOf, missing, readNode, readNodes, rootsAt, sizeOf, treeHash, type NodeStorage, type TreeSession } from './tree-nodes.js'
import { prove, type TreeProof } from './tree-proof.js'

/** What is told of a tree without changing it. */
export class MerkleTree {
  static hash (state: { roots: TreeNode[] }): Uint8Array {
    return treeHash(state.roots)
  }

  /** What is signed of a head. */
  static signable (head: { roots: TreeNode[], length: number, fork: number }, manifestHash: Uint8Array): Uint8Array {
    return treeSignable(manifestHash, treeHash(head.roots), head.length, head.fork)
  }

  static size (roots: TreeNode[]): number {
    return sizeOf(roots)
  }

  /** Twice the blocks below the roots. */
  static span (roots: TreeNode[]): number {
    return 2 * lengthOf(roots)
  }

  static async getRoots (session: TreeSession, length: number): Promise<TreeNode[]> {
    return length === session.length ? session.roots : await rootsAt(session.storage, length)
  }

  static async getRootsFromStorage (storage: NodeStorage, length: number): Promise<TreeNode[]> {
    return await rootsAt(storage, length)
  }

  /** Whether the roots of that length are here. */
  static async upgradeable (session: TreeSession, length: number): Promise<boolean> {
    return !(await readNodes(session.storage, fullRoots(length))).includes(null)
  }

  static async get (session: TreeSession, index: number): Promise<TreeNode | null> {
    return await readNode(session.storage, index)
  }

  static seek (session: TreeSession, bytes: number, padding?: number): ByteSeeker {
    return new ByteSeeker(session, bytes, padding)
  }

  /** Bytes in front of a node. */
  static async byteOffset (session: TreeSession, index: number): Promise<number> {
    return await byteOffset(session, index)
  }

  /** Bytes in front of a node, and of it. */
  static async byteRange (session: TreeSession, index: number): Promise<[offset: number, size: number]> {
    const [offset, node] = await Promise.all([byteOffset(session, index), readNode(session.storage, index)])
    return [offset, (node ?? missing(index)).size]
  }

  static async proof (state: State, _reader: unknown, options: ProofOptions): Promise<TreeProof> {
    return await prove(state, options)
  }

  /** Checks a proof, and gives what it adds to the log. */
  static async verify (session: State, proof: Proof): Promise<MerkleTreeBatch> {
    const batch = new MerkleTreeBatch(session)
    const unproven = batch.take(proof)
    if (unproven === null) return batch
    const node = await readNode(session.storage, unproven.index) ?? missing(unproven.index)
    if (!equal(node.hash, unproven.hash)) throw HypercoreError.INVALID_CHECKSUM(`Invalid checksum at node ${unproven.index}`)
    return batch
  }

  /** The head that a proof is of, whatever is stored here. */
  static verifyFullyRemote (session: State, proof: Proof): MerkleTreeBatch {
    const batch = Object.assign(new MerkleTreeBatch(session), { fork: proof.fork, roots: [], length: 0, ancestors: 0, byteLength: 0 })
    batch.take(proof)
    return batch
  }

  /** Begins to follow another history of the log. */
  static async reorg (session: State, proof: Proof, batch: ReorgBatch): Promise<ReorgBatch> {
    await batch.begin(session, proof)
    return batch
  }

  /** Cuts a head. */
  static async truncate (session: TreeSession, length: number, batch: MerkleTreeBatch, fork = batch.fork): Promise<MerkleTreeBatch> {
    const known = new Map(batch.roots.map((root) => [root.index, root]))
    const roots: TreeNode[] = []
    for (const index of fullRoots(length)) roots.push(known.get(index) ?? await readNode(session.storage, index) ?? missing(index))
    batch.become(roots)
    return Object.assign(batch, { fork, ancestors: length, upgraded: true })
  }

  /** Parents of a node that a proof of it needs; none when it is beyond the log. */
  static async missingNodes (session: TreeSession, index: number, length: number): Promise<number> {
    if (rightSpan(index) >= 2 * length) return 0
    let count = 0
    for (let at = index; !contains(at, 2 * length) && await readNode(session.storage, at) === null; at = parent(at)) count++
    return count
  }

  /** The most that {@link missingNodes} can be. */
  static maxMissingNodes (index: number, length: number): number {
    if (rightSpan(index) >= 2 * length || fullRoots(length).includes(index)) return 0
    let count = 0
    for (let at = parent(index); !contains(at, 2 * length); at = parent(at)) count++
    return count
  }

  /** How long the log is that an upgrade proves. */
  static upgradeLength ({ start, length, additionalNodes }: NonNullable<Proof['upgrade']>): number {
    const last = additionalNodes.at(-1)
    return last ? rightSpan(last.index) / 2 + 1 : start + length
  }
}
