// What a session looks at: the log itself, a branch of it, or either of them in an atom.

import type { CoreHandle, KeyPair, StoreHandle } from '../binding.js'
import { HypercoreError } from '../errors.js'
import { call, listen, look, request, Request, unlisten } from '../runtime.js'
import type { Storage } from '../storage/storage.js'
import type { Core } from './core.js'
import type { Hypercore } from './hypercore.js'

/** How a branch is committed. */
export interface CommitOptions {
  /** Blocks of the log afterwards; those of the branch by default. */
  length?: number
  /** First block that is copied; what the branch shares by default. */
  treeLength?: number
  keyPair?: KeyPair | null
  signature?: Uint8Array | null
}

/** Writes of several sessions that reach storage together, or not at all. */
export class Atom {
  readonly storage: Storage
  flushing = false
  #handle: StoreHandle | null = null
  #users = 0

  constructor (storage: Storage) {
    this.storage = storage
  }

  /** Writes everything, and shows it to the sessions outside. */
  async flush (): Promise<void> {
    if (this.flushing) throw new Error('Atom already flushing')
    const handle = this.#handle
    if (handle === null) return
    this.flushing = true
    try {
      await request((engine) => engine.flushAtom(handle))
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

/** A log that sessions read and write. */
export class State {
  readonly core: Core
  readonly parent: State | null
  readonly name: string | null
  readonly atom: Atom | null
  readonly #handle: CoreHandle | null
  readonly sessions: Hypercore[] = []
  /** Serialises appends whose blocks are encrypted by a program. */
  appending: Promise<unknown> = Promise.resolve()
  #references = 0
  /** How often the engine was asked to open it. */
  #openings = 1

  /** @internal The log itself has its core's handle. */
  constructor (core: Core, handle: CoreHandle | null, parent: State | null = null, name: string | null = null, atom: Atom | null = null) {
    this.core = core
    this.#handle = handle
    this.parent = parent
    this.name = name
    this.atom = atom
  }

  get handle (): CoreHandle { return this.#handle ?? this.core.handle }
  get length (): number { return this.#handle === null ? this.core.length : look((engine) => engine.coreLength(this.handle)) }
  get byteLength (): number { return this.#handle === null ? this.core.byteLength : look((engine) => engine.coreByteLength(this.handle)) }
  get fork (): number { return this.#handle === null ? this.core.fork : look((engine) => engine.coreFork(this.handle)) }

  /** Where atoms are made. */
  get storage (): { createAtom (): Atom, readonly atom: Atom | null } {
    return { createAtom: () => this.core.storage.createAtom(), atom: this.atom }
  }

  /** Whether it is the log itself, which is signed. */
  isDefault (): boolean {
    return this.parent === null || (this.atom !== null && this.parent.isDefault())
  }

  isSnapshot (): boolean {
    return false
  }

  /** Blocks that are in the log, or are read there. */
  flushedLength (): number {
    return this.isDefault() ? this.length : look((engine) => engine.coreSharedLength(this.handle))
  }

  signedLength (): number {
    return Math.min(this.flushedLength(), this.core.length)
  }

  /** Whether a block may be here; certain for the log itself. */
  mayHave (index: number): boolean {
    if (index >= Number.MAX_SAFE_INTEGER) return false
    if (this.core.resuming) return true
    return this.isDefault() ? look((engine) => engine.coreHas(this.handle, index, index + 1)) : index < this.length
  }

  async has (start: number, end: number): Promise<boolean> {
    if (end > Number.MAX_SAFE_INTEGER) return false
    await this.core.resuming
    if (this.isDefault()) return look((engine) => engine.coreHas(this.handle, start, end))
    return await this.request<boolean>((core, engine) => engine.coreHasStored(core, start, end)).promise
  }

  request<T> (command: Parameters<Core['request']>[0]): Request<T> {
    return new Request<T>((engine) => command(this.handle, engine), this.core.resuming)
  }

  /** Opens a branch, the one of this name if there is one. */
  async branch (name: string, overwrite: boolean): Promise<State> {
    return await this.#child(call((engine) => engine.openBranch(this.handle, name, overwrite)), name, null)
  }

  /** Opens the same log in an atom. */
  async atomic (atom: Atom): Promise<State> {
    const handle = atom.acquire(this.core.store)
    try {
      return await this.#child(call((engine) => engine.openAtomic(this.handle, handle)), this.name, atom)
    } catch (error) {
      atom.release()
      throw error
    }
  }

  /** Takes the blocks of a branch in and signs them; null when it does not continue the log. */
  async commit (source: State, { length, treeLength, keyPair, signature }: CommitOptions): Promise<{ length: number, byteLength: number } | null> {
    if (!this.isDefault()) throw HypercoreError.ASSERTION('Can only commit into default state', this.core.discoveryKey)
    if (source.core !== this.core || source === this) throw HypercoreError.ASSERTION('Cannot commit across cores', this.core.discoveryKey)
    const committed = await this.request<{ length: number, byteLength: number } | null>((core, engine) => engine.coreCommit(core, source.handle, {
      ...(length === undefined ? {} : { length }),
      ...(treeLength === undefined || treeLength === -1 ? {} : { treeLength }),
      ...(keyPair?.secretKey ? { keyPair } : {}),
      ...(signature ? { signature } : {})
    })).promise
    return committed ?? null
  }

  ref (): this {
    this.#references++
    return this
  }

  async unref (): Promise<void> {
    if (--this.#references > 0 || this.parent === null) return
    const { handle } = this
    unlisten('core', handle)
    this.core.states.delete(handle)
    for (; this.#openings > 0; this.#openings--) await request((engine) => engine.closeCore(handle))
    this.atom?.release()
    await this.parent.unref()
  }

  async #child ([handle, id]: [CoreHandle, number], name: string | null, atom: Atom | null): Promise<State> {
    const { states } = this.core
    const opening = new Request<void>(() => id)
    const known = states.get(handle)
    if (known) known.#openings++
    const state = known ?? new State(this.core, handle, this.ref(), name, atom)
    states.set(handle, state)
    state.ref()
    if (!known) listen('core', handle, (kind, rest) => { state.#onevent(kind, rest) })
    try {
      await opening.promise
    } catch (error) {
      await state.unref()
      throw error
    }
    return state
  }

  #onevent (kind: string, rest: unknown[]): void {
    const sessions = [...this.sessions].reverse()
    if (kind === 'append') for (const session of sessions) session.onappend()
    if (kind === 'truncate') for (const session of sessions) session.ontruncate(rest[0] as number, rest[1] as number)
  }
}
