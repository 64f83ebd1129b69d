// Reads of one version, and writes that are appended together.

import type { BeeCacheHandle, BeeWalkHandle, RawEntry } from '../binding.js'
import { HypercoreError } from '../errors.js'
import { userBytes } from '../platform.js'
import { look } from '../runtime.js'
import { raw } from '../support/encoding.js'
import type { LockFunction } from '../support/lock.js'
import type { Hypercore } from '../hypercore/hypercore.js'
import { isIndex, toIndex } from '../hypercore/options.js'
import { finalEntry, take, type Entry, type Hooks, type ReadOptions } from './blocks.js'
import { codec, encode, encodeRange, keyBytes, valueBytes, type BeeEncoding, type Encoding } from './encodings.js'
import { HyperbeeExtension, type Lookup } from './extension.js'
import type { Hyperbee } from './hyperbee.js'
import { first, RangeIterator, streamOf, type BeeStream, type RangeOptions } from './iterators.js'
import { BlockEntry, links, type TreeNode } from './nodes.js'

/** How keys and values become bytes. */
export interface EncodingOptions {
  /** Of keys: `'binary'`, `'utf-8'`, `'json'`, a codec, or an encoding of the package `compact-encoding`; null, the default, for bytes, and UTF-8 of text. */
  keyEncoding?: BeeEncoding | null
  /** Of values, likewise. */
  valueEncoding?: BeeEncoding | null
}

/** How a batch reads. */
export interface BatchOptions extends ReadOptions, EncodingOptions {
  /** The version that is read. */
  checkout?: number
  /** Kept: the blocks of all reads are in one cache. */
  maxBlocksCached?: number
  /** False never asks peers for a newer version. */
  update?: boolean
  /** False neither asks peers for hints nor answers them. */
  extension?: boolean
}

export interface GetOptions extends EncodingOptions {
  /** False gives the block, with key and value as they are stored. */
  finalize?: boolean
}

/** Decides whether an entry is replaced by another. */
export type Cas<K = any, V = any> = (prev: Entry<K, V>, next: Entry<K, V>) => boolean | Promise<boolean>

/** How an entry is put or deleted. */
export interface PutOptions<K = any, V = any> extends EncodingOptions {
  /** Says whether to do so, by the entry that is there and the one that would take its place. Not called where there is none. */
  cas?: Cas<K, V>
}

/** Puts and deletes that reach the core in one append, and reads that see them before. */
export class Batch<K = any, V = any> {
  /** The bee that it is of. */
  readonly tree: Hyperbee
  /** @deprecated use `core` */
  readonly feed: Hypercore
  /** Where it is stored. */
  readonly core: Hypercore
  /** @internal */
  index: number
  /** Whether each change is appended at once. */
  readonly autoFlush: boolean
  /** The block of the tree's root, once it is known; 0 before. */
  rootSeq = 0
  /** Changes that are not appended. */
  length = 0
  /** The version that is read; -1 for the newest. */
  readonly checkout: number
  readonly options: BatchOptions
  /** Lets other writers go on; null while nothing is locked. */
  locked: (() => void) | null = null
  /** What writers wait for; null where nothing is written. */
  readonly batchLock: LockFunction | null
  /** Called with every block that is read. */
  readonly onseq: (seq: number) => unknown
  /** What is being appended; null for nothing. */
  appending: Uint8Array[] | null = null
  /** Whether it only reads. */
  readonly isSnapshot: boolean
  /** Whether peers may be asked for a newer version. */
  readonly shouldUpdate: boolean
  /** Kept for programs that give one: the blocks of all reads are in one cache. */
  readonly maxBlocksCached: number
  /** Under way while they are asked. */
  updating: Promise<boolean> | null = null
  /** How keys and values become bytes. */
  readonly encoding: Encoding
  /** @internal The walk that collects changes. */
  pending: BeeWalkHandle | null = null

  /** @internal */
  constructor (tree: Hyperbee, core: Hypercore, batchLock: LockFunction | null, options: BatchOptions | null = {}) {
    options ??= {}
    this.tree = tree
    this.feed = core
    this.core = core
    this.index = tree._batches.push(this) - 1
    this.autoFlush = batchLock === null
    this.checkout = options.checkout === undefined ? -1 : options.checkout
    this.options = options
    this.batchLock = batchLock
    this.onseq = options.onseq || ignore
    this.isSnapshot = core !== tree.core
    this.shouldUpdate = options.update !== false
    this.maxBlocksCached = options.maxBlocksCached || 128
    this.encoding = {
      key: options.keyEncoding ? codec(options.keyEncoding) : tree.keyEncoding,
      value: options.valueEncoding ? codec(options.valueEncoding) : tree.valueEncoding
    }
  }

