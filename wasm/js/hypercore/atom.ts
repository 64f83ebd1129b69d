// Writes of several sessions that are stored at once.

import type { StoreHandle } from '../binding.js'
import { call, request } from '../runtime.js'
import type { Storage } from '../storage/storage.js'

/** An atom that was made for upstream: it says when it is flushed. */
export interface ForeignAtom {
  onflush (flush: () => Promise<void>): void
}

/** The atoms in the place of upstream's. */
const replaced = new WeakMap<object, Atom>()

/** The atom that a program means. */
export function atomOf (storage: Storage, input: Atom | ForeignAtom): Atom {
  if (input instanceof Atom) return input
  let atom = replaced.get(input)
  if (!atom) {
    const made = atom = new Atom(storage)
    replaced.set(input, made)
    input.onflush(() => made.flush())
  }
  return atom
}

/** Writes of several sessions that reach storage together, or not at all. */
export class Atom {
  readonly storage: Storage
  flushing = false
  #handle: StoreHandle | null = null
  #users = 0
  readonly #before: Array<() => unknown> = []
  readonly #after: Array<() => unknown> = []
  #flushed: Promise<void> = Promise.resolve()

  constructor (storage: Storage) {
    this.storage = storage
  }

  /** Calls a function before each flush. */
  preflush (run: () => unknown): void {
    this.#before.push(run)
  }

  /** Calls a function at the end of each flush, which waits for it. */
  onflush (run: () => unknown): void {
    this.#after.push(run)
  }

  /** Resolves when no flush is under way. */
  async flushed (): Promise<void> {
    await this.#flushed
  }

  /** Writes everything, and shows it to the sessions outside. */
  async flush (): Promise<void> {
    if (this.flushing) throw new Error('Atom already flushing')
    this.flushing = true
    const flushing = this.#flush()
    this.#flushed = flushing.catch(() => {})
    await flushing
  }

  async #flush (): Promise<void> {
    try {
      for (const run of [...this.#before]) run()
      const handle = this.#handle
      if (handle !== null) await request((engine) => engine.flushAtom(handle))
      await Promise.all([...this.#after].map((run) => run()))
    } finally {
      this.flushing = false
    }
  }

  /** @internal */
  acquire (store: StoreHandle): StoreHandle {
    this.#handle ??= call((engine) => engine.createAtom(store))
    this.#users++
    return this.#handle
  }

  /** @internal */
  release (): void {
    const handle = this.#handle
    if (--this.#users > 0 || handle === null) return
    this.#handle = null
    call((engine) => { engine.closeAtom(handle) })
  }
}
