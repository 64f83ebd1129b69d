// The cores of an Autobase that a blind peer is asked for: its own log, its views, and those of its writers that matter most.

import { toHex } from '../support/bytes.js'
import type { BlindPeer } from './blind-peer.js'
import type { AddCores } from './messages.js'

/** A core, as far as a blind peer is told of it. */
interface Named { key: Uint8Array | null, length: number }

/** What is used of an Autobase 7. */
export interface Autobase {
  ready (): Promise<void>
  readonly closing: unknown
  readonly wakeupCapability: { key: Uint8Array }
  readonly core: { on (name: 'migrate', listener: () => void): unknown, off (name: 'migrate', listener: () => void): unknown }
  readonly local: Named
  readonly activeWriters: Iterable<{ core: Named & { remoteContiguousLength: number, manifest: { signers: unknown[] } | null } }>
  views (): Iterable<{ key: Uint8Array | null, signedLength: number }>
  on (name: 'writer' | 'close', listener: () => void): unknown
  off (name: 'writer' | 'close', listener: () => void): unknown
}

/** How much of a base is asked for at once, and when; see the options of the class. */
export interface BaseLimits {
  readonly maxBatchMin: number
  readonly maxBatchMax: number
  readonly batchIdleWait: number
  readonly batchMaxWait: number
}

/** How long after a base moves to other views they are there, in milliseconds: nothing tells. Upstream's. */
const MOVED = 500

/** Has blind peers keep a base until it closes, or the returned function is called. `ask` makes what is sent of a list of cores. */
export function keepBase (base: Autobase, peers: BlindPeer[], limits: BaseLimits, ask: (cores: AddCores['cores']) => AddCores, ended: () => void): () => void {
  for (const peer of peers) {
    const told = new Set<string>()
    peer.add(base, (isMore) => {
      if (!isMore) told.clear()
      return ask(coresOf(base, told, limits))
    })
  }
  const again = (isMore: boolean) => { for (const peer of peers) peer.again(base, isMore) }
  // Writers become known one after another; those that come later are asked for by others.
  const settle = () => {
    clearTimeout(idle)
    clearTimeout(latest)
    base.off('writer', onwriter)
    again(true)
  }
  const onwriter = () => {
    clearTimeout(idle)
    idle = setTimeout(settle, limits.batchIdleWait)
  }
  let idle = setTimeout(settle, limits.batchIdleWait)
  const latest = setTimeout(settle, limits.batchMaxWait)
  let moved: ReturnType<typeof setTimeout> | undefined
  const onmigrate = () => {
    clearTimeout(moved)
    moved = setTimeout(again, MOVED, false)
  }
  const end = () => {
    for (const timer of [idle, latest, moved]) clearTimeout(timer)
    base.off('writer', onwriter)
    base.off('close', end)
    base.core.off('migrate', onmigrate)
    for (const peer of peers) peer.forget(base)
    ended()
  }
  base.on('writer', onwriter)
  base.on('close', end)
  base.core.on('migrate', onmigrate)
  return end
}

/** The cores of a base that are not among those that were told. */
function coresOf (base: Autobase, told: Set<string>, { maxBatchMin, maxBatchMax }: BaseLimits): AddCores['cores'] {
  const cores: AddCores['cores'] = []
  const add = ({ key, length }: Named) => {
    const id = toHex(key!)
    if (told.has(id)) return
    told.add(id)
    cores.push({ key: key!, length })
  }
  add(base.local)
  for (const { key, signedLength } of base.views()) add({ key, length: signedLength })
  const rest: Array<[isSeeded: number, order: number, core: Named]> = []
  for (const { core } of base.activeWriters) {
    const { length, manifest, remoteContiguousLength } = core
    // What nobody else has, or nobody can write to again.
    if (manifest?.signers.length === 0 || remoteContiguousLength === 0 || cores.length < maxBatchMin) add(core)
    else rest.push([length > remoteContiguousLength ? 0 : 1, Math.random(), core])
  }
  rest.sort(([a, x], [b, y]) => a - b || x - y)
  for (const [,, core] of rest) if (cores.length < maxBatchMax) add(core)
  return cores
}
