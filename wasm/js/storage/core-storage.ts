// The records of one log as they are stored, for programs that look after storage themselves.
//
// Source: hypercore-storage 3.2, `index.js`, `HypercoreStorage`; `lib/tx.js`, `CoreRX` and `CoreTX`.

import { Readable } from 'streamx'

import { decodeManifest, encodeManifest } from '../hypercore/manifest.js'
import type { TreeNode } from '../hypercore/proof.js'
import type { State } from '../hypercore/state.js'
import { UserDataStream, type UserDataRange } from '../hypercore/user-data.js'
import { userBytes } from '../platform.js'
import { call } from '../runtime.js'
import { concat, fromUtf8, isBytes } from '../support/bytes.js'
import type { Atom } from '../hypercore/atom.js'
import { pages, userFields, type EntryStream, type StoredAuth, type StoredHead, type StoredHints } from './records.js'
import type { Storage } from './storage.js'

/** What a record is, and which of its kind. */
type RecordName = [kind: string, key: number | string | Uint8Array | null]
/** Null removes a record; an end makes it a range. */
type Change = [...RecordName, value: Uint8Array | null, end?: RecordName[1]]

/** What a branch shares with its parent. */
export interface StoredDependency {
  dataPointer: number
  length: number
}

/** Where a log or a branch is in its store. */
export interface StoredPlaces {
  corePointer: number
  dataPointer: number
  /** What it reads elsewhere, oldest first. */
  dependencies: StoredDependency[]
}

/** Where a branch is stored. */
export interface StoredSession {
  name: string
  dataPointer: number
}

/** Which of many records: from `gte` or after `gt`, up to `lt` or `lte`. */
export interface IndexRange {
  gte?: number
  gt?: number
  lt?: number
  lte?: number
  reverse?: boolean
  limit?: number
}

/** Which of the records that programs keep for themselves: from `gte` on, up to `lt`, exclusive. */
export interface LocalRange {
  gte?: Uint8Array
  lt?: Uint8Array | null
  gt?: unknown
  lte?: unknown
}

interface LocalPage {
  entries: Array<[key: Uint8Array, value: Uint8Array]>
  more: boolean
}

/** Records that a stream reads at once. */
const PAGE = 64
/** Bytes of a key that a program chooses. */
const MAX_LOCAL_KEY = 2048
/** Bits of a page, of blocks and of marks. */
const BITS = 32768

/** Reads that are sent together. */
export class CoreRX {
  readonly #state: State
  #records: RecordName[] = []
  #waiting: Array<{ resolve: (value: Uint8Array | null) => void, reject: (error: unknown) => void }> = []
  #isOver = false

  /** @internal */
  constructor (state: State) {
    this.#state = state
  }

