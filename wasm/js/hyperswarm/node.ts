// What a swarm needs of a node of the DHT: ours behind a relay, or one of upstream's.

import type { DHT } from '../dht/dht.js'
import type { ServerKeys } from '../dht/server.js'
import type { Connection } from '../links/connection.js'

/** Somebody that a search found. */
export interface FoundPeer {
  publicKey: Uint8Array
  relayAddresses?: unknown[] | null
}

/** A search of a topic: a stream of what nodes answer. */
export interface SwarmQuery extends AsyncIterable<{ peers: FoundPeer[] }> {
  readonly closestNodes: Array<{ id?: Uint8Array | null }>
  destroy (): unknown
}

type Log = (...words: unknown[]) => unknown

export interface SwarmServer {
  readonly relayAddresses: unknown[]
  listen (keyPair: ServerKeys | null): Promise<unknown>
  close (): Promise<void>
  suspend? (options: { log: Log }): Promise<void>
  resume? (): Promise<void>
}

/** What a swarm needs of a node of the DHT. */
export interface SwarmNode {
  /** Whether it knows by itself where it announced. */
  readonly keepsNodes?: boolean
  readonly randomized?: boolean
  readonly online?: boolean
  connect (publicKey: Uint8Array, options: object): Connection
  createServer (options: object, onconnection: (connection: Connection) => void): SwarmServer
  announce (topic: Uint8Array, keyPair: ServerKeys, relayAddresses: unknown[], options: object): SwarmQuery
  lookup (topic: Uint8Array, options: object): SwarmQuery
  lookupAndUnannounce (topic: Uint8Array, keyPair: ServerKeys, options: object): SwarmQuery
  unannounce (topic: Uint8Array, keyPair: ServerKeys, options?: object): Promise<unknown>
  destroy (options: { force?: boolean | undefined }): Promise<unknown>
  suspend? (options: { log: Log }): Promise<void>
  resume? (options: { log: Log }): Promise<void>
  on (name: string, listener: () => unknown): unknown
}

/** One of ours as a swarm takes it. */
export function swarmNode (dht: DHT): SwarmNode {
  return dht as unknown as SwarmNode
}
