import { Hyperswarm } from '../hyperswarm/hyperswarm.js'

export { Hyperswarm as default, Hyperswarm }
export type { HyperswarmEvents, HyperswarmOptions, RelayThrough } from '../hyperswarm/hyperswarm.js'
export type { JoinOptions, PeerDiscovery } from '../hyperswarm/discovery.js'
export type { SwarmNode } from '../hyperswarm/node.js'
export type { PeerInfo } from '../hyperswarm/peer-info.js'
export type { Connection } from '../links/connection.js'
export type { DirectOptions, PathReason } from '../links/direct.js'
