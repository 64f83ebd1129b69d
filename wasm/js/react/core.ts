// A core in a component.

import type { DependencyList } from 'react'

import type { Hypercore } from '../hypercore/hypercore.js'
import type { HypercoreEvents } from '../hypercore/session.js'
import type { Peer } from '../hypercore/peer.js'
import type { Kind, Source, Status } from './lease.js'
import { useResource } from './use-resource.js'

/** What `useCore` returns. */
export interface CoreState extends Status {
  /** The core; null before the component is mounted. */
  core: Hypercore | null
  /** Blocks. */
  length: number
  /** Bytes of all blocks. */
  byteLength: number
  /** Blocks from the first on that are all stored here. */
  contiguousLength: number
  /** How often the log was cut. */
  fork: number
  /** Whether blocks can be appended. */
  writable: boolean
  /** Who replicates it. */
  peers: Peer[]
}

const EVENTS: Array<keyof HypercoreEvents> = ['append', 'truncate', 'download', 'peer-add', 'peer-remove', 'manifest', 'close']

/** Calls back on whatever changes what a core tells. */
export function listenTo (core: Hypercore, changed: () => void): () => void {
  for (const name of EVENTS) core.on(name, changed)
  return () => { for (const name of EVENTS) core.off(name, changed) }
}

const CORE: Kind<Hypercore, Omit<CoreState, keyof Status | 'core'>> = {
  nothing: { length: 0, byteLength: 0, contiguousLength: 0, fork: 0, writable: false, peers: [] },
  ready: (core) => core.ready(),
  listen: listenTo,
  read: ({ length, byteLength, contiguousLength, fork, writable, peers }) => ({ length, byteLength, contiguousLength, fork, writable, peers: [...peers] }),
  isClosed: (core) => core.closed,
  close: (core) => core.close()
}

/**
 * Has a core, and renders again when it grows, shrinks, is downloaded or meets peers.
 *
 * @param source a core, which stays open when the component goes; or a function that makes one, called when the component is
 * mounted and when `deps` change, whose core is closed along; or null for none yet
 */
export function useCore (source: Source<Hypercore> | null, deps: DependencyList = []): CoreState {
  const { resource, ...state } = useResource(CORE, source, deps, '')
  return { ...state, core: resource }
}
