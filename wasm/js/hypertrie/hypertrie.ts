// A trie of keys in a core, which drives had before Hyperbee: what upstream calls a Hypertrie. It is read, and never written.

import type { Duplex } from 'streamx'

import type { RawTrieNode, TrieWalkHandle } from '../binding.js'
import { HypercoreError } from '../errors.js'
import { take } from '../hyperbee/blocks.js'
import { codec, type BeeCodec, type BeeEncoding } from '../hyperbee/encodings.js'
import { streamOf, type BeeStream } from '../hyperbee/iterators.js'
import type { Hypercore } from '../hypercore/hypercore.js'
import type { GetOptions, ReplicateOptions, UpdateOptions } from '../hypercore/options.js'
import { userBytes } from '../platform.js'
import { look } from '../runtime.js'
import { toUtf8 } from '../support/bytes.js'
import { raw } from '../support/encoding.js'
import { ReadyResource } from '../support/ready-resource.js'

/** What the engine is told of a walk, in bits: the first four are those of upstream's iterators. */
const RECURSIVE = 1
const REVERSE = 2
const GT = 4
const HIDDEN = 8
const SINGLE = 16

/** How a trie is opened. */
export interface HypertrieOptions {
  /** Of values; null for bytes. */
  valueEncoding?: BeeEncoding | null
  /** The version that is read; the newest by default. */
  checkout?: number
}

/** What reads may be told. */
export interface TrieReadOptions {
  /** False to fail where a block is not here; true by default. */
  wait?: boolean
  /** Milliseconds to wait for a block (`REQUEST_TIMEOUT`); 0 for as long as it takes. */
  timeout?: number
}

/** How a key is looked up. */
export interface TrieGetOptions extends TrieReadOptions {
  /** Looks among hidden keys, instead of all others. */
  hidden?: boolean
}

/** What is listed, in the order of the hashes. */
export interface TrieListOptions extends TrieGetOptions {
  /** False to give one key of each folder, instead of all. */
  recursive?: boolean
  /** Turns the order around. */
  reverse?: boolean
  /** Leaves out the key that is the prefix. */
  gt?: boolean
}

/** Which blocks are read; all, from the oldest on, by default. */
export interface TrieHistoryOptions extends TrieReadOptions {
  /** Blocks after this one. */
  gt?: number
  /** This block, and those after it. */
  gte?: number
  /** Blocks before this one. */
  lt?: number
  /** This block, and those before it. */
  lte?: number
  /** The newest first. */
  reverse?: boolean
}

/** One key of a trie. */
export interface TrieNode<V = any> {
  /** The block that put it. */
  seq: number
  /** Without a slash in front. */
  key: string
  /** As the value encoding makes it; null for none. */
  value: V
  /** Those of the application. */
  flags: number
  /** Whether only lookups of hidden keys see it. */
  hidden: boolean
}

/** Block 0 of a trie. */
export interface TrieHeader {
  /** `hypertrie`. */
  type: string
  /** What the application said; a drive has the key of its content here. */
  metadata: Uint8Array | null
  /** What else it said. */
  subtype: string | null
}

/** A trie in a core, to read. Usable at once; it opens by itself. */
export class Hypertrie<V = any> extends ReadyResource {
  /** Where it is stored. */
  readonly feed: Hypercore
  /** Where it is stored. */
  readonly core: Hypercore
  /** Of values; null for bytes. */
  readonly valueEncoding: BeeCodec<V> | null
  /** The version that is read; 0 for the newest, -1 for the one at opening. */
  #checkout: number
  #isView = false
  #isTrie = false
  /** Of streams, closed with them, so that none waits for a block any more. */
  readonly #sessions = new Set<Hypercore>()

  constructor (core: Hypercore, options: HypertrieOptions = {}) {
    super()
    if (!core) throw new TypeError('a trie needs a core')
    this.feed = core
    this.core = core
    this.valueEncoding = options.valueEncoding ? codec(options.valueEncoding) : null
    this.#checkout = options.checkout || 0
    this.ready().catch(() => {})
  }

