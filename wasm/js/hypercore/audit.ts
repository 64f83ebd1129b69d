// Looking whether what is stored of a core fits together.

import { HypercoreError } from '../errors.js'
import type { Core } from './core.js'

/** What an audit looks at; everything by default. */
export interface AuditOptions {
  tree?: boolean
  blocks?: boolean
  bitfield?: boolean
  /** Only counts. */
  dryRun?: boolean
}

/** What an audit found. */
export interface Audit {
  treeNodes: number
  blocks: number
  bits: number
  droppedTreeNodes: number
  droppedBlocks: number
  droppedBits: number
  corrupt: boolean
}

type AuditedPart = Omit<Audit, 'corrupt'> & { next: number | null }

/** Looks whether what is stored of a core fits together, and drops what does not. */
export async function audit (core: Core, { tree = true, blocks = true, bitfield = true, dryRun = false }: AuditOptions = {}): Promise<Audit> {
  if (tree && core.isLost) throw HypercoreError.INVALID_OPERATION('Expected all roots in storage, some are lost', core.discoveryKey)
  const total: Audit = { treeNodes: 0, blocks: 0, bits: 0, droppedTreeNodes: 0, droppedBlocks: 0, droppedBits: 0, corrupt: false }
  // Blocks are measured by the tree that is left.
  if (tree) await auditParts(core, { tree, blocks: false, bitfield: false, dryRun }, total)
  if (blocks || bitfield) await auditParts(core, { tree: false, blocks, bitfield, dryRun }, total)
  return total
}

async function auditParts (core: Core, options: AuditOptions, total: Audit): Promise<void> {
  for (let start: number | null = 0; start !== null;) {
    const from: number = start
    const { next, ...found }: AuditedPart = await core.request<AuditedPart>((handle, engine) => engine.coreAudit(handle, from, options)).promise
    for (const [name, count] of Object.entries(found) as Array<[keyof typeof found, number]>) total[name] += count
    start = next
  }
}
