import { BlindPeering } from '../blind-peering/blind-peering.js'

export { BlindPeering as default, BlindPeering }
export { Copy } from '../blind-peering/copy.js'
export { findMirror } from '../blind-peering/find-mirror.js'
export type { AddCoreOptions, AddCoreRest, BlindPeeringOptions } from '../blind-peering/blind-peering.js'
export type { CopyEvents, CopyState, CopyStatus, Keepable, KeepOptions } from '../blind-peering/copy.js'
export type { MirrorInfo } from '../blind-peering/find-mirror.js'
