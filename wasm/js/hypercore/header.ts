// What is known of a core beside its blocks.

import type { CoreHandle, KeyPair } from '../binding.js'
import { look, request } from '../runtime.js'
import { equal } from '../support/bytes.js'
import type { Core } from './core.js'
import { leaves } from './lib/flat-tree.js'
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

/** What sessions hear of a log that was something else before. */
export type Changes = () => Array<['truncate', [length: number, fork: number]] | ['append', []]>

/** What happened to a log since, where nobody was told. */
export async function changesSince (core: CoreHandle, before: { length: number, fork: number, roots: TreeNode[] }): Promise<Changes> {
  const shared = await sharedLength(core, before)
  return () => look((engine) => {
    const length = engine.coreLength(core)
    const fork = engine.coreFork(core)
    const kept = fork === before.fork ? before.length : Math.min(shared, length)
    return [...(fork === before.fork ? [] : [['truncate', [kept, fork]] as const]), ...(length > kept ? [['append', []] as const] : [])] as ReturnType<Changes>
  })
}

/**
 * Blocks that a log surely shares with what it was: those below roots that it still has. Where it is shorter, and roots do not tell, it is
 * taken to have been cut there, and not further.
 */
async function sharedLength (core: CoreHandle, { fork, roots }: { fork: number, roots: TreeNode[] }): Promise<number> {
  if (look((engine) => engine.coreFork(core)) === fork) return 0
  const nodes = await request<Array<Uint8Array | null>>((engine) => engine.coreReadRecords(core, roots.map(({ index }) => ['node', index])))
  const length = look((engine) => engine.coreLength(core))
  let shared = 0
  for (const [at, { index, hash }] of roots.entries()) {
    const end = shared + leaves(index)
    if (end > length) return length
    // A node is stored with its hash at the end, which covers its size.
    if (!nodes[at] || !equal(nodes[at].subarray(-32), hash)) break
    shared = end
  }
  return shared
}
