// Locks between tabs for what takes several writes: a batch of a bee, the blocks of a blob.
//
// An owner that nobody works through needs none, and taking one costs more than a write. Those that it has when others come are
// taken before the others are let in.

import type { StorageKind } from '../remote/messages.js'

interface Held {
  topic: string
  unlock: (() => void) | null
  isReleased: boolean
}

export class WriteLocks {
  readonly #prefix: string
  readonly #held = new Set<Held>()

  constructor (kind: StorageKind, name: string) {
    this.#prefix = `hypertab-write:${kind}:${name}`
  }

  /** Resolves when one has it, to what gives it back. */
  async acquire (topic: string, isAlone: boolean): Promise<() => void> {
    if (!isAlone) return await this.#lock(topic)
    const held: Held = { topic, unlock: null, isReleased: false }
    this.#held.add(held)
    return () => {
      held.isReleased = true
      this.#held.delete(held)
      held.unlock?.()
    }
  }

  /** From now on there are others. */
  async share (): Promise<void> {
    await Promise.all([...this.#held].map(async (held) => {
      if (held.unlock) return
      const unlock = await this.#lock(held.topic)
      if (held.isReleased) unlock()
      else held.unlock = unlock
    }))
  }

  async #lock (topic: string): Promise<() => void> {
    return await new Promise((resolve, reject) => {
      navigator.locks.request(`${this.#prefix}:${topic}`, () => new Promise<void>((unlock) => { resolve(unlock) })).catch(reject)
    })
  }
}
