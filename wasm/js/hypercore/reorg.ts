// Another history of a log that a program follows by itself. The engine verifies it once more before it stores any of it.
//
// Source: hypercore 11.35, `lib/core.js`, `verifyReorg` and `reorg`.

import type { Core } from './core.js'
import { ReorgBatch } from './lib/merkle-tree-batch.js'
import { forEngine, type Proof } from './proof.js'

/** Verifies the beginning of another history, with its signature. */
export async function verifyReorg (core: Core, proof: Proof): Promise<ReorgBatch> {
  const batch = new ReorgBatch(core.state)
  await batch.begin(core.state, proof)
  await check(core, proof)
  return batch
}

/** Follows another history; false when the log has changed since it was verified. */
export async function followReorg (core: Core, batch: ReorgBatch): Promise<boolean> {
  if (!batch.commitable()) return false
  for (const proof of batch.proofs) await check(core, proof)
  return await core.request<boolean>((handle, engine) => engine.coreApplyReorg(handle, batch.fork)).promise
}

async function check (core: Core, proof: Proof): Promise<void> {
  const given = forEngine(proof)
  await core.request<boolean>((handle, engine) => engine.coreCheckReorg(handle, given)).promise
}
