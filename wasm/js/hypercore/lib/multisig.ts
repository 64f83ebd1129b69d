// Signatures of several signers in one: `hypercore/lib/multisig`.

import { equal } from '../../support/bytes.js'
import { decodeValue, encodeValue } from '../../support/encoding.js'
import type { Core } from '../core.js'
import type { TreeNode } from '../proof.js'
import { rightSpan } from './flat-tree.js'
import { MerkleTree } from './merkle-tree.js'
import { multiSignature, multiSignaturev0, type MultiSignature, type PartialProof, type PartialProofV0 } from './messages.js'

/** One signer's signature of a head, and what leads from it to a longer one. */
export interface PartialSignature extends PartialProof {
  nodes: TreeNode[] | null
}

/** Prepares what one signer signed for {@link assemble}: a log of `from` blocks, in a signature of `to`. */
export async function partialSignature (
  core: Core, signer: number, from: number, to = core.state.length, signature: Uint8Array = core.state.signature!
): Promise<PartialSignature | null> {
  if (from > core.state.length) return null
  const nodes = to <= from ? null : await patchOf(core, from, to)
  const own = signature.byteLength === 64 ? signature : inflate(signature).proofs[0]!.signature
  return { signer, signature: own, patch: nodes ? to - from : 0, nodes }
}

async function patchOf (core: Core, from: number, to: number): Promise<TreeNode[]> {
  const proof = await MerkleTree.proof(core.state, null, { upgrade: { start: from, length: to - from } })
  return (await proof.settle()).upgrade!.nodes
}

/** The longest log that enough signers have signed. */
export function signableLength (lengths: number[], quorum: number): number {
  const needed = quorum <= 0 ? 1 : quorum
  return needed > lengths.length ? 0 : lengths.sort((a, b) => b - a)[needed - 1]!
}

/** Puts partial signatures together. */
export function assemble (inputs: PartialSignature[]): Uint8Array {
  const patch = new Map<number, TreeNode>()
  for (const { nodes } of inputs) for (const node of nodes ?? []) if (!patch.has(node.index)) patch.set(node.index, node)
  const proofs = inputs.map(({ signer, signature, patch }) => ({ signer, signature, patch }))
  return encodeValue(multiSignature, { proofs, patch: [...patch.values()] })
}

/** As {@link assemble}, for manifests of version 0. */
export function assemblev0 (inputs: PartialSignature[]): Uint8Array {
  const patch: TreeNode[] = []
  const proofs = inputs.map((input): PartialProofV0 => {
    const { signer, signature, nodes } = input
    if (!input.patch || !nodes) return { signer, signature, patch: null }
    const start = rightSpan(nodes.at(-1)!.index) / 2 + 1
    return { signer, signature, patch: { start, length: input.patch, nodes: nodes.map((node) => place(patch, node)) } }
  })
  return encodeValue(multiSignaturev0, { proofs, patch })
}

export function inflate (data: Uint8Array): MultiSignature<PartialProof> {
  return decodeValue(multiSignature, data) as MultiSignature<PartialProof>
}

export function inflatev0 (data: Uint8Array): MultiSignature<PartialProofV0> {
  return decodeValue(multiSignaturev0, data) as MultiSignature<PartialProofV0>
}

function place (patch: TreeNode[], node: TreeNode): number {
  const known = patch.findIndex(({ index, size, hash }) => index === node.index && size === node.size && equal(hash, node.hash))
  return known === -1 ? patch.push(node) - 1 : known
}
