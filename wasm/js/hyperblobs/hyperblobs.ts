// Byte strings of any size, as consecutive blocks of a core.

import type { Duplex } from 'streamx'

import type { Hypercore } from '../hypercore/hypercore.js'
import type { ReplicateOptions } from '../hypercore/options.js'
import type { Peer } from '../hypercore/peer.js'
import { bytesFrom, userBytes } from '../platform.js'
import { concat, isBytes } from '../support/bytes.js'
import { Lock } from '../support/lock.js'
import { getBlockMap, type BlockMap } from './block-map.js'
import { Monitor } from './monitor.js'
import type { ByteRange } from './range.js'
import { BlobReadStream, BlobWriter, BlobWriteStream, BlockMapReadStream } from './streams.js'

/** Bytes of a block, unless the writer chooses. */
const DEFAULT_BLOCK_SIZE = 2 ** 16

/** Blocks of a blob that are asked for at once: an id says how many there are, and may be anybody's. */
const READ_BLOCKS = 1024

/** Where a blob is. Keep it: nothing else knows. */
export interface BlobId {
  /** First block. */
  blockOffset: number
  /** Bytes of the core before it. */
  byteOffset: number
  /** Blocks. */
  blockLength: number
  /** Bytes of the blob. */
  byteLength: number
  /** Whether these are the blocks of a map of the content. */
  blockMap?: boolean
}

/** How blobs are stored. */
export interface HyperblobsOptions {
  /** Bytes of a block; 65536. */
  blockSize?: number
}

/** Which bytes of a blob are read; all of them by default. */
export interface BlobReadOptions extends ByteRange {
  /** False to fail when a block is not here. */
  wait?: boolean
  /** Milliseconds to wait for a block; 0 for as long as it takes. */
  timeout?: number
  /** False not to fetch ahead. */
  prefetch?: boolean
  /** Another core to read. */
  core?: Hypercore
  /** Bytes that the stream reads ahead; 16384 by default. */
  highWaterMark?: number
}

/** How a blob is written. */
export interface BlobWriteOptions {
  /** Bytes of a block; that of the blobs by default. */
  blockSize?: number
  /** Stores chunks that are there already only once. */
  dedup?: boolean
  /** Stores a map of the blocks, too. */
  blockMap?: boolean
  /** The blob that is replaced, whose chunks are used again. */
  blob?: BlobId | null
  /** Another core to write. */
  core?: Hypercore
  /** Bytes that wait to be written before `write()` returns false; 16384 by default. */
  highWaterMark?: number
}

/** Collects blobs, and appends them together. */
export class HyperblobsBatch {
  /** Where they are appended. */
  readonly blobs: Hyperblobs
  /** What is not appended. */
  blocks: Uint8Array[] = []
  /** Bytes of it. */
  bytes = 0

  /** @internal */
  constructor (blobs: Hyperblobs) {
    this.blobs = blobs
  }

  /** Resolves when the core is open. */
  ready (): Promise<void> {
    return this.blobs.ready()
  }

  /** Adds a blob, which is stored with `flush()`. */
  async put (content: Uint8Array | string): Promise<BlobId> {
    const { core, blockSize } = this.blobs
    const blob = isBytes(content) ? content : bytesFrom(content)
    if (!core.opened) await core.ready()
    const id: BlobId = {
      blockOffset: core.length + this.blocks.length,
      blockLength: 0,
      byteOffset: core.byteLength + this.bytes,
      byteLength: blob.byteLength
    }
    for (const block of pieces(blob, blockSize)) {
      this.blocks.push(block)
      id.blockLength++
    }
    this.bytes += blob.byteLength
    return id
  }

  /** A blob of this batch, or one that is stored; null when it is neither. */
  async get (id: BlobId): Promise<Uint8Array | null> {
    const first = id.blockOffset - this.blobs.core.length
    if (first < 0) return await this.blobs.get(id)
    const blocks = this.blocks.slice(first, first + id.blockLength)
    if (blocks.length < id.blockLength) return null
    return blocks.length === 1 ? blocks[0]! : userBytes(concat(blocks))
  }

