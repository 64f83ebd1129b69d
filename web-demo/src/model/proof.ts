// How a block is proven: from its own hash up to a root, and from the roots to what the author signed.
//
// Loaded when somebody wants to see it. Every hash is made here, of what is stored, not read from there.

import { hash } from 'hypertab'
import type { Hypercore } from 'hypertab'
import { MerkleTreeBatch } from 'hypertab/hypercore/lib/merkle-tree.js'
import { Verifier } from 'hypertab/hypercore/lib/verifier.js'

import { parentOf, rootsOf } from './flat-tree.ts'

export interface Node {
  readonly index: number
  /** Bytes of the blocks below it. */
  readonly size: number
  readonly hash: Uint8Array
}

/** One parent on the way up: made of the node that is there and of the uncle, which came with the proof. */
export interface Climb {
  readonly uncle: Node
  readonly parent: Node
}

export interface BlockProof {
  readonly index: number
  readonly block: Uint8Array
  /** Whether a byte of the block was changed for this. */
  readonly isForged: boolean
  readonly leaf: Node
  readonly climbs: readonly Climb[]
  /** The root that all of it has to come to, as it is stored. */
  readonly root: Node
  readonly isRootRight: boolean
  readonly roots: readonly Node[]
  /** The hash over all roots. */
  readonly head: Uint8Array
  readonly length: number
  readonly fork: number
  readonly signer: Uint8Array
  readonly signature: Uint8Array
  readonly isSignatureRight: boolean
  /** What the engine says when it is given this proof; null when it takes it. */
  readonly refusal: string | null
}

/** Proves a block that is stored; with `isForged`, of a block in which one bit is another one. */
export async function proveBlock (core: Hypercore, index: number, isForged: boolean): Promise<BlockProof> {
  const { length, fork } = core
  const [stored, whole, { block: path }, { upgrade }] = await Promise.all([
    core.get(index, { wait: false }),
    // As a peer sends it to somebody who has nothing yet.
    core.proof({ block: { index, nodes: 0 }, upgrade: { start: 0, length } }),
    core.proof({ block: { index, nodes: parentsOf(index, length) } }),
    core.proof({ upgrade: { start: 0, length } })
  ])
  if (!stored || !path || !whole.block || !upgrade?.signature) throw new Error('This block is not on this device yet, and so it cannot be proven here.')
  const block = isForged ? forged(stored) : stored
  const leaf: Node = { index: index * 2, size: block.byteLength, hash: hash([Uint8Array.of(0), uint64(block.byteLength), block]) }
  const climbs: Climb[] = []
  let top = leaf
  for (const uncle of path.nodes) {
    const [left, right] = top.index < uncle.index ? [top, uncle] : [uncle, top]
    const size = left.size + right.size
    top = { index: parentOf(top.index), size, hash: hash([Uint8Array.of(1), uint64(size), left.hash, right.hash]) }
    climbs.push({ uncle, parent: top })
  }
  const roots = upgrade.nodes
  const root = roots.find((node) => node.index === top.index)
  if (!root || roots.length !== rootsOf(length).length) throw new Error('The proof of this block leads to no root.')
  const batch = new MerkleTreeBatch(core.state!)
  Object.assign(batch, { fork, length, roots: roots.map((node) => node.index === top.index ? top : node) })
  const verifier = Verifier.fromManifest(core.manifest!)
  return {
    index,
    block,
    isForged,
    leaf,
    climbs,
    root,
    isRootRight: isEqual(root.hash, top.hash),
    roots,
    head: batch.hash(),
    length,
    fork,
    signer: verifier.signers[0]!.publicKey,
    signature: upgrade.signature,
    isSignatureRight: verifier.verify(batch, upgrade.signature),
    refusal: await refusalOf(core, { ...whole, block: { ...whole.block, value: block } })
  }
}

/** Returns which of these nodes of the tree are stored. */
export async function storedNodes (core: Hypercore, indexes: readonly number[]): Promise<Set<number>> {
  const reader = core.state!.storage.read()
  const answers = indexes.map((index) => reader.hasTreeNode(index))
  reader.tryFlush()
  const stored = await Promise.all(answers)
  return new Set(indexes.filter((_, place) => stored[place]))
}

// How many parents there are above a block, the root among them.
function parentsOf (block: number, length: number): number {
  const roots = new Set(rootsOf(length))
  let parents = 0
  for (let at = block * 2; !roots.has(at); at = parentOf(at)) parents++
  return parents
}

async function refusalOf (core: Hypercore, proof: Parameters<Hypercore['verifyFullyRemote']>[0]): Promise<string | null> {
  try {
    await core.verifyFullyRemote(proof)
    return null
  } catch (error) {
    return (error as Error).message
  }
}

function forged (block: Uint8Array): Uint8Array {
  const copy = Uint8Array.from(block.byteLength === 0 ? [0] : block)
  copy[copy.length - 1]! ^= 1
  return copy
}

function uint64 (value: number): Uint8Array {
  const bytes = new Uint8Array(8)
  new DataView(bytes.buffer).setBigUint64(0, BigInt(value), true)
  return bytes
}

function isEqual (a: Uint8Array, b: Uint8Array): boolean {
  return a.byteLength === b.byteLength && a.every((byte, place) => byte === b[place])
}
