// What nodes of the DHT keep, and how it is written.

import { look } from '../runtime.js'
import { concat } from '../support/bytes.js'
import { array, buffer, fixed32, fixed64, uint } from '../support/compact.js'
import { hash, namespaces } from '../support/crypto.js'
import { type CompactEncoding, encodeValue } from '../support/encoding.js'

export interface Address { host: string, port: number }

/** Somebody who announced a topic, or a key. */
export interface AnnouncedPeer {
  publicKey: Uint8Array
  relayAddresses: Address[]
}

/** A value as its owner signed it. */
export interface SignedValue {
  seq: number
  value: Uint8Array
  signature: Uint8Array
}

/** Commands of nodes; the first is one of dht-rpc itself. */
export const COMMANDS = {
  FIND_NODE: 2,
  FIND_PEER: 2,
  LOOKUP: 3,
  ANNOUNCE: 4,
  UNANNOUNCE: 5,
  MUTABLE_PUT: 6,
  MUTABLE_GET: 7,
  IMMUTABLE_PUT: 8,
  IMMUTABLE_GET: 9
} as const

/** Bytes of a value with its signature that a relay writes. */
const MAX_VALUE = 1200

/** Bytes of an immutable value that a relay writes. */
export const MAX_IMMUTABLE = MAX_VALUE

/** Bytes of a mutable one: its key, signature and numbers take the rest. */
export const MAX_MUTABLE = MAX_VALUE - 32 - 64 - 9 - 3

export const address: CompactEncoding<Address> = {
  preencode (state) { state.end += 6 },
  encode (state, { host, port }) {
    const parts = host.split('.').map(Number)
    for (const part of [...parts.slice(0, 4), port & 0xff, port >> 8]) state.buffer![state.start++] = part
  },
  decode (state) {
    const bytes = state.buffer!.subarray(state.start, state.start + 6)
    if (bytes.byteLength < 6) throw new Error('Out of bounds')
    state.start += 6
    return { host: bytes.subarray(0, 4).join('.'), port: bytes[4]! | bytes[5]! << 8 }
  }
}

const peer: CompactEncoding<AnnouncedPeer> = {
  preencode (state, { publicKey, relayAddresses }) {
    fixed32.preencode(state, publicKey)
    array(address).preencode(state, relayAddresses)
  },
  encode (state, { publicKey, relayAddresses }) {
    fixed32.encode(state, publicKey)
    array(address).encode(state, relayAddresses)
  },
  decode: (state) => ({ publicKey: fixed32.decode(state), relayAddresses: array(address).decode(state) })
}

/** Addresses without their number, as an announce takes them. */
export function encodeAddresses (addresses: Address[]): Uint8Array {
  return concat(addresses.map((node) => encodeValue(address, node)))
}

/** The id of the node at an address. */
export function nodeId (node: Address): Uint8Array {
  return hash(encodeValue(address, node))
}

/** The record of a server. */
export function decodePeer (bytes: Uint8Array): AnnouncedPeer {
  return peer.decode(stateOf(bytes))
}

/** The records of a topic, and when somebody asked for attention to it. */
export function decodeLookup (bytes: Uint8Array): { peers: AnnouncedPeer[], bump: number } {
  const state = stateOf(bytes)
  const peers = array(peer).decode(state)
  return { peers, bump: state.start < state.end ? uint.decode(state) : 0 }
}

export function decodeSigned (bytes: Uint8Array): SignedValue {
  const state = stateOf(bytes)
  return { seq: uint.decode(state), value: buffer.decode(state) ?? new Uint8Array(0), signature: fixed64.decode(state) }
}

/** What is written to nodes. */
export function encodeSigned (publicKey: Uint8Array, { seq, value, signature }: SignedValue): Uint8Array {
  return concat([encodeValue(fixed32, publicKey), encodeValue(uint, seq), encodeValue(buffer, value), encodeValue(fixed64, signature)])
}

export function encodeSeq (seq: number): Uint8Array {
  return encodeValue(uint, seq)
}

/** Signs a value as its owner. */
export function signMutable (seq: number, value: Uint8Array, { secretKey }: { secretKey: Uint8Array }): Uint8Array {
  return look((engine) => engine.sign(signableValue(seq, value), secretKey))
}

/** Signs a record for the node with an id, which has given out the token; with a target and the command that stores it or takes it back. */
export function signRecord (command: number, target: Uint8Array, token: Uint8Array, id: Uint8Array, record: AnnouncedPeer, secretKey: Uint8Array): Uint8Array {
  const bytes = signable(command, [target, id, token, encodeValue(peer, record)])
  return look((engine) => engine.sign(bytes, secretKey))
}

export function verifyMutable (signature: Uint8Array, seq: number, value: Uint8Array, publicKey: Uint8Array): boolean {
  return look((engine) => engine.verify(signableValue(seq, value), signature, publicKey))
}

function signableValue (seq: number, value: Uint8Array): Uint8Array {
  return signable(COMMANDS.MUTABLE_PUT, [encodeValue(uint, seq), encodeValue(buffer, value)])
}

let ofCommands: Uint8Array[] | undefined

function signable (command: number, parts: Uint8Array[]): Uint8Array {
  ofCommands ??= namespaces('hyperswarm/dht', COMMANDS.MUTABLE_PUT + 1)
  return concat([ofCommands[command]!, hash(parts)])
}

export function stateOf (bytes: Uint8Array): { start: number, end: number, buffer: Uint8Array } {
  return { start: 0, end: bytes.byteLength, buffer: bytes }
}
