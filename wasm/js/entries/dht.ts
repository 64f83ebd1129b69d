import { DHT } from '../dht/dht.js'

export { DHT as default, DHT }
export type { ConnectOptions, DHTEvents, DHTOptions, PeerResult } from '../dht/dht.js'
export type { ConnectionPool, ConnectionRef } from '../dht/pool.js'
export type { AnnouncedRecord, SigningOptions, SignRecord } from '../dht/signing.js'
export type { AnnouncedPeer, Announcement, QueriedNode, Query, QueryOptions, QueryResult, Reply } from '../dht/query.js'
export type { MutableGetOptions, MutablePutOptions, MutableResult, ValueResult } from '../dht/values.js'
export type { ReplyStats, RttStats } from '../dht/rtt-stats.js'
export type { Server, ServerEvents, ServerKeys, ServerOptions } from '../dht/server.js'
export type { Connection } from '../links/connection.js'
export type { DirectOptions, PathReason } from '../links/direct.js'