  /** Resolves when the bee is open. */
  async ready (): Promise<void> {
    if (!this.core.opened) await this.core.ready()
    if (!this.tree.opened) await this.tree.ready()
  }

  /** Keeps other writers out until the batch is flushed or closed. */
  async lock (): Promise<void> {
    if (this.tree.readonly) throw new Error('Hyperbee is marked as read-only')
    if (this.locked !== null) return
    const unlock = this.locked = await this.tree.lock()
    if (!this.core.opened) await this.core.ready()
    const state = this.core.state
    if (!state?.isDefault() || !state.core.db.isShared) return
    try {
      const unlockOthers = await state.core.lockWrites('bee')
      this.locked = () => {
        unlockOthers()
        unlock()
      }
    } catch (error) {
      this.#unlock()
      throw error
    }
  }

  /** The version that it would be after the batch. */
  get version (): number {
    if (this.checkout !== -1) return Math.max(1, this.checkout)
    return Math.max(1, this.tree._checkout || this.core.length + this.length)
  }

  /** @internal */
  get cache (): BeeCacheHandle {
    return this.tree.blocks.of(this.core)
  }

  /** @internal What comes before any read: everything is open, and the newest version is known. */
  async prepare (ensureHeader: boolean): Promise<void> {
    await this.ready()
    if (ensureHeader && this.core.length === 0 && this.core.writable && !this.tree.readonly) {
      await this.core.append(userBytes(look((engine) => engine.beeHeader(this.tree.metadata))))
    }
    if (this.tree._checkout === 0 && this.checkout === -1 && this.shouldUpdate) {
      this.updating ??= this.core.update()
      await this.updating
    }
  }

  /** The first entry of a range, or null. */
  async peek (range?: RangeOptions<K> | null, options?: RangeOptions<K> & EncodingOptions): Promise<Entry<K, V> | null> {
    return await first(this.createRangeIterator(range, { ...options, limit: 1 }))
  }

  /** As of the bee, with what is in the batch. */
  createRangeIterator (range?: RangeOptions<K> | null, options: (RangeOptions<K> & EncodingOptions) | null = {}): RangeIterator<K, V> {
    const given = options ? { ...options, ...range } : { ...range }
    const encoding = this.#encoding(given)
    return new RangeIterator(this, encoding, encodeRange(encoding.key, given, this.tree._sub))
  }

  /** As of the bee, with what is in the batch. */
  createReadStream (range?: RangeOptions<K> | null, options?: (RangeOptions<K> & EncodingOptions) | null): BeeStream<Entry<K, V>> {
    return streamOf(this.createRangeIterator(range, options), { signal: options?.signal })
  }

  /** The key and value of a block. */
  async getBySeq (seq: number, options?: EncodingOptions | null): Promise<{ key: K, value: V }> {
    const encoding = this.#encoding(options)
    try {
      await this.ready()
      if (!isIndex(seq)) throw HypercoreError.ASSERTION('block index is invalid', this.core.discoveryKey)
      seq = toIndex(seq)
      const walk = this.#walk()
      this.onseq(seq)
      const found = await take(walk, this.core, this.options, () => walk.getBySeq(seq) as RawEntry | undefined | false)
      const { key, value } = finalEntry(found, encoding)
      return { key, value }
    } finally {
      await this.closeSnapshot()
    }
  }

  /** The entry of a key, or null. */
  async get (key: K, options?: GetOptions | null): Promise<Entry<K, V> | null> {
    const encoding = this.#encoding(options)
    try {
      const found = await this.find(encode(encoding.key, key))
      if (found === null) return null
      return options?.finalize === false ? await this.#block(found[0]) as unknown as Entry<K, V> : finalEntry(found, encoding)
    } finally {
      await this.closeSnapshot()
    }
  }

  /** The root of the tree, or null when there is none. */
  async getRoot (ensureHeader?: boolean): Promise<TreeNode | null> {
    await this.prepare(!!ensureHeader)
    if (this.version < 2 && this.length === 0) return null
    return (await this.getBlock(this.version - 1)).getTreeNode(0)
  }

