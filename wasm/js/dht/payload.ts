// What a peer says about itself when it asks to connect: the payload of its first message of the handshake.

import { array, fixed32, uint } from '../support/compact.js'
import type { CompactEncoding, EncodingState } from '../support/encoding.js'
import { type Address, address, stateOf } from './records.js'

/** How a peer can be reached, and what it understands. */
export interface NoisePayload {
  version: number
  /** 0, or the number of an error. */
  error: number
  /** One of {@link DHT.FIREWALL}. */
  firewall: number
  holepunch: { id: number, relays: Array<{ relayAddress: Address, peerAddress: Address }> } | null
  addresses4: Address[]
  addresses6: Address[]
  udx: { version: number, reusableSocket: boolean, id: number, seq: number } | null
  secretStream: { version: number } | null
  relayThrough: { version: number, publicKey: Uint8Array, token: Uint8Array } | null
  relayAddresses: Address[] | null
}

/** Reads a payload. Of a version that is not known, the number is all there is. */
export function decodePayload (bytes: Uint8Array): NoisePayload {
  const state = stateOf(bytes)
  const version = uint.decode(state)
  const payload: NoisePayload = {
    version,
    error: 0,
    firewall: 0,
    holepunch: null,
    addresses4: [],
    addresses6: [],
    udx: null,
    secretStream: null,
    relayThrough: null,
    relayAddresses: null
  }
  if (version !== 1) return payload
  const flags = uint.decode(state)
  payload.error = uint.decode(state)
  payload.firewall = uint.decode(state)
  if (flags & 1) payload.holepunch = { id: uint.decode(state), relays: array(relay).decode(state) }
  if (flags & 2) payload.addresses4 = array(address).decode(state)
  if (flags & 4) payload.addresses6 = array(address6).decode(state)
  if (flags & 8) payload.udx = decodeUdx(state)
  if (flags & 16) payload.secretStream = { version: uint.decode(state) }
  if (flags & 32) payload.relayThrough = decodeRelayThrough(state)
  if (flags & 64) payload.relayAddresses = array(address).decode(state)
  return payload
}

function decodeUdx (state: EncodingState): NoisePayload['udx'] {
  const version = uint.decode(state)
  const features = uint.decode(state)
  return { version, reusableSocket: (features & 1) !== 0, id: uint.decode(state), seq: uint.decode(state) }
}

function decodeRelayThrough (state: EncodingState): NoisePayload['relayThrough'] {
  const version = uint.decode(state)
  uint.decode(state)
  return { version, publicKey: fixed32.decode(state), token: fixed32.decode(state) }
}

const relay: CompactEncoding<{ relayAddress: Address, peerAddress: Address }> = {
  preencode (state) { state.end += 12 },
  encode (state, { relayAddress, peerAddress }) {
    address.encode(state, relayAddress)
    address.encode(state, peerAddress)
  },
  decode: (state) => ({ relayAddress: address.decode(state), peerAddress: address.decode(state) })
}

const address6: CompactEncoding<Address> = {
  preencode (state) { state.end += 18 },
  encode () { throw new Error('addresses of IPv6 are only read') },
  decode (state) {
    const bytes = state.buffer!.subarray(state.start, state.start + 18)
    if (bytes.byteLength < 18) throw new Error('Out of bounds')
    state.start += 18
    const groups = Array.from({ length: 8 }, (_, at) => (bytes[2 * at]! << 8 | bytes[2 * at + 1]!).toString(16))
    return { host: groups.join(':'), port: bytes[16]! | bytes[17]! << 8 }
  }
}
