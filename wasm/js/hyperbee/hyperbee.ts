// An append-only B-tree of keys and values in a core: what upstream calls a Hyperbee.

import type { Duplex } from 'streamx'

import { HypercoreError } from '../errors.js'
import { bytesFrom, userBytes } from '../platform.js'
import { look } from '../runtime.js'
import { concat, isBytes } from '../support/bytes.js'
import { raw } from '../support/encoding.js'
import { createLock, type LockFunction } from '../support/lock.js'
import { ReadyResource } from '../support/ready-resource.js'
import type { Hypercore } from '../hypercore/hypercore.js'
import type { GetOptions, ReplicateOptions, UpdateOptions } from '../hypercore/options.js'
import { Batch, type BatchOptions, type EncodingOptions, type PutOptions } from './batch.js'
import { Blocks, CacheView, together, type Entry } from './blocks.js'
import { clearUnlinked, type ClearUnlinkedOptions } from './clear.js'
import { codec, EMPTY, encodeRange, prefixed, SEPARATOR, type BeeCodec, type BeeEncoding } from './encodings.js'
import { HyperbeeExtension, type BeeExtension } from './extension.js'
import {
  DiffIterator, first, HistoryIterator, RangeIterator, streamOf, type BeeStream, type Difference, type HistoryEntry, type HistoryOptions, type RangeOptions
} from './iterators.js'
import { EntryWatcher, Watcher, type WatchOptions } from './watchers.js'

/** What an application says about its bee, in block 0. */
export interface Metadata {
  /** The key of a core that belongs to the bee, 32 bytes or text. */
  contentFeed?: Uint8Array | string | null
  /** Anything else. */
  userData?: Uint8Array | string | null
}

/** Block 0 of a bee. */
export interface Header {
  /** `hyperbee`. */
  protocol: string
  /** What the application said; null for nothing. */
  metadata: { contentFeed: Uint8Array | null, userData: Uint8Array | null } | null
}

/** How a bee is opened. */
export interface HyperbeeOptions extends EncodingOptions {
  /** False neither asks peers for hints nor answers them. */
  extension?: boolean | BeeExtension
  /** Goes into the header when that is written. */
  metadata?: Metadata | null
  /** Refuses writes. */
  readonly?: boolean
  /** The version that is read. */
  checkout?: number
  /** What keys of the bee begin with in the core; null for nothing. */
  prefix?: Uint8Array | null
  /** What ends the name of a part in its keys. */
  sep?: Uint8Array | string
  /** Shared with others that write the core. */
  lock?: LockFunction
  /** False reads the core itself, instead of a snapshot for each read. */
  sessions?: boolean
  /** False skips a put of the value that is there. */
  alwaysDuplicate?: boolean
}

/** How a version is opened. */
export interface CheckoutOptions extends EncodingOptions {
  /** Reads the session that the bee has, which stays open. */
  reuseSession?: boolean
}

/** How a part is opened. */
export interface SubOptions extends EncodingOptions {
  /** What ends the name of the part in its keys; a byte of 0 by default. */
  sep?: Uint8Array | string
}

/** What only views of another bee have. */
interface ViewOptions extends HyperbeeOptions {
  _view?: boolean
  _sub?: boolean
  _blocks?: Blocks
}

