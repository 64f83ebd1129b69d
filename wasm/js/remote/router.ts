// The engine as the classes see it, where some of what they use is in an engine elsewhere.

import type { CoreHandle, Engine } from '../binding.js'
import { HypertabError } from '../errors.js'
import { useEngine } from '../runtime.js'
import type { Home } from './home.js'
import { HANDLES, homeOf, METHODS } from './table.js'

/** Engines elsewhere, by number; the one in this realm is 0. */
export const homes: Array<Home | null> = [null]

/** Where things are made that belong to nothing that is there yet; null for this realm. */
let everything: Home | null = null
let isRouted = false

/** Lets calls find the engine of what they are about. */
export function routeCalls (): void {
  if (isRouted) return
  isRouted = true
  useEngine(route)
}

/** Has everything made in an engine elsewhere, and nothing in this realm. */
export function moveEverything (home: Home): void {
  everything = home
  routeCalls()
}

/** Where everything is made, if not in this realm. */
export function homeOfEverything (): Home | null {
  return everything
}

/** The engine in which links are made. */
export function placeOfLinks (): string {
  return everything ? `${everything.number}/0` : '0'
}

/** Which engine a core is in: another one of this realm, or one that such a one works through. */
export function placeOf (core: CoreHandle): string {
  const number = homeOf(core)
  return number === 0 ? '0' : `${number}/${homes[number]?.placeOf(core) ?? 0}`
}

/** What makes a handle out of another. */
const OF_HANDLES = new Set(['createAtom', 'relayConnect', 'relayListen', 'relayAsk'])

function route (local: Engine): Engine {
  const routed: Record<string, unknown> = { ...local }
  for (const [name, { makes }] of METHODS) {
    const own = (local as unknown as Record<string, ((...args: unknown[]) => unknown) | undefined>)[name]
    if (!own) continue
    if (makes === 'handle' && !OF_HANDLES.has(name)) {
      routed[name] = (...args: unknown[]) => {
        const near = (args[0] as { near?: number } | undefined)?.near
        const home = near === undefined ? everything : homes[homeOf(near)] ?? null
        return home ? home.perform(name, args) : own(...args)
      }
      continue
    }
    routed[name] = (...args: unknown[]) => {
      const handle = args[0] as number
      if (handle < HANDLES) return own(...args)
      const home = homes[homeOf(handle)]
      if (!home) throw new HypertabError('ENGINE_FAILED', `nothing is known of the handle ${handle}`)
      return home.perform(name, args)
    }
  }
  return routed as unknown as Engine
}
