// Where a store is kept, opened once for however many cores share it.

import type { Engine, Failure, RequestHandle, StoreHandle } from '../binding.js'
import { HypertabError } from '../errors.js'
import { Atom } from '../hypercore/atom.js'
import { userBytes } from '../platform.js'
import { asFailure, hasMoved, isTakenOver, MOVED, TAKEN_OVER } from '../remote/messages.js'
import { call, listen, ready, request, unlisten } from '../runtime.js'
import {
  exportLog, type ExportedCore, type RecordKind, type StoredBranches, type StoredRecord
} from './export.js'
import {
  pages, userFields, userInfo, type Alias, type EntryStream, type GroupUpdateOptions, type InfoOptions, type Page, type StoredAuth, type StoredCore, type StoredInfo
} from './records.js'

/** How often a store that was just taken over is opened again because somebody else seems to have it. */
const ROUNDS = 4

/** For how long that counts, in milliseconds: who had the store before is done with it by then. */
const DISPUTE = 10_000

/** The files of a hypercore 10. */
export interface LegacyFiles {
  oplog: Uint8Array
  header: Uint8Array | null
  tree: Uint8Array
  bitfield: Uint8Array
  /** Reads from the file with the blocks. */
  read (offset: number, length: number): Uint8Array
  /** Closes that file. */
  close (): void
  /** Notes that all of it is in the store. */
  imported (): void
}

/** A folder of a corestore 6: the primary key, and each core in a folder of its own. */
export interface LegacyStore {
  primaryKey: Uint8Array | null
  cores: Iterable<LegacyFiles>
  /** Notes that all of it is in the store. */
  imported (): void
}

/** How many blocks or other records of a log are fetched at once: each may be large. */
const RECORDS = 16

/** What opens a store and gives up whatever guards it. */
export interface StoreOpener {
  /** Says which storage it opens. */
  attached? (storage: Storage): void
  /** Opens the store. The engine is loaded. */
  open (): Promise<StoreHandle>
  /** Runs once the engine has closed the store, or has failed to open it. */
  release? (): void
  /** Opens the store again that has just been closed; whatever guards it was kept. */
  reopen? (): Promise<StoreHandle>
  /** After somebody else has taken the store over: whether it can be opened through them. */
  isMoved? (): Promise<boolean>
  /** Keeps whoever else has the store open from what takes several writes. */
  lock? (topic: string): Promise<() => void>
  /** Whether this realm owns the store, or works through another tab or worker. */
  readonly isOwner?: boolean | null
  /** Whether a write that is refused because the store has a new owner may be stored all the same. */
  readonly isUncertain?: boolean
  /** What an older version left in the same place, unless it was imported. */
  legacyFiles? (): LegacyFiles | null
  /** A store of an older version in the same place, unless it was imported. */
  legacyStore? (): LegacyStore | null
  /** Deletes what is stored. Nothing of it is open in this module. */
  destroy? (): Promise<void>
}

/** Somebody whose store can fail. */
export interface StoreWatcher {
  /**
   * The store has no more room, or is moving to where others have it open, and is opened again: nothing of it may be in
   * use until {@link resume}. When it moves, what is under way is asked again then.
   */
  letGo (failure: Failure, isMoving: boolean): Promise<void>
  resume (store: StoreHandle): Promise<void>
  /** The store is to be closed. */
  close? (): Promise<void>
  /** The store failed for good. */
  lost (failure: Failure): void
}

/**
 * A place for cores. The store in it opens with its first core and closes with its last; what was written is there
 * for the next.
 */
export class Storage {
  /** @internal The core that was opened without being named. */
  unnamed: { readonly discoveryKey: Uint8Array | null } | null = null
  /** What it is, for messages: a path or a name. */
  readonly name: string
  /** Whether it is a copy, so that nothing is written to it that stays. */
  readonly readOnly: boolean
  #opener
  #users = 0
  #store: Promise<StoreHandle> | null = null
  #closing: Promise<void> | null = null
  #keepOpen
  #isOpen = false
  #wasOpen = false
  #watchers = new Set<StoreWatcher>()
  /** It is being opened where others have it. */
  #isMoving = false
  #failures = 0
  #disputes = 0
  #disputed = 0
  #looking: Promise<Uint8Array | null> | null = null

