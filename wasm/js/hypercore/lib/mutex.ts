// One after another: `hypercore/lib/mutex`.
//
// Source: hypercore 11.35, `lib/mutex.js`.

export class Mutex {
  locked = false
  destroyed = false
  #waiting: Array<{ resolve: () => void, reject: (error: Error) => void }> = []
  #error: Error | null = null
  #destroying: Promise<void> | null = null

  /** Whether nobody has it or waits for it. */
  idle (): boolean {
    return !this.locked && this.#waiting.length === 0
  }

  lock (): Promise<void> {
    if (this.destroyed) return Promise.reject(this.#error ?? new Error('Mutex has been destroyed'))
    if (this.locked) return this.#wait()
    this.locked = true
    return Promise.resolve()
  }

  unlock (): void {
    const next = this.#waiting.shift()
    if (next) next.resolve()
    else this.locked = false
  }

  /** Lets nobody in any more, and resolves when who is inside has left. With an error, who waits gets that. */
  destroy (error?: Error | null): Promise<void> {
    this.#destroying ??= this.locked ? this.#wait().catch(() => {}) : Promise.resolve()
    this.destroyed = true
    if (error) {
      this.#error = error
      for (const { reject } of this.#waiting.splice(0)) reject(error)
    }
    return this.#destroying
  }

  #wait (): Promise<void> {
    return new Promise((resolve, reject) => { this.#waiting.push({ resolve, reject }) })
  }
}
