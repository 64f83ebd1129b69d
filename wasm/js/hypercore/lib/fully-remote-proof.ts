// Proofs that need nothing but the core's key, as a notification carries them: `hypercore/lib/fully-remote-proof`.

import { equal } from '../../support/bytes.js'
import { fixed32, struct } from '../../support/compact.js'
import { decodeValue, encodeValue } from '../../support/encoding.js'
import type { Storage } from '../../storage/storage.js'
import { Core } from '../core.js'
import type { Hypercore } from '../hypercore.js'
import { verifyFullyRemote, type Proof } from '../proof.js'
import { wire } from './messages.js'

export interface RemoteProofOptions {
  /** Block that is proven, when its value is given. */
  index?: number
  block?: Uint8Array | null
  upgrade?: { start: number, length: number } | null
}

/** What a proof says about a core that is stored here. */
export interface VerifiedProof {
  key: Uint8Array
  discoveryKey: Uint8Array
  /** Whether it proves more than is stored. */
  newer: boolean
  length: number
  proof: Proof
  block: Proof['block']
}

const message = struct<{ discoveryKey: Uint8Array, data: any }>({ discoveryKey: fixed32, data: wire.data })

/** Proves the head of a core, and maybe a block. */
export async function proof (sender: Hypercore, { index, block = null, upgrade = null }: RemoteProofOptions = {}): Promise<Uint8Array> {
  const proof = await sender.proof({
    block: block ? { index: index!, nodes: 0 } : null,
    upgrade: upgrade ?? { start: 0, length: sender.length }
  })
  if (block) proof.block!.value = block
  proof.manifest = sender.core!.manifest
  return encodeValue(message, { discoveryKey: sender.discoveryKey!, data: { request: 0, ...proof } })
}

/** Reads a proof of that core; null when it is of another one. */
export function decodeRemoteProof (bytes: Uint8Array, id: Uint8Array): Proof | null {
  const { discoveryKey, data } = decodeValue(message, bytes) as { discoveryKey: Uint8Array, data: Proof }
  return equal(discoveryKey, id) ? data : null
}

/** Verifies a proof of a core in a storage; null when it is of none, or not true. */
export async function verify (storage: Storage, buffer: Uint8Array, { referrer = null }: { referrer?: Uint8Array | null } = {}): Promise<VerifiedProof | null> {
  const { discoveryKey: id, data } = decodeValue(message, buffer) as { discoveryKey: Uint8Array, data: Proof }
  const core = new Core(storage, { discoveryKey: id, createIfMissing: false })
  core.autoClose = true
  try {
    await core.ready()
  } catch {
    return null
  }
  try {
    const stored = referrer && await core.state.getUserData('referrer')
    if (referrer && (!stored || !equal(stored, referrer))) return null
    if (!core.manifest?.signers.length) return null
    const head = await verifyFullyRemote(core, data)
    return { key: core.key!, discoveryKey: id, newer: head.length > core.length, length: head.length, proof: data, block: data.block }
  } catch {
    return null
  } finally {
    await core.close()
  }
}
