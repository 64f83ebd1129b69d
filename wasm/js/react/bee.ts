// A bee in a component, with a range of its entries.

import type { DependencyList } from 'react'

import type { Entry } from '../hyperbee/blocks.js'
import type { Hyperbee } from '../hyperbee/hyperbee.js'
import type { RangeOptions } from '../hyperbee/iterators.js'
import { listenTo } from './core.js'
import type { Kind, Source, Status } from './lease.js'
import { useResource } from './use-resource.js'

/** What `useBee` returns. */
export interface BeeState<K = any, V = any> extends Status {
  /** The bee; null before the component is mounted. */
  bee: Hyperbee<K, V> | null
  /** The length of the core, at least 1. */
  version: number
  /** Whether entries can be put. */
  writable: boolean
  /** The entries of the range, in its order; empty without a range. */
  entries: Array<Entry<K, V>>
}

/** What `useBee` keeps up to date. */
export interface UseBeeOptions<K = any> {
  /** Entries to keep up to date; `{}` for all of them. */
  range?: Pick<RangeOptions<K>, 'gt' | 'gte' | 'lt' | 'lte' | 'reverse' | 'limit'> | null
  /** The bee is made anew when one of these changes. */
  deps?: DependencyList
}

/** Has a bee, and renders again when entries of the range change. As with `useCore`, what a function makes is closed along. */
export function useBee<K = any, V = any> (source: Source<Hyperbee<K, V>> | null, { range = null, deps = [] }: UseBeeOptions<K> = {}): BeeState<K, V> {
  const kind: Kind<Hyperbee<K, V>, Omit<BeeState<K, V>, keyof Status | 'bee'>> = {
    nothing: { version: 0, writable: false, entries: [] },
    ready: (bee) => bee.ready(),
    listen: (bee, changed) => listenTo(bee.core, changed),
    read: async (bee, signal) => {
      const entries: Array<Entry<K, V>> = []
      if (range) for await (const entry of bee.createReadStream(range, { signal })) entries.push(entry)
      return { version: bee.version, writable: bee.writable, entries }
    },
    isClosed: (bee) => bee.closed,
    close: (bee) => bee.close()
  }
  const { resource, ...state } = useResource(kind, source, deps, JSON.stringify(range))
  return { ...state, bee: resource }
}
