// The encodings of what peers send and sign: `hypercore/messages`.

import { array, buffer, fixed32, fixed64, flagged, rest, string, struct, uint, uint32array } from '../../support/compact.js'
import type { CompactEncoding } from '../../support/encoding.js'
import { decodeManifestFrom, encodeManifest, type Manifest } from '../manifest.js'
import type { EngineProof, TreeNode } from '../proof.js'

export const manifest: CompactEncoding<Manifest> = {
  preencode (state, value) { state.end += encodeManifest(value).byteLength },
  encode (state, value) { rest.encode(state, encodeManifest(value)) },
  decode (state) {
    const { manifest, length } = decodeManifestFrom(state.buffer!.subarray(state.start, state.end))
    state.start += length
    return manifest
  }
}

const node = struct<TreeNode>({ index: uint, size: uint, hash: fixed32 })
const nodes = array(node)

const upgrade = struct<NonNullable<EngineProof['upgrade']>>({
  start: uint, length: uint, nodes, additionalNodes: nodes, signature: buffer
})

const wanted = struct({ index: uint, nodes: uint })

/** A `want` and its opposite: what follows the length may be missing. */
const range: CompactEncoding<{ start: number, length: number, any: boolean }> = {
  preencode (state, { start, length, any }) {
    uint.preencode(state, start)
    uint.preencode(state, length)
    if (any) uint.preencode(state, 1)
  },
  encode (state, { start, length, any }) {
    uint.encode(state, start)
    uint.encode(state, length)
    if (any) uint.encode(state, 1)
  },
  decode (state) {
    const [start, length] = [uint.decode(state), uint.decode(state)]
    return { start, length, any: ((state.start < state.end ? uint.decode(state) : 0) & 1) !== 0 }
  }
}

/** What peers of a core send each other. */
export const wire = {
  handshake: flagged<{ seeks: boolean, capability: Uint8Array }>({ capability: fixed32 }, { seeks: { flag: 1 } }),
  request: flagged({ id: uint, fork: uint }, {
    block: { flag: 1, encoding: wanted },
    hash: { flag: 2, encoding: wanted },
    seek: { flag: 4, encoding: struct({ bytes: uint, padding: uint }) },
    upgrade: { flag: 8, encoding: struct({ start: uint, length: uint }) },
    manifest: { flag: 16 },
    priority: { flag: 32, encoding: uint, none: 0 }
  }),
  cancel: struct({ request: uint }),
  data: flagged<EngineProof & { request: number }>({ request: uint, fork: uint }, {
    block: { flag: 1, encoding: struct({ index: uint, value: buffer, nodes }) },
    hash: { flag: 2, encoding: struct({ index: uint, nodes }) },
    seek: { flag: 4, encoding: struct({ bytes: uint, nodes }) },
    upgrade: { flag: 8, encoding: upgrade },
    manifest: { flag: 16, encoding: manifest }
  }),
  noData: {
    preencode (state, { request, reason }) {
      uint.preencode(state, request)
      uint.preencode(state, reason ? 1 : 0)
      if (reason) uint.preencode(state, reason)
    },
    encode (state, { request, reason }) {
      uint.encode(state, request)
      uint.encode(state, reason ? 1 : 0)
      if (reason) uint.encode(state, reason)
    },
    decode (state) {
      const request = uint.decode(state)
      const flags = state.start < state.end ? uint.decode(state) : 0
      return { request, reason: (flags & 1) !== 0 ? uint.decode(state) : 0 }
    }
  } as CompactEncoding<{ request: number, reason?: number }>,
  want: range,
  unwant: range,
  range: {
    preencode (state, { start, length }) {
      state.end++
      uint.preencode(state, start)
      if (length !== 1) uint.preencode(state, length)
    },
    encode (state, { drop, start, length }) {
      uint.encode(state, (drop ? 1 : 0) | (length === 1 ? 2 : 0))
      uint.encode(state, start)
      if (length !== 1) uint.encode(state, length)
    },
    decode (state) {
      const flags = uint.decode(state)
      return { drop: (flags & 1) !== 0, start: uint.decode(state), length: (flags & 2) !== 0 ? 1 : uint.decode(state) }
    }
  } as CompactEncoding<{ drop: boolean, start: number, length: number }>,
  bitfield: struct({ start: uint, bitfield: uint32array }),
  sync: flagged({ fork: uint, length: uint, remoteLength: uint }, {
    canUpgrade: { flag: 1 },
    uploading: { flag: 2 },
    downloading: { flag: 4 },
    hasManifest: { flag: 8 },
    allowPush: { flag: 16 }
  }),
  reorgHint: struct({ from: uint, to: uint, ancestors: uint }),
  extension: struct({ name: string, message: rest })
}

/** One signature of several; `patch` blocks have to be taken off the log to verify it. */
export interface PartialProof {
  signer: number
  signature: Uint8Array
  patch: number
}

/** One signature in a manifest of version 0; nodes are positions in the list of all. */
export interface PartialProofV0 {
  signer: number
  signature: Uint8Array
  patch: { start: number, length: number, nodes: number[] } | null
}

export interface MultiSignature<P> {
  proofs: P[]
  patch: TreeNode[]
}

export const multiSignature = struct<MultiSignature<PartialProof>>({
  proofs: array(struct<PartialProof>({ signer: uint, signature: fixed64, patch: uint })),
  patch: nodes
})

export const multiSignaturev0 = struct<MultiSignature<PartialProofV0>>({
  proofs: array(flagged<PartialProofV0>({ signer: uint, signature: fixed64 }, {
    patch: { flag: 1, encoding: struct({ start: uint, length: uint, nodes: array(uint) }) }
  })),
  patch: nodes
})
