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
