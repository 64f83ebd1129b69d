// Proofs: what peers send each other, as a program sees them.

import { userBytes } from '../platform.js'
import { isBytes } from '../support/bytes.js'
import type { Core } from './core.js'
import { createManifest, decodeManifest, encodeManifest, type Manifest } from './manifest.js'

/** A node of the tree over the blocks. */
export interface TreeNode {
  index: number
  size: number
  hash: Uint8Array
}

/** What a proof is to prove. `nodes` says how many parents to climb until one that the receiver stores. */
export interface ProofOptions {
  block?: { index: number, nodes?: number } | null
  hash?: { index: number, nodes?: number } | null
  seek?: { bytes: number, padding?: number } | null
  upgrade?: { start: number, length: number } | null
}

export interface Proof {
  fork: number
  block: { index: number, value: Uint8Array | null, nodes: TreeNode[] } | null
  hash: { index: number, nodes: TreeNode[] } | null
  seek: { bytes: number, nodes: TreeNode[] } | null
  upgrade: { start: number, length: number, nodes: TreeNode[], additionalNodes: TreeNode[], signature: Uint8Array | null } | null
  manifest: Manifest | null
}

/** A proof as it crosses the border: its manifest is encoded. */
export type EngineProof = Omit<Proof, 'manifest'> & { manifest: Uint8Array | null }

/** A head that was proven by itself. */
export interface RemoteHead {
  fork: number
  length: number
  byteLength: number
  roots: TreeNode[]
  signature: Uint8Array | null
  nodes: TreeNode[]
  hash (): Uint8Array
}

export function forEngine (proof: Proof): EngineProof {
  const { manifest } = proof
  if (!manifest) return { ...proof, manifest: null }
  return { ...proof, manifest: isBytes(manifest) ? manifest : encodeManifest(createManifest(manifest)!) }
}

export function fromEngine (proof: EngineProof): Proof {
  for (const part of [proof.block, proof.hash, proof.seek]) nodesFromEngine(part?.nodes)
  const { block, upgrade } = proof
  if (block?.value) block.value = userBytes(block.value)
  nodesFromEngine(upgrade?.nodes)
  nodesFromEngine(upgrade?.additionalNodes)
  if (upgrade?.signature) upgrade.signature = userBytes(upgrade.signature)
  return { ...proof, manifest: proof.manifest && decodeManifest(proof.manifest) }
}

/** Verifies the proof of a head against nothing but the core's key and manifest. */
export async function verifyFullyRemote (core: Core, proof: Proof): Promise<RemoteHead> {
  const head = await core.request<Omit<RemoteHead, 'hash'> & { hash: Uint8Array }>((handle, engine) => engine.coreVerifyFullyRemote(handle, forEngine(proof))).promise
  nodesFromEngine(head.roots)
  nodesFromEngine(head.nodes)
  const hash = userBytes(head.hash)
  return { ...head, signature: head.signature && userBytes(head.signature), hash: () => hash }
}

function nodesFromEngine (nodes: TreeNode[] | undefined): void {
  for (const node of nodes ?? []) node.hash = userBytes(node.hash)
}
