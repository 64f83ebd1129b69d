// Keys and hashes, through the engine. In a browser they work once it is loaded.

import { userBytes } from '../platform.js'
import { look } from '../runtime.js'
import { concat, fromUtf8 } from './bytes.js'

/** A pair for signing and for connections, from a seed of 32 bytes or at random. */
export function keyPair (seed?: Uint8Array | null): { publicKey: Uint8Array, secretKey: Uint8Array } {
  const pair = look((engine) => engine.keyPair(seed ?? undefined))
  return { publicKey: userBytes(pair.publicKey), secretKey: userBytes(pair.secretKey) }
}

/** Names a core to peers without giving its key away. */
export function discoveryKey (key: Uint8Array): Uint8Array {
  return userBytes(look((engine) => engine.discoveryKey(key)))
}

/** BLAKE2b-256 of the parts, one after the other. */
export function hash (data: Uint8Array | Uint8Array[]): Uint8Array {
  return userBytes(look((engine) => engine.hash(Array.isArray(data) ? data : [data])))
}

/** Keys that keep the uses of one name apart. */
export function namespaces (name: string, count: number): Uint8Array[] {
  const id = hash(fromUtf8(name))
  return Array.from({ length: count }, (_, i) => hash(concat([id, Uint8Array.of(i)])))
}

const ofHypercore: Uint8Array[] = []

/** One of the keys that keep the uses of `hypercore` apart; made when it is asked for first. */
export function hypercoreNamespace (index: number): Uint8Array {
  return ofHypercore[index] ??= namespaces('hypercore', index + 1)[index]!
}