  /** Appends everything at once. */
  async flush (): Promise<void> {
    await this.blobs.core.append(this.blocks)
    this.blocks = []
    this.bytes = 0
  }

  /** Does nothing: what was not flushed goes with the batch. */
  close (): void {}
}

/** Blobs in a core. */
export class Hyperblobs {
  /** Where the content is. */
  readonly core: Hypercore
  /** Bytes of a block. */
  readonly blockSize: number
  /** @internal */
  readonly _lock = new Lock()
  /** @internal */
  readonly _monitors = new Set<Monitor>()

  constructor (core: Hypercore, options: HyperblobsOptions = {}) {
    this.core = core
    this.blockSize = options.blockSize || DEFAULT_BLOCK_SIZE
  }

  /** Of the core; null before it is known. */
  get key (): Uint8Array | null { return this.core.key }
  /** Of the core; null before it is known. */
  get discoveryKey (): Uint8Array | null { return this.core.discoveryKey }
  /** The same as `core`. */
  get feed (): Hypercore { return this.core }
  /** Whether a blob is being written. */
  get locked (): boolean { return this._lock.locked }

  /** Resolves when the core is open. */
  ready (): Promise<void> {
    return this.core.ready()
  }

  /** Closes the core. */
  close (): Promise<void> {
    return this.core.close()
  }

  /** Replicates the core. */
  replicate (isInitiator: boolean | object, options?: ReplicateOptions): Duplex {
    return this.core.replicate(isInitiator, options)
  }

  /** Blobs that are appended together. */
  batch (): HyperblobsBatch {
    return new HyperblobsBatch(this)
  }

  /** The blobs as they are now. */
  snapshot (): Hyperblobs {
    return new Hyperblobs(this.core.snapshot())
  }

  /** Stores a blob. */
  async put (blob: Uint8Array | string, options: BlobWriteOptions = {}): Promise<BlobId> {
    const bytes = isBytes(blob) ? blob : bytesFrom(blob)
    const given = options ?? {}
    const writer = new BlobWriter(given.core ?? this.core, this._lock, given)
    try {
      await writer.open()
      for (const block of pieces(bytes, given.blockSize || this.blockSize)) await writer.write(block)
      await writer.finish()
      return writer.id
    } finally {
      writer.release()
    }
  }

  /**
   * @internal Begins to store a blob, and returns its id: whatever is appended in the same store from now on is never stored without it.
   * Null when that cannot be had: it is large, or the log is encrypted, elsewhere or busy.
   */
  async begin (blob: Uint8Array | string): Promise<{ id: BlobId, stored: Promise<unknown> } | null> {
    const blocks = pieces(isBytes(blob) ? blob : bytesFrom(blob), this.blockSize)
    const writer = new BlobWriter(this.core, this._lock, {})
    const begun = await writer.begin([...blocks])
    return begun && { id: writer.id, stored: begun.stored }
  }

  /** Reads a blob, or a part of it; null when it is not here and not to be waited for. */
  async get (id: BlobId, options?: BlobReadOptions): Promise<Uint8Array | null> {
    if (isAll(id, options)) return await this.#getAll(id, options)
    const blocks: Uint8Array[] = []
    try {
      for await (const block of this.createReadStream(id, options)) blocks.push(block)
    } catch (error) {
      if ((error as { code?: string }).code === 'BLOCK_NOT_AVAILABLE') return null
      throw error
    }
    return blocks.length === 1 ? blocks[0]! : userBytes(concat(blocks))
  }

  /** The map of a blob that has one. */
  getBlockMap (id: BlobId): Promise<BlockMap | null> | null {
    return id.blockMap ? getBlockMap(this.core, id) : null
  }

