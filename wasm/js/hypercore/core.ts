// One open core of the engine, shared by its sessions.

import type { CoreHandle, KeyPair, OpenCoreOptions, StoreHandle } from '../binding.js'
import { fromFailure, HypercoreError } from '../errors.js'
import { userBytes } from '../platform.js'
import { hasMoved } from '../remote/messages.js'
import { forgetWishes, setFindingPeers } from '../remote/wishes.js'
import { call, isReady, listen, look, ready, request, Request, unlisten } from '../runtime.js'
import { equal, toHex } from '../support/bytes.js'
import { discoveryKey } from '../support/crypto.js'
import { encodeId } from '../support/id.js'
import { parseStorage, type StorageInput } from '../storage/parse.js'
import type { CoreStorage } from '../storage/core-storage.js'
import type { LegacyFiles, Storage } from '../storage/storage.js'
import { Mux } from '../links/mux.js'
import { isElsewhere } from '../remote/table.js'
import { toIndex, type HypercoreOptions } from './options.js'
import { Arrivals } from './arrivals.js'
import { audit, type Audit, type AuditOptions } from './audit.js'
import { BlockList } from './block-list.js'
import { CoreEvents } from './events.js'
import { headerOf, headOf, changesSince, type Changes, type CoreHeader, type FrozenHead } from './header.js'
import type { Hypercore } from './hypercore.js'
import { importBlocks, openImported } from './importing.js'
import type { MerkleTreeBatch, ReorgBatch } from './lib/merkle-tree-batch.js'
import { Verifier } from './lib/verifier.js'
import { createManifest, decodeManifest, encodeManifest, manifestKey, type Manifest, type ManifestInput } from './manifest.js'
import { closeCore, nameNewCore, openOptions } from './opening.js'
import type { Peer, ReplicationChannel } from './peer.js'
import { forEngine, type Proof, type TreeNode } from './proof.js'
import { copyPrologue } from './prologue.js'
import { followReorg, verifyReorg } from './reorg.js'
import { hasSmallWants } from './features.js'
import { attachRenamed } from './renamed.js'
import { Replicator } from './replicator.js'
import { SnapshotState } from './snapshot-state.js'
import { State } from './state.js'
import { UserDataStream, type UserDataRange } from './user-data.js'

/** Called with the head that the log would have, and the key of the core. */
export type Preupdate = (batch: MerkleTreeBatch, key: Uint8Array) => unknown

