// What a session of a core is: its fields, and how it opens and closes.
//
// Declarations keep the library: not every project has what `await using` needs.
/// <reference lib="esnext.disposable" preserve="true" />

import { HypercoreError } from '../errors.js'
import { fromUtf8, isBytes } from '../support/bytes.js'
import { EventEmitter } from '../support/emitter.js'
import { resolveEncoding, type CompactEncoding } from '../support/encoding.js'
import { decodeId } from '../support/id.js'
import type { StorageInput } from '../storage/parse.js'
import { Core } from './core.js'
import { createEncryption, encryptionOption, type EncryptionProvider } from './encryption.js'
import type { Extension } from './extension.js'
import type { Hypercore } from './hypercore.js'
import { inspect, type InspectOptions } from './inspect.js'
import type { Manifest } from './manifest.js'
import type { HypercoreOptions, KeyPairInput } from './options.js'
import type { Peer } from './peer.js'
import type { Proof } from './proof.js'
import type { Replicator } from './replicator.js'
import { clearRequests, type ActiveRequests } from './requests.js'
import type { Shown, SnapshotState } from './snapshot-state.js'
import type { State } from './state.js'

/** What a session of a core tells. */
export type HypercoreEvents = {
  /** It is open. */
  ready: []
  /** It is closed. */
  close: []
  /** The log is longer, by what was written here or by what a peer has. */
  append: []
  /** The log was cut to `ancestors` blocks, and is of this fork. */
  truncate: [ancestors: number, fork: number]
  /** The manifest is known, or is another one. */
  manifest: []
  /** A peer replicates the core. */
  'peer-add': [peer: Peer]
  /** A peer does so no longer. */
  'peer-remove': [peer: Peer]
  /** A block came; of how many bytes, and from whom: null where another tab has the peer. `elapsed` is in milliseconds. */
  download: [index: number, byteLength: number, peer: Peer | null, request: { elapsed: number }]
  /** A block was sent to a peer; of how many bytes. */
  upload: [index: number, byteLength: number, peer: Peer | null]
  /** How many blocks from the first on some peer has all of. */
  'remote-contiguous-length': [length: number]
  /** What a peer sent is not true: `request` says of which block. That peer is asked for nothing more. */
  'verification-error': [error: Error, request: unknown, response: unknown, peer: Peer | null]
  /** A peer asked for what cannot be answered. */
  'invalid-request': [error: Error, request: unknown, peer: Peer | null]
  /** Two histories of one fork are signed: the proof of the other one. The core takes nothing more, and closes. */
  conflict: [length: number, fork: number, proof: Proof]
  /** The session reads and writes another core from now on, of this key. */
  migrate: [key: Uint8Array]
  /** Roots of the tree were lost, and are taken from a peer. */
  repairing: [proof: Proof]
  /** They are here again. */
  repaired: [proof: Proof]
  /** They could not be taken. */
  'repair-failed': []
  /** Nothing more can be stored; what is there can be read. */
  'storage-full': [error: Error]
}

/** For `await using`. */
export interface Session extends AsyncDisposable {}

/** What all sessions have: their place in a core, and their opening and closing. */
export abstract class Session extends EventEmitter<HypercoreEvents> {
  /** What all sessions of it share; null before it is open. */
  core: Core | null = null
  /** The log, branch or atomic view that this session reads and writes. */
  state: State | null = null
  /** What blocks are encrypted with; null for nothing. */
  encryption: EncryptionProvider | null = null
  /** Those of `registerExtension()`, by name. */
  readonly extensions = new Map<string, Extension>()
  /** What blocks are made from and into; null for bytes. */
  valueEncoding: CompactEncoding | null = null
  encodeBatch: ((blocks: any[]) => Uint8Array[]) | null = null
  /** What was asked for and is under way. */
  readonly activeRequests: ActiveRequests = []
  /** The sessions that came from the same one. */
  sessions: Hypercore[] = []
  /** Who signs; null for nobody. */
  keyPair: KeyPairInput | null
  /** False once it is closed. */
  readable = true
  /** Whether blocks can be appended. */
  writable = false
  /** Whether other exclusive sessions wait for it. */
  exclusive = false
  /** Whether it is open. */
  opened = false
  /** Whether it is closed. */
  closed = false
  /** Whether it does not keep the core open. */
  readonly weak: boolean
  /** Whether it keeps to the length that there was. */
  readonly snapshotted: boolean
  onseq: NonNullable<HypercoreOptions['onseq']> | null
  onwait: NonNullable<HypercoreOptions['onwait']> | null
  ongc: NonNullable<HypercoreOptions['ongc']> | null
  /** Whether reads wait for peers. */
  wait: boolean
  /** Milliseconds that they wait; 0 for as long as it takes. */
  timeout: number
  /** How often a get had to wait for peers. */
  waits = 0
  /** Under way while it closes; null before. */
  closing: Promise<void> | null = null
  /** Resolves when it is open, as `ready()`. */
  readonly opening: Promise<void>

