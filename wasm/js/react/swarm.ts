// A swarm in a component, with its topics and its connections.

import { useEffect, type DependencyList } from 'react'

import type { Hyperswarm } from '../hyperswarm/hyperswarm.js'
import type { JoinOptions } from '../hyperswarm/discovery.js'
import type { Connection } from '../links/connection.js'
import { isBytes, toHex } from '../support/bytes.js'
import type { Kind, Source, Status } from './lease.js'
import { useResource } from './use-resource.js'

/** One peer, and the way to it. */
export interface SwarmConnection {
  /** The stream. */
  connection: Connection
  /** Who is at the other end; null before that is proven. */
  remotePublicKey: Uint8Array | null
  /** Which way it goes. */
  path: Connection['path']
  /** Why it goes that way. */
  pathReason: Connection['pathReason']
}

/** What `useSwarm` returns. */
export interface SwarmState extends Status {
  /** The swarm; null before the component is mounted. */
  swarm: Hyperswarm | null
  /** Whether its relay is reached. */
  isOnline: boolean
  /** Peers that are being dialled. */
  connecting: number
  /** The open ones. */
  connections: SwarmConnection[]
}

/** What `useSwarm` joins and replicates. */
export interface UseSwarmOptions extends JoinOptions {
  /** 32 bytes each, joined while the component is mounted. */
  topics?: Array<Uint8Array | null | undefined>
  /** Replicated over every connection: a core, a store, a bee or a drive. */
  replicate?: { replicate (connection: any): unknown } | null
  /** The swarm is made anew when one of these changes. */
  deps?: DependencyList
}

type Told = Omit<SwarmState, keyof Status | 'swarm'>

/** What changes whether a swarm is online. */
const RELAY_EVENTS = ['relay-open', 'relay-close', 'relay-connecting', 'relay-interrupted', 'relay-resumed', 'close'] as const

/** The last of each connection, so that a render that shows the same is spared. */
const shown = new WeakMap<Connection, SwarmConnection>()

const SWARM: Kind<Hyperswarm, Told> = {
  nothing: { isOnline: false, connecting: 0, connections: [] },
  ready: async () => {},
  listen (swarm, changed) {
    const watched = new Set<Connection>()
    const watch = (): void => {
      for (const connection of swarm.connections) {
        if (watched.has(connection)) continue
        watched.add(connection)
        connection.on('path', changed)
        connection.once('close', () => { watched.delete(connection) })
      }
      changed()
    }
    watch()
    swarm.on('update', watch)
    for (const name of RELAY_EVENTS) swarm.dht.on(name, changed)
    return () => {
      swarm.off('update', watch)
      for (const name of RELAY_EVENTS) swarm.dht.off(name, changed)
      for (const connection of watched) connection.off('path', changed)
    }
  },
  read: (swarm) => ({ isOnline: swarm.dht.online, connecting: swarm.connecting, connections: [...swarm.connections].map(show) }),
  isClosed: (swarm) => swarm.destroyed,
  close: (swarm) => swarm.destroy()
}

/**
 * Has a swarm, and renders again when peers come, go or take another path. A swarm that a function makes is destroyed with the
 * component; of one that is given, the topics are left.
 */
export function useSwarm (source: Source<Hyperswarm> | null, { topics = [], replicate = null, deps = [], ...joining }: UseSwarmOptions = {}): SwarmState {
  const { resource: swarm, ...state } = useResource(SWARM, source, deps, '')
  const joined = topics.filter(isBytes).map(toHex).sort().join()

  useEffect(() => {
    if (swarm === null || replicate === null) return
    const onconnection = (connection: Connection): void => { replicate.replicate(connection) }
    swarm.on('connection', onconnection)
    for (const connection of swarm.connections) onconnection(connection)
    return () => { swarm.off('connection', onconnection) }
  }, [swarm, replicate])

  useEffect(() => {
    if (swarm === null) return
    const sessions = topics.filter(isBytes).map((topic) => swarm.join(topic, joining))
    return () => { for (const session of sessions) session.destroy().catch(() => {}) }
  }, [swarm, joined, joining.server, joining.client])

  return { ...state, swarm }
}

function show (connection: Connection): SwarmConnection {
  const { path, pathReason, remotePublicKey } = connection
  const last = shown.get(connection)
  if (last && last.path === path && last.pathReason === pathReason) return last
  const now = { connection, remotePublicKey, path, pathReason }
  shown.set(connection, now)
  return now
}
