// Many cores from one key, in one storage, over one stream.

import { Readable, type Duplex } from 'streamx'

import { HypercoreError } from '../errors.js'
import { bytesFrom, userBytes } from '../platform.js'
import { call, isReady, look, ready } from '../runtime.js'
import { equal, isBytes, toHex, toUtf8 } from '../support/bytes.js'
import { discoveryKey } from '../support/crypto.js'
import { decodeId } from '../support/id.js'
import { ReadyResource } from '../support/ready-resource.js'
import type { Core } from '../hypercore/core.js'
import { Hypercore } from '../hypercore/hypercore.js'
import type { ManifestInput } from '../hypercore/manifest.js'
import type { HypercoreOptions, KeyPairInput, ReplicateOptions } from '../hypercore/options.js'
import { Mux } from '../links/mux.js'
import { parseStorage, type StorageInput } from '../storage/parse.js'
import type { EntryStream, StoredAuth } from '../storage/records.js'
import type { LegacyStore, Storage } from '../storage/storage.js'
import { audit, type AuditedCore } from './audit.js'
import { FindingPeers } from './finding-peers.js'
import { GroupNotifiers, type GroupNotifyHandle, type GroupUpdate } from './groups.js'
import type { CorestoreOptions, GetCoreOptions, NamedKeyPair, SuspendOptions } from './options.js'
import { CoreTracker, SessionTracker, StreamTracker } from './trackers.js'

/** What a store tells, besides `ready` and `close`. */
export type CorestoreEvents = {
  /** A core of a group has changed, which was opened by this session of the store. */
  'group-active': [topic: Uint8Array, update: GroupUpdate]
}

const CLOSED = 'Corestore is closed'

/** Who a core is, as far as it is known before it is open. */
interface Identity {
  key: Uint8Array | null
  discoveryKey: Uint8Array | null
  manifest: ManifestInput | Uint8Array | null
  keyPair: KeyPairInput | null
}

/**
 * Many cores from one key, in one storage.
 *
 * Cores are found again by their names. However often a core is asked for, it is open once, and what is asked for
 * are sessions of it.
 */
export class Corestore extends ReadyResource<CorestoreEvents> {
  /** The store that this session comes from; null for the first one. */
  readonly root: Corestore | null
  /** Where all of it is stored, shared by the sessions of the store. */
  readonly storage: Storage
  /** The streams that the store replicates on. */
  readonly streamTracker: StreamTracker
  /** The open cores. */
  readonly cores: CoreTracker
  /** The sessions that this store has made. */
  readonly sessions = new SessionTracker()
  /** The open sessions of the store. */
  readonly corestores: Set<Corestore>
  /** Whether sessions of cores cannot write unless they say so. */
  readonly readOnly: boolean
  readonly globalCache: unknown
  /** What every key is derived from; whoever has it can write every core. */
  primaryKey: Uint8Array | null
  /** Of the manifests that are made for names and key pairs. */
  readonly manifestVersion: number
  /** Whether `suspend()` does something. */
  readonly shouldSuspend: boolean
  /** Whether cores of this session want blocks. */
  active: boolean
  /** What is called with each core that is opened; null for nobody. */
  watchers: Set<(core: Core) => unknown> | null = null
  /** @internal */
  watchIndex = -1

  #namespace: Uint8Array | (() => Uint8Array)
  #findingPeers: FindingPeers | null = null
  readonly #groups: GroupNotifiers
  #holdsStorage = false