  constructor (name: string, opener: StoreOpener, { keepOpen = false, readOnly = false } = {}) {
    this.name = name
    this.readOnly = readOnly
    this.#opener = opener
    opener.attached?.(this)
    this.#keepOpen = keepOpen
  }

  /** Where it is: a path or a name. */
  get path (): string {
    return this.name
  }

  /** Whether the store is open. */
  get opened (): boolean {
    return this.#isOpen
  }

  /** Whether it was open, and is not. */
  get closed (): boolean {
    return this.#wasOpen && !this.#isOpen
  }

  /** Opens the store, to find out whether it can be; cores open it on their own. */
  async ready (): Promise<void> {
    await ready()
    await this.acquire()
    await this.release()
  }

  /** Everything that was written is there already. */
  async flush (): Promise<void> {}

  /** The store compacts itself. */
  async compact (): Promise<void> {}

  /** Gathers writes of several cores, to be stored together. */
  createAtom (): Atom {
    return new Atom(this)
  }

  /** Whether this realm owns the store; false when it works through another tab or worker, null when it is not open or not shared. */
  get isOwner (): boolean | null {
    return this.#opener.isOwner ?? null
  }

  /** @internal Resolves when no other tab or worker is in the middle of such writes. */
  async lock (topic: string): Promise<() => void> {
    return await this.#opener.lock?.(topic) ?? (() => {})
  }

  /** @internal It is being opened where others have it. */
  get isMoving (): boolean {
    return this.#isMoving
  }

  /** @internal Whether others may write to it. */
  get isShared (): boolean {
    return this.#opener.lock !== undefined
  }

  /** @internal Whether also who owns it cannot tell what became of a write that was refused. */
  get isUncertain (): boolean {
    return this.#opener.isUncertain ?? false
  }

  /** @internal How it opens, for another storage at the same place. */
  get opener (): StoreOpener {
    return this.#opener
  }

