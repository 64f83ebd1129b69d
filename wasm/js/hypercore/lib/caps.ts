// What is signed and proven about a core: `hypercore/lib/caps`.

import { userBytes } from '../../platform.js'
import { look } from '../../runtime.js'
import { concat } from '../../support/bytes.js'
import { hypercoreNamespace } from '../../support/crypto.js'

// Made when they are asked for: in a browser the engine may not be loaded yet.
const name = hypercoreNamespace

export const TREE = 0
export const REPLICATE_INITIATOR = 1
export const REPLICATE_RESPONDER = 2

/** Namespaces of signatures and hashes. */
export const caps = {
  get MANIFEST (): Uint8Array { return name(3) },
  get DEFAULT_NAMESPACE (): Uint8Array { return name(4) },
  get DEFAULT_ENCRYPTION (): Uint8Array { return name(5) },
  replicate,
  treeSignable,
  treeSignableCompat
}

/** Proves to the other end of a stream that this one knows the core's key. */
export function replicate (isInitiator: boolean, key: Uint8Array, handshakeHash: Uint8Array): Uint8Array {
  return userBytes(look((engine) => engine.keyedHash(handshakeHash, [name(isInitiator ? REPLICATE_INITIATOR : REPLICATE_RESPONDER), key])))
}

/** What the signer of a manifest signs for a head. */
export function treeSignable (manifestHash: Uint8Array, treeHash: Uint8Array, length: number, fork: number): Uint8Array {
  return userBytes(concat([name(TREE), manifestHash, treeHash, position(length, fork)]))
}

/** What is signed where the key is the public key; very old versions without the namespace. */
export function treeSignableCompat (hash: Uint8Array, length: number, fork: number, noHeader = false): Uint8Array {
  return userBytes(concat([...(noHeader ? [] : [name(TREE)]), hash, position(length, fork)]))
}

function position (length: number, fork: number): Uint8Array {
  const bytes = new Uint8Array(16)
  const view = new DataView(bytes.buffer)
  view.setBigUint64(0, BigInt(length), true)
  view.setBigUint64(8, BigInt(fork), true)
  return bytes
}
