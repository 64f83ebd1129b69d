// Values that the DHT keeps for two days: under their hash, or under the key of who has signed them.

import { DHTError } from '../errors.js'
import { userBytes } from '../platform.js'
import { equal } from '../support/bytes.js'
import { hash } from '../support/crypto.js'
import { COMMANDS, decodeSigned, encodeSeq, encodeSigned, MAX_IMMUTABLE, MAX_MUTABLE, type SignedValue, signMutable, verifyMutable } from './records.js'
import { checkTarget, Query, type QueriedNode, type QueryNode, type QueryOptions, type Reply, targetOf } from './query.js'
import type { ServerKeys } from './server.js'

/** What a node has. */
export interface ValueResult {
  /** What the node takes writes with. */
  token: Uint8Array | null
  /** The node. */
  from: QueriedNode
  /** Where it sees us, that is the relay. */
  to: { host: string, port: number }
  /** What is stored there. */
  value: Uint8Array
}

/** What a node has under a key, signed by its owner. */
export interface MutableResult extends ValueResult {
  /** The version of the value: a higher one takes its place. */
  seq: number
  /** 64 bytes. */
  signature: Uint8Array
}

/** How a value is looked up. */
export interface MutableGetOptions extends QueryOptions<MutableResult> {
  /** The least version to take. */
  seq?: number
  /** Whether every node is asked for a newer one. */
  latest?: boolean
  /** Whether what was found is stored once more. */
  refresh?: ((result: MutableResult) => boolean) | null
}

/** How a value is stored. */
export interface MutablePutOptions extends QueryOptions<MutableResult> {
  /** The version of the value, which has to be higher than that of the one before; 0 by default. */
  seq?: number
  /** Signs in place of the secret key. */
  signMutable?: (seq: number, value: Uint8Array, keyPair: ServerKeys) => Uint8Array | Promise<Uint8Array>
}

/** A node that writes, too. */
export interface ValueNode extends QueryNode {
  request (request: { token: Uint8Array | null, target: Uint8Array, command: number, value: Uint8Array }, to: { host: string, port: number }): Promise<Reply>
}

export async function immutableGet (dht: ValueNode, target: Uint8Array, options: QueryOptions<ValueResult>): Promise<ValueResult | null> {
  const query = new Query(dht, checkTarget(target), false, COMMANDS.IMMUTABLE_GET, null, { ...options, map: mapImmutable }, 'immutableGet')
  for await (const node of query) {
    if (equal(hash(node.value), target)) return node
  }
  return null
}

export async function immutablePut (dht: ValueNode, value: Uint8Array, options: QueryOptions<ValueResult>): Promise<{ hash: Uint8Array, closestNodes: QueriedNode[] }> {
  const target = hash(value)
  if (value.byteLength > MAX_IMMUTABLE) throw DHTError.VALUE_TOO_LARGE(MAX_IMMUTABLE)
  const commit = (reply: Reply) => dht.request({ token: reply.token, target, command: COMMANDS.IMMUTABLE_PUT, value }, reply.from)
  const query = new Query(dht, target, false, COMMANDS.IMMUTABLE_GET, null, { ...options, map: mapImmutable, commit }, 'immutablePut')
  await query.finished()
  return { hash: target, closestNodes: query.closestNodes }
}

export async function mutableGet (dht: ValueNode, publicKey: Uint8Array, options: MutableGetOptions): Promise<MutableResult | null> {
  const target = targetOf(publicKey)
  const { seq: least = 0, latest = true } = options
  let { refresh = null } = options
  let result: MutableResult | null = null
  let signed: Uint8Array | null = null
  const commit = async (reply: Reply): Promise<unknown> => {
    if (!signed && result && refresh) {
      if (refresh(result)) signed = encodeSigned(publicKey, result)
      else refresh = null
    }
    if (!signed) return null
    return await dht.request({ token: reply.token, target, command: COMMANDS.MUTABLE_PUT, value: signed }, reply.from)
  }
  const query = new Query(dht, target, false, COMMANDS.MUTABLE_GET, encodeSeq(least), { ...options, map: mapMutable, commit: refresh ? commit : null }, 'mutableGet')
  for await (const node of query) {
    if (result && node.seq <= result.seq) continue
    if (node.seq < least || !verifyMutable(node.signature, node.seq, node.value, publicKey)) continue
    if (!latest) return node
    result = node
  }
  return result
}

export async function mutablePut (dht: ValueNode, keyPair: ServerKeys, value: Uint8Array, options: MutablePutOptions): Promise<{ publicKey: Uint8Array, closestNodes: QueriedNode[], seq: number, signature: Uint8Array }> {
  const { publicKey } = keyPair
  const target = hash(publicKey)
  const { seq = 0 } = options
  if (value.byteLength > MAX_MUTABLE) throw DHTError.VALUE_TOO_LARGE(MAX_MUTABLE)
  const signature = userBytes(await (options.signMutable ?? signMutable)(seq, value, keyPair))
  const signed = encodeSigned(publicKey, { seq, value, signature })
  const commit = (reply: Reply) => dht.request({ token: reply.token, target, command: COMMANDS.MUTABLE_PUT, value: signed }, reply.from)
  // Which versions there are matters to the nodes only.
  const query = new Query(dht, target, false, COMMANDS.MUTABLE_GET, encodeSeq(0), { ...options, map: mapMutable, commit }, 'mutablePut')
  await query.finished()
  return { publicKey, closestNodes: query.closestNodes, seq, signature }
}

function mapImmutable ({ token, from, to, value }: Reply): ValueResult | null {
  return value && { token, from, to, value }
}

function mapMutable ({ token, from, to, value }: Reply): MutableResult | null {
  if (!value) return null
  let signed: SignedValue
  try {
    signed = decodeSigned(value)
  } catch {
    return null
  }
  return { token, from, to, seq: signed.seq, value: userBytes(signed.value), signature: userBytes(signed.signature) }
}