  constructor (storage?: StorageInput | null, options: CorestoreOptions = {}) {
    super()
    const root = options.root ?? null
    this.root = root
    this.storage = root ? root.storage : parseStorage(storage!, { wait: !!options.wait, readOnly: !!options.readOnly })
    this.streamTracker = root ? root.streamTracker : new StreamTracker()
    this.cores = root ? root.cores : new CoreTracker()
    this.corestores = root ? root.corestores : new Set()
    this.#groups = root ? root.#groups : new GroupNotifiers()
    this.readOnly = options.writable === false || !!options.readOnly
    this.globalCache = root ? root.globalCache : options.globalCache ?? null
    this.primaryKey = root ? root.primaryKey : options.primaryKey || null
    this.#namespace = options.namespace || userBytes(new Uint8Array(32))
    this.manifestVersion = options.manifestVersion || 1
    this.shouldSuspend = options.suspend !== false
    this.active = options.active !== false
    if (options.primaryKey && !root && !options.unsafe) {
      throw HypercoreError.ASSERTION(
        'Passing the primary key is unsafe unless you know what you are doing. Set unsafe: true to acknowledge that'
      )
    }
    this.ready().catch(() => {})
  }

  /** Where the names of this session are. */
  get ns (): Uint8Array {
    if (typeof this.#namespace === 'function') this.#namespace = this.#namespace()
    return this.#namespace
  }

  /** Calls a function with every core that opens from now on, in any session of the store. */
  watch (watch: (core: Core) => unknown): void {
    if (this.watchers === null) {
      this.watchers = new Set()
      this.cores.watch(this)
    }
    this.watchers.add(watch)
  }

  /** Takes back a `watch()`. */
  unwatch (watch: (core: Core) => unknown): void {
    if (this.watchers === null) return
    this.watchers.delete(watch)
    if (this.watchers.size > 0) return
    this.watchers = null
    this.cores.unwatch(this)
  }

  /** Tells when a core of a group changes, and which have. */
  notifyGroup (topic: Uint8Array): GroupNotifyHandle {
    return this.#groups.create(this.storage, topic)
  }

  /** Says that peers are being looked for: until the returned function is called, cores wait for a first peer. */
  findingPeers (): () => void {
    const finding = this.#findingPeers ??= new FindingPeers()
    finding.begin(this.sessions)
    let isDone = false
    return () => {
      if (isDone || this.#findingPeers === null) return
      isDone = true
      finding.end()
    }
  }

  /** Looks whether what is stored fits together, core by core. */
  audit (options: { dryRun?: boolean } = {}): AsyncGenerator<AuditedCore, void> {
    return audit(this, options)
  }

  /** Writes what there is to write, and touches the storage no more until {@link resume}. */
  async suspend ({ log = () => {} }: SuspendOptions = {}): Promise<void> {
    if (!this.shouldSuspend) return
    this.#ensureStorage()
    await log('Suspending db...')
    await this.storage.suspend({ log })
    await log('Suspending db completed')
  }

  /** Goes on after `suspend()`. */
  async resume (): Promise<void> {
    this.#ensureStorage()
    await this.storage.resume()
  }

  /** Another session of the store, with the names of the root unless it is given others. */
  session (options: CorestoreOptions = {}): Corestore {
    this.#ensureOpen()
    return new Corestore(null, { manifestVersion: this.manifestVersion, ...options, root: this.root ?? this })
  }

  /** A session of the store with names of its own. */
  namespace (name: string | Uint8Array, options: CorestoreOptions = {}): Corestore {
    const bytes = isBytes(name) ? name : bytesFrom(name)
    const child = () => userBytes(look((engine) => engine.childNamespace(this.ns, bytes)))
    const session = this.session({ ...options, ...(isReady() ? { namespace: child() } : {}) })
    // In a browser, the engine may still be on its way.
    if (!isReady()) session.#namespace = child
    return session
  }

  /** The discovery keys of all cores, or of those with a name in a namespace. */
  list (namespace?: Uint8Array | null): EntryStream<Uint8Array> {
    // There are no names where no namespace can be.
    if (isBytes(namespace) && namespace.byteLength !== 32) return Readable.from([]) as EntryStream<Uint8Array>
    // Whoever reads it is told, not before.
    if (this.#hasNoStorage) return new Readable({ open: (done) => { done(new Error(CLOSED)) } }) as EntryStream<Uint8Array>
    return this.storage.createDiscoveryKeyStream(namespace)
  }

  /** Who a core is and who signs it, without opening it; null when it is not here. */
  async getAuth (discoveryKey: Uint8Array): Promise<StoredAuth | null> {
    this.#ensureStorage()
    return isBytes(discoveryKey) && discoveryKey.byteLength === 32 ? await this.storage.getAuth(discoveryKey) : null
  }

  /**
   * Replicates everything on one stream: the cores that are open and wanted, those that will be, and those that the
   * peer asks for and that are stored here.
   */
  replicate (isInitiator: boolean | object, options?: ReplicateOptions): Duplex {
    this.#ensureOpen()
    const isExternal = isStream(isInitiator)
    const stream = Hypercore.createProtocolStream(isInitiator, {
      ...options,
      ondiscoverykey: async (discoveryKey: Uint8Array) => {
        if (this.closing === null) await this.#serve(Mux.from(stream), discoveryKey)
      }
    })
    const mux = Mux.from(stream)
    for (const core of this.cores) {
      const { replicator } = core
      if (this.active && core.opened && replicator.downloading && !replicator.attached(mux)) replicator.attachTo(mux)
    }
    const record = this.streamTracker.add(stream, isExternal)
    stream.once('close', () => { this.streamTracker.remove(record) })
    return stream
  }

  /** A core that has what another one has, and never changes. */
  async staticify (core: Hypercore, options: GetCoreOptions = {}): Promise<Hypercore> {
    if (!this.opened) await this.ready()
    if (!core.opened) await core.ready()
    if (core.length === 0) throw new Error('Core must have data')
    const { length } = core
    const prologue = { length, hash: await core.treeHash(length) }
    const manifest = { version: 1, hash: 'blake2b', quorum: 0, signers: [], prologue }
    const copy = this.get({ ...options, manifest })
    await copy.ready()
    await copy.core!.copyPrologue(core.state!)
    return copy
  }

  /** A session of a core: of a name, or of whatever else says which. */
  get<T = any> (options?: GetCoreOptions | Uint8Array | string | null): Hypercore<T> {
    this.#ensureOpen()
    const given: GetCoreOptions = isBytes(options) || typeof options === 'string' ? { key: options } : options ?? {}
    const session = this.#sessionOptions(given)
    if (given.name || given.preload) return this.#makeSession({ ...session, preload: this.#preload(given) })
    if (given.discoveryKey && !given.key && !given.manifest) {
      return this.#makeSession({ ...session, preload: this.#preloadStored(given, given.discoveryKey) })
    }
    // In a browser, the engine may still be on its way; keys are hashed there.
    if (!isReady()) return this.#makeSession({ ...session, preload: ready().then(() => this.#opened(null, given)) })
    return this.#makeSession({ ...session, ...this.#opened(null, given) })
  }

  /** The key pair of a name, in the namespace of this session unless another is given. */
  async createKeyPair (name: string | Uint8Array, namespace?: Uint8Array): Promise<NamedKeyPair> {
    if (!this.opened) await this.ready()
    return this.#keyPair(name, namespace)
  }

  /** @internal */
  protected override async _open (): Promise<void> {
    if (this.root !== null) {
      this.corestores.add(this)
      if (!this.root.opened) await this.root.ready()
      this.primaryKey = this.root.primaryKey
      return
    }
    await ready()
    await this.storage.acquire()
    this.#holdsStorage = true
    try {
      const legacy = this.storage.legacyStore()
      const wanted = this.primaryKey
      const seed = await this.storage.seed(legacy?.primaryKey ?? wanted)
      if (wanted !== null && !equal(seed, wanted)) throw new Error('Another corestore is stored here')
      this.primaryKey ??= seed
      if (legacy) await this.#import(legacy)
    } catch (error) {
      await this.#release()
      throw error
    }
  }

  /** @internal */
  protected override async _close (): Promise<void> {
    const closing: Array<Promise<void>> = [...this.sessions].map((session) => session.close())
    if (this.watchers !== null) {
      this.cores.unwatch(this)
      this.watchers = null
    }
    this.#findingPeers?.destroy()
    this.#findingPeers = null
    if (this.root !== null) {
      await Promise.all(closing)
      this.corestores.delete(this)
      return
    }
    for (const store of this.corestores) closing.push(store.close())
    await Promise.all(closing)
    await this.cores.close()
    await this.#release()
  }

  // Once and for all: what an attempt that was cut short has stored is found again.
  async #import (legacy: LegacyStore): Promise<void> {
    for (const legacyFiles of legacy.cores) {
      const core = Hypercore.createCore(this.storage, { legacyFiles, compat: false })
      await core.ready()
      await core.close()
    }
    legacy.imported()
  }

  async #release (): Promise<void> {
    if (!this.#holdsStorage) return
    this.#holdsStorage = false
    await this.storage.release()
    await this.storage.userClosed()
  }

  #ensureOpen (): void {
    if (this.closing !== null || (this.root !== null && this.root.closing !== null)) throw new Error(CLOSED)
  }

  // Sessions of a store can ask it for as long as it is open.
  get #hasNoStorage (): boolean {
    return (this.root ?? this).closed
  }