  /** @internal */
  _readonly: boolean
  /** @internal */
  _active: boolean
  /** @internal */
  _findingPeers = 0
  /** @internal */
  preload: Promise<Partial<HypercoreOptions>> | null = null
  /** @internal */
  _snapshot: Shown | null = null
  #picture: SnapshotState | null = null
  /** @internal */
  _marking = false

  constructor (storage?: StorageInput | HypercoreOptions | null, key?: Uint8Array | string | HypercoreOptions | null, options?: HypercoreOptions | null) {
    super()
    if (isPlainOptions(storage)) {
      options = storage
      storage = options.storage ?? null
      key = options.key ?? null
    } else if (typeof key === 'object' && key !== null && !isBytes(key)) {
      options = key
      key = options.key ?? null
    }
    const given = options ?? {}
    const id = key || given.key
    const decoded = id && typeof id === 'string' ? decodeId(id) : id as Uint8Array | null | undefined

    this.keyPair = given.keyPair || null
    this.weak = !!given.weak
    this.snapshotted = !!given.snapshot
    this.onseq = given.onseq || null
    this.onwait = given.onwait || null
    this.ongc = given.ongc ?? null
    this.wait = given.wait !== false
    this.timeout = given.timeout || 0
    this._readonly = given.writable === false
    this._active = given.weak ? !!given.active : given.active !== false
    this.opening = this.#open(storage ?? given.storage ?? null, { ...given, key: decoded || null })
    this.opening.catch(() => {})
  }

  get id (): string | null { return this.core?.id ?? null }
  get key (): Uint8Array | null { return this.core?.key ?? null }
  get discoveryKey (): Uint8Array | null { return this.core?.discoveryKey ?? null }
  get manifest (): Manifest | null { return this.core?.manifest ?? null }
  get replicator (): Replicator | null { return this.core?.replicator ?? null }
  get peers (): Peer[] { return this.opened ? this.core!.peers : [] }
  get globalCache (): unknown { return this.opened ? this.core!.globalCache : null }
  /** When its store was repaired; 0 when nothing is to be waited for. */
  get recovering (): number { return this.opened ? this.core!.recovering : 0 }
  get contiguousByteLength (): number { return 0 }

  get length (): number {
    if (this._snapshot) return this._snapshot.length
    return this.opened ? (this.state!.told ?? this.state!).length : 0
  }

  get signedLength (): number {
    if (!this.opened) return 0
    if (this._snapshot) return Math.min(this._snapshot.length, this._snapshot.compat, this.core!.length)
    return this.#told?.length ?? this.state!.signedLength()
  }

  get byteLength (): number {
    if (!this.opened) return 0
    // So does upstream: a snapshot counts what encryption puts in front, and a session of it does not.
    if (this._snapshot && this.snapshotted) return this._snapshot.byteLength
    const { length, byteLength } = this._snapshot ?? this.state!.told ?? this.state!
    return byteLength - length * this.padding
  }

  get fork (): number {
    if (!this.opened) return 0
    return this._snapshot ? this._snapshot.fork : (this.state!.told ?? this.state!).fork
  }

  get contiguousLength (): number {
    return this.opened ? Math.min(this.core!.contiguousLength, this.#told?.length ?? Infinity) : 0
  }

  get remoteContiguousLength (): number {
    return this.opened ? Math.min(this.core!.length, this.core!.remoteContiguousLength) : 0
  }

  /** Bytes that encryption puts in front of each block. */
  get padding (): number {
    return this.encryption && this.key && this.manifest ? this.encryption.padding(this.core!, this.length) : 0
  }

  /** What the log had come to with the event that is told. */
  get #told (): State['told'] {
    return this.state!.from === null ? this.state!.told : null
  }

  /** This session as programs know it. */
  protected get self (): Hypercore {
    return this as unknown as Hypercore
  }

  /** Resolves when the core is open. */
  ready (): Promise<void> {
    return this.opening
  }

  /** Closes the session, and the core with its last one. What waits is rejected. */
  close ({ error = null }: { error?: Error | null } = {}): Promise<void> {
    this.closing ??= this.#close(error)
    return this.closing
  }

  clearRequests (list: ActiveRequests, error: Error | null = null): void {
    clearRequests(list, error)
  }

  /** @internal Whether it shows the log as it was once. */
  get isFixed (): boolean {
    return this._snapshot !== null
  }

