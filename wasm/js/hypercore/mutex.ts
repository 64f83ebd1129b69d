// Keeping a log as it is for a while.
//
// Source: hypercore 11.35, `lib/mutex.js`.

import { call } from '../runtime.js'
import type { State } from './state.js'

/** While somebody has it, nothing is written to the log: neither by programs nor by peers. */
export class Mutex {
  readonly #state: State
  locked = false
  destroyed = false
  #waiting = 0
  #tail: Promise<void> = Promise.resolve()
  #release: (() => void) | null = null

  /** @internal */
  constructor (state: State) {
    this.#state = state
  }

  /** Whether nobody has it or waits for it. */
  idle (): boolean {
    return !this.locked && this.#waiting === 0
  }

  /** Resolves when what was begun before is stored, and nothing more begins. */
  async lock (): Promise<void> {
    const before = this.#tail
    let release!: () => void
    this.#tail = new Promise((resolve) => { release = resolve })
    this.#waiting++
    try {
      await before
      await this.#state.request((core, engine) => engine.coreHold(core)).promise
    } catch (error) {
      release()
      throw error
    } finally {
      this.#waiting--
    }
    this.locked = true
    this.#release = release
  }

  unlock (): void {
    if (!this.locked) return
    this.locked = false
    if (!this.#state.core.closed) call((engine) => { engine.coreRelease(this.#state.handle) })
    this.#release?.()
    this.#release = null
  }
}