  /** The root of what was changed and is not appended; null when nothing was. */
  get root (): TreeNode | null {
    return this.length === 0 || this.pending === null ? null : this.#changed(this.core.length + this.length - 1).getTreeNode(0)
  }

  /** A block of the tree, with its nodes. */
  async getBlock (seq: number): Promise<BlockEntry> {
    this.rootSeq ||= seq
    this.onseq(seq)
    return await this.#block(seq)
  }

  /** The key that a block put or deleted, as it is stored. */
  async getKey (seq: number): Promise<Uint8Array> {
    return (await this.getBlock(seq)).key
  }

  /** Whether the tree still leads to a block, by the way that a key goes. */
  async links (key: Uint8Array, seq: number): Promise<boolean> {
    return await links(await this.getRoot(false), key, seq)
  }

  /** @internal Looks an encoded key up. Nothing is in an empty bee, whatever the key. */
  async find (key: unknown): Promise<RawEntry | null> {
    await this.prepare(false)
    const { version } = this
    if (this.pending === null && version < 2) return null
    this.rootSeq ||= version - 1
    const bytes = keyBytes(key)
    const walk = this.#walk()
    if (this.onseq !== ignore) walk.startTrace()
    const lookup = this.#lookup(walk, version, bytes)
    try {
      return await take(walk, this.core, this.options, lookup.step, lookup.hooks)
    } finally {
      lookup.end()
      if (this.onseq !== ignore) for (const seq of walk.touched()) this.onseq(seq)
    }
  }