  /** @internal Reads and writes another state from now on, maybe of another core. */
  async moveTo (state: State): Promise<void> {
    const [old, core] = [this.state!, state.core]
    this.state = state
    state.sessions.push(this.self)
    if (core !== this.core) this.transferSession(core)
    old.sessions.splice(old.sessions.indexOf(this.self), 1)
    await old.unref()
  }

  /** Moves the session to another core, as if it had been opened there. */
  transferSession (core: Core): void {
    const old = this.core!
    if (!(core instanceof Core)) throw new TypeError('A session is transferred to a core')
    this._leave(false)
    old.replicator.updateActivity(this._active ? -1 : 0)
    this.core = core
    this._join()
    core.replicator.updateActivity(this._active ? 1 : 0)
    clearRequests(this.activeRequests, new HypercoreError('Session moved', 'SESSION_MOVED', this.discoveryKey))
    this.emit('migrate', this.key!)
  }

  [Symbol.for('nodejs.util.inspect.custom')] (_depth?: number, options: InspectOptions = {}): string {
    return inspect(this.self, options)
  }

  async [Symbol.asyncDispose ?? Symbol.for('Symbol.asyncDispose')] (): Promise<void> {
    await this.close()
  }

  /** @internal */
  _register (extension: Extension): void {
    for (const peer of this.peers) peer.extensions.set(extension.name, extension)
  }

  /** @internal */
  _join (): void {
    const core = this.core!
    core.sessions.push(this.self)
    if (!this.sessions.includes(this.self)) this.sessions.push(this.self)
    if (!this.weak) core.activeSessions++
  }

  /** @internal */
  _leave (isGone = true): void {
    const core = this.core!
    const index = core.sessions.indexOf(this.self)
    if (index === -1) return
    core.sessions.splice(index, 1)
    if (!this.weak) core.activeSessions--
    if (!isGone) return
    const listed = this.sessions.indexOf(this.self)
    if (listed !== -1) this.sessions.splice(listed, 1)
    this.ongc?.(this.self)
  }