  /** What the application said about a trie. */
  static async getMetadata (core: Hypercore, options?: GetOptions): Promise<Uint8Array | null> {
    return (await headerOf(core, options))?.metadata ?? null
  }

  /** The length of the core, or that of a checkout: what `checkout()` takes. */
  get version (): number { return this.#checkout > 0 ? this.#checkout : this.core.length }
  /** The key of the core as text; null before it is known. */
  get id (): string | null { return this.core.id }
  /** Of the core, 32 bytes; null before it is known. */
  get key (): Uint8Array | null { return this.core.key }
  /** Of the core, 32 bytes; null before it is known. */
  get discoveryKey (): Uint8Array | null { return this.core.discoveryKey }

  /** Replicates the core; see `Hypercore.replicate`. */
  replicate (isInitiator: boolean | object, options?: ReplicateOptions): Duplex {
    return this.core.replicate(isInitiator, options)
  }

  /** Asks peers for a newer version. */
  update (options?: UpdateOptions): Promise<boolean> {
    return this.core.update(options)
  }

  /** Block 0, decoded; null where it is not here and not waited for. */
  async getHeader (options?: GetOptions): Promise<TrieHeader | null> {
    await this.ready()
    return await headerOf(this.core, options)
  }

  /** What the application said, in block 0. */
  async getMetadata (options?: GetOptions): Promise<Uint8Array | null> {
    return (await this.getHeader(options))?.metadata ?? null
  }

  /** The node of a key, or null. */
  async get (key: string, options: TrieGetOptions | null = {}): Promise<TrieNode<V> | null> {
    const given = options ?? {}
    const length = await this.#prepare(this.core, given)
    const walk = look((engine) => new engine.TrieWalk(length, textOf(key), SINGLE | (given.hidden ? HIDDEN : 0)))
    return await this.#step(walk, this.core, given)
  }

  /** What a block put; null for one that made the trie empty. */
  async getBySeq (seq: number, options: TrieReadOptions | null = {}): Promise<TrieNode<V> | null> {
    if (seq < 1) return null
    const given = options ?? {}
    await this.#prepare(this.core, given)
    const walk = look((engine) => engine.TrieWalk.history(seq + 1, seq, false))
    return await this.#step(walk, this.core, given)
  }

  /** All keys below a prefix. */
  async list (prefix?: string | TrieListOptions | null, options?: TrieListOptions | null): Promise<TrieNode<V>[]> {
    const nodes = []
    for await (const node of this.createReadStream(prefix, options)) nodes.push(node)
    return nodes
  }

  /** The same as `createReadStream`. */
  iterator (prefix?: string | TrieListOptions | null, options?: TrieListOptions | null): BeeStream<TrieNode<V>> {
    return this.createReadStream(prefix, options)
  }

  /** The keys below a prefix. */
  createReadStream (prefix?: string | TrieListOptions | null, options?: TrieListOptions | null): BeeStream<TrieNode<V>> {
    const given = (typeof prefix === 'object' ? prefix : options) ?? {}
    const below = typeof prefix === 'object' ? '' : textOf(prefix ?? '')
    const flags = (given.recursive !== false ? RECURSIVE : 0) | (given.reverse ? REVERSE : 0) | (given.gt ? GT : 0) | (given.hidden ? HIDDEN : 0)
    return this.#walk(given, (length) => look((engine) => new engine.TrieWalk(length, below, flags)))
  }

  /** The same as `createHistoryStream`. */
  history (options?: TrieHistoryOptions | null): BeeStream<TrieNode<V>> {
    return this.createHistoryStream(options)
  }

  /** What each block put; one that deleted a key put a neighbour of it again. */
  createHistoryStream (options?: TrieHistoryOptions | null): BeeStream<TrieNode<V>> {
    const given = options ?? {}
    if ('live' in given && given.live) throw unsupported(this)
    const gte = typeof given.gt === 'number' ? given.gt + 1 : given.gte ?? 1
    const lte = typeof given.lt === 'number' ? given.lt - 1 : given.lte ?? Infinity
    return this.#walk(given, (length) => {
      const end = Math.min(length, lte + 1)
      return look((engine) => engine.TrieWalk.history(Math.max(0, end), Math.max(1, gte), !!given.reverse))
    })
  }

  /** A view of another version. */
  checkout (version: number): Hypertrie<V> {
    const trie = new Hypertrie<V>(this.core, { checkout: version || 1, valueEncoding: this.valueEncoding })
    trie.#isView = true
    return trie
  }

  /** A view that stays as the trie is now. */
  snapshot (): Hypertrie<V> {
    return this.checkout(this.#checkout > 0 || this.core.opened ? this.version : -1)
  }

  /** @internal */
  override async _open (): Promise<void> {
    await this.core.ready()
    if (this.#checkout < 0) this.#checkout = Math.max(1, this.core.length)
  }

  /** @internal The core of a view is that of the trie. */
  override async _close (): Promise<void> {
    await Promise.all([...this.#sessions].map((session) => session.close()))
    if (!this.#isView) await this.core.close()
  }

  #walk (options: TrieReadOptions, begin: (length: number) => TrieWalkHandle): BeeStream<TrieNode<V>> {
    let session: Hypercore
    let walk: TrieWalkHandle
    return streamOf({
      open: async () => {
        session = this.core.session()
        this.#sessions.add(session)
        walk = begin(await this.#prepare(session, options))
      },
      next: () => this.#step(walk, session, options),
      close: async () => {
        this.#sessions.delete(session)
        await session?.close()
      }
    })
  }

  /** Comes before any read: what is read, is a trie. Resolves to how many blocks of it are read. */
  async #prepare (session: Hypercore, options: TrieReadOptions): Promise<number> {
    await this.ready()
    if (session !== this.core) await session.ready()
    if (this.#checkout === 0 && options.wait !== false) await session.update()
    const { version } = this
    if (version > 0) this.#isTrie ||= await headerOf(session, options) !== null
    return version
  }

  async #step (walk: TrieWalkHandle, session: Hypercore, options: TrieReadOptions): Promise<TrieNode<V> | null> {
    const found = await take(walk, session, options, () => walk.next() as RawTrieNode | null | undefined)
    if (found === null) return null
    const [seq, key, bytes, flags] = found
    const value = bytes && userBytes(bytes)
    return {
      seq,
      key,
      value: (value && this.valueEncoding ? this.valueEncoding.decode(value) : value) as V,
      flags: Math.floor(flags / 256),
      hidden: flags % 2 === 1
    }
  }
}

/** Reads block 0, which says that there is a trie; null where it is not here and not waited for. */
async function headerOf (core: Hypercore, options?: GetOptions | TrieReadOptions): Promise<TrieHeader | null> {
  const block = await core.get(0, { ...options, valueEncoding: raw }) as Uint8Array | null
  if (block === null) return null
  const header = look((engine) => engine.trieHeader(block))
  if (!header) throw HypercoreError.DECODING_ERROR('there is no hypertrie in this core', core.discoveryKey)
  const [metadata, subtype] = header
  return { type: 'hypertrie', metadata: metadata && userBytes(metadata), subtype: subtype && toUtf8(subtype) }
}

function textOf (key: unknown): string {
  if (typeof key === 'string') return key
  throw new TypeError(`a key of a trie is text, not ${key === null ? 'null' : typeof key}`)
}

function unsupported ({ discoveryKey }: Hypertrie): HypercoreError {
  return HypercoreError.INVALID_OPERATION('a hypertrie is read only: it has get, list and history', discoveryKey)
}

// What upstream's has besides, for programs in JavaScript: types do not have it.
for (const name of ['put', 'del', 'batch', 'watch', 'diff', 'createDiffStream', 'createWriteStream', 'reconnect', 'setMetadata']) {
  Object.defineProperty(Hypertrie.prototype, name, {
    value (this: Hypertrie) {
      const error = unsupported(this)
      if (name === 'put' || name === 'del' || name === 'batch') return Promise.reject(error)
      throw error
    }
  })
}