  getAuth (): Promise<StoredAuth | null> {
    return this.#fields<StoredAuth & { manifest: Uint8Array | null }>('auth').then((auth) => auth && {
      ...auth, manifest: auth.manifest && decodeManifest(auth.manifest as Uint8Array)
    }) as Promise<StoredAuth | null>
  }

  getSessions (): Promise<StoredSession[] | null> { return this.#fields('sessions') }
  getHead (): Promise<StoredHead | null> {
    return this.#state.shownHead ? this.#shown(this.#state.shownHead) : this.#fields('head')
  }

  getDependency (): Promise<StoredDependency | null> { return this.#fields('dependency') }
  getGroup (): Promise<{ key: Uint8Array, pointer: number } | null> { return this.#fields('group') }
  getHints (): Promise<StoredHints | null> { return this.#fields('hints') }
  getBlock (index: number): Promise<Uint8Array | null> {
    return this.#state.isSnapshot() ? this.#shown(this.#state.get(index)) : this.#get('block', index)
  }

  getBitfieldPage (index: number): Promise<Uint8Array | null> { return this.#get('page', index) }
  getTreeNode (index: number): Promise<TreeNode | null> { return this.#fields('node', index) }
  getUserData (key: string): Promise<Uint8Array | null> { return this.#get('userData', key) }
  getMark (index: number): Promise<Uint8Array | null> { return this.#get('mark', index) }
  getLocal (key: Uint8Array): Promise<Uint8Array | null> { return this.#get('local', key) }

  async hasTreeNode (index: number): Promise<boolean> {
    return (await this.getTreeNode(index)) !== null
  }

  /** Reads what was asked for. */
  tryFlush (): void {
    const waiting = this.#waiting
    const records = this.#records
    this.#waiting = []
    this.#records = []
    this.#isOver = true
    if (waiting.length === 0) return
    this.#state.request<Array<Uint8Array | null>>((core, engine) => engine.coreReadRecords(core, records)).promise.then((values) => {
      waiting.forEach(({ resolve }, at) => { resolve(values[at] ? userBytes(values[at]!) : null) })
    }, (error) => {
      for (const { reject } of waiting) reject(error)
    })
  }

  destroy (): void {
    this.#isOver = true
    for (const { reject } of this.#waiting.splice(0)) reject(new Error('Batch is destroyed'))
  }

  async #shown<T> (value: T | Promise<T>): Promise<T> {
    if (this.#isOver) throw new Error('Batch is destroyed')
    return await value
  }

  #get (kind: string, key: RecordName[1] = null): Promise<Uint8Array | null> {
    if (this.#isOver) return Promise.reject(new Error('Batch is destroyed'))
    this.#records.push([kind, key])
    return new Promise((resolve, reject) => { this.#waiting.push({ resolve, reject }) })
  }

  async #fields<T> (kind: string, key: RecordName[1] = null): Promise<T | null> {
    const record = await this.#get(kind, key)
    return record && userFields(call((engine) => engine.decodeRecord(kind, record))) as T
  }
}

/** Changes that are stored together, or not at all; what is held in memory of the log stays as it is. */
export class CoreTX {
  readonly #state: State
  #changes: Change[] | null = []

  /** @internal */
  constructor (state: State) {
    this.#state = state
  }

  setAuth (auth: StoredAuth): void {
    this.#put('auth', null, encode('auth', { ...auth, manifest: auth.manifest && encodeManifest(auth.manifest) }))
  }

  setSessions (sessions: StoredSession[]): void { this.#put('sessions', null, encode('sessions', sessions)) }
  setHead (head: StoredHead): void { this.#put('head', null, encode('head', head)) }
  deleteHead (): void { this.#put('head', null, null) }
  setDependency (dependency: StoredDependency): void { this.#put('dependency', null, encode('dependency', dependency)) }
  setGroup (group: { key: Uint8Array, pointer: number }): void { this.#put('group', null, encode('group', group)) }
  deleteGroup (): void { this.#put('group', null, null) }
  setHints (hints: StoredHints): void { this.#put('hints', null, encode('hints', hints)) }
  putBlock (index: number, block: Uint8Array): void { this.#put('block', index, block) }
  deleteBlock (index: number): void { this.#put('block', index, null) }
  deleteBlockRange (start: number, end: number): void { this.#range('block', start, end) }
  putBitfieldPage (index: number, page: Uint8Array): void { this.#put('page', index, page) }
  deleteBitfieldPage (index: number): void { this.#put('page', index, null) }
  deleteBitfieldPageRange (start: number, end: number): void { this.#range('page', start, end) }
  putTreeNode (node: TreeNode): void { this.#put('node', node.index, encode('node', node)) }
  deleteTreeNode (index: number): void { this.#put('node', index, null) }
  deleteTreeNodeRange (start: number, end: number): void { this.#range('node', start, end) }
  putUserData (key: string, value: Uint8Array | string): void { this.#put('userData', key, isBytes(value) ? value : fromUtf8(value)) }
  deleteUserData (key: string): void { this.#put('userData', key, null) }
  putMark (index: number, page: Uint8Array): void { this.#put('mark', index, page) }
  deleteMark (index: number): void { this.#put('mark', index, null) }
  deleteMarkRange (start: number, end: number): void { this.#range('mark', start, end) }
  putLocal (key: Uint8Array, value: Uint8Array): void {
    if (key.byteLength > MAX_LOCAL_KEY) throw new Error(`local keys has an upper limit of ${MAX_LOCAL_KEY} bytes atm`)
    this.#put('local', key, value)
  }

  deleteLocal (key: Uint8Array): void { this.#put('local', key, null) }

  deleteLocalRange (start: Uint8Array, end: Uint8Array | null): void {
    this.#list.push(['local', start, null, end])
  }

  /** Stores everything; false when it only entered an atom. */
  async flush (): Promise<boolean> {
    const isStored = this.#state.atom === null
    const changes = this.#changes
    this.#changes = null
    if (changes === null || changes.length === 0) return isStored
    await this.#state.write((core, engine) => engine.coreWriteRecords(core, changes))
    return isStored
  }

  get #list (): Change[] {
    if (this.#changes === null) throw new Error('Batch is flushed')
    return this.#changes
  }

  #put (kind: string, key: RecordName[1], value: Uint8Array | null): void {
    this.#list.push([kind, key, value && this.#state.kept(value)])
  }

  #range (kind: string, start: number, end: number): void {
    this.#list.push([kind, start, null, end === -1 ? null : end])
  }
}

/** Where one log, branch or atomic view of them is stored. */
export class CoreStorage {
  readonly #state: State
  #holds = 0

  /** @internal */
  constructor (state: State) {
    this.#state = state
  }

  /** The store that it is in. */
  get store (): Storage { return this.#state.core.db }
  get atom (): Atom | null { return this.#state.atom }
  /** Whether it is that of a snapshot: blocks and head are what they were. */
  get snapshotted (): boolean { return this.#state.isSnapshot() }
  readonly readOnly = false

  /** Where it is in its store: the pointers of the core and of its records, and what it reads elsewhere. */
  get core (): StoredPlaces {
    const [corePointer, dataPointer, ...below] = this.#state.live.layers
    const dependencies: StoredDependency[] = []
    for (let at = 0; at < below.length; at += 2) dependencies.push({ dataPointer: below[at]!, length: below[at + 1]! })
    return { corePointer: corePointer!, dataPointer: dataPointer!, dependencies }
  }

  /** What it reads elsewhere, oldest first: each has the blocks from the length of the one before to its own. */
  get dependencies (): StoredDependency[] {
    return this.core.dependencies
  }

  /** The last that ends before a length; null for none. */
  getDependency (length: number): StoredDependency | null {
    return this.dependencies.findLast((dependency) => dependency.length < length) ?? null
  }

  /** How many blocks are stored elsewhere; -1 for a log, which has all of its own. */
  getDependencyLength (): number {
    return this.dependencies.at(-1)?.length ?? -1
  }

  read (_fork?: number): CoreRX {
    return new CoreRX(this.#state)
  }

  write (): CoreTX {
    if (this.snapshotted) throw new Error('Cannot write to a snapshot')
    return new CoreTX(this.#state)
  }

  createAtom (): Atom {
    return this.store.createAtom()
  }

  async compact (): Promise<void> {}

  createBlockStream (range?: IndexRange): EntryStream<{ index: number, value: Uint8Array }> {
    return this.#stream(range, () => this.#state.length, (rx, index) => rx.getBlock(index), (index, value) => ({ index, value }))
  }

  createTreeNodeStream (range?: IndexRange): EntryStream<TreeNode> {
    return this.#stream(range, () => 2 * this.#state.length, (rx, index) => rx.getTreeNode(index), (_index, node) => node)
  }

  createBitfieldStream (range?: IndexRange): EntryStream<{ index: number, page: Uint8Array }> {
    return this.#stream(range, () => this.#pages(), (rx, index) => rx.getBitfieldPage(index), (index, page) => ({ index, page }))
  }

  createMarkStream (range?: IndexRange): EntryStream<{ index: number, page: Uint8Array }> {
    return this.#stream(range, () => this.#pages(), (rx, index) => rx.getMark(index), (index, page) => ({ index, page }))
  }

  createUserDataStream (range: UserDataRange = {}): UserDataStream {
    return new UserDataStream(this.#state, range)
  }

  /** What programs keep for themselves, in the order of keys. */
  createLocalStream (range: LocalRange = {}): EntryStream<{ key: Uint8Array, value: Uint8Array }> {
    const { gt = null, gte = new Uint8Array(0), lte = null, lt = null } = range
    if (gt !== null || lte !== null) throw new Error('gt and lte not yet supported for local streams')
    return pages(async (from, limit) => {
      const { entries, more } = await this.#state.request<LocalPage>((core, engine) => engine.coreLocalList(core, from ?? gte, lt ?? undefined, limit)).promise
      const last = entries.at(-1)?.[0]
      // The next key there can be.
      return [entries, more && last ? concat([last, new Uint8Array(1)]) : null]
    }, ([key, value]) => ({ key: userBytes(key), value: userBytes(value) }), PAGE)
  }

  /** The storage as it is now, to be closed. */
  snapshot (): CoreStorage {
    const { storage } = this.#state.picture()
    storage.#holds++
    return storage
  }

  /** The storage of a branch that starts over from a head, to be closed; null is the head that there is. */
  async createSession (name: string, head: { length: number } | null): Promise<CoreStorage> {
    const length = head?.length ?? this.#state.length
    if (length > this.#state.length) throw new Error('Invalid head passed, ahead of core')
    const branch = await this.#state.branch(name, true)
    branch.storage.#holds++
    if (length < branch.length) await branch.cut(length, { fork: branch.fork })
    return branch.storage
  }

  /** The storage of the branch of a name, to be closed; null when there is none. */
  async resumeSession (name: string): Promise<CoreStorage | null> {
    const rx = this.read()
    const sessions = rx.getSessions()
    rx.tryFlush()
    if (!(await sessions)?.some((session) => session.name === name)) return null
    const { storage } = await this.#state.branch(name, false)
    storage.#holds++
    return storage
  }

  /** The storage of the same log in an atom, cut to a head, to be closed. */
  async createAtomicSession (atom: Atom, head: { length: number, fork: number } | null): Promise<CoreStorage> {
    const state = await this.#state.atomic(atom)
    state.storage.#holds++
    if (head !== null && head.length < state.length) await state.cut(head.length, { fork: head.fork })
    return state.storage
  }

  /** The storage of the same log in an atom, at once. It is closed with the atom's last session, or by itself. */
  atomize (atom: Atom): CoreStorage {
    if (this.atom !== null && this.atom !== atom) throw new Error('Cannot atomize and atomized session with a new atom')
    if (this.atom === atom) {
      this.#state.ref()
      this.#holds++
      return this
    }
    const { state, opening } = this.#state.live.enterAtom(atom)
    state.storage.#holds++
    opening.catch(() => { state.storage.#holds-- })
    return state.storage
  }

  /** Deletes all branches. Sessions of them should be closed. */
  async deleteSessions (): Promise<void> {
    const rx = this.read()
    const stored = rx.getSessions()
    rx.tryFlush()
    for (const { name } of await stored ?? []) {
      // What is damaged has no name any more, either.
      const branch = await this.resumeSession(name).catch(() => null)
      if (!branch) continue
      const tx = branch.write()
      tx.deleteBlockRange(0, -1)
      tx.deleteTreeNodeRange(0, -1)
      tx.deleteBitfieldPageRange(0, -1)
      tx.deleteHead()
      await tx.flush()
      await branch.close()
    }
    const tx = this.write()
    tx.setSessions([])
    await tx.flush()
  }

  /** Ends what {@link resumeSession} began; the storage of a session closes with it. */
  async close (): Promise<void> {
    if (this.#holds === 0) return
    this.#holds--
    await this.#state.unref()
  }

  #pages (): number {
    return Math.ceil(this.#state.length / BITS)
  }

  /** Records by their index, as far as the log goes. */
  #stream<T> (
    { gt = -1, gte = gt + 1, lte = Infinity, lt = lte + 1, reverse = false, limit = -1 }: IndexRange = {},
    size: () => number,
    get: (rx: CoreRX, index: number) => Promise<T | null>,
    entry: (index: number, value: T) => unknown
  ): EntryStream<any> {
    const end = Math.min(lt, size())
    let [next, left] = [0, limit < 0 ? Infinity : limit]
    const fill = async (stream: Readable) => {
      const count = Math.max(0, Math.min(PAGE, end - gte - next))
      const indexes = Array.from({ length: count }, (_, at) => reverse ? end - 1 - next - at : gte + next + at)
      next += count
      const rx = this.read()
      const values = indexes.map((index) => get(rx, index))
      rx.tryFlush()
      for (const [at, value] of (await Promise.all(values)).entries()) {
        if (value !== null && left-- > 0) stream.push(entry(indexes[at]!, value))
      }
      if (next >= end - gte || left <= 0) stream.push(null)
    }
    return new Readable({
      read (this: Readable, done: (error: Error | null) => void) {
        fill(this).then(() => { done(null) }, done)
      }
    })
  }
}

function encode (kind: string, fields: object): Uint8Array {
  return call((engine) => engine.encodeRecord(kind, fields))
}