  async #open (storage: StorageInput | null, options: HypercoreOptions): Promise<void> {
    const preload = options.preload ?? (options.parent ? options.parent.preload : null)
    if (preload) {
      this.preload = preload
      options = { ...options, ...(await preload) }
      this.preload = null
    }
    const { parent } = options
    this.ongc ??= options.ongc ?? parent?.ongc ?? null
    try {
      if (options.core && !parent) {
        this.core = options.core
      } else if (parent) {
        // A parent with a preload has no core before it.
        if (parent.core === null) await parent.opening
        this.core = parent.core
      } else {
        this.core = new Core(storage ?? missingStorage(), options)
        this.core.replicator.updateFindingPeers(this._findingPeers)
      }
      this.sessions = options.sessions ?? parent?.sessions ?? this.sessions
      this._join()
      await this.#openSession(options)
    } catch (error) {
      await this.#giveUp()
      throw error
    }
    this.emit('ready')
    // The core of a weak session may have closed meanwhile.
    if (this.core!.closing) this.close().catch(() => {})
  }

  async #openSession (options: HypercoreOptions): Promise<void> {
    const { parent = null } = options
    const core = this.core!
    if (!core.opened) await core.ready()
    if (core.db.readOnly) this._readonly = true
    if (parent && !parent.opened) await parent.opening
    if (options.group && !core.group) await core.setGroup(options.group)
    this.keyPair ||= options.keyPair || core.keyPair || parent?.keyPair || null
    this.encryption = parent?.encryption ?? createEncryption(encryptionOption(options), core)
    if (options.valueEncoding) this.valueEncoding = resolveEncoding(options.valueEncoding)
    if (options.encodeBatch) this.encodeBatch = options.encodeBatch
    if (options.pushOnly === true) core.replicator.setPushOnly(true)
    this.writable = this.#isWritable()
    if (options.exclusive && options.writable !== false) {
      this.exclusive = true
      await core.lockExclusive()
    }
    // At once where it can be: a snapshot is of the log as it is now.
    const state = options.name || options.atom ? await this.#openState(options) : (parent?.state ?? core.state).ref()
    if (parent !== null && parent.#picture) {
      this.#picture = parent.#picture.ref()
    } else if (this.snapshotted) {
      this.#picture = state.picture()
    }
    this._snapshot = this.#picture?.shown ?? null
    // A session of a snapshot that has a name looks at its branch.
    const shown: State = this.#picture && state.live === this.#picture.live ? this.#picture.ref() : state.ref()
    void state.unref()
    this.state = shown
    shown.sessions.push(this.self)
    for (const [key, value] of Object.entries(options.userData ?? {})) {
      const bytes = isBytes(value) ? value : fromUtf8(value)
      await shown.write((handle, engine) => engine.coreSetUserData(handle, key, bytes))
    }
    if (options.manifest && core.manifest === null) await core.setManifest(options.manifest)
    core.replicator.updateActivity(this._active ? 1 : 0)
    this.opened = true
    this.writable = this.#isWritable()
    for (const extension of this.extensions.values()) this._register(extension)
  }

  // One that starts over does so for those that are open under its name, which have to be open and cut by then.
  async #openState (options: HypercoreOptions): Promise<State> {
    const { name, parent } = options
    const from = parent?.state ?? this.core!.state
    if (!name || options.atom) return await this.#openFrom(from, options)
    const { branching } = from.core
    const before = branching.get(name)
    // At once where it can: what is appended meanwhile is none of its blocks.
    const opening = before === undefined ? this.#openFrom(from, options) : before.then(() => this.#openFrom(from, options))
    const settled = opening.then(() => {}, () => {})
    branching.set(name, settled)
    try {
      return await opening
    } finally {
      if (branching.get(name) === settled) branching.delete(name)
    }
  }

  async #openFrom (from: State, { name, atom, overwrite, checkout = -1 }: HypercoreOptions): Promise<State> {
    const check = ({ length }: State) => {
      const prologue = this.manifest?.prologue?.length ?? 0
      const limit = checkout > length ? `length is ${length}` : checkout < prologue ? `prologue length is ${prologue}` : null
      if (limit) throw HypercoreError.ASSERTION(`Invalid checkout ${checkout} for ${name}, ${limit}`, this.discoveryKey)
    }
    if (name && overwrite && !atom && checkout !== -1) {
      check(from)
      // Cut as it starts over: others who have the branch open may write to it by the time that it is told.
      return await from.branch(name, true, checkout)
    }
    const state = atom ? await from.atomic(atom) : name ? await from.branch(name, !!overwrite) : from.ref()
    if (checkout === -1 || state === from) return state
    try {
      check(state)
      // A signed log never has two histories of one fork.
      const fork = state.isDefault() ? state.fork + 1 : state.fork
      if (checkout < state.length) await state.write((handle, engine) => engine.coreTruncate(handle, checkout, { fork }))
      return state
    } catch (error) {
      await state.unref()
      throw error
    }
  }

  async #leaveState (): Promise<void> {
    const { state } = this
    const picture = this.#picture
    const index = state?.sessions.indexOf(this.self) ?? -1
    if (index === -1) return
    this.#picture = null
    state!.sessions.splice(index, 1)
    await picture?.unref()
    await state!.unref()
  }

  async #giveUp (): Promise<void> {
    if (this.core) {
      this._leave()
      await this.#leaveState().catch(() => {})
      if (this.exclusive) this.core.unlockExclusive()
      if (!this.core.hasSession()) {
        const isOpen = this.core.opened
        if (this.core.autoClose) await this.core.close().catch(() => {})
        // What never was open is not closed either.
        if (!isOpen && this.core.autoClose) return
      }
    }
    this.closed = true
    this.emit('close')
  }

  async #close (error: Error | null): Promise<void> {
    if (!this.opened) {
      try {
        await this.opening
      } catch (failure) {
        if (!this.closed) throw failure
      }
    }
    if (this.closed) return
    const core = this.core!
    for (const extension of [...this.extensions.values()]) extension.destroy()
    this._leave()
    this.readable = false
    this.writable = false
    this.opened = false
    clearRequests(this.activeRequests, error)
    core.replicator.updateFindingPeers(-this._findingPeers)
    this._findingPeers = 0
    core.replicator.updateActivity(this._active ? -1 : 0)
    const leaving = core.closed ? null : this.#leaveState().catch(() => {})
    if (this.exclusive) core.unlockExclusive()
    const closesCore = !core.hasSession() && core.autoClose
    if (closesCore) {
      await leaving
      await core.close()
      for (const session of core.allSessions()) await session.close()
    }
    core.checkIfIdle()
    // At once where the core stays: whoever closes several sessions hears of them in that order.
    this.closed = true
    this.emit('close')
    if (!closesCore && this.state?.from) await leaving
  }

  #isWritable (): boolean {
    if (this._readonly) return false
    // So does upstream say, although writing to a snapshot fails.
    if (this._snapshot) return true
    return (this.state !== null && !this.state.isDefault()) || !!this.keyPair?.secretKey
  }
}

function isPlainOptions (value: unknown): value is HypercoreOptions {
  // By what storages have, also those of another copy of the package and of upstream.
  return typeof value === 'object' && value !== null && !isBytes(value) && !('path' in value) && !('href' in value)
}

function missingStorage (): never {
  throw new TypeError('Cannot open a core without storage: give a path, or memory() from hypertab/storage')
}
