// What the panel shows, read from the objects of the package without changing anything.

import type { Corestore } from '../corestore/corestore.js'
import type { Core } from '../hypercore/core.js'
import type { Hypercore } from '../hypercore/hypercore.js'
import type { Peer } from '../hypercore/peer.js'
import type { Hyperswarm } from '../hyperswarm/hyperswarm.js'
import { encodeId } from '../support/key-text.js'

/** One peer of a core. */
export interface PeerFacts {
  id: string
  remoteLength: number
  /** Blocks that it has been asked for and has not sent. */
  asked: number
  path: string
}

/** One core. */
export interface CoreFacts {
  /** Its key, in z-base-32. */
  id: string
  length: number
  byteLength: number
  /** Blocks that are stored here. */
  held: number
  /** How much of each of so many equal parts is here, from 0 to 1. */
  map: number[]
  /** Blocks that peers were asked for. */
  asked: number
  /** Reads that wait for blocks. */
  waiting: number
  isDownloading: boolean
  isWritable: boolean
  sessions: number
  peers: PeerFacts[]
}

/** One connection of the swarm. */
export interface ConnectionFacts {
  id: string
  path: string
  reason: string
  isInitiator: boolean
  received: number
  sent: number
}

/** The network. */
export interface NetworkFacts {
  state: 'online' | 'offline' | 'suspended' | 'closed'
  relay: string | null
  dialling: number
  known: number
  topics: number
  connections: ConnectionFacts[]
}

/** Parts of the strip that shows which blocks are here. */
const PARTS = 64

/** Facts of every core of a store, and of others. */
export function coresOf (store: Corestore | null, others: Iterable<Hypercore>): CoreFacts[] {
  const cores = new Map<Core, Hypercore[]>()
  const add = (session: Hypercore): void => {
    if (!session.opened || session.closed || session.core === null || !session.core.opened || session.core.closed) return
    const known = cores.get(session.core)
    if (known) known.push(session)
    else cores.set(session.core, [session])
  }
  for (const session of store?.sessions.list() ?? []) add(session)
  for (const session of others) if (!cores.get(session.core!)?.includes(session)) add(session)
  return [...cores].flatMap(([core, sessions]) => factsOf(core, sessions) ?? [])
}

function factsOf (core: Core, sessions: Hypercore[]): CoreFacts | null {
  // While another tab takes its store over, there is nothing to ask.
  if (core.resuming || !core.key) return null
  const { length } = core
  const parts = Math.min(length, PARTS)
  const map: number[] = []
  let held = 0
  for (let part = 0; part < parts; part++) {
    const [start, end] = [Math.floor(length * part / parts), Math.floor(length * (part + 1) / parts)]
    const count = core.bitfield.count(start, end - start, true)
    held += count
    map.push(count / (end - start))
  }
  const peers = core.peers.map(peerFacts)
  return {
    id: encodeId(core.key),
    length,
    byteLength: core.byteLength,
    held,
    map,
    asked: peers.reduce((sum, { asked }) => sum + asked, 0),
    waiting: sessions.reduce((sum, { activeRequests }) => sum + activeRequests.filter((request) => request !== null).length, 0),
    isDownloading: core.replicator.downloading,
    isWritable: sessions.some(({ writable }) => writable),
    sessions: sessions.length,
    peers
  }
}

function peerFacts (peer: Peer): PeerFacts {
  return {
    id: encodeId(peer.remotePublicKey),
    remoteLength: peer.remoteLength,
    asked: peer.inflight,
    path: (peer.stream as { path?: string | null } | null)?.path ?? 'stream'
  }
}

/** Facts of a swarm. */
export function networkOf (swarm: Hyperswarm): NetworkFacts {
  return {
    state: swarm.destroyed ? 'closed' : swarm.suspended ? 'suspended' : swarm.dht.online ? 'online' : 'offline',
    relay: swarm.dht.relay.url,
    dialling: swarm.connecting,
    known: swarm.peers.size,
    topics: [...swarm.topics()].length,
    connections: [...swarm.connections].map((connection) => ({
      id: connection.remotePublicKey ? encodeId(connection.remotePublicKey) : '',
      path: connection.path ?? 'none',
      reason: connection.pathReason ?? '',
      isInitiator: connection.isInitiator,
      received: connection.rawBytesRead,
      sent: connection.rawBytesWritten
    }))
  }
}
