// Frees the local blocks that a version no longer points to.

import type { BeeWalkHandle, RawEntry } from '../binding.js'
import { look } from '../runtime.js'
import { takeLocal, take } from './blocks.js'
import type { Hyperbee } from './hyperbee.js'
import { lowerBound, upperBound } from './iterators.js'

export interface ClearUnlinkedOptions {
  /** The first block that is looked at. */
  gte?: number
  /** The block before which to stop. */
  lt?: number
  /** Fetches what is needed to tell. */
  wait?: boolean
}

export async function clearUnlinked (bee: Hyperbee, options: ClearUnlinkedOptions = {}): Promise<number> {
  await bee.ready()
  const { version, core } = bee
  const { gte = 0, lt = version - 1, wait = true } = options
  if (core.closing) throw new Error('Core is closed')
  const session = bee.makeSnapshot()
  const ensureOpen = (): void => {
    if (session.closing || core.closing || bee.closing) throw new Error('Core is closed')
  }
  const walk = (version: number): BeeWalkHandle => look((engine) => new engine.BeeWalk(bee.blocks.of(session), version))
  const clearOld = async (seq: number): Promise<void> => {
    const isLinked = await linked(seq)
    ensureOpen()
    if (!isLinked && await core.has(seq)) await core.clear(seq)
  }
  // Old blocks can name keys that are cleared already; what is not here says nothing.
  const linked = async (seq: number): Promise<boolean> => {
    const look = walk(version)
    const known = await takeLocal(look, session, () => look.isLinked(seq, false) as number)
    if (known !== null) return known === 1
    return await take(look, session, { wait }, () => look.isLinked(seq, true) as number) === 1
  }
  try {
    await session.ready()
    const end = upperBound({ lt }, version)
    for (let seq = Math.max(1, lowerBound({ gte }, version)); seq < end; seq++) {
      ensureOpen()
      const entryWalk = walk(version)
      const entry = await takeLocal(entryWalk, session, () => entryWalk.getBySeq(seq) as RawEntry)
      if (entry === null) continue
      await clearOld(seq)
      const before = walk(Math.max(1, gte))
      const previous = await takeLocal(before, session, () => before.get(entry[1]) as RawEntry | null).catch(() => null)
      if (previous) await clearOld(previous[0])
    }
    ensureOpen()
  } finally {
    if (session !== core) await session.close()
  }
  return lt
}
