// Blocks that a manifest fixes, taken from a log that has them.

import { equal } from '../support/bytes.js'
import type { Core } from './core.js'
import type { EngineProof } from './proof.js'
import type { State } from './state.js'
import { UserDataStream } from './user-data.js'

/** Blocks that are copied at once: as many are stored by one commit. */
const BATCH = 128

/** Copies the blocks that the manifest of a core fixes, and the user data of the log that they are taken from. */
export async function copyPrologue (source: State, target: Core): Promise<void> {
  const prologue = target.manifest!.prologue!
  const { length } = prologue
  if (source.length < length || length === 0) return
  const hash = await source.request<Uint8Array>((core, engine) => engine.coreTreeHash(core, length)).promise
  if (!equal(hash, prologue.hash)) throw new Error('Prologue does not match source')
  if (source.core.db === target.db) await target.request((core, engine) => engine.coreCopyPrologue(core, source.handle)).promise
  else await copyAcross(source, target, length)
  for await (const { key, value } of new UserDataStream(source)) {
    await target.request((core, engine) => engine.coreSetUserData(core, key, value)).promise
  }
}

// From one store to another as from peer to peer: the hash of the manifest is what proves them.
async function copyAcross (source: State, target: Core, length: number): Promise<void> {
  const prove = async (request: object) => {
    const proof = await source.request<EngineProof>((core, engine) => engine.coreProof(core, request)).promise
    proof.fork = target.fork
    if (proof.upgrade) {
      proof.upgrade.additionalNodes = []
      proof.upgrade.signature = null
    }
    return proof
  }
  const apply = async (proof: EngineProof) => {
    await target.request((core, engine) => engine.coreApplyProof(core, proof)).promise
  }
  if (target.length < length) await apply(await prove({ upgrade: { start: 0, length } }))
  for (let start = 0; start < length; start += BATCH) {
    const indexes = Array.from({ length: Math.min(BATCH, length - start) }, (_, i) => start + i)
    await Promise.all(indexes.map(async (index) => {
      if (target.has(index) || !await source.has(index, index + 1)) return
      const nodes = await target.request<number>((core, engine) => engine.coreMissingNodes(core, index)).promise
      await apply(await prove({ block: { index, nodes } }))
    }))
  }
}
