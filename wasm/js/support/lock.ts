// One at a time, in the order of asking.

export class Lock {
  #tail: Promise<void> = Promise.resolve()
  #users = 0

  get locked (): boolean {
    return this.#users > 0
  }

  /** Resolves when it is one's turn, to a function that ends it. */
  async acquire (): Promise<() => void> {
    const before = this.#tail
    let end!: () => void
    this.#tail = new Promise((resolve) => { end = resolve })
    this.#users++
    await before
    let isOver = false
    return () => {
      if (isOver) return
      isOver = true
      this.#users--
      end()
    }
  }
}

/** A lock as a function, which resolves to what ends one's turn: upstream's `mutexify/promise`. */
export interface LockFunction {
  (): Promise<() => void>
  readonly locked: boolean
}

export function createLock (): LockFunction {
  const lock = new Lock()
  const acquire = () => lock.acquire()
  return Object.defineProperty(acquire, 'locked', { get: () => lock.locked, enumerable: true }) as LockFunction
}

/** Runs something again and again, but never twice at once: calls that come meanwhile share the next run. */
export function debounce (run: () => Promise<void>): () => Promise<void> {
  let running: Promise<void> | null = null
  let next: Promise<void> | null = null
  const start = (): Promise<void> => {
    const current = run().finally(() => {
      if (running === current) running = null
    })
    running = current
    return current
  }
  return () => {
    if (running === null) return start()
    next ??= running.catch(() => {}).then(() => {
      next = null
      return start()
    })
    return next
  }
}
