// What a session looks at: the log itself, a branch of it, or either of them in an atom.

import type { CoreHandle, Engine, KeyPair, RequestHandle, StoreHandle } from '../binding.js'
import { HypercoreError } from '../errors.js'
import { nextTurn, userBytes } from '../platform.js'
import { call, listen, look, request, Request, revision, unlisten, type Subject } from '../runtime.js'
import { hasMoved } from '../remote/messages.js'
import { isElsewhere } from '../remote/table.js'
import { equal, fromUtf8, isBytes } from '../support/bytes.js'
import { CoreStorage } from '../storage/core-storage.js'
import type { StoredHead } from '../storage/records.js'
import { atomOf, type Atom, type ForeignAtom, type Write } from './atom.js'
import type { Core } from './core.js'
import type { Hypercore } from './hypercore.js'
import { changesSince } from './header.js'
import { closeCore } from './opening.js'
import { limit } from './options.js'
import { MerkleTreeBatch } from './lib/merkle-tree-batch.js'
import { treeHash } from './lib/tree-nodes.js'
import { Mutex } from './mutex.js'
import type { TreeNode } from './proof.js'
import type { SnapshotState } from './snapshot-state.js'
import { waitForRecovery } from './recovery.js'

/** How a branch is committed. */
export interface CommitOptions {
  /** Blocks of the log afterwards; those of the branch by default. */
  length?: number
  /** First block that is copied; what the branch shares by default. */
  treeLength?: number
  keyPair?: KeyPair | null
  signature?: Uint8Array | null
}

export interface StateAppendOptions {
  keyPair?: KeyPair | null
  signature?: Uint8Array | null
  /** Appends nothing when the log would get longer. */
  maxLength?: number
}

/** What tells whether a log is the same as it was. */
export interface TreeHead {
  length: number
  fork: number
  hash: Uint8Array
}

/** What a log has come to. */
export interface LogSize {
  length: number
  byteLength: number
  fork: number
}

/** What a branch, or a log in an atom, was when its store began to move. */
interface FrozenState {
  length: number
  byteLength: number
  fork: number
  layers: Float64Array
  roots: TreeNode[]
  signature: Uint8Array | null
}

/** A log that sessions read and write. */
export class State {
  readonly core: Core
  /** The log, branch or state outside the atom that it was made from. */
  readonly from: State | null
  readonly name: string | null
  readonly atom: Atom | null
  #handle: CoreHandle | null
  #mutex: Mutex | null = null
  readonly sessions: Hypercore[]
  /** Roots that a picture took, and their hash. */
  #pictured: { hash: Uint8Array, roots: TreeNode[] } | null = null
  /** The signature that a program got, and what it was. */
  private handed: { of: Uint8Array, bytes: Uint8Array } | null = null
  /** Blocks that were here at a revision of the engine: most questions are about the same ones, and asking it takes longer than the rest. */
  readonly #run = { start: 0, end: 0, revision: -1 }
  /** Serialises appends whose blocks are encrypted by a program. */
  appending: Promise<unknown> = Promise.resolve()
  /** @internal What it had come to with the event that sessions are hearing of, or with the write that is being answered. */
  told: LogSize | null = null
  /** Writes that are answered in turns of their own, until these are over. */
  #turns = 0
  /** @internal What it came to with the last event. */
  latest: LogSize | null = null
  /** What is to be told once nothing is withheld. */
  #untold: Array<() => void> = []
  #withholding = 0
  #references = 0
  /** @internal What writes are recorded in: a branch has records of its own, and an atom is written once more as a whole. */
  readonly subject: Subject
  /** What it was, while it is not open. */
  #frozen: FrozenState | null = null
  /** How often the engine was asked to open it. */
  #openings = 1

  /** @internal The log itself has its core's handle. */
  constructor (core: Core, handle: CoreHandle | null, from: State | null = null, name: string | null = null, atom: Atom | null = null, sessions: Hypercore[] = []) {
    this.core = core
    this.#handle = handle
    this.from = from
    this.name = name
    this.atom = atom
    this.sessions = sessions
    this.storage = new CoreStorage(this)
    this.subject = subjectOf(this)
  }

