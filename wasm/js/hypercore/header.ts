// What is known of a core beside its blocks.

import type { CoreHandle, KeyPair } from '../binding.js'
import { look } from '../runtime.js'
import type { Core } from './core.js'
import type { Manifest } from './manifest.js'
import type { TreeNode } from './proof.js'

/** What upstream keeps of a core beside its log. */
export interface CoreHeader {
  key: Uint8Array
  keyPair: KeyPair | null
  manifest: Manifest | null
  /** Whether two histories were found that its signers signed. */
  frozen: boolean
  tree: { fork: number, length: number, rootHash: Uint8Array | null, signature: Uint8Array | null }
  group: { key: Uint8Array } | null
  hints: { reorgs: never[], contiguousLength: number, remoteContiguousLength: number, recovering: number }
}

/** What the log was when it was closed, or its store was closed to be opened again. */
export interface FrozenHead {
  length: number
  byteLength: number
  fork: number
  contiguousLength: number
  remoteContiguousLength: number
  roots: TreeNode[]
  signature: Uint8Array | null
  hasManifest: boolean
}

/** What is stored about an open core. */
export function headerOf (core: Core): CoreHeader {
  const { key, keyPair, manifest, frozen, fork, length, group, contiguousLength, remoteContiguousLength, recovering } = core
  const signed = length === 0 ? { rootHash: null, signature: null } : { rootHash: core.state.hash(), signature: core.state.signature }
  return {
    key: key!,
    keyPair,
    manifest,
    frozen,
    tree: { fork, length, ...signed },
    group: group && { key: group },
    hints: { reorgs: [], contiguousLength, remoteContiguousLength, recovering }
  }
}

/** The head of a log as the engine has it. */
export function headOf (core: CoreHandle): FrozenHead {
  return look((engine) => ({
    length: engine.coreLength(core),
    byteLength: engine.coreByteLength(core),
    fork: engine.coreFork(core),
    contiguousLength: engine.coreContiguousLength(core),
    remoteContiguousLength: engine.coreRemoteContiguousLength(core),
    roots: engine.coreRoots(core),
    signature: engine.coreSignature(core) ?? null,
    hasManifest: !!engine.coreManifest(core)
  }))
}
