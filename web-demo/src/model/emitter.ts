// One kind of news: "something changed", told at most once in a short while.

/** Longest that a change waits before the listeners hear of it, in milliseconds. */
const PAUSE_MS = 40

/** Something whose changes can be watched. Many changes in a row are told as one. */
export class Observable {
  #listeners = new Set<() => void>()
  #timer: ReturnType<typeof setTimeout> | null = null

  /** Calls `listener` after every change, until the returned function is called. */
  watch (listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => { this.#listeners.delete(listener) }
  }

  /** Says that something changed. */
  protected changed (): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = null
      for (const listener of [...this.#listeners]) listener()
    }, PAUSE_MS)
  }
}
