// One open core of the engine, shared by its sessions.

import type { CoreHandle, Failure, KeyPair, OpenCoreOptions, StoreHandle } from '../binding.js'
import { fromFailure, HypercoreError } from '../errors.js'
import { userBytes } from '../platform.js'
import { call, isReady, listen, look, ready, request, Request, unlisten } from '../runtime.js'
import { equal, isBytes } from '../support/bytes.js'
import { discoveryKey } from '../support/crypto.js'
import { encodeId } from '../support/id.js'
import { parseStorage, type StorageInput } from '../storage/parse.js'
import type { LegacyFiles, Storage } from '../storage/storage.js'
import { Mux } from '../links/mux.js'
import type { HypercoreOptions } from './options.js'
import type { Hypercore } from './hypercore.js'
import { createManifest, decodeManifest, encodeManifest, isCompat, manifestKey, type Manifest } from './manifest.js'
import { Peer, statsOf, type PeerStats } from './peer.js'
import { State } from './state.js'

/** What an audit looks at; everything by default. */
export interface AuditOptions {
  tree?: boolean
  blocks?: boolean
  bitfield?: boolean
  /** Only counts. */
  dryRun?: boolean
}

/** What an audit found. */
export interface Audit {
  treeNodes: number
  blocks: number
  bits: number
  droppedTreeNodes: number
  droppedBlocks: number
  droppedBits: number
  corrupt: boolean
}

type AuditedPart = Omit<Audit, 'corrupt'> & { next: number | null }

/** How much of a folder of hypercore 10 is read at once. */
const IMPORT_BYTES = 1 << 20