  /** Bytes of the content, which the id of a mapped blob does not tell. */
  async getByteLength (id: BlobId): Promise<number> {
    if (!id.blockMap || id.byteLength === 0) return id.byteLength
    const map = await getBlockMap(this.core, id)
    return map!.blocks.reduce((sum, block) => sum + block.byteLength, 0)
  }

  /** Drops the local blocks of a blob. */
  async clear (id: BlobId, options?: { diff?: boolean }): Promise<{ blocks: number } | null> {
    if (id.blockMap) {
      const map = await getBlockMap(this.core, id)
      for (const { index } of map?.blocks ?? []) await this.core.clear(index, index + 1, options)
    }
    return await this.core.clear(id.blockOffset, id.blockOffset + id.blockLength, options)
  }

  /** A blob as a stream of bytes. It fails with `BLOCK_NOT_AVAILABLE` where a block is not here and not to be waited for. */
  createReadStream (id: BlobId, options?: BlobReadOptions): BlobReadStream | BlockMapReadStream {
    const core = options?.core ?? this.core
    return id.blockMap ? new BlockMapReadStream(core, id, options) : new BlobReadStream(core, id, options)
  }

  /** Writes a blob; its `id` is complete when the stream has closed. Others wait until then. */
  createWriteStream (options?: BlobWriteOptions): BlobWriteStream {
    return new BlobWriteStream(options?.core ?? this.core, this._lock, options)
  }

  /** Follows how the blocks of a blob travel. */
  monitor (id: BlobId): Monitor {
    const monitor = new Monitor(this, id)
    if (this._monitors.size === 0) this.#listen()
    this._monitors.add(monitor)
    return monitor
  }

  /** @internal */
  _removeMonitor (monitor: Monitor): void {
    if (this._monitors.delete(monitor) && this._monitors.size === 0) this.#unlisten()
  }

  async #getAll (id: BlobId, options?: BlobReadOptions): Promise<Uint8Array | null> {
    if (!Number.isSafeInteger(id.blockLength) || id.blockLength < 0) throw new TypeError('A blob has a blockLength')
    if (id.blockLength === 1) return await this.core.get(id.blockOffset, options) as Uint8Array | null
    const blocks: Uint8Array[] = []
    for (let first = 0; first < id.blockLength; first += READ_BLOCKS) {
      const indexes = Array.from({ length: Math.min(READ_BLOCKS, id.blockLength - first) }, (_, i) => id.blockOffset + first + i)
      const part = await Promise.all(indexes.map((index) => this.core.get(index, options) as Promise<Uint8Array | null>))
      if (part.includes(null)) return null
      for (const block of part) blocks.push(block!)
    }
    return userBytes(concat(blocks))
  }

  readonly #onpeers = (): void => { for (const monitor of this._monitors) monitor._updatePeers() }

  readonly #onupload = (index: number, bytes: number, from: Peer | null): void => {
    for (const monitor of this._monitors) monitor._onUpload(index, bytes, from)
  }

  readonly #ondownload = (index: number, bytes: number, from: Peer | null): void => {
    for (const monitor of this._monitors) monitor._onDownload(index, bytes, from)
  }

  #listen (): void {
    this.core.on('peer-add', this.#onpeers)
    this.core.on('peer-remove', this.#onpeers)
    this.core.on('upload', this.#onupload)
    this.core.on('download', this.#ondownload)
  }

  #unlisten (): void {
    this.core.off('peer-add', this.#onpeers)
    this.core.off('peer-remove', this.#onpeers)
    this.core.off('upload', this.#onupload)
    this.core.off('download', this.#ondownload)
  }
}

function * pieces (bytes: Uint8Array, size: number): Generator<Uint8Array> {
  for (let offset = 0; offset < bytes.byteLength; offset += size) yield bytes.subarray(offset, offset + size)
}

function isAll (id: BlobId, options: BlobReadOptions | undefined): boolean {
  if (id.blockMap) return false
  if (!options) return true
  return !options.start && options.length === undefined && options.end === undefined && !options.core
}