/** The core behind one or more sessions. */
export class Core {
  key: Uint8Array | null = null
  discoveryKey: Uint8Array | null = null
  compat = false
  opened = false
  closed = false
  opening: Promise<void>
  closing: Promise<void> | null = null
  /** Sessions that keep it open. */
  activeSessions = 0
  /** Every session that follows the log, oldest first. */
  readonly sessions: Hypercore[] = []
  readonly muxes = new Set<Mux>()
  readonly replicator: Replicator
  /** Closes when its last session does. */
  autoClose = true
  /** The store that it is in. */
  readonly db: Storage
  keyPair: KeyPair | null = null
  /** Open branches and atomic states. */
  readonly states = new Map<CoreHandle, State>()
  /** When the last branch of a name that is being opened is open, or has failed. */
  readonly branching = new Map<string, Promise<void>>()
  /** Snapshots of them, and of the log. */
  readonly pictures = new Set<SnapshotState>()
  /** The store that it is in, once opening. */
  store: StoreHandle = 0
  /** Shared with whoever has the core. */
  readonly globalCache: unknown
  /** The blocks that are here. */
  readonly bitfield = new BlockList(() => this.opened && !this.closed && !this.#frozen ? { core: this.handle } : null, () => this.length)
  /** Runs when no session is left. */
  onidle: () => unknown = () => {}
  /** Runs when the log of a core in a group changed. */
  ongroupupdate: (topic: Uint8Array, update: { key: Uint8Array, length: number, fork: number }) => unknown = () => {}
  /** For stores that close what nobody uses. */
  gc = 0
  /** @internal The blocks that it had when its store began to move. */
  arrivals: Arrivals | null = null
  /** Whether two histories of the log were found that its signers signed. */
  frozen = false
  /** The blocks that are here, once somebody asked for them under this name. */
  skipBitfield: BlockList | null = null
  /** @internal Whether roots of its tree were lost when it was opened, or somebody's proof was taken for them. */
  _repairMode = false

  #handle: CoreHandle | null = null
  /** The discovery key that it really has, once that is known. */
  #name: Uint8Array | null = null
  #state: State | null = null
  #manifest: Manifest | null = null
  #verifier: { manifest: Manifest, verifier: Verifier } | null = null
  readonly peers: Peer[] = []
  readonly #events = new CoreEvents(this)
  #preupdate: Preupdate | null = null
  #acquired = false
  /** What the log was when it was closed, or its store was closed to be opened again. */
  #frozen: FrozenHead | null = null
  #resuming: Promise<void> | null = null
  #isFull = false
  #isMoving = false
  #letGoes = 0
  #resumed: { resolve: () => void, reject: (error: Error) => void } | null = null
  #unwatch: () => void = () => {}
  #locked = false
  #waitsForLock: Array<() => void> = []

  constructor (storage: StorageInput, options: HypercoreOptions) {
    this.replicator = new Replicator(this, options)
    this.db = parseStorage(storage)
    if (this.db.readOnly) options = { ...options, createIfMissing: false, overwrite: false }
    this.globalCache = options.globalCache ?? null
    this.key = options.key as Uint8Array ?? null
    this.discoveryKey = options.discoveryKey ?? (this.key?.byteLength === 32 && isReady() ? discoveryKey(this.key) : null)
    this.opening = this.#open(options)
    this.opening.catch(() => {})
  }

  /** What the engine calls it. */
  get handle (): CoreHandle {
    if (this.#handle === null) throw HypercoreError.SESSION_CLOSED('The core is not open', this.discoveryKey)
    return this.#handle
  }

  get id (): string | null {
    return this.key && encodeId(this.key)
  }

  get manifest (): Manifest | null {
    if (this.#manifest === null && this.opened && !this.closed && !this.#frozen) {
      const bytes = look((engine) => engine.coreManifest(this.handle))
      if (bytes) this.#manifest = decodeManifest(bytes)
    }
    return this.#manifest
  }

  /** All of its states that are open: the log itself first. */
  get sessionStates (): State[] {
    return this.opened && !this.closed ? [this.state, ...this.states.values()] : []
  }

  /** Sessions that listen to more than appends and truncations. */
  get monitors (): Hypercore[] {
    return this.sessions.filter((session) => session.extensions.size > 0 ||
      session.eventNames().some((name) => name !== 'append' && name !== 'truncate'))
  }

  /** @internal Sessions of upstream's class say so; every session that listens is told here. */
  addMonitor (): void {}
  removeMonitor (): void {}

  get destroyed (): boolean {
    return this.closed
  }

  /** Asked before the log grows because a peer proved it; what it throws keeps the log as it is. */
  get preupdate (): Preupdate | null {
    return this.#preupdate
  }

  set preupdate (preupdate: Preupdate | null) {
    this.#preupdate = preupdate
    if (this.opened && !this.closed && !this.#frozen) call((engine) => { engine.coreGuard(this.handle, preupdate !== null) })
  }

  /** Who signs the log; null before that is known. */
  get verifier (): Verifier | null {
    const { key, manifest } = this
    if (!key || !manifest) return null
    if (this.#verifier?.manifest !== manifest) this.#verifier = { manifest, verifier: new Verifier(key, manifest) }
    return this.#verifier.verifier
  }

  get length (): number { return this.#frozen?.length ?? look((engine) => engine.coreLength(this.handle)) }
  get byteLength (): number { return this.#frozen?.byteLength ?? look((engine) => engine.coreByteLength(this.handle)) }
  get fork (): number { return this.#frozen?.fork ?? look((engine) => engine.coreFork(this.handle)) }
  get contiguousLength (): number { return this.#frozen?.contiguousLength ?? look((engine) => engine.coreContiguousLength(this.handle)) }
  get remoteContiguousLength (): number { return this.#frozen?.remoteContiguousLength ?? look((engine) => engine.coreRemoteContiguousLength(this.handle)) }

  /** @internal Full roots of the tree of the log, and what signs them. */
  get roots (): TreeNode[] { return this.#frozen?.roots ?? look((engine) => engine.coreRoots(this.handle)) }
  get signature (): Uint8Array | null { return this.#frozen ? this.#frozen.signature : look((engine) => engine.coreSignature(this.handle)) ?? null }

  /** @internal Resolves when the store is open again; null while it is open. */
  get resuming (): Promise<void> | null {
    return this.#resuming
  }

  /** @internal The store is moving to another tab or worker: what fails is asked again. */
  get isMoving (): boolean {
    return this.#isMoving
  }

  /** What is stored about the core. */
  get header (): CoreHeader | null {
    return this.opened ? headerOf(this) : null
  }

  /** The log itself; a branch has its own. */
  get state (): State {
    return this.#state ??= new State(this, null)
  }

  /** @internal */
  takePicture (state: State): SnapshotState {
    return new SnapshotState(state)
  }

  /** The records of the log as they are stored; null before it is open. */
  get storage (): CoreStorage | null {
    return this.opened ? this.state.storage : null
  }

  ready (): Promise<void> {
    return this.opening
  }

  has (start: number, end = start + 1): boolean {
    if (this.closed) return !this.bitfield.hasUnset(start, end - start)
    if (this.#frozen) return false
    return start < Number.MAX_SAFE_INTEGER && this.state.holds(toIndex(start), toIndex(end))
  }

  hasSession (): boolean {
    return this.activeSessions > 0
  }

  /** Whether neither a session nor a peer uses it. */
  isIdle (): boolean {
    return !this.hasSession() && this.replicator.idle()
  }

  checkIfIdle (): void {
    if (this.opened && this.closing === null && this.isIdle()) this.onidle()
  }

  allSessions (): Hypercore[] {
    return [...this.sessions]
  }

  /** Starts a command on the core. */
  request<T> (command: (core: CoreHandle, engine: Parameters<Parameters<typeof call>[0]>[0]) => number): Request<T> {
    return new Request<T>((engine) => command(this.handle, engine), this.#resuming, this)
  }

  /** Topic of the group that it belongs to. */
  get group (): Uint8Array | null {
    if (!this.opened || this.closed || this.#frozen) return null
    const topic = look((engine) => engine.coreGroup(this.handle))
    return topic ? userBytes(topic) : null
  }

  /** When the store was repaired, in milliseconds; 0 when the log is known to be whole. */
  get recovering (): number {
    return this.opened && !this.closed && !this.#frozen ? look((engine) => engine.coreRecovering(this.handle)) : 0
  }

  set recovering (milliseconds: number) {
    call((engine) => { engine.coreSetRecovering(this.handle, milliseconds) })
  }

  /** Whether roots of its tree are lost: nothing can be written before peers have given them. */
  get isLost (): boolean {
    return this.opened && !this.closed && !this.#frozen && look((engine) => engine.coreIsLost(this.handle))
  }

  /** Puts the core into a group, once and for all. */
  async setGroup (topic: Uint8Array): Promise<void> {
    const { group } = this
    if (group && !equal(group, topic)) {
      throw HypercoreError.STORAGE_CONFLICT(`Core is already register to group: ${toHex(group)}`)
    }
    await this.request((core, engine) => engine.coreSetGroup(core, topic)).promise
  }

  /** Learns the manifest from a program, unless it is known. */
  async setManifest (input: ManifestInput | Uint8Array | null): Promise<void> {
    if (this.manifest !== null) return
    const manifest = createManifest(input)
    if (manifest === null) return
    if (!equal(this.key!, manifestKey(manifest))) throw HypercoreError.INVALID_CHECKSUM('Manifest hash does not match', this.discoveryKey)
    const bytes = encodeManifest(manifest)
    await this.request((core, engine) => engine.coreSetManifest(core, bytes)).promise
  }

  /** Takes the blocks that the manifest fixes from another log, and what programs stored beside it. */
  async copyPrologue (source: State): Promise<void> {
    await copyPrologue(source, this)
  }

  /** Verifies a proof and stores what it proves; false when it is of no use. */
  async verify (proof: Proof, _from?: unknown): Promise<boolean> {
    if (proof.fork !== this.fork) return false
    return !!(await this.request<boolean>((core, engine) => engine.coreApplyProof(core, forEngine(proof))).promise)
  }

  /** Verifies the beginning of another history of the log, under a newer fork: what it wants next is given to its `update`. */
  async verifyReorg (proof: Proof): Promise<ReorgBatch> {
    return await verifyReorg(this, proof)
  }

  /** Follows another history, once it is known where the two part; false when the log has changed meanwhile. */
  async reorg (batch: ReorgBatch): Promise<boolean> {
    return await followReorg(this, batch)
  }

  /** The blocks that are here. */
  openSkipBitfield (): BlockList {
    this.skipBitfield ??= this.bitfield
    return this.skipBitfield
  }

  /** What programs stored beside a log, in the order of names. */
  createUserDataStream (range: UserDataRange = {}, state = this.state): UserDataStream {
    return new UserDataStream(state, range)
  }

  /** Waits until nobody else in this realm has the core to himself. */
  async lockExclusive (): Promise<void> {
    if (this.#locked) await new Promise<void>((resolve) => { this.#waitsForLock.push(resolve) })
    this.#locked = true
  }

  /** @internal Resolves when no other tab or worker is in the middle of several writes to the log, and what they wrote is known here. */
  async lockWrites (kind: string): Promise<() => void> {
    if (!this.db.isShared) return () => {}
    const unlock = await this.db.lock(`${toHex(this.discoveryKey!)}/${kind}`)
    if (isElsewhere(this.handle)) await this.request((core, engine) => engine.coreUpdate(core, { wait: false })).promise.catch(() => {})
    return unlock
  }

  unlockExclusive (): void {
    const next = this.#waitsForLock.shift()
    if (next) next()
    else this.#locked = false
  }

  /** The store compacts itself. */
  async compact (): Promise<Array<[undefined, undefined]>> {
    return this.sessionStates.map(() => [undefined, undefined])
  }

  async closeAllSessions (error: Error | null = null): Promise<void> {
    await Promise.allSettled(this.allSessions().map((session) => session.close({ error })))
  }

  /** Closes every session and deletes what is stored of the core, and the store when nothing else is in it. */
  async purge (): Promise<void> {
    const { db, discoveryKey } = this
    for (const session of this.allSessions()) await session.close()
    await this.close()
    await db.deleteCore(discoveryKey!)
    if (db.users === 0 && await db.isEmpty()) await db.destroy()
  }

  /** Looks whether what is stored fits together, and drops what does not. */
  async audit (options?: AuditOptions): Promise<Audit> {
    return await audit(this, options)
  }

  /** Replicates on a stream. */
  attach (mux: Mux): void {
    if (this.closing !== null || mux.destroyed) return
    if (this.#name !== null && this.discoveryKey !== this.#name) return attachRenamed(this, mux)
    this.muxes.add(mux)
    if (this.opened && this.#frozen === null) this.state.checkSignature()
    if (this.opened && this.#frozen === null) call((engine) => { engine.coreSwitch(this.handle, 3, hasSmallWants()) })
    if (mux.linking !== null) this.replicator.awaitHandshake(mux.linking)
    if (this.#isFull || this.#frozen !== null) return
    mux.attach(this.handle, this)
    const linking = mux.linkingBeside(this.handle)
    if (linking !== null) this.replicator.awaitHandshake(linking)
  }

  /** @internal The handshake of a stream is done. */
  muxOpened (): void {
    this.checkIfIdle()
  }

  /** @internal What the core is replicated on there, once both ends opened it. */
  channelOn (mux: Mux): ReplicationChannel | null {
    return this.peers.findLast((peer) => peer.mux === mux)?.channel ?? null
  }

  /** @internal A stream is over. */
  muxOver (mux: Mux): void {
    this.muxes.delete(mux)
    this.checkIfIdle()
  }

  /** Closes the core, and the storage if nothing else is in it. */
  close (): Promise<void> {
    this.closing ??= this.#close()
    return this.closing
  }

  /** Closes the core and its weak sessions. */
  async destroy (): Promise<void> {
    if (this.closed) return
    if (this.hasSession()) throw new Error('Cannot destroy while sessions are open')
    await this.close()
  }

  async #open (options: HypercoreOptions): Promise<void> {
    try {
      if (options.preopen) await options.preopen
      await ready()
      const opening = openOptions(options)
      if (this.key) this.discoveryKey = discoveryKey(this.key)
      this.store = await this.db.acquire()
      this.#acquired = true
      const legacy = options.legacyFiles === undefined ? this.db.legacyFiles() : options.legacyFiles
      // Whoever names no core gets the first one, also when somebody has it open.
      const isUnnamed = !opening.key && !opening.discoveryKey && !opening.manifest
      if (!isUnnamed) await this.db.looking()
      const known = isUnnamed && !legacy ? await this.#firstCore() : null
      if (known) opening.discoveryKey = known
      else if (isUnnamed && !legacy && this.db.users > 1 && !this.db.isShared && opening.createIfMissing && !opening.overwrite) nameNewCore(opening)
      this.#unwatch = this.db.watch({
        letGo: (failure, isMoving) => this.#letGo(fromFailure(failure, this.discoveryKey), isMoving),
        resume: (store) => this.#resume(store, { ...opening, ...this.#set, createIfMissing: false, overwrite: false, ...(this.key ? { key: this.key } : {}) }),
        close: async () => {
          await this.closeAllSessions()
          await this.close()
        },
        lost: (failure) => { this.#stop(fromFailure(failure, this.discoveryKey)) }
      })
      const handle = await this.#openHandle(this.store, opening, legacy).catch(async (error: HypercoreError) => {
        // Another tab may have made the first core meanwhile.
        const made = isUnnamed && !known && error.code === 'STORAGE_CONFLICT' ? await this.#firstCore() : null
        if (made === null) throw error
        unlisten('core', this.handle, this.#events.handle)
        return await this.#openHandle(this.store, { ...opening, discoveryKey: made })
      })
      if (legacy) await importBlocks(handle, legacy)
      this.#opened(options)
      if (isUnnamed) this.db.unnamed ??= this
      if (options.group) await this.setGroup(options.group)
    } catch (error) {
      await this.#giveUp()
      this.onidle()
      throw error
    }
  }

  /** The core that is meant when none is named, where somebody else may have it open. */
  async #firstCore (): Promise<Uint8Array | null> {
    const { db } = this
    if (db.unnamed?.discoveryKey) return db.unnamed.discoveryKey
    return db.isShared || db.users > 1 ? await db.lookForFirst() : null
  }

  // What of the options was changed since.
  get #set (): OpenCoreOptions {
    const { allowPush, latestBlock, inflightRange } = this.replicator
    return { allowPush, allowLatestBlock: latestBlock, inflightRange }
  }

  // A store that moves meanwhile is asked again where it is then.
  async #openHandle (store: StoreHandle, opening: OpenCoreOptions, legacy: LegacyFiles | null = null): Promise<CoreHandle> {
    for (;;) {
      const [handle, id] = legacy ? openImported(this, store, opening, legacy) : call((engine) => engine.openCore(store, opening))
      listen('core', handle, this.#events.handle)
      this.#handle = handle
      try {
        await new Request<void>(() => id, null, this).promise
        return handle
      } catch (error) {
        const { isMoving } = this.db
        if (!isMoving && !hasMoved(error)) throw error
        unlisten('core', handle, this.#events.handle)
        this.#handle = null
        const before = store
        await this.db.release()
        this.#acquired = false
        store = this.store = await this.db.acquire()
        this.#acquired = true
        if (store === before && !isMoving) throw error
      }
    }
  }

  #opened (options: HypercoreOptions): void {
    const handle = this.handle
    this.key = userBytes(look((engine) => engine.coreKey(handle)))
    this.#name = this.discoveryKey = userBytes(look((engine) => engine.coreDiscoveryKey(handle)))
    this.compat = look((engine) => engine.coreIsCompat(handle))
    this.keyPair = this.#storedKeyPair(handle, options)
    this.opened = true
    this._repairMode = this.isLost
    this.replicator.pushOnly ||= this._repairMode
    if (this.#preupdate !== null) this.preupdate = this.#preupdate
    if (this.replicator.findingPeers > 0) setFindingPeers(handle, this.replicator, this.replicator.findingPeers)
  }

  #storedKeyPair (handle: CoreHandle, options: HypercoreOptions): KeyPair | null {
    return look((engine) => {
      if (engine.coreKeyPair) {
        const pair = engine.coreKeyPair(handle)
        return pair ? { publicKey: userBytes(pair.publicKey), secretKey: pair.secretKey ? userBytes(pair.secretKey) : null } : null
      }
      const publicKey = engine.corePublicKey(handle)
      if (!publicKey) return null
      const given = options.keyPair
      if (given && equal(given.publicKey, publicKey)) return { publicKey: given.publicKey, secretKey: given.secretKey ?? null }
      // The secret stays in the engine, which signs with it.
      return { publicKey: userBytes(publicKey), secretKey: engine.coreHasSecretKey(handle) ? userBytes(new Uint8Array(0)) : null }
    })
  }

  // Whoever opens it next opens another one: it may have failed for want of room.
  async #giveUp (): Promise<void> {
    this.closed = true
    this.closing ??= Promise.resolve()
    const handle = this.#handle
    this.#handle = null
    if (handle !== null) {
      unlisten('core', handle, this.#events.handle)
      await request((engine) => engine.closeCore(handle)).catch(() => {})
    }
    this.#unwatch()
    if (this.#acquired) await this.db.release()
  }

  // Sessions stay: what they ask meanwhile is asked once the store is open again.
  async #letGo (error: Error, isMoving: boolean): Promise<void> {
    if (!this.opened || this.closing !== null) return
    this.#letGoes++
    this.#isMoving = isMoving
    for (const state of this.states.values()) {
      if (isMoving) state.letGo()
      else state.atom?.lose(error)
    }
    if (this.#frozen !== null) {
      // It was about to resume.
      const handle = this.#handle
      if (handle === null) return
      unlisten('core', handle, this.#events.handle)
      await request((engine) => engine.closeCore(handle)).catch(() => {})
      return
    }
    const { handle } = this
    this.#keepManifest()
    this.#frozen = headOf(handle)
    this.arrivals = isMoving ? new Arrivals(handle) : null
    this.#resuming = new Promise((resolve, reject) => { this.#resumed = { resolve, reject } })
    this.#resuming.catch(() => {})
    for (const session of this.allSessions()) {
      const { state } = session
      if (state?.live !== this.state && !isMoving) void session.close({ error }).catch(() => {})
    }
    this.#events.removePeers()
    unlisten('core', handle, this.#events.handle)
    for (const mux of this.muxes) mux.forget(handle)
    forgetWishes(handle, this.replicator)
    for (const session of isMoving ? [] : this.allSessions()) {
      for (const request of [...session.activeRequests]) request?.fail(error)
      session.emit('storage-full', error)
    }
    await request((engine) => engine.closeCore(handle)).catch(() => {})
  }

  // What a program may ask for while it is not open.
  #keepManifest (): void {
    try {
      void this.manifest
    } catch {
      // It names numbers that nothing here has.
    }
  }

  async #resume (store: StoreHandle, opening: OpenCoreOptions): Promise<void> {
    if (this.#frozen === null) return
    const isMoving = this.#isMoving
    const frozen = this.#frozen
    const letGoes = this.#letGoes
    const [handle, id] = call((engine) => engine.openCore(store, opening))
    listen('core', handle, this.#events.handle)
    this.#handle = handle
    this.store = store
    let changes: Changes | null = null
    const thaws: Array<() => void> = []
    try {
      await request(() => id)
      if (isMoving) {
        for (const state of [...this.states.values()]) thaws.push(await state.reopen())
        changes = await changesSince(handle, frozen)
      }
    } catch (error) {
      if (letGoes === this.#letGoes) throw error
    }
    // It has moved once more.
    if (letGoes !== this.#letGoes) return
    this.#frozen = null
    this.#resuming = null
    this.#isMoving = false
    this.replicator.resumed()
    for (const picture of this.pictures) picture.shown.id = null
    if (this.#preupdate !== null) this.preupdate = this.#preupdate
    this.#resumed!.resolve()
    // What peers tell would have to be stored, so there are none until there is room.
    if (!isMoving) this.#isFull = true
    else this.#moved(frozen, changes!)
    for (const thaw of thaws) thaw()
  }

  // What happened while nobody here was told.
  #moved (before: FrozenHead, changes: Changes): void {
    const arrivals = this.arrivals
    this.arrivals = null
    const { length, remoteContiguousLength } = this
    // Who signs the log has appended to it, and not fetched it.
    const came = arrivals?.since(this.handle, this.keyPair?.secretKey ? Math.min(length, before.length) : length)
    for (const mux of this.muxes) this.attach(mux)
    if (!before.hasManifest && headOf(this.handle).hasManifest) this.#events.handle('manifest', [])
    for (const [kind, rest] of changes()) this.#events.handle(kind, rest)
    if (remoteContiguousLength !== before.remoteContiguousLength) this.#events.handle('remote-contiguous-length', [remoteContiguousLength])
    if (came?.length) this.#tellOf(came).catch(() => {})
  }

  // Which peers they came from is not known.
  async #tellOf (blocks: number[]): Promise<void> {
    const rx = this.state.storage.read()
    const leaves = blocks.map((index) => rx.getTreeNode(2 * index))
    rx.tryFlush()
    for (const [at, leaf] of (await Promise.all(leaves)).entries()) if (leaf) this.#events.handle('download', [blocks[at]!, leaf.size, 0])
  }

  /** @internal Something was stored: if there was no room, there is now, and peers may come again. */
  stored (): void {
    if (!this.#isFull) return
    this.#isFull = false
    for (const mux of this.muxes) mux.attach(this.handle, this)
  }

  // What waits for blocks would wait for ever: nothing is stored any more.
  #stop (error: Error): void {
    this.#resumed?.reject(error)
    for (const state of this.states.values()) state.atom?.lose(error)
    for (const session of this.allSessions()) void session.close({ error }).catch(() => {})
  }

  async #close (): Promise<void> {
    try {
      await this.opening
      // What is moving is closed where it is then.
      while (this.#resuming) await this.#resuming
    } catch {
      if (!this.opened) return
    }
    if (this.hasSession()) throw new Error('Cannot close while sessions are open')
    const weak = this.allSessions()
    const handle = this.handle
    this.#keepManifest()
    this.bitfield.keep(this.length, this.contiguousLength)
    this.#frozen ??= headOf(handle)
    for (const mux of this.muxes) mux.detach(handle)
    this.muxes.clear()
    try {
      await closeCore(handle)
    } finally {
      unlisten('core', handle, this.#events.handle)
      forgetWishes(handle, this.replicator)
      this.closed = true
      this.#unwatch()
      if (this.db.unnamed === this) this.db.unnamed = null
      this.#events.forgetPeers()
      await this.db.release()
      for (const session of weak) session.close().catch(() => {})
      if (this.autoClose) await this.db.userClosed()
    }
  }
}