  /** @internal The state itself; that which a snapshot shows. */
  get live (): State { return this }
  get handle (): CoreHandle { return this.#handle ?? this.core.handle }
  get length (): number { return this.#frozen?.length ?? (this.#handle === null ? this.core.length : look((engine) => engine.coreLength(this.handle))) }
  /** @internal Its length once what has begun is stored. */
  get stagedLength (): number { return look((engine) => engine.coreStagedLength(this.handle)) }
  get byteLength (): number { return this.#frozen?.byteLength ?? (this.#handle === null ? this.core.byteLength : look((engine) => engine.coreByteLength(this.handle))) }
  get fork (): number { return this.#frozen?.fork ?? (this.#handle === null ? this.core.fork : look((engine) => engine.coreFork(this.handle))) }

  /** Its records as they are stored, and where atoms are made. */
  readonly storage: CoreStorage

  /** Whether it is the log itself, which is signed. */
  isDefault (): boolean {
    return this.from === null || this.isAtomicDefault()
  }

  /** Whether it is the log itself, in an atom. */
  isAtomicDefault (): boolean {
    return this.atom !== null && this.from !== null && this.from.isDefault()
  }

  /** @internal Resolves when it is open again; null while it is open. */
  get resuming (): Promise<void> | null {
    return this.atom?.resuming ?? this.core.resuming
  }

  /** @internal It is being opened where others have the store: what fails is asked again. */
  get isMoving (): boolean {
    return this.core.isMoving || (this.atom?.resuming ?? null) !== null
  }

  /** @internal */
  get treeHead (): TreeHead {
    return { length: this.length, fork: this.fork, hash: this.hash() }
  }

  /** @internal What it is where it was opened again, before that is told. */
  get found (): TreeHead {
    const frozen = this.#frozen
    this.#frozen = null
    const found = this.treeHead
    this.#frozen = frozen
    return found
  }

  /** The state outside the atom. */
  get parent (): State | null {
    return this.atom === null ? null : this.from
  }

  /** Full roots of the tree. */
  get roots (): TreeNode[] {
    const roots = this.#frozen?.roots ?? (this.#handle === null ? this.core.roots : look((engine) => engine.coreRoots(this.handle)))
    return roots.map(({ index, size, hash }) => ({ index, size, hash: userBytes(hash) }))
  }

  /** What peers are told that signs the head; a program may change its bytes, also in place. Nothing of that is stored. */
  get signature (): Uint8Array | null {
    const signature = this.signed
    if (!signature) return null
    const { handed } = this
    if (handed && equal(handed.of, signature)) return handed.bytes
    const bytes = userBytes(signature)
    this.handed = { of: signature.slice(), bytes }
    return bytes
  }

  /** @internal The same, as the engine has it. */
  get signed (): Uint8Array | null {
    if (this.#frozen !== null) return this.#frozen.signature
    return this.#handle === null ? this.core.signature : look((engine) => engine.coreSignature(this.handle)) ?? null
  }

  set signature (signature: Uint8Array | null) {
    if (signature) call((engine) => { engine.coreTellSignature(this.handle, signature) })
  }

  /** @internal Takes over what a program changed in the signature that it got. */
  checkSignature (): void {
    if (this.handed && !equal(this.handed.of, this.handed.bytes) && this.signature === this.handed.bytes) this.signature = this.handed.bytes
  }

  hash (): Uint8Array {
    return treeHash(this.roots)
  }

  /** @internal Its roots, whose hash is known: every read of a bee takes a picture, mostly of the same log. */
  rootsOf (hash: Uint8Array): TreeNode[] {
    if (!this.#pictured || !equal(this.#pictured.hash, hash)) this.#pictured = { hash, roots: this.roots }
    return this.#pictured.roots
  }

  /** Keeps writes from beginning, of programs and of peers. */
  get mutex (): Mutex {
    return this.#mutex ??= new Mutex(this)
  }

  /** Resolves when a writer whose store was repaired can go on. */
  waitForRecovery (): Promise<void> {
    return waitForRecovery(this)
  }

  createTreeBatch (): MerkleTreeBatch {
    return new MerkleTreeBatch(this)
  }

  get prologue (): { hash: Uint8Array, length: number } | null {
    return this.core.manifest?.prologue ?? null
  }

  /** The fork that encryption takes into account. */
  get encryptionFork (): number {
    return this.core.fork
  }

  isSnapshot (): this is SnapshotState {
    return false
  }

  /** @internal Where it is read: the pointers of the core and of its records, and what is below. */
  get layers (): Float64Array {
    return this.#frozen?.layers ?? look((engine) => engine.coreLayers(this.handle))
  }

  /** @internal The head that a snapshot shows. */
  get shownHead (): StoredHead | null {
    return null
  }

  /** Blocks that are in the log, or are read there. */
  flushedLength (): number {
    return this.isDefault() ? this.length : Math.max(0, this.storage.getDependencyLength())
  }

  signedLength (): number {
    return Math.min(this.flushedLength(), this.core.length)
  }

  /** Whether a block may be here; certain for the log itself. */
  mayHave (index: number): boolean {
    if (index >= Number.MAX_SAFE_INTEGER) return false
    if (this.resuming) return true
    if (isElsewhere(this.handle)) return index < this.length
    return this.isDefault() ? this.holds(index, index + 1) : index < this.length
  }

  /** At once where it is known at once: an await that is not needed takes longer than the answer. */
  has (start: number, end: number): boolean | Promise<boolean> {
    if (end > Number.MAX_SAFE_INTEGER) return false
    const { core, resuming } = this
    if (resuming) return resuming.then(() => this.has(start, end))
    if (core.closed) {
      if (this.isDefault()) return core.has(start, end)
      throw HypercoreError.SESSION_CLOSED('core is closed', core.discoveryKey)
    }
    const { handle } = this
    if (this.isDefault() && !isElsewhere(handle)) return this.holds(start, end)
    return this.request<boolean>((core, engine) => engine.coreHasStored(core, start, end)).promise
  }

  /** @internal Whether blocks of the log itself are here. */
  holds (start: number, end: number): boolean {
    const { handle } = this
    // What is told of an engine elsewhere has no revision.
    const now = isElsewhere(handle) ? NaN : revision()
    const run = this.#run
    if (run.revision === now && start >= run.start && end <= run.end) return true
    if (start >= end) return true
    const firstUnset = look((engine) => engine.coreFindBlock(handle, undefined, false, start, false))
    if (firstUnset < end) return false
    run.revision = now
    run.start = start
    run.end = firstUnset
    return true
  }

  request<T> (command: Parameters<Core['request']>[0]): Request<T> {
    return new Request<T>((engine) => command(this.handle, engine), this.resuming, this.subject)
  }

  /** @internal Changes the log, maybe by what is in another state. What is in an atom is changed once more where its store moves to. */
  async write<T> (command: Write, source: State = this): Promise<T> {
    // What is open is a copy, which goes away.
    if (this.core.db.readOnly) throw HypercoreError.SESSION_NOT_WRITABLE('the store is only read', this.core.discoveryKey)
    const subject = source === this ? this.subject : subjectOf(this, source)
    const request = new Request<T>((engine) => command(this.handle, engine), subject.resuming, subject)
    let answer: T
    try {
      answer = await request.promise
    } catch (error) {
      await this.#turn(request.latest)
      throw error
    }
    if (this.atom !== null) this.atom.wrote(this, command, answer)
    // It was answered when its store was about to move: until it is open again the log is shown as it was before.
    else if (this.resuming !== null) await this.resuming.catch(() => {})
    await this.#turn(request.latest, answer)
    return answer
  }

  // More may have been stored along: whoever waits for this write has a turn in which it is the last one, as upstream's is.
  #turn (latest: LogSize | null, answer?: unknown): Promise<void> | null {
    const { core } = this
    if (latest === null || core.closed || (this.from !== null && !core.states.has(this.handle))) return null
    const shown = { ...latest, ...answer as object }
    // One that comes after others waits for theirs: nobody is to be shown less than what was answered before.
    if (this.#turns === 0 && this.told === null && shown.length === this.length && shown.fork === this.fork) return null
    this.told ??= shown
    this.#turns++
    return new Promise((resolve) => {
      nextTurn(() => {
        this.told = shown
        resolve()
        nextTurn(() => { if (--this.#turns === 0) this.told = null })
      })
    })
  }

  /** @internal Bytes of a program that may be written once more. */
  kept (bytes: Uint8Array): Uint8Array {
    return this.atom === null ? bytes : new Uint8Array(bytes)
  }

  /** Opens a branch, the one of this name if there is one. With `overwrite` it starts over, from the first `checkout` blocks or all. */
  async branch (name: string, overwrite: boolean, checkout?: number): Promise<State> {
    for (;;) {
      while (this.resuming) await this.resuming
      try {
        return await this.#child(call((engine) => engine.openBranch(this.handle, name, overwrite, false, checkout)), name, null).opening
      } catch (error) {
        if (!this.isMoving && (!hasMoved(error) || this.core.closing !== null)) throw error
      }
    }
  }

  /** Opens the same log in an atom. */
  async atomic (input: Atom | ForeignAtom): Promise<State> {
    return await this.enterAtom(input).opening
  }

  /** @internal The same log in an atom at once, and when it is open there. */
  enterAtom (input: Atom | ForeignAtom): { state: State, opening: Promise<State> } {
    const atom = atomOf(this.core.db, input)
    const handle = atom.enter(this.core.store)
    try {
      const child = this.#child(call((engine) => engine.openAtomic(this.handle, handle)), this.name, atom)
      if (this.resuming) child.state.letGo()
      return child
    } catch (error) {
      atom.leave()
      throw error
    }
  }

  /** Takes the blocks of a branch in and signs them; null when it does not continue the log. */
  async commit (source: State, { length, treeLength, keyPair, signature }: CommitOptions): Promise<{ length: number, byteLength: number } | null> {
    if (!this.isDefault()) throw HypercoreError.ASSERTION('Can only commit into default state', this.core.discoveryKey)
    if (source.core !== this.core || source.live === this) throw HypercoreError.ASSERTION('Cannot commit across cores', this.core.discoveryKey)
    if (length !== undefined && length < this.length) return null
    const committing = this.write<{ length: number, byteLength: number } | null>((core, engine) => engine.coreCommit(core, source.handle, {
      ...(length === undefined ? {} : { length }),
      ...(treeLength === undefined || treeLength === -1 ? {} : { treeLength }),
      ...(keyPair?.secretKey ? { keyPair } : {}),
      ...(signature ? { signature } : {})
    }), source)
    try {
      const committed = await committing ?? null
      for (const picture of this.core.pictures) if (picture.live === source.live) picture.lookBelow()
      return committed
    } catch (error) {
      if ((error as HypercoreError).code !== 'INVALID_SIGNATURE') throw error
      throw HypercoreError.INVALID_SIGNATURE('Signature is not valid over committed tree', this.core.discoveryKey)
    }
  }

  /** Opens a branch of that name, or this state in an atom. It has to be given up by {@link unref}. */
  async createSession (name: string | null, overwrite = false, atom: Atom | ForeignAtom | null = null): Promise<State> {
    return atom === null ? await this.branch(name!, overwrite) : await this.atomic(atom)
  }

  /** A picture of it, which has to be given up by `unref()`. */
  async snapshot (): Promise<SnapshotState> {
    await this.resuming
    return this.picture()
  }

  /** @internal */
  picture (): SnapshotState {
    return this.core.takePicture(this.live)
  }

  /** What it is now. */
  treeInfo (): { fork: number, length: number, prologue: { hash: Uint8Array, length: number } | null } {
    return { fork: this.fork, length: this.length, prologue: this.prologue }
  }

  /** Appends blocks as they are. */
  async append (blocks: Uint8Array[], { keyPair, signature, maxLength }: StateAppendOptions = {}): Promise<{ length: number, byteLength: number }> {
    const kept = blocks.map((block) => this.kept(block))
    return await this.write<{ length: number, byteLength: number }>((handle, engine) => engine.coreAppend(handle, kept, {
      ...(keyPair?.secretKey ? { keyPair } : {}),
      ...(signature ? { signature } : {}),
      ...limit(maxLength)
    }))
  }

  async truncate (length: number, fork: number, { keyPair, signature }: { keyPair?: KeyPair | null, signature?: Uint8Array | null } = {}): Promise<void> {
    await this.cut(length, { fork, ...(keyPair?.secretKey ? { keyPair } : {}), ...(signature ? { signature } : {}) })
  }

  /** @internal Cuts the log, once what was appended before is there. */
  async cut (length: number, options: { fork?: number | undefined, keyPair?: KeyPair, signature?: Uint8Array }): Promise<void> {
    const { prologue, core } = this
    if (prologue && length < prologue.length) throw HypercoreError.INVALID_OPERATION('Truncation breaks prologue', core.discoveryKey)
    if (length > Number.MAX_SAFE_INTEGER) throw HypercoreError.INVALID_OPERATION(`Not a truncation, ${length} must be less or equal to ${this.length}`, core.discoveryKey)
    try {
      await this.write((handle, engine) => engine.coreTruncate(handle, length, options))
    } catch (error) {
      if ((error as HypercoreError).code !== 'INVALID_OPERATION' || length <= this.length) throw error
      throw HypercoreError.INVALID_OPERATION(`Not a truncation, ${length} must be less or equal to ${this.length}`, core.discoveryKey)
    }
  }

  async clear (start: number, end: number): Promise<void> {
    await this.write((handle, engine) => engine.coreClear(handle, start, end))
  }

  /** Resolves to whether it is stored, and did not only enter an atom. */
  async setUserData (key: string, value: Uint8Array | string | null): Promise<boolean> {
    const bytes = value === null || value === undefined ? null : isBytes(value) ? this.kept(value) : fromUtf8(value)
    await this.write((handle, engine) => engine.coreSetUserData(handle, key, bytes))
    return this.atom === null
  }

  async getUserData (key: string): Promise<Uint8Array | null> {
    const value = await this.request<Uint8Array | null>((handle, engine) => engine.coreUserData(handle, key)).promise
    return value ? userBytes(value) : null
  }

  /** Lets a branch start over from the first blocks of the log. */
  async catchup (length: number): Promise<void> {
    if (this.isDefault()) throw new Error('Cannot catchup signed state')
    const { core } = this
    try {
      await this.write<void>((handle, engine) => engine.coreCatchUp(handle, core.handle, length))
    } catch (error) {
      if ((error as HypercoreError).code !== 'INVALID_OPERATION') throw error
      throw HypercoreError.INVALID_OPERATION('Invalid catchup length, tree nodes not available', core.discoveryKey)
    }
  }

  /** Moves the branch and its sessions to another log, which has the blocks below that length. */
  async moveTo (target: Hypercore, length: number): Promise<void> {
    const [old, to] = [this.length, target.state!]
    const isCut = length < old
    const next = await to.branch(this.name!, false)
    const before = next.sessions.length
    try {
      const fork = Math.max(isCut ? this.fork + 1 : this.fork, next.fork)
      if (next.length > length || next.fork < fork) await next.truncate(length, fork)
      for (const session of [...this.sessions].reverse()) {
        // A snapshot goes on showing what it showed.
        if (session.isFixed) continue
        const { manifest } = session
        await session.moveTo(next.ref())
        if (!manifest && session.manifest) session.emit('manifest')
        if (isCut) session.emit('truncate', old, fork)
        if (length > old) session.emit('append')
      }
      // In the order in which they were before.
      next.sessions.push(...next.sessions.splice(before).reverse())
    } finally {
      await next.unref()
    }
  }

  /** @internal The store is somewhere else now, and with it the branch. Resolves to what tells its sessions how it changed meanwhile. */
  async reopen (): Promise<() => void> {
    if (this.#handle === null || this.atom !== null) return () => {}
    await this.#openAgain((engine) => engine.openBranch(this.from!.handle, this.name!, false, true))
    return await this.thawing()
  }

  /** @internal The same for a log in an atom, which is made anew. */
  async enterAgain (atom: StoreHandle): Promise<void> {
    await this.#openAgain((engine) => engine.openAtomic(this.from!.handle, atom))
  }

  async #openAgain (open: (engine: Engine) => [CoreHandle, RequestHandle]): Promise<void> {
    const { states } = this.core
    unlisten('core', this.#handle!)
    states.delete(this.#handle!)
    const [handle, id] = call(open)
    this.#handle = handle
    this.#openings = 1
    states.set(handle, this)
    listen('core', handle, (kind, rest) => { this.#onevent(kind, rest) })
    await request(() => id)
  }

  /** @internal The store is about to be somewhere else. */
  letGo (): void {
    const { handle } = this
    try {
      this.#frozen ??= {
        length: this.length,
        byteLength: this.byteLength,
        fork: this.fork,
        layers: look((engine) => engine.coreLayers(handle)),
        roots: this.roots,
        signature: this.signed
      }
    } catch {
      // It was not open yet.
    }
    this.atom?.letGo()
  }

  /** @internal It is open again, in its atom as it was, or as it is outside when nothing was written. Resolves to what tells its sessions how it changed. */
  async thawing (): Promise<() => void> {
    const changes = this.#frozen && await changesSince(this.#handle!, this.#frozen)
    return () => {
      this.#frozen = null
      for (const [kind, rest] of changes?.() ?? []) this.#onevent(kind, rest)
    }
  }

  /** @internal Does something, and then something else before any session is told of it. */
  async withhold<T> (work: () => Promise<T>, after: () => unknown): Promise<T> {
    this.#withholding++
    try {
      const done = await work()
      await after()
      return done
    } finally {
      if (--this.#withholding === 0) for (const tell of this.#untold.splice(0)) tell()
    }
  }

  /** @internal Tells sessions of an event, unless that has to wait: they show what it says, for more of what is stored together may have happened since. */
  changed (kind: 'append' | 'truncate', rest: unknown[], sessions: () => Hypercore[], after?: () => void): void {
    const [length, byteLength, fork] = (kind === 'append' ? rest : [rest[0], rest[2], rest[1]]) as [number, number, number]
    // Where it was found changed, nothing is said.
    const shown = this.latest = typeof byteLength === 'number' ? { length, byteLength, fork } : null
    const tell = () => {
      if (kind === 'truncate') {
        for (const picture of this.core.pictures) if (this.from === null || picture.live === this) picture.shorten(length, picture.live === this)
      }
      const before = this.told
      this.told = shown
      try {
        for (const session of sessions()) {
          if (!session.opened || session.isFixed || session.state !== this) continue
          if (kind === 'append') session.emit(kind)
          else session.emit(kind, length, fork)
        }
      } finally {
        this.told = before
      }
      after?.()
    }
    if (this.#withholding > 0) this.#untold.push(tell)
    else tell()
  }

  /** @internal Takes in a session of upstream's class, with which packages watch a core. */
  addSession (session: Hypercore): void {
    this.sessions.push(session)
    this.core.sessions.push(session)
    if (!session.weak) this.core.activeSessions++
  }

  /** @internal */
  removeSession (session: Hypercore): void {
    for (const sessions of [this.sessions, this.core.sessions]) {
      const index = sessions.indexOf(session)
      if (index === -1) return
      sessions.splice(index, 1)
    }
    if (!session.weak) this.core.activeSessions--
    this.core.checkIfIdle()
  }

  ref (): this {
    this.#references++
    return this
  }

  async unref (): Promise<void> {
    if (--this.#references > 0 || this.from === null) return
    const { handle } = this
    unlisten('core', handle)
    this.core.states.delete(handle)
    for (; this.#openings > 0; this.#openings--) await closeCore(handle)
    this.atom?.remove(this)
    await this.from.unref()
  }

  #child ([handle, id]: [CoreHandle, number], name: string | null, atom: Atom | null): { state: State, opening: Promise<State> } {
    const { states } = this.core
    const opening = new Request<void>(() => id)
    const known = states.get(handle)
    if (known) known.#openings++
    const state = known ?? new State(this.core, handle, this.ref(), name, atom)
    states.set(handle, state)
    state.ref()
    if (!known) {
      listen('core', handle, (kind, rest) => { state.#onevent(kind, rest) })
      atom?.add(state)
    }
    const opened = async () => {
      try {
        await opening.promise
        atom?.entered(state)
      } catch (error) {
        // The atom is opening it again.
        const isGone = atom?.resuming ? !await atom.resuming.then(() => true, () => false) : true
        if (!isGone) return state
        await state.unref()
        throw error
      }
      return state
    }
    return { state, opening: opened() }
  }

  #onevent (kind: string, rest: unknown[]): void {
    // What is written once more was told before.
    if ((kind === 'append' || kind === 'truncate') && this.#frozen === null) this.changed(kind, rest, () => [...this.sessions].reverse())
  }
}

/** Whom the requests of a state are about, and what they need besides. */
function subjectOf (state: State, source = state): Subject {
  return {
    get discoveryKey () { return state.core.discoveryKey },
    get resuming () { return state.resuming ?? source.resuming },
    get isMoving () { return state.isMoving || source.isMoving },
    get isRecorded () { return state.atom === null },
    get isUncertain () { return state.core.db.isUncertain },
    get handle () { return state.handle },
    get latest () { return state.latest }
  }
}
