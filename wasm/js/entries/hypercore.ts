import { Hypercore } from '../hypercore/hypercore.js'

export { Hypercore as default, Hypercore }
export type { Info } from '../hypercore/info.js'
export type { HypercoreEvents } from '../hypercore/session.js'
export type * from '../hypercore/options.js'
export type { Manifest, ManifestInput, Signer } from '../hypercore/manifest.js'
export type { Peer } from '../hypercore/peer.js'
export type { Download } from '../hypercore/download.js'
