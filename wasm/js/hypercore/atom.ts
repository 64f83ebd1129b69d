// Writes of several sessions that are stored at once.
//
// What is not flushed is in the memory of the engine that has the store. Where that can be in another tab, an atom remembers what was
// written in it, and writes it once more wherever the store is next.

import type { Engine, RequestHandle, StoreHandle } from '../binding.js'
import { HypercoreError, HypertabError } from '../errors.js'
import { isElsewhere } from '../remote/table.js'
import { call, forgetLater, operationName, request } from '../runtime.js'
import type { Storage } from '../storage/storage.js'
import { equal } from '../support/bytes.js'
import type { State, TreeHead } from './state.js'

/** An atom that was made for upstream: it says when it is flushed. */
export interface ForeignAtom {
  onflush (flush: () => Promise<void>): void
}

/** Asks the engine for something that changes a log. */
export type Write = (core: number, engine: Engine) => RequestHandle

/** Something that was written, and what the engine answered. */
interface Written {
  log: State
  write: Write
  answer: unknown
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
  readonly #before: Array<() => unknown> = []
  readonly #after: Array<() => unknown> = []
  #flushed: Promise<void> = Promise.resolve()
  /** Its logs, each as it is outside. */
  readonly #logs = new Map<State, TreeHead | null>()
  /** What was written since the last flush, where the store can move. */
  #written: Written[] = []
  #isChanged = false
  /** The flush that the engine was asked for, and the record that it leaves where the answer can get lost. */
  #storing: { answered: Promise<unknown>, holder: State, record: string | null } | null = null
  #resuming: Promise<void> | null = null
  #moves = 0
  #lost: Error | null = null

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
      await this.#store()
      await Promise.all([...this.#after].map((run) => run()))
    } finally {
      this.flushing = false
    }
  }

  async #store (): Promise<void> {
    for (let isStored = false; !isStored;) {
      await this.#resuming
      if (this.#lost !== null) throw this.#lost
      const handle = this.#handle
      if (handle === null) return
      const holder = this.#logs.keys().next().value!
      const record = isElsewhere(handle) || this.storage.isUncertain ? operationName() : null
      const answered = askToStore(handle, holder, record)
      this.#storing = { answered: answered.catch(() => {}), holder, record }
      try {
        await answered
        isStored = true
      } catch (error) {
        if (this.#resuming === null) throw error
        await this.#resuming
        isStored = this.#storing === null
      }
    }
    this.#stored()
  }

  #stored (): void {
    const storing = this.#storing
    if (storing === null) return
    this.#storing = null
    this.#isChanged = false
    this.#written = []
    for (const log of this.#logs.keys()) this.#logs.set(log, log.treeHead)
    if (storing.record !== null) forgetLater(storing.holder.from!.subject, storing.record)
  }

  /** @internal Resolves when the store is open again, with all that was written; null while it is open. */
  get resuming (): Promise<void> | null {
    return this.#resuming
  }

  /** @internal A log is to be opened in it. */
  enter (store: StoreHandle): StoreHandle {
    if (this.#lost !== null) throw this.#lost
    this.#handle ??= call((engine) => engine.createAtom(store))
    return this.#handle
  }

  /** @internal */
  add (log: State): void {
    this.#logs.set(log, null)
  }

  /** @internal It is open. */
  entered (log: State): void {
    if (this.storage.isShared) this.#logs.set(log, log.treeHead)
  }

  /** @internal */
  wrote (log: State, write: Write, answer: unknown): void {
    this.#isChanged = true
    if (this.storage.isShared) this.#written.push({ log, write, answer })
  }

  /** @internal */
  remove (log: State): void {
    this.#logs.delete(log)
    this.leave()
  }

  /** @internal Nothing is left of it with its last log. */
  leave (): void {
    const handle = this.#handle
    if (this.#logs.size > 0 || handle === null) return
    this.#handle = null
    this.#written = []
    if (this.#isChanged && !this.flushing) this.#lost ??= HypercoreError.INVALID_OPERATION('A session of the atom was closed before it was flushed')
    call((engine) => { engine.closeAtom(handle) })
  }

  /** @internal The store is moving to another tab or worker, and what is in the atom with it. */
  letGo (): void {
    this.#moves++
    if (this.#lost !== null || this.#resuming !== null) return
    this.#resuming = this.#resume()
    this.#resuming.catch(() => {})
  }

  /** @internal What is in it will never be written. */
  lose (error: Error): void {
    if (this.#lost !== null) return
    this.#lost = error
    for (const { core } of [...this.#logs.keys()]) {
      for (const session of core.allSessions()) if (session.state?.atom === this) void session.close({ error }).catch(() => {})
    }
  }

  async #resume (): Promise<void> {
    try {
      // What it came to may be known yet.
      await this.#storing?.answered
      let thaws: Array<() => void> = []
      for (let moves = -1; moves !== this.#moves;) {
        moves = this.#moves
        thaws = await this.#again().catch((error) => {
          if (moves === this.#moves) throw error
          return []
        })
      }
      for (const thaw of thaws) thaw()
    } catch (error) {
      this.lose(error as Error)
      throw error
    } finally {
      this.#resuming = null
    }
  }

  async #again (): Promise<Array<() => void>> {
    const logs = [...this.#logs.keys()]
    for (const { core } of logs) while (core.resuming) await core.resuming
    const old = this.#handle
    if (logs.length === 0 || old === null) return []
    const storing = this.#storing
    if (storing !== null && storing.record !== null && await isRecorded(storing.holder, storing.record)) this.#stored()
    const handle = this.#handle = call((engine) => engine.createAtom(logs[0]!.core.store))
    call((engine) => { engine.closeAtom(old) })
    for (const log of logs) await log.enterAgain(handle)
    for (const [log, base] of this.#logs) if (this.#isChanged && base !== null && !isAt(base, log.found)) throw changed()
    for (const { log, write, answer } of this.#written) {
      if (!this.#logs.has(log) || !isSame(answer, await request((engine) => write(log.handle, engine)))) throw changed()
    }
    return await Promise.all(logs.map((log) => log.thawing()))
  }
}

async function askToStore (atom: StoreHandle, holder: State, record: string | null): Promise<void> {
  if (record !== null) await request((engine) => engine.coreSetUserData(holder.handle, record, Uint8Array.of(1)))
  await request((engine) => engine.flushAtom(atom))
}

/** Whether a flush left its record before the store moved. */
async function isRecorded (holder: State, record: string): Promise<boolean> {
  return await request<Uint8Array | null>((engine) => engine.coreUserData(holder.from!.handle, record)) !== null
}

function isAt (base: TreeHead, found: TreeHead): boolean {
  return found.length === base.length && found.fork === base.fork && equal(found.hash, base.hash)
}

/** Lengths are answers that a program has already. */
function isSame (one: unknown, other: unknown): boolean {
  return (one as { length?: number } | null)?.length === (other as { length?: number } | null)?.length
}

function changed (): Error {
  return new HypertabError('ATOM_LOST', 'the store moved to another tab, where the log is not what it was when the atom began: nothing of it was written')
}
