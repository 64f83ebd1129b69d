// Searches for peers that a store has told of: sessions wait for a first peer while one is under way.

import type { Hypercore } from '../hypercore/hypercore.js'

export class FindingPeers {
  #count = 0
  #pending: Array<() => void> = []
  #destroyed = false

  /** A session was made meanwhile. */
  add (session: Hypercore): void {
    if (this.#count > 0) this.#pending.push(session.findingPeers())
  }

  /** One more search. */
  begin (sessions: Iterable<Hypercore>): void {
    if (this.#destroyed || ++this.#count !== 1) return
    for (const session of sessions) this.#pending.push(session.findingPeers())
  }

  /** One search less. */
  end (): void {
    if (!this.#destroyed && --this.#count === 0) this.#release()
  }

  destroy (): void {
    this.#destroyed = true
    this.#release()
  }

  #release (): void {
    for (const done of this.#pending.splice(0).reverse()) done()
  }
}