  #ensureStorage (): void {
    if (this.#hasNoStorage) throw new Error(CLOSED)
  }

  // The peer's request is held until this is over.
  async #serve (mux: Mux, discoveryKey: Uint8Array): Promise<void> {
    if (!this.opened) await this.ready()
    if (!this.cores.opened(toHex(discoveryKey)) && !(await this.storage.hasCore(discoveryKey, { ifMigrated: true }))) return
    if (this.closing !== null) return
    const core = this.#openCore(discoveryKey, { createIfMissing: false })
    if (!core.opened) await core.ready()
    if (!core.replicator.attached(mux)) core.replicator.attachTo(mux)
    core.checkIfIdle()
  }

  #sessionOptions (given: GetCoreOptions): HypercoreOptions {
    const writable = given.writable === undefined && this.readOnly ? false : given.writable
    return {
      active: given.active !== false,
      encryption: given.encryption ?? null,
      encryptionKey: given.encryptionKey ?? null,
      isBlockKey: !!given.isBlockKey,
      valueEncoding: given.valueEncoding ?? null,
      exclusive: !!given.exclusive,
      manifest: given.manifest ?? null,
      keyPair: given.keyPair ?? null,
      onwait: given.onwait ?? null,
      pushOnly: given.pushOnly === true,
      group: given.group ?? null,
      wait: given.wait !== false,
      timeout: given.timeout || 0,
      ...(writable === undefined ? {} : { writable })
    }
  }

  #makeSession (options: HypercoreOptions): Hypercore {
    const session = new Hypercore(null, null, options)
    this.#findingPeers?.add(session)
    return session
  }

  async #preloadStored (given: GetCoreOptions, discoveryKey: Uint8Array | string): Promise<HypercoreOptions> {
    const isNone = isBytes(discoveryKey) && discoveryKey.byteLength !== 32
    if (isNone || !(await this.storage.hasCore(decodeId(discoveryKey)))) throw HypercoreError.STORAGE_EMPTY('No Hypercore is stored here')
    return await this.#preload(given)
  }

  async #preload (given: GetCoreOptions): Promise<HypercoreOptions> {
    if (given.preload) given = { ...given, ...(await given.preload) }
    if (!this.opened) await this.ready()
    const stored = given.name ? await this.storage.getAlias({ name: textOf(given.name), namespace: this.ns }) : null
    this.#ensureOpen()
    return {
      ...this.#opened(stored, given),
      manifest: given.manifest ?? null,
      encryption: given.encryption ?? null,
      encryptionKey: given.encryptionKey ?? null,
      isBlockKey: !!given.isBlockKey
    }
  }

  #opened (stored: Uint8Array | null, given: GetCoreOptions): HypercoreOptions {
    const core = this.#openCore(stored, given)
    const id = core.id ?? toHex(core.discoveryKey!)
    const sessions = this.sessions.get(id)
    return { core, sessions, ongc: () => { if (sessions.length === 0) this.sessions.gc(id) } }
  }

  #openCore (stored: Uint8Array | null, given: GetCoreOptions): Core {
    const identity = this.#identify(stored, given)
    const id = toHex(identity.discoveryKey!)
    const existing = this.cores.resume(id)
    if (existing && existing.closing === null) return existing
    const core = Hypercore.createCore(this.storage, {
      ...identity,
      preopen: this.#before(existing),
      compat: false,
      legacyFiles: null,
      eagerUpgrade: true,
      allowFork: given.allowFork !== false,
      allowPush: !!given.allowPush,
      alias: given.name ? { name: textOf(given.name), namespace: this.ns } : null,
      globalCache: given.globalCache ?? this.globalCache,
      ...pick(given, ['notDownloadingLinger', 'inflightRange', 'force', 'createIfMissing', 'overwrite', 'group', 'legacy', 'allowLatestBlock'])
    })
    core.onidle = () => { this.cores.gc(core) }
    core.ongroupupdate = (topic, update) => {
      this.emit('group-active', topic, update)
      this.#groups.tell(topic, update)
    }
    core.replicator.ondownloading = () => {
      if (this.active) this.streamTracker.attachAll(core)
    }
    this.cores.set(id, core)
    return core
  }

  // The one that closes has to be closed, and what an older version left has to be taken in.
  #before (closing: Core | null): Promise<unknown> | null {
    const root = this.root ?? this
    const opening = root.opened ? null : root.ready()
    const closed = closing?.opened ? closing.closing : null
    return opening && closed ? Promise.all([opening, closed]) : opening ?? closed
  }

  /** Who is meant. What is stored under a name goes before what the name says. */
  #identify (stored: Uint8Array | null, given: GetCoreOptions): Identity {
    const keyPair = given.name ? this.#keyPair(given.name) : given.keyPair ?? null
    const signed = keyPair && stored === null
      ? { version: this.manifestVersion, signers: [{ publicKey: keyPair.publicKey }] }
      : null
    const own = given.key ? decodeId(given.key) : null
    // A pair may be one of several signers of a core that is named by its key.
    const manifest = given.manifest ?? (own && signed && !equal(own, Hypercore.key(signed)) ? null : signed)
    const key = own ?? (manifest ? userBytes(Hypercore.key(manifest)) : null)
    if (stored !== null) return { key, keyPair, manifest, discoveryKey: stored }
    if (given.discoveryKey) return { key, keyPair, manifest, discoveryKey: decodeId(given.discoveryKey) }
    if (key) return { key, keyPair, manifest, discoveryKey: discoveryKey(key) }
    throw new Error('Could not derive discovery from input')
  }

  #keyPair (name: string | Uint8Array, namespace = this.ns): NamedKeyPair {
    const bytes = isBytes(name) ? name : bytesFrom(name)
    const { publicKey, secretKey } = call((engine) => engine.namedKeyPair(this.primaryKey!, namespace, bytes))
    return { publicKey: userBytes(publicKey), secretKey: userBytes(secretKey) }
  }
}

function isStream (value: unknown): boolean {
  return typeof value === 'object' && value !== null && typeof (value as { pipe?: unknown }).pipe === 'function'
}

function textOf (name: string | Uint8Array): string {
  return isBytes(name) ? toUtf8(name) : name
}

function pick<T extends object, K extends keyof T> (from: T, names: K[]): Partial<Pick<T, K>> {
  return Object.fromEntries(names.filter((name) => from[name] !== undefined).map((name) => [name, from[name]])) as Partial<Pick<T, K>>
}