/** A B-tree in a core. Usable at once; it opens by itself. */
export class Hyperbee<K = any, V = any> extends ReadyResource {
  /** @deprecated use `core` */
  readonly feed: Hypercore
  /** Where it is stored. */
  readonly core: Hypercore
  /** Of keys, without another one given; null for bytes. */
  keyEncoding: BeeCodec | null
  /** Of values, without another one given; null for bytes. */
  valueEncoding: BeeCodec | null
  /** What asks peers for hints; null for nothing. */
  readonly extension: HyperbeeExtension | BeeExtension | null
  /** What goes into the header when it is written. */
  readonly metadata: Metadata | null
  /** What writers of the core wait for. */
  readonly lock: LockFunction
  /** What ends the name of a part in its keys. */
  readonly sep: Uint8Array | string
  /** Whether writes are refused. */
  readonly readonly: boolean
  /** What keys begin with in the core; null for nothing. */
  readonly prefix: Uint8Array | null
  /** Whether a value that is there is put once more. */
  readonly alwaysDuplicate: boolean
  /** @internal The version that is read; 0 for the newest, -1 for the one at opening. */
  _checkout: number
  /** @internal */
  readonly _sub: boolean
  /** @internal */
  readonly blocks: Blocks
  /** @internal Keys by block, once it is open. */
  _keyCache: CacheView<Uint8Array> | null = null
  /** @internal Keys and values by block, once it is open. */
  _nodeCache: CacheView<{ key: Uint8Array, value: Uint8Array | null }> | null = null
  /** @internal Reads and batches that are open. */
  readonly _batches: Batch[] = []
  /** @internal */
  readonly _watchers: Watcher[] | null
  /** @internal */
  readonly _entryWatchers: EntryWatcher[] | null
  #unprefixed: BeeCodec | null
  #isView: boolean
  #sessions: boolean
  #onappend = (): void => { this.#changed(false) }
  #ontruncate = (length: number): void => {
    this.#changed(true)
    this.blocks.truncate(length)
  }

  constructor (core: Hypercore, options: HyperbeeOptions = {}) {
    super()
    if (!core) throw new TypeError('a bee needs a core')
    const given: ViewOptions = options
    this.feed = core
    this.core = core
    this.keyEncoding = given.keyEncoding ? codec(given.keyEncoding) : null
    this.valueEncoding = given.valueEncoding ? codec(given.valueEncoding) : null
    this.extension = this.#extensionOf(given)
    this.metadata = given.metadata || null
    this.lock = given.lock || createLock()
    this.sep = given.sep || SEPARATOR
    this.readonly = !!given.readonly
    this.prefix = given.prefix || null
    this.alwaysDuplicate = given.alwaysDuplicate !== false
    this._sub = !!this.prefix
    this._checkout = given.checkout || 0
    this.blocks = given._blocks ?? new Blocks(core)
    this.#unprefixed = this.keyEncoding
    this.#isView = !!given._view
    this.#sessions = given.sessions !== false
    this._watchers = this.#isView ? null : []
    this._entryWatchers = this.#isView ? null : []
    if (!this.#isView) {
      core.on('append', this.#onappend)
      core.on('truncate', this.#ontruncate)
    }
    if (this.prefix && given._sub) this.keyEncoding = prefixed(this.prefix, this.keyEncoding)
    this.ready().catch(() => {})
  }

  /** Whether a core has a bee's header. */
  static async isHyperbee (core: Hypercore, options?: GetOptions): Promise<boolean> {
    await core.ready()
    const block = await core.get(0, { ...options, valueEncoding: raw })
    if (block === null) throw HypercoreError.BLOCK_NOT_AVAILABLE()
    return look((engine) => engine.beeDecodeHeader(block))?.protocol === 'hyperbee'
  }

  /** The length of the core, at least 1: what `checkout()` takes. */
  get version (): number { return Math.max(1, this._checkout || this.core.length) }
  /** The key of the core as text; null before it is known. */
  get id (): string | null { return this.core.id }
  /** Of the core, 32 bytes; null before it is known. */
  get key (): Uint8Array | null { return this.core.key }
  /** Of the core, 32 bytes; null before it is known. */
  get discoveryKey (): Uint8Array | null { return this.core.discoveryKey }
  /** Whether entries can be put here. */
  get writable (): boolean { return this.core.writable }
  /** False once it is closed. */
  get readable (): boolean { return this.core.readable }

  /** Replicates the core; see `Hypercore.replicate`. */
  replicate (isInitiator: boolean | object, options?: ReplicateOptions): Duplex {
    return this.core.replicate(isInitiator, options)
  }

  /** Asks peers for a newer version. */
  update (options?: UpdateOptions): Promise<boolean> {
    return this.core.update(options)
  }

  /** The first entry of a range. */
  async peek (range?: RangeOptions<K> | null, options?: RangeOptions<K> & EncodingOptions): Promise<Entry<K, V> | null> {
    return await first(this.createRangeIterator(range, { ...options, limit: 1 }))
  }

  /** A walk over the entries of a range that is stepped by hand: `open()`, `next()`, `close()`. */
  createRangeIterator (range?: RangeOptions<K> | null, options: (RangeOptions<K> & EncodingOptions) | null = {}): RangeIterator<K, V> {
    const given: RangeOptions & EncodingOptions = options ? { ...options, ...range } : { ...range }
    const extension = given['extension'] === false && given.limit !== 0 ? null : this.extension
    const keyEncoding = given.keyEncoding ? codec(given.keyEncoding) : this.keyEncoding
    const encoded = encodeRange(keyEncoding, given, this._sub)
    const batch = new Batch(this, this.makeSnapshot(), null, given)
    return new RangeIterator(batch, null, encoded, extension)
  }

  /** The entries of a range, in the order of their keys. */
  createReadStream (range?: RangeOptions<K> | null, options?: (RangeOptions<K> & EncodingOptions) | null): BeeStream<Entry<K, V>> {
    return streamOf(this.createRangeIterator(range, options), { signal: options?.signal })
  }

  /** Everything that was ever put or deleted, in that order. */
  createHistoryStream (options?: HistoryOptions & EncodingOptions): BeeStream<HistoryEntry<K, V>> {
    if (options?.live && options.reverse) throw new Error('Cannot have both live and reverse enabled')
    const session = options?.live ? this.core.session() : this.makeSnapshot()
    const iterator = new HistoryIterator(new Batch(this, session, null, options), options)
    return streamOf(iterator, { signal: options?.signal })
  }

  /** What differs between this version and another, in the order of the keys. */
  createDiffStream (right: number | Hyperbee<K, V>, range?: RangeOptions<K> | null, options?: (RangeOptions<K> & EncodingOptions) | null): BeeStream<Difference<K, V>> {
    const other = typeof right === 'number' ? this.checkout(Math.max(1, right), { reuseSession: true }) : right
    const given: RangeOptions & EncodingOptions = options ? { ...options, ...range } : { ...range }
    const keyEncoding = given.keyEncoding ? codec(given.keyEncoding) : this.keyEncoding
    const encoded = encodeRange(keyEncoding, given, this._sub)
    const begin = async (isClosing: () => boolean): Promise<DiffIterator | null> => {
      if (other.opened === false) await other.ready()
      if (!this.opened) await this.ready()
      if (isClosing()) return null
      if (this.core.closing || other.core.closing) throw new Error('Bee closed')
      const snapshot = other.version > this.version ? other.makeSnapshot() : this.makeSnapshot()
      return new DiffIterator(new Batch(this, snapshot, null, encoded), new Batch(other, snapshot, null, encoded), encoded)
    }
    return streamOf(begin, { signal: options?.signal, eagerOpen: true })
  }

  /** The entry of a key, or null. */
  get (key: K, options?: BatchOptions | null): Promise<Entry<K, V> | null> {
    return new Batch(this, this.makeSnapshot(), null, options).get(key)
  }

  /** Key and value of a block. */
  getBySeq (seq: number, options?: BatchOptions | null): Promise<{ key: K, value: V }> {
    return new Batch(this, this.makeSnapshot(), null, options).getBySeq(seq)
  }

  /** Puts an entry, which is stored when this resolves. Fails with `SESSION_NOT_WRITABLE` where the core cannot be written. */
  put (key: K, value?: V | null, options?: PutOptions<K, V> | null): Promise<void> {
    return new Batch(this, this.core, null, options as BatchOptions).put(key, value, options)
  }

  /** Deletes an entry, if there is one. */
  del (key: K, options?: PutOptions<K, V> | null): Promise<void> {
    return new Batch(this, this.core, null, options as BatchOptions).del(key, options)
  }

  /** Puts and deletes that are appended together. */
  batch (options?: BatchOptions | null): Batch<K, V> {
    return new Batch(this, this.core, createLock(), options)
  }

  /** Follows a range. */
  watch<T = Hyperbee<K, V>> (range?: RangeOptions<K> | null, options?: WatchOptions<T> | null): Watcher<T> {
    if (!this._watchers) throw new Error('Can only watch the main bee instance')
    return new Watcher(this, range, options)
  }

  /** Follows a key. */
  async getAndWatch (key: K, options?: EncodingOptions | null): Promise<EntryWatcher<K, V>> {
    if (!this._entryWatchers) throw new Error('Can only watch the main bee instance')
    const watcher = new EntryWatcher<K, V>(this, key, options)
    await watcher._debouncedUpdate()
    if (this.closing) {
      await watcher.close()
      throw new Error('Bee closed')
    }
    return watcher
  }

  /** Frees blocks that this version does not need, and resolves to the block before which that was done. */
  clearUnlinked (options?: ClearUnlinkedOptions): Promise<number> {
    return clearUnlinked(this, options)
  }

  /** A view of another version, which cannot be written. */
  checkout (version: number, options: CheckoutOptions | null = {}): Hyperbee<K, V> {
    options ??= {}
    if (version === 0) version = 1
    const session = options.reuseSession || !this.#sessions
      ? this.core
      : version <= this.core.length || version <= 1
        ? this.core.snapshot()
        : this.core.session({ snapshot: false })
    return this.#view(session, {
      sep: this.sep,
      checkout: version,
      keyEncoding: options.keyEncoding || this.keyEncoding,
      valueEncoding: options.valueEncoding || this.valueEncoding
    })
  }

  /** A view that stays as the bee is now. */
  snapshot (options?: CheckoutOptions | null): Hyperbee<K, V> {
    return this.checkout(!this.core.opened || this._checkout <= 0 ? -1 : Math.max(1, this.version), options)
  }

  /** A view of the keys under a prefix. */
  sub<L = K, W = V> (prefix: Uint8Array | string, options: SubOptions | null = {}): Hyperbee<L, W> {
    const sep = options?.sep || this.sep
    const parts = [this.prefix ?? EMPTY, isBytes(prefix) ? prefix : bytesFrom(prefix), isBytes(sep) ? sep : bytesFrom(sep)]
    return this.#view(this.core, {
      _sub: true,
      prefix: userBytes(concat(parts)),
      sep: this.sep,
      checkout: this._checkout,
      keyEncoding: codec(options?.keyEncoding || this.#unprefixed),
      valueEncoding: codec(options?.valueEncoding || this.valueEncoding),
      metadata: this.metadata
    })
  }

  /** Block 0, decoded. */
  async getHeader (options?: GetOptions): Promise<Header | null> {
    const block = await this.core.get(0, { ...options, valueEncoding: raw }) as Uint8Array | null
    if (block === null) return null
    const header = look((engine) => engine.beeDecodeHeader(block))
    if (!header) throw HypercoreError.DECODING_ERROR()
    const { protocol, metadata } = header
    const field = (value: Uint8Array | null) => value && userBytes(value)
    return { protocol, metadata: metadata && { contentFeed: field(metadata.contentFeed), userData: field(metadata.userData) } }
  }

  /** @internal The session of one read. */
  makeSnapshot (): Hypercore {
    if (!this.#sessions) return this.core
    return this._checkout <= this.core.length || this._checkout <= 1
      ? this.core.snapshot()
      : this.core.session({ snapshot: false })
  }

  /** @internal */
  override async _open (): Promise<void> {
    // Also when the core is open: a snapshot has no version before it is ready.
    await this.core.ready()
    if (this._checkout === -1) this._checkout = Math.max(1, this.core.length)
    this._keyCache = new CacheView(this.blocks, ([, key]) => userBytes(key))
    this._nodeCache = new CacheView(this.blocks, (entry) => {
      const [key, value] = together(entry[1], entry[2])
      return { key, value }
    })
  }

  /** @internal */
  override async _close (): Promise<void> {
    if (!this.#isView) this.blocks.clear()
    if (this._watchers) {
      this.core.off('append', this.#onappend)
      this.core.off('truncate', this.#ontruncate)
      while (this._watchers.length > 0) await this._watchers[this._watchers.length - 1]!.close()
    }
    while (this._entryWatchers?.length) await this._entryWatchers[this._entryWatchers.length - 1]!.close()
    while (this._batches.length > 0) await this._batches[this._batches.length - 1]!.close()
    await this.core.close()
  }

  #view<L, W> (core: Hypercore, options: ViewOptions): Hyperbee<L, W> {
    return new Hyperbee(core, {
      _view: true,
      _blocks: this.blocks,
      prefix: this.prefix,
      lock: this.lock,
      extension: this.extension ?? false,
      ...options
    } as ViewOptions)
  }

  #extensionOf ({ extension }: HyperbeeOptions): HyperbeeExtension | BeeExtension | null {
    if (extension === false) return null
    return extension && extension !== true ? extension : HyperbeeExtension.register(this)
  }

  #changed (isTruncated: boolean): void {
    for (const watcher of this._watchers!) watcher.onchange()
    for (const watcher of this._entryWatchers!) watcher.onchange(isTruncated)
  }
}

export type { BeeEncoding, BeeExtension }
