// What a blind peer is told and tells, as upstream's packages have it: blind-peer-muxer 1.2, blind-peer-encodings 3.3 and
// protomux-rpc 1.10.

import { array, fixed32, flagged, rest, string, struct, uint } from '../support/compact.js'
import type { CompactEncoding, EncodingState } from '../support/encoding.js'

/** Several cores that are to be kept; nothing is answered. */
export interface AddCores {
  referrer?: Uint8Array | null
  priority?: number
  announce?: boolean
  cores: Array<{ key: Uint8Array, length: number }>
}

const referred = array(struct<AddCores['cores'][number]>({ key: fixed32, length: uint }))

export const addCores: CompactEncoding<AddCores> = {
  preencode (state, value) {
    state.end++
    if (value.referrer) fixed32.preencode(state, value.referrer)
    if (value.priority) uint.preencode(state, value.priority)
    referred.preencode(state, value.cores)
  },
  encode (state, value) {
    uint.encode(state, (value.referrer ? 1 : 0) | (value.priority ? 2 : 0) | (value.announce ? 4 : 0))
    if (value.referrer) fixed32.encode(state, value.referrer)
    if (value.priority) uint.encode(state, value.priority)
    referred.encode(state, value.cores)
  },
  decode (state) {
    const flags = uint.decode(state)
    return {
      referrer: flags & 1 ? fixed32.decode(state) : null,
      priority: flags & 2 ? uint.decode(state) : 0,
      announce: (flags & 4) !== 0,
      cores: referred.decode(state)
    }
  }
}

/** One core that is to be kept. */
export interface AddCore {
  key: Uint8Array
  referrer?: Uint8Array | null
  priority?: number
  announce?: boolean
}

export const addCore: CompactEncoding<AddCore> = flagged<AddCore>({ key: fixed32 }, {
  referrer: { flag: 1, encoding: fixed32 },
  deprecatedAutobase: { flag: 2, encoding: fixed32 },
  deprecatedAutobaseBlockKey: { flag: 4, encoding: fixed32 },
  priority: { flag: 8, encoding: uint, none: 0 },
  announce: { flag: 16 }
})

/** What a blind peer has of a core. */
export interface CoreRecord {
  key: Uint8Array
  length: number
  bytesAllocated: number
}

export const coreRecord: CompactEncoding<CoreRecord> = struct<CoreRecord>({ key: fixed32, length: uint, bytesAllocated: uint })

/** How a copy stands, as the mirror of our relay tells it. */
export interface CopyRecord {
  flags: number
  length: number
  held: number
  bytes: number
  limit: number
  until: number
  stopped: string
}

export const copyRecord: CompactEncoding<CopyRecord> = struct<CopyRecord>({
  flags: uint, length: uint, held: uint, bytes: uint, limit: uint, until: uint, stopped: string
})

export interface RpcRequest { id: number, method: string, value: Uint8Array }

export const rpcRequest: CompactEncoding<RpcRequest> = struct<RpcRequest>({ id: uint, method: string, value: rest })

export interface RpcResponse {
  id: number
  value: Uint8Array | null
  /** The code and words of who answers, where it says more than that it failed. */
  error: { code: string, message: string } | null
}

export const rpcResponse: CompactEncoding<RpcResponse> = {
  preencode () { throw new Error('Only read here') },
  encode () { throw new Error('Only read here') },
  decode (state: EncodingState) {
    const flags = uint.decode(state)
    const id = uint.decode(state)
    if (!(flags & 1)) return { id, value: rest.decode(state), error: null }
    let message = string.decode(state)
    let code = flags & 2 ? string.decode(state) : 'REQUEST_ERROR'
    if (flags & 4) {
      message = string.decode(state)
      code = string.decode(state) || code
    }
    return { id, value: null, error: { code, message } }
  }
}