/** What upstream keeps of a core beside its log. */
export interface CoreHeader {
  key: Uint8Array
  keyPair: KeyPair | null
  manifest: Manifest | null
  frozen: boolean
  hints: { reorgs: never[], contiguousLength: number, remoteContiguousLength: number, recovering: number }
}

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
  readonly storage: Storage
  keyPair: KeyPair | null = null
  /** Open branches and atomic states. */
  readonly states = new Map<CoreHandle, State>()
  /** The store that it is in, once opening. */
  store: StoreHandle = 0
  exclusive: Promise<void> = Promise.resolve()
  /** How often a store found it idle. */
  gc = 0
  /** Called when nobody uses it any more. */
  onidle: () => void = () => {}

  #handle: CoreHandle | null = null
  #state: State | null = null
  #manifest: Manifest | null = null
  #peers = new Map<number, Peer>()
  #acquired = false
  /** What the log was when its store was closed to be opened again. */
  #frozen: { length: number, byteLength: number, fork: number, contiguousLength: number, remoteContiguousLength: number } | null = null
  #resuming: Promise<void> | null = null
  #isFull = false
  #resumed: { resolve: () => void, reject: (error: Error) => void } | null = null
  #unwatch: () => void = () => {}

  constructor (storage: StorageInput, options: HypercoreOptions) {
    this.replicator = new Replicator(this)
    this.storage = parseStorage(storage)
    this.key = options.key as Uint8Array ?? null
    this.discoveryKey = options.discoveryKey ?? (this.key && isReady() ? discoveryKey(this.key) : null)
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
    if (this.#manifest === null && this.opened && !this.closed) {
      const bytes = look((engine) => engine.coreManifest(this.handle))
      if (bytes) this.#manifest = decodeManifest(bytes)
    }
    return this.#manifest
  }

  get length (): number { return this.#frozen?.length ?? look((engine) => engine.coreLength(this.handle)) }
  get byteLength (): number { return this.#frozen?.byteLength ?? look((engine) => engine.coreByteLength(this.handle)) }
  get fork (): number { return this.#frozen?.fork ?? look((engine) => engine.coreFork(this.handle)) }
  get contiguousLength (): number { return this.#frozen?.contiguousLength ?? look((engine) => engine.coreContiguousLength(this.handle)) }
  get remoteContiguousLength (): number { return this.#frozen?.remoteContiguousLength ?? look((engine) => engine.coreRemoteContiguousLength(this.handle)) }

  /** @internal Resolves when the store is open again; null while it is open. */
  get resuming (): Promise<void> | null {
    return this.#resuming
  }

  get peers (): Peer[] {
    return [...this.#peers.values()]
  }

  /** The blocks that are here. */
  get bitfield (): { get: (index: number) => boolean, firstSet: (from: number) => number, firstUnset: (from: number) => number } {
    const first = (from: number, isHere: boolean) => {
      for (let index = from; index < this.length; index++) if (this.has(index) === isHere) return index
      return isHere ? -1 : Math.max(from, this.length)
    }
    return { get: (index) => this.has(index), firstSet: (from) => first(from, true), firstUnset: (from) => first(from, false) }
  }

  /** What is stored about the core. */
  get header (): CoreHeader | null {
    if (!this.opened || this.closed) return null
    const { key, keyPair, manifest, contiguousLength, remoteContiguousLength } = this
    return { key: key!, keyPair, manifest, frozen: false, hints: { reorgs: [], contiguousLength, remoteContiguousLength, recovering: 0 } }
  }

  /** The log itself; a branch has its own. */
  get state (): State {
    return this.#state ??= new State(this, null)
  }

  ready (): Promise<void> {
    return this.opening
  }

  has (start: number, end = start + 1): boolean {
    if (this.#frozen) return false
    return start < Number.MAX_SAFE_INTEGER && look((engine) => engine.coreHas(this.handle, start, end))
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
    return new Request<T>((engine) => command(this.handle, engine), this.#resuming)
  }

  /** Takes the blocks that the manifest fixes from another log in the same storage. */
  async copyPrologue (source: State): Promise<void> {
    await this.request((core, engine) => engine.coreCopyPrologue(core, source.handle)).promise
  }

  /** Looks whether what is stored fits together, and drops what does not. */
  async audit (options: AuditOptions = {}): Promise<Audit> {
    const total: Audit = { treeNodes: 0, blocks: 0, bits: 0, droppedTreeNodes: 0, droppedBlocks: 0, droppedBits: 0, corrupt: false }
    for (let start: number | null = 0; start !== null;) {
      const from: number = start
      const { next, ...found }: AuditedPart = await this.request<AuditedPart>((core, engine) => engine.coreAudit(core, from, options)).promise
      for (const [name, count] of Object.entries(found) as Array<[keyof typeof found, number]>) total[name] += count
      start = next
    }
    return total
  }

  /** Replicates on a stream. */
  attach (mux: Mux): void {
    if (this.closing !== null || mux.destroyed) return
    this.muxes.add(mux)
    if (!this.#isFull && this.#frozen === null) mux.attach(this.handle, this)
  }

  /** @internal The handshake of a stream is done. */
  muxOpened (): void {
    this.checkIfIdle()
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

  async #open (options: HypercoreOptions): Promise<void> {
    try {
      if (options.preopen) await options.preopen
      await ready()
      const opening = openOptions(options)
      if (this.key) this.discoveryKey = discoveryKey(this.key)
      const store = this.store = await this.storage.acquire()
      this.#acquired = true
      this.#unwatch = this.storage.watch({
        letGo: (failure) => this.#letGo(fromFailure(failure, this.discoveryKey)),
        resume: (store) => this.#resume(store, { ...opening, createIfMissing: false, overwrite: false, ...(this.key ? { key: this.key } : {}) }),
        lost: (failure) => { this.#stop(fromFailure(failure, this.discoveryKey)) }
      })
      const legacy = options.legacyFiles === undefined ? this.storage.legacyFiles() : options.legacyFiles
      const [handle, id] = legacy ? this.#openImported(store, opening, legacy) : call((engine) => engine.openCore(store, opening))
      listen('core', handle, (kind, rest) => { this.#onevent(kind, rest) })
      this.#handle = handle
      await new Request<void>(() => id).promise
      if (legacy) await this.#importBlocks(handle, legacy)
      this.#opened(options)
    } catch (error) {
      await this.#giveUp()
      this.onidle()
      throw this.#named(error)
    }
  }

  // Upstream says which core it was that is not there.
  #named (error: unknown): unknown {
    if (!(error instanceof HypercoreError) || error.code !== 'STORAGE_EMPTY' || error.discoveryKey) return error
    return HypercoreError.STORAGE_EMPTY('No Hypercore is stored here', this.discoveryKey)
  }

  #openImported (store: StoreHandle, opening: OpenCoreOptions, { oplog, header, tree, bitfield }: LegacyFiles): [CoreHandle, number] {
    const [handle, id] = call((engine) => engine.openImportedCore(store, opening, oplog, header ?? undefined, tree, bitfield))
    if (typeof handle !== 'number') throw fromFailure(handle, this.discoveryKey)
    return [handle, id!]
  }

  // What an earlier attempt stored is stored again, which changes nothing.
  async #importBlocks (handle: CoreHandle, legacy: LegacyFiles): Promise<void> {
    for (;;) {
      const range = call((engine) => engine.coreImportRange(handle, IMPORT_BYTES))
      if (!range) break
      const bytes = legacy.read(...range)
      await request((engine) => engine.coreImportBytes(handle, bytes))
    }
    legacy.imported()
  }

  #opened (options: HypercoreOptions): void {
    const handle = this.handle
    this.key = userBytes(look((engine) => engine.coreKey(handle)))
    this.discoveryKey = userBytes(look((engine) => engine.coreDiscoveryKey(handle)))
    this.compat = look((engine) => engine.coreIsCompat(handle))
    this.keyPair = this.#storedKeyPair(handle, options)
    this.opened = true
    if (this.replicator.findingPeers > 0) call((engine) => { engine.coreSetFindingPeers(handle, this.replicator.findingPeers) })
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

  async #giveUp (): Promise<void> {
    this.closed = true
    const handle = this.#handle
    this.#handle = null
    if (handle !== null) {
      unlisten('core', handle)
      await request((engine) => engine.closeCore(handle)).catch(() => {})
    }
    this.#unwatch()
    if (this.#acquired) await this.storage.release()
  }

  // Sessions stay: what they ask meanwhile is asked once the store is open again.
  async #letGo (error: Error): Promise<void> {
    if (!this.opened || this.closing !== null) return
    const { handle, length, byteLength, fork, contiguousLength, remoteContiguousLength } = this
    this.#frozen = { length, byteLength, fork, contiguousLength, remoteContiguousLength }
    this.#resuming = new Promise((resolve, reject) => { this.#resumed = { resolve, reject } })
    this.#resuming.catch(() => {})
    for (const session of this.allSessions()) if (session.state !== this.state) void session.close({ error }).catch(() => {})
    for (const id of [...this.#peers.keys()]) this.#removePeer(id)
    unlisten('core', handle)
    for (const mux of this.muxes) mux.forget(handle)
    for (const session of this.allSessions()) {
      for (const request of [...session.activeRequests]) request?.fail(error)
      session.emit('storage-full', error)
    }
    await request((engine) => engine.closeCore(handle)).catch(() => {})
  }

  async #resume (store: StoreHandle, opening: OpenCoreOptions): Promise<void> {
    if (this.#frozen === null) return
    const [handle, id] = call((engine) => engine.openCore(store, opening))
    listen('core', handle, (kind, rest) => { this.#onevent(kind, rest) })
    await new Request<void>(() => id).promise
    this.#handle = handle
    this.store = store
    this.#frozen = null
    this.#resuming = null
    this.replicator.resumed()
    for (const session of this.allSessions()) session.onreopen()
    // What peers tell would have to be stored, so there are none until there is room.
    this.#isFull = true
    this.#resumed!.resolve()
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
    for (const session of this.allSessions()) void session.close({ error }).catch(() => {})
  }

  async #close (): Promise<void> {
    try {
      await this.opening
    } catch {
      return
    }
    const handle = this.handle
    for (const mux of this.muxes) mux.detach(handle)
    this.muxes.clear()
    try {
      await request((engine) => engine.closeCore(handle))
    } finally {
      unlisten('core', handle)
      this.closed = true
      this.#unwatch()
      for (const peer of this.#peers.values()) peer.removed = true
      this.#peers.clear()
      await this.storage.release()
    }
  }

  #onevent (kind: string, rest: unknown[]): void {
    switch (kind) {
      case 'append':
        this.#emit((session) => { if (session.state === this.state) session.onappend() })
        break
      case 'truncate':
        this.#emit((session) => { if (session.state === this.state) session.ontruncate(rest[0] as number, rest[1] as number) })
        break
      case 'manifest':
        this.compat = look((engine) => engine.coreIsCompat(this.handle))
        this.#emit((session) => { session.emit('manifest') })
        break
      case 'remote-contiguous-length':
        this.#emit((session) => { session.emit('remote-contiguous-length', rest[0] as number) })
        break
      case 'download': {
        const [index, byteLength, id, elapsed] = rest as [number, number, number, number | null | undefined]
        const peer = this.#peer(id)
        this.#emit((session) => { session.emit('download', index, byteLength - session.padding, peer, { elapsed: elapsed ?? 0 }) })
        break
      }
      case 'upload': {
        const [index, byteLength, id] = rest as [number, number, number]
        this.#emit((session) => { session.emit('upload', index, byteLength - session.padding, this.#peer(id)) })
        break
      }
      case 'peer-add':
        this.#addPeer(rest[0] as number, (rest[1] ?? rest[0]) as number)
        break
      case 'peer-remove':
        this.#removePeer(rest[0] as number)
        break
      case 'verification-error': {
        const peer = this.#peer(rest[1] as number)
        if (peer) peer.failures.data++
        this.replicator.failures.data++
        const error = fromFailure(rest[0] as Failure, this.discoveryKey)
        const block = typeof rest[2] === 'number' ? { index: rest[2] } : null
        this.#emit((session) => { session.emit('verification-error', error, { block }, null, peer) })
        break
      }
      case 'invalid-request': {
        const peer = this.#peer(rest[1] as number)
        if (peer) peer.failures.requests++
        this.replicator.failures.requests++
        const error = fromFailure(rest[0] as Failure, this.discoveryKey)
        this.#emit((session) => { session.emit('invalid-request', error, null, peer) })
        break
      }
      case 'conflict': {
        const [length, fork, proof] = rest as [number, number, unknown]
        this.#emit((session) => { session.emit('conflict', length, fork, proof ?? null) })
        for (const session of this.allSessions()) void session.close({ error: conflict(this.discoveryKey) }).catch(() => {})
        break
      }
      case 'extension': {
        const [id, name, payload] = rest as [number, string, Uint8Array]
        const peer = this.#peer(id)
        if (peer) peer.extensions.get(name)?.receive(userBytes(payload), peer)
        break
      }
      case 'core-closed': {
        const error = rest[0] ? fromFailure(rest[0] as Failure, this.discoveryKey) : null
        for (const session of this.allSessions()) void session.close({ error }).catch(() => {})
      }
    }
  }

  // Newest session first, as upstream; a copy, because a listener may close sessions.
  #emit (tell: (session: Hypercore) => void): void {
    const sessions = this.allSessions()
    for (let i = sessions.length - 1; i >= 0; i--) tell(sessions[i]!)
  }

  #peer (id: number): Peer | null {
    return this.#peers.get(id) ?? null
  }

  #addPeer (id: number, link: number): void {
    const mux = [...this.muxes].find((mux) => mux.isOn(link)) ?? null
    const peer = new Peer(this, id, link, mux)
    this.#peers.set(id, peer)
    this.#emit((session) => {
      session.emit('peer-add', peer)
      for (const extension of session.extensions.values()) peer.extensions.set(extension.name, extension)
    })
  }

  #removePeer (id: number): void {
    const peer = this.#peers.get(id)
    if (!peer) return
    this.#peers.delete(id)
    peer.removed = true
    this.#emit((session) => { session.emit('peer-remove', peer) })
    this.checkIfIdle()
  }
}

/** What programs reach through `core.replicator`. */
export class Replicator {
  readonly core: Core
  findingPeers = 0
  /** Called when blocks are wanted that were not wanted before. */
  ondownloading: (() => void) | null = null
  /** @internal */
  readonly failures = { data: 0, requests: 0 }
  #traffic: [number[], number[]] | null = null
  #active = 0

  constructor (core: Core) {
    this.core = core
  }

  get peers (): Peer[] {
    return this.core.peers
  }

  /** Messages of all peers so far. */
  get stats (): PeerStats {
    const { core } = this
    if (core.opened && !core.closed) this.#traffic = look((engine) => engine.coreTraffic?.(core.handle)) ?? null
    return statsOf(this.#traffic, this.failures)
  }

  get downloading (): boolean {
    return this.isDownloading()
  }

  /** Whether no peer is there, and none may come with a stream that is being opened. */
  idle (): boolean {
    return this.core.peers.length === 0 && [...this.core.muxes].every((mux) => mux.open)
  }

  /** Whether blocks are wanted. */
  isDownloading (): boolean {
    return this.#active > 0
  }

  attachTo (mux: unknown): void {
    this.core.attach(Mux.from(mux))
  }

  detachFrom (stream: unknown): void {
    const mux = Mux.from(stream)
    this.core.muxes.delete(mux)
    mux.detach(this.core.handle)
  }

  attached (mux: unknown): boolean {
    return this.core.opened && !this.core.closed && Mux.from(mux).attached(this.core.handle)
  }

  /** Sends a block to every peer that takes pushes and lacks it. */
  async push (index: number): Promise<void> {
    call((engine) => { engine.corePush?.(this.core.handle, index) })
  }

  setPushOnly (pushOnly: boolean): void {
    call((engine) => { engine.coreSetPushOnly?.(this.core.handle, pushOnly) })
  }

  setAllowPush (allowPush: boolean): void {
    call((engine) => { engine.coreSetAllowPush?.(this.core.handle, allowPush) })
  }

  /** @internal The engine has the core anew, and is told what it was told before. */
  resumed (): void {
    call((engine) => { engine.coreSetActive(this.core.handle, this.#active > 0) })
    if (this.findingPeers > 0) call((engine) => { engine.coreSetFindingPeers(this.core.handle, this.findingPeers) })
  }

  /** @internal One more or one less session wants blocks. */
  updateActivity (change: number): void {
    if (change === 0) return
    const was = this.#active > 0
    this.#active += change
    const is = this.#active > 0
    if (was === is) return
    call((engine) => { engine.coreSetActive(this.core.handle, is) })
    if (is) this.ondownloading?.()
    else this.core.checkIfIdle()
  }

  /** @internal One more or one less search for peers is under way. */
  updateFindingPeers (change: number): void {
    if (change === 0) return
    this.findingPeers += change
    if (this.core.opened && !this.core.closed) call((engine) => { engine.coreSetFindingPeers(this.core.handle, this.findingPeers) })
  }
}

function openOptions (options: HypercoreOptions): OpenCoreOptions {
  const manifest = createManifest(options.manifest)
  const key = options.key as Uint8Array | null | undefined
  const keyPair = options.keyPair
  if (key && !isBytes(key)) throw HypercoreError.BAD_ARGUMENT('key must be a buffer or an id')
  if (manifest && !options.compat && key && !equal(key, manifestKey(manifest)) && !isCompat(key, manifest)) {
    throw HypercoreError.STORAGE_CONFLICT('Manifest does not hash to provided key', discoveryKey(key))
  }
  const opening: OpenCoreOptions = {
    compat: options.compat === true,
    createIfMissing: options.createIfMissing !== false,
    overwrite: options.overwrite === true,
    force: options.force === true,
    eagerUpgrade: options.eagerUpgrade !== false,
    allowFork: options.allowFork !== false,
    allowPush: !!options.allowPush,
    pushOnly: !!options.pushOnly
  }
  if (key) opening.key = key
  if (options.discoveryKey) opening.discoveryKey = options.discoveryKey
  if (keyPair) opening.keyPair = { publicKey: keyPair.publicKey, secretKey: keyPair.secretKey ?? null }
  if (manifest) opening.manifest = encodeManifest(manifest)
  if (options.notDownloadingLinger !== undefined) opening.notDownloadingLinger = options.notDownloadingLinger
  if (options.inflightRange) opening.inflightRange = options.inflightRange
  if (options.alias) opening.alias = options.alias
  return opening
}

function conflict (discoveryKey: Uint8Array | null): HypercoreError {
  return new HypercoreError('Two conflicting signatures for one length', 'INVALID_SIGNATURE', discoveryKey)
}
