// Proofs of what a log has, as programs ask its tree for them.
//
// Source: hypercore 11.35, `lib/merkle-tree.js`, `TreeProof`.

import { fromEngine, type EngineProof, type Proof, type ProofOptions } from '../proof.js'
import type { State } from '../state.js'

/** A proof whose nodes are still being read. */
export class TreeProof {
  readonly fork: number
  readonly signature: Uint8Array | null
  readonly block: ProofOptions['block']
  readonly hash: ProofOptions['hash']
  readonly seek: ProofOptions['seek']
  readonly upgrade: ProofOptions['upgrade']
  readonly #proof: Proof

  /** @internal */
  constructor (state: State, { block = null, hash = null, seek = null, upgrade = null }: ProofOptions, proof: Proof) {
    this.fork = state.fork
    this.signature = state.signature
    this.block = block
    this.hash = hash
    this.seek = seek
    this.upgrade = upgrade
    this.#proof = proof
  }

  /** The proof. The block itself is left to whoever asked. */
  async settle (): Promise<Proof> {
    const { block } = this.#proof
    return { ...this.#proof, block: block && { ...block, value: null } }
  }
}

/** Proves what a log has. */
export async function prove (state: State, options: ProofOptions): Promise<TreeProof> {
  return new TreeProof(state, options, fromEngine(await state.request<EngineProof>((core, engine) => engine.coreProof(core, options)).promise))
}