  /** Puts an entry, which is stored with `flush()`. */
  async put (key: K, value?: V | null, options?: PutOptions<K, V> | null): Promise<void> {
    await this.#change(options, async (encoding, cas) => {
      const next: Entry = { seq: 0, key, value }
      const encoded = [encode(encoding.key, key), encode(encoding.value, value)]
      const walk = await this.#writer()
      // The first key of all meets no other, and is missed when it is to be written.
      if (encoded[0] === null && this.length === 0 && this.version < 2) throw new Error('key is required')
      const [keyOf, valueOf] = [keyBytes(encoded[0]), valueBytes(encoded[1])]
      next.seq = this.core.length + this.length
      if (cas) {
        const prev = await this.#take(walk, () => walk.current(keyOf) as RawEntry | null)
        if (prev !== null && !(await cas(finalEntry(prev, encoding), next))) {
          await this.#take(walk, () => walk.refusePut(keyOf) as number)
          return false
        }
      }
      return await this.#take(walk, () => walk.put(keyOf, valueOf) as number) === 1
    })
  }

  /** Deletes an entry with `flush()`, if there is one. */
  async del (key: K, options?: PutOptions<K, V> | null): Promise<void> {
    await this.#change(options, async (encoding, cas) => {
      const next: Entry = { seq: 0, key, value: null }
      const encoded = encode(encoding.key, key)
      const walk = await this.#writer()
      if (this.length === 0 && this.version < 2) return false
      const keyOf = keyBytes(encoded)
      next.seq = this.core.length + this.length
      if (cas) {
        const prev = await this.#take(walk, () => walk.current(keyOf) as RawEntry | null)
        if (prev === null || !(await cas(finalEntry(prev, encoding), next))) return false
      }
      return await this.#take(walk, () => walk.del(keyOf) as number) === 1
    })
  }

  /** Gives the batch up, and lets other writers go on. */
  async close (): Promise<void> {
    if (this.isSnapshot) return await this.closeSnapshot()
    this.#reset()
    this.#unlock()
  }

  /** @deprecated use `close()` */
  destroy (): void {
    this.close().catch(() => {})
  }

  /** The blocks that a flush appends. The batch can be read on. */
  toBlocks (): Uint8Array[] {
    this.appending ??= this.pending ? this.pending.pendingBlocks().map(userBytes) : []
    return this.appending
  }

  /** Appends everything. */
  async flush (): Promise<void> {
    if (this.length === 0) return await this.close()
    const blocks = this.appending ?? this.#takeBlocks()
    this.#reset()
    this.appending = blocks
    await this.#append(blocks)
  }

  /** @internal */
  async closeSnapshot (): Promise<void> {
    if (!this.isSnapshot) return
    await this.core.close()
    this.#finalize()
  }

  async #change (options: PutOptions | null | undefined, change: (encoding: Encoding, cas: Cas | null) => Promise<boolean>): Promise<void> {
    const release = this.batchLock ? await this.batchLock() : null
    const cas = options?.cas ?? null
    const encoding = this.#encoding(options)
    try {
      if (this.locked === null) await this.lock()
      const appends = await change(encoding, cas)
      if (appends) this.appending = null
      if (appends && !this.autoFlush) this.length++
      else if (appends) await this.#append(this.#takeBlocks())
    } finally {
      if (this.autoFlush) {
        this.#reset()
        this.#unlock()
      }
      release?.()
    }
  }

  // They are not copied, and nothing can be changed after.
  #takeBlocks (): Uint8Array[] {
    return this.pending ? this.pending.takeBlocks().map(userBytes) : []
  }

  async #writer (): Promise<BeeWalkHandle> {
    await this.prepare(true)
    if (this.version > 1) this.rootSeq ||= this.version - 1
    this.pending ??= look((engine) => engine.BeeWalk.batch(this.cache, this.core.length, this.version, this.tree.alwaysDuplicate))
    return this.pending
  }

  async #block (seq: number): Promise<BlockEntry> {
    if (this.pending !== null && seq >= this.core.length) return this.#changed(seq)
    const block = await this.core.get(seq, { ...this.options, valueEncoding: raw } as object) as Uint8Array | null
    if (block === null) throw HypercoreError.BLOCK_NOT_AVAILABLE()
    return new BlockEntry(seq, this, block)
  }

  /** A block that is not appended yet. */
  #changed (seq: number): BlockEntry {
    const block = this.pending?.pendingBlocks()[seq - this.core.length]
    if (!block) throw HypercoreError.BLOCK_NOT_AVAILABLE()
    return new BlockEntry(seq, this, block)
  }

  #walk (): BeeWalkHandle {
    return this.pending ?? look((engine) => new engine.BeeWalk(this.cache, this.version))
  }

  #take<T> (walk: BeeWalkHandle, step: () => T | undefined | false): Promise<T> {
    return take(walk, this.core, this.options, step)
  }

  /** How a key is looked up, with the help of peers where that is wanted. */
  #lookup (walk: BeeWalkHandle, version: number, key: Uint8Array): { step: () => RawEntry | null | undefined | false, hooks: Hooks, end: () => void } {
    const step = () => walk.get(key) as RawEntry | null | undefined | false
    const extension = this.options.extension === false ? null : this.tree.extension
    if (extension === null) return { step, hooks: {}, end: () => {} }
    let lookup: Lookup | null = null
    let asked = false
    return {
      step: () => {
        if (lookup?.message && walk.hint(lookup.message)) {
          lookup.end()
          lookup = null
        }
        return step()
      },
      hooks: {
        onwait: () => {
          if (asked) return
          asked = true
          if (extension instanceof HyperbeeExtension) lookup = extension.lookup(version, key)
          else extension.get(version, key)
          if (extension instanceof HyperbeeExtension && !extension.isAnswered) walk.askAhead()
        },
        onload: () => lookup === null ? null : lookup.patience().then(() => {
          if (lookup?.message === null) walk.askAhead()
        })
      },
      end: () => { lookup?.end() }
    }
  }

  #encoding (options?: EncodingOptions | null): Encoding {
    if (!options) return this.encoding
    return {
      key: options.keyEncoding ? codec(options.keyEncoding) : this.encoding.key,
      value: options.valueEncoding ? codec(options.valueEncoding) : this.encoding.value
    }
  }

  async #append (blocks: Uint8Array[]): Promise<void> {
    const { fork } = this.core
    try {
      const { length } = await this.core.append(blocks)
      // The next change begins with the last block.
      if (fork === this.core.fork && length <= this.core.length) this.cache.keep(length - 1, blocks.at(-1)!)
    } finally {
      this.#unlock()
    }
  }

  #reset (): void {
    this.pending = null
    this.appending = null
    this.length = 0
  }

  #unlock (): void {
    const locked = this.locked
    this.locked = null
    locked?.()
    this.#finalize()
  }

  #finalize (): void {
    const { _batches: batches } = this.tree
    if (this.index >= batches.length || batches[this.index] !== this) return
    const last = batches.pop()!
    if (last === this) return
    last.index = this.index
    batches[last.index] = last
  }
}

function ignore (): void {}
