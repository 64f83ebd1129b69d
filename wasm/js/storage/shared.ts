// How a store opens that tabs and workers share: here, through another of them, or in the worker that has everything.

import type { StoreHandle } from '../binding.js'
import { HypertabError } from '../errors.js'
import { hasMoved, type StorageKind } from '../remote/messages.js'
import { homeOfEverything } from '../remote/router.js'
import { lockName, SharedPlace, type PlaceOpener } from '../tabs/place.js'
import { WriteLocks } from '../tabs/write-locks.js'
import type { StoreOpener } from './storage.js'
import { lock } from './web-lock.js'

/** An opener for a store that is shared where that can be. */
export function sharedOpener (kind: StorageKind, name: string, here: PlaceOpener): StoreOpener {
  if (homeOfEverything()) return new ElsewhereOpener(kind, name)
  return SharedPlace.isPossible ? new SharedPlace(kind, name, here) : new LoneOpener(kind, name, here)
}

/** How long it takes until a store is asked for again that moved once more meanwhile, in milliseconds. */
const PAUSE = 20

/** Opens the store in the worker that has everything. */
class ElsewhereOpener implements StoreOpener {
  readonly #kind
  readonly #name
  readonly #locks

  constructor (kind: StorageKind, name: string) {
    this.#kind = kind
    this.#name = name
    this.#locks = new WriteLocks(kind, name)
  }

  // It may move to or from another tab just then.
  async open (): Promise<StoreHandle> {
    const home = homeOfEverything()!
    for (;;) {
      if (home.over) throw new HypertabError('ENGINE_FAILED', 'the worker of the engine is gone')
      try {
        return await home.openStorage(this.#kind, this.#name)
      } catch (error) {
        if (!hasMoved(error)) throw error
      }
      await new Promise((resolve) => { setTimeout(resolve, PAUSE) })
    }
  }

  async reopen (): Promise<StoreHandle> {
    return await this.open()
  }

  async lock (topic: string): Promise<() => void> {
    return await this.#locks.acquire(topic, false)
  }

  async destroy (): Promise<void> {
    await homeOfEverything()!.ask('destroyStorage', [this.#kind, this.#name])
  }
}

/** Opens the store for this realm alone: there are no locks. The lease record in the store still refuses a second writer. */
class LoneOpener implements StoreOpener {
  readonly #here
  readonly #lock
  #unlock: (() => void) | null = null

  constructor (kind: StorageKind, name: string, here: PlaceOpener) {
    this.#here = here
    this.#lock = lockName(kind, name)
  }

  async open (): Promise<StoreHandle> {
    this.#unlock = await lock(this.#lock)
    try {
      return await this.#here.open()
    } catch (error) {
      this.release()
      throw error
    }
  }

  async reopen (): Promise<StoreHandle> {
    return await this.#here.open()
  }

  release (): void {
    this.#unlock?.()
    this.#unlock = null
  }

  async destroy (): Promise<void> {
    await this.#here.destroy()
  }
}