  /** @internal Closes the cores in it. */
  protected async closeUsers (): Promise<void> {
    await Promise.allSettled([...this.#watchers].map((watcher) => watcher.close?.()))
  }

  /** How many cores are open in it. */
  get users (): number {
    return this.#users
  }

  /** Opens the store, or joins those who have it open. Each call needs one {@link release}. */
  async acquire (): Promise<StoreHandle> {
    this.#users++
    try {
      for (;;) {
        if (this.#closing !== null) await this.#closing
        const opening: Promise<StoreHandle> = this.#store ??= this.#open()
        // It may move once more meanwhile.
        const isStale = () => this.#store !== null && this.#store !== opening
        try {
          const store = await opening
          if (!isStale()) return store
        } catch (error) {
          if (!isStale()) throw error
        }
      }
    } catch (error) {
      this.#users--
      throw error
    }
  }

  /** @internal What an older version left in the same place, unless it was imported. */
  legacyFiles (): LegacyFiles | null {
    return this.#opener.legacyFiles?.() ?? null
  }

  /** @internal A store of an older version in the same place, unless it was imported. */
  legacyStore (): LegacyStore | null {
    return this.#opener.legacyStore?.() ?? null
  }

  /** @internal Tells when the store fails: from then on it neither reads nor writes, until it is opened again. */
  watch (watcher: StoreWatcher): () => void {
    this.#watchers.add(watcher)
    return () => { this.#watchers.delete(watcher) }
  }

  /** Resolves when the store is closed, if that was its last user. */
  async release (): Promise<void> {
    this.#users--
    if (this.#users === 0 && !this.#keepOpen) await this.#closeStore()
  }

  /** @internal A store has closed, or a core that was opened by itself. */
  async userClosed (): Promise<void> {}

  /** Closes the store. Only for one that no core has open. */
  async close (): Promise<void> {
    await this.#closeStore()
  }

  async #closeStore (): Promise<void> {
    if (this.#users > 0) throw new HypertabError('STORAGE_IN_USE', `${this.name} still has open cores`)
    const store = this.#store
    if (store === null) return await (this.#closing ?? undefined)
    this.#store = null
    this.#closing = this.#close(store).finally(() => { this.#closing = null })
    await this.#closing
  }

  /** Deletes the store and everything in it. Only for one that no core has open. */
  async destroy (): Promise<void> {
    await this.#closeStore()
    await this.#opener.destroy?.()
  }

  /** Reads the primary key, which becomes this one or a random one if there is none. */
  async seed (seed?: Uint8Array | null, { overwrite = false } = {}): Promise<Uint8Array> {
    return userBytes(await this.#ask<Uint8Array>((engine, store) => engine.storeSeed(store, seed ?? engine.randomBytes(32), overwrite)))
  }

  /** The primary key; null when there is none yet. */
  async getSeed (): Promise<Uint8Array | null> {
    return userFields(await this.#ask<Uint8Array | null>((engine, store) => engine.storeSeed(store, undefined, false)))
  }

  /** Replaces the primary key: cores that have names keep them, and new ones are derived from it. */
  async setSeed (seed: Uint8Array, { overwrite = true } = {}): Promise<Uint8Array> {
    return await this.seed(seed, { overwrite })
  }

  /** The core of a name; null when there is none. */
  async getAlias ({ name, namespace }: Alias): Promise<Uint8Array | null> {
    return userFields(await this.#ask<Uint8Array | null>((engine, store) => engine.storeAlias(store, namespace, name)))
  }

  /** Whether nothing is stored: no primary key, and no core. */
  async isEmpty (): Promise<boolean> {
    if (await this.getSeed()) return false
    for await (const _ of this.createCoreStream()) return false
    return true
  }

  /** The core that is opened when none is named. */
  async getDefaultDiscoveryKey (): Promise<Uint8Array | null> {
    return userFields(await this.#ask<Uint8Array | null>((engine, store) => engine.storeDefaultCore(store)))
  }

  /** @internal The same, before any core that is opened from now on can become the first one: those wait for {@link looking}. */
  async lookForFirst (): Promise<Uint8Array | null> {
    this.#looking ??= this.getDefaultDiscoveryKey().finally(() => { this.#looking = null })
    return await this.#looking
  }

  /** @internal Ends when nobody looks for the first core. */
  async looking (): Promise<void> {
    await this.#looking?.catch(() => {})
  }

  /** Resolves to whether a core is stored. */
  async hasCore (discoveryKey: Uint8Array, _options?: { ifMigrated?: boolean }): Promise<boolean> {
    return (await this.getInfo(discoveryKey)) !== null
  }

  /** The keys of a stored core; null for none. */
  async getAuth (discoveryKey: Uint8Array): Promise<StoredAuth | null> {
    return (await this.getInfo(discoveryKey))?.auth ?? null
  }

  /** What is stored of a core; null for none. */
  async getInfo (discoveryKey: Uint8Array, options?: InfoOptions): Promise<StoredInfo | null> {
    return (await this.getInfos([discoveryKey], options))[0] ?? null
  }

  /** What is stored about cores, without opening them; null for those that are not here. */
  async getInfos (discoveryKeys: Uint8Array[], { auth = true, head = true, hints = true }: InfoOptions = {}): Promise<Array<StoredInfo | null>> {
    const infos = await this.#ask<Array<Parameters<typeof userInfo>[0]>>((engine, store) => engine.storeInfos(store, discoveryKeys))
    return infos.map(userInfo).map((info) => info && {
      ...info, auth: auth ? info.auth : null, head: head ? info.head : null, hints: hints ? info.hints : null
    })
  }

  /** Deletes what is stored of a core that is not open; false when it was not here. */
  async deleteCore (discoveryKey: Uint8Array): Promise<boolean> {
    return await this.#ask<Uint8Array | null>((engine, store) => engine.storeForget(store, discoveryKey)) !== null
  }

  /**
   * @internal Makes cores that were opened as incoming ones part of the store, all of them at once, and the primary key and the core that is
   * opened when none is named with them. Resolves to those that are left, because they were in the store.
   */
  async takeIn (discoveryKeys: Uint8Array[], seed: Uint8Array | null, first: Uint8Array | null): Promise<Uint8Array[]> {
    const [left] = await this.#ask<Page<Uint8Array>>((engine, store) => engine.storeTakeIn(store, discoveryKeys, seed ?? undefined, first ?? undefined))
    return left
  }

  /** @internal Deletes whatever is incoming. None of it is open. */
  async dropIncoming (): Promise<void> {
    for (let dropped = 1; dropped > 0;) {
      const [keys] = await this.#ask<Page<Uint8Array>>((engine, store) => engine.storeDropIncoming(store))
      dropped = keys.length
    }
  }

  /** All cores, in the order of their discovery keys. */
  createCoreStream (): EntryStream<{ discoveryKey: Uint8Array, core: StoredCore }> {
    return this.#cores(userFields)
  }

  /** All names, or those of a namespace. */
  createAliasStream (namespace?: Uint8Array | null): EntryStream<{ alias: Alias, discoveryKey: Uint8Array }> {
    return this.#aliases(namespace, userFields)
  }

  /** The discovery keys of all cores, or of those with a name in a namespace. */
  createDiscoveryKeyStream (namespace?: Uint8Array | null): EntryStream<Uint8Array> {
    return namespace
      ? this.#aliases(namespace, ({ discoveryKey }) => userBytes(discoveryKey))
      : this.#cores(({ discoveryKey }) => userBytes(discoveryKey))
  }

  /** The number of a group; null when no core was ever in it. */
  async getGroup (topic: Uint8Array): Promise<number | null> {
    return await this.#ask<number | null>((engine, store) => engine.storeGroup(store, topic))
  }

  /** The keys of the cores of a group, ordered by when they changed last: the newest first by default. */
  createGroupUpdateStream (group: number, { since = 0, reverse = true }: GroupUpdateOptions = {}): EntryStream<Uint8Array> {
    return pages((from, limit) => this.#ask<Page<Uint8Array>>(
      (engine, store) => engine.storeGroupUpdates(store, group, since, reverse, from ?? undefined, limit)
    ), userBytes)
  }

  /** What is stored of a core, without its secrets; null when it is not here. */
  async export (discoveryKey: Uint8Array, { batches = false }: { batches?: boolean } = {}): Promise<ExportedCore | null> {
    const found = await this.#ask<StoredBranches | null>((engine, store) => engine.storeBranches(store, discoveryKey))
    const info = found && await this.getInfo(discoveryKey)
    if (!found || !info) return null
    const logs = [found.core, ...(batches ? found.branches : [])]
    return {
      head: info.head,
      auth: { ...info.auth!, keyPair: null },
      sessions: found.branches.map(({ name }) => name),
      data: await Promise.all(logs.map(({ dataPointer }) => exportLog((kind) => this.records(dataPointer, kind))))
    }
  }

  /** Lets what is under way end, and starts nothing more until {@link resume}: whatever is asked meanwhile waits. */
  async suspend ({ log = () => {} }: { log?: (message: string) => unknown } = {}): Promise<void> {
    await log('Suspending hypercore storage...')
    await this.#ask((engine, store) => engine.suspendStore(store))
    await log('db suspended')
  }

  /** Goes on after `suspend()`. */
  async resume (): Promise<void> {
    const store = await this.acquire()
    call((engine) => { engine.resumeStore(store) })
    await this.release()
  }

  #cores<T> (pick: (entry: { discoveryKey: Uint8Array, core: StoredCore }) => T): EntryStream<T> {
    return pages((from, limit) => this.#ask<Page<{ discoveryKey: Uint8Array, core: StoredCore }>>((engine, store) => engine.storeCores(store, from ?? undefined, limit)), pick)
  }

  #aliases<T> (namespace: Uint8Array | null | undefined, pick: (entry: { alias: Alias, discoveryKey: Uint8Array }) => T): EntryStream<T> {
    return pages((from, limit) => this.#ask<Page<{ alias: Alias, discoveryKey: Uint8Array }>>(
      (engine, store) => engine.storeAliases(store, namespace ?? undefined, from ?? undefined, limit)
    ), pick)
  }

  /** @internal What is stored of a log. */
  records (log: number, kind: RecordKind): EntryStream<StoredRecord> {
    return pages((from, limit) => this.#ask<Page<StoredRecord>>(
      (engine, store) => engine.storeRecords(store, log, kind, from ?? undefined, limit)
    ), userFields, RECORDS)
  }

  async #ask<T> (command: (engine: Engine, store: StoreHandle) => RequestHandle): Promise<T> {
    await ready()
    for (;;) {
      const store = await this.acquire()
      try {
        return await request<T>((engine) => command(engine, store))
      } catch (error) {
        if (!this.#isMoving && !hasMoved(error)) throw error
      } finally {
        await this.release()
      }
    }
  }

  async #open (open = this.#opener.open): Promise<StoreHandle> {
    try {
      const store = await open.call(this.#opener)
      this.#isOpen = this.#wasOpen = true
      // Who listens is not kept: one in memory goes with whoever holds it.
      const self = new WeakRef(this)
      listen('store', store, (_kind, rest) => {
        unlisten('store', store)
        const storage = self.deref()
        if (storage) void storage.#failed(rest[0] as Failure)
      })
      return store
    } catch (error) {
      this.#store = null
      throw error
    }
  }

  // A store that is full still has what it had: opened again, it reads. One that moved is opened where it is.
  // The one before may still have been taking it, too: whose store it is shows after some rounds.
  async #failed (failure: Failure, rounds = 0): Promise<void> {
    const watchers = [...this.#watchers]
    const failed = this.#store
    const lost = (failure: Failure) => { for (const watcher of watchers) watcher.lost(failure) }
    const { reopen, isMoved } = this.#opener
    const isTaken = failure.cause?.code === TAKEN_OVER && isMoved !== undefined
    const isMoving = isTaken || failure.code === MOVED.code
    if ((!isMoving && failure.cause?.code !== 'STORAGE_FULL') || failed === null || !reopen) return lost(failure)
    this.#isMoving = isMoving
    // It may move once more meanwhile.
    const failures = ++this.#failures
    const letting = Promise.all(watchers.map((watcher) => watcher.letGo(failure, isMoving)))
    const reopened = letting.then(async () => {
      if (isTaken && !(await isMoved.call(this.#opener)) && rounds === 0 && !this.#isDisputed()) throw new HypertabError(failure.code, failure.message)
      await this.#close(failed, false).catch((error: Error) => { if (!isMoving) throw error })
      return await this.#open(reopen)
    })
    this.#store = reopened
    let store: StoreHandle | null = null
    try {
      const opened = store = await reopened
      if (failures !== this.#failures) return
      this.#isMoving = false
      await Promise.all([...this.#watchers].map((watcher) => watcher.resume(opened)))
    } catch (error) {
      if (failures !== this.#failures) return
      this.#isMoving = false
      if (store === null && this.#store === reopened) this.#store = null
      if (store !== null && rounds < ROUNDS && (isTakenOver(error) || hasMoved(error))) {
        // Before anything was open in it, somebody else had it, or it moved on.
        unlisten('store', store)
        return await this.#failed(asFailure(error), rounds + 1)
      }
      // That it moved says less than why it could not be opened where it is.
      lost(isMoving && (error as Partial<HypertabError>).code !== undefined ? asFailure(error as HypertabError) : failure)
    }
  }

  // Whoever was opening the store when this realm was given it may have been slower, and have it now without a lock: it is taken back.
  #isDisputed (): boolean {
    const now = performance.now()
    if (now - this.#disputed > DISPUTE) this.#disputes = 0
    this.#disputed = now
    return ++this.#disputes <= ROUNDS
  }

  async #close (opening: Promise<StoreHandle>, release = true): Promise<void> {
    const store = await opening
    try {
      await request((engine) => engine.closeStore(store))
    } catch (error) {
      // Whoever had it is gone: it is closed there.
      if (!hasMoved(error)) throw error
    } finally {
      unlisten('store', store)
      this.#isOpen = false
      if (release) this.#opener.release?.()
    }
  }
}
