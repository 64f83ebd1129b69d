// Blobs as streams.

import { Readable, Writable, type WritableOptions } from 'streamx'

import { HypercoreError } from '../errors.js'
import type { Download } from '../hypercore/download.js'
import type { Hypercore } from '../hypercore/hypercore.js'
import { bytesFrom } from '../platform.js'
import { isElsewhere } from '../remote/table.js'
import { gatherCommits } from '../runtime.js'
import { isBytes } from '../support/bytes.js'
import type { Lock } from '../support/lock.js'
import type { ReadEvents } from '../support/readable.js'
import { encodeBlockMap, getBlockMap, hashOf, type MappedBlock } from './block-map.js'
import type { BlobId, BlobReadOptions, BlobWriteOptions } from './hyperblobs.js'
import { locate, windowOf, type ByteRange } from './range.js'

type Done = (error: Error | null) => void

/** Blocks that are appended together. */
const APPEND_BLOCKS = 16

/** Writes one blob: one block for each chunk. */
export class BlobWriter {
  readonly id: BlobId = { blockOffset: 0, byteOffset: 0, blockLength: 0, byteLength: 0 }
  readonly #core: Hypercore
  readonly #lock: Lock
  readonly #replaced: BlobId | null
  readonly #dedup: boolean
  readonly #map: MappedBlock[] | null
  #known: Map<string, MappedBlock> | null = null
  #release: (() => void) | null = null
  #batch: Uint8Array[] = []

  constructor (core: Hypercore, lock: Lock, { dedup, blockMap, blob }: BlobWriteOptions) {
    this.#core = core
    this.#lock = lock
    this.#dedup = !!dedup
    this.#replaced = blob ?? null
    this.#map = blockMap || dedup ? [] : null
    if (this.#map) this.id.blockMap = true
  }

  /** Waits until no other blob is being written. */
  async open (): Promise<void> {
    if (!this.#core.opened) await this.#core.ready()
    const release = this.#release = await this.#lock.acquire()
    const state = this.#core.state
    if (state?.isDefault() && state.core.db.isShared) {
      const releaseOthers = await state.core.lockWrites('blob')
      this.#release = () => {
        releaseOthers()
        release()
      }
    }
    this.id.byteOffset = this.#core.byteLength
    this.id.blockOffset = this.#core.length
    if (!this.#dedup) return
    const map = this.#replaced && await getBlockMap(this.#core, this.#replaced, { hashes: true })
    this.#known = map?.hashes ?? new Map()
  }

  /** Opens, and appends all blocks of a blob at once: returns what to wait for, or null when nothing was done. */
  async begin (blocks: Uint8Array[]): Promise<{ stored: Promise<unknown> } | null> {
    try {
      await this.open()
      const begun = await this.#appendAll(blocks)
      if (begun === null) this.release()
      return begun
    } catch (error) {
      this.release()
      throw error
    }
  }

  async #appendAll (blocks: Uint8Array[]): Promise<{ stored: Promise<unknown> } | null> {
    const { length, state, closing, encryption } = this.#core
    const isFree = blocks.length > 0 && blocks.length < APPEND_BLOCKS && closing === null && encryption === null &&
      state !== null && state.isDefault() && state.resuming === null && !isElsewhere(state.handle) && state.stagedLength === length
    if (!isFree) return null
    gatherCommits()
    const stored = this.#core.append(blocks)
    // Whoever waits for it sees the error.
    stored.catch(() => {}).finally(() => { this.release() })
    this.id.blockLength = blocks.length
    this.id.byteLength = blocks.reduce((sum, block) => sum + block.byteLength, 0)
    // One that has something to read first might be overtaken.
    if (state.stagedLength !== length + blocks.length) await stored
    return { stored }
  }

  /** Adds a chunk; a promise when it has to be waited for. */
  write (chunk: Uint8Array): Promise<void> | null {
    if (this.#map && !this.#note(chunk, this.#map)) return null
    this.#batch.push(chunk)
    return this.#batch.length < APPEND_BLOCKS ? null : this.#append()
  }

  async finish (): Promise<void> {
    await this.#append()
    const core = this.#core
    if (this.#map) {
      this.id.blockOffset = core.length
      this.id.byteOffset = core.byteLength
      await core.append(encodeBlockMap(this.#map))
    }
    this.id.blockLength = core.length - this.id.blockOffset
    this.id.byteLength = core.byteLength - this.id.byteOffset
  }

  /** Lets others write. */
  release (): void {
    this.#release?.()
  }

  // Whether the chunk is a new one.
  #note (chunk: Uint8Array, map: MappedBlock[]): boolean {
    const fresh = { index: this.#core.length + this.#batch.length, byteLength: chunk.byteLength }
    if (this.#known === null) {
      map.push(fresh)
      return true
    }
    const name = hashOf(chunk)
    const known = this.#known.get(name)
    map.push(known ?? fresh)
    if (!known) this.#known.set(name, fresh)
    return !known
  }

  async #append (): Promise<void> {
    if (this.#batch.length === 0) return
    const batch = this.#batch
    this.#batch = []
    await this.#core.append(batch)
  }
}

export interface BlobWriteStream { end (data?: unknown): this }

/** Writes a blob. Its `id` is complete when the stream has closed. */
export class BlobWriteStream extends Writable {
  /** Where it is written. */
  readonly core: Hypercore
  readonly #writer: BlobWriter
  #opening: Promise<void> | null = null

  constructor (core: Hypercore, lock: Lock, options: BlobWriteOptions = {}) {
    super(options as WritableOptions)
    this.core = core
    this.#writer = new BlobWriter(core, lock, options)
  }

  /** Where the blob is; complete when the stream has closed. */
  get id (): BlobId {
    return this.#writer.id
  }

  override _open (done: Done): void {
    this.#opening = this.#writer.open()
    settle(this.#opening, done)
  }

  override _write (chunk: unknown, done: Done): void {
    let waiting: Promise<void> | null
    try {
      waiting = this.#writer.write(isBytes(chunk) ? chunk : bytesFrom(chunk))
    } catch (error) {
      // What is no bytes ends the stream: nobody else would hear of it.
      return done(error as Error)
    }
    if (waiting === null) done(null)
    else settle(waiting, done)
  }

  override _final (done: Done): void {
    settle(this.#writer.finish(), done)
  }

  override _destroy (done: Done): void {
    this.#writer.release()
    // It may have been its turn only now.
    if (this.#opening !== null) this.#opening.then(() => { this.#writer.release() }, () => {})
    done(null)
  }
}

interface ReadStream {
  read (): Uint8Array | null
  [Symbol.asyncIterator] (): AsyncIterator<Uint8Array>
}

/** What both kinds of read streams share: a session of their own, which ends with them. */
abstract class ReadStream extends Readable<ReadEvents<Uint8Array>> {
  readonly id: BlobId
  readonly core: Hypercore
  protected readonly range: ByteRange
  protected readonly prefetches: boolean
  protected ahead: Download | null = null

  constructor (core: Hypercore, id: BlobId, options: BlobReadOptions = {}) {
    super(options as object)
    this.id = id
    this.core = core.session({
      ...(options.wait === undefined ? {} : { wait: options.wait }),
      ...(options.timeout === undefined ? {} : { timeout: options.timeout })
    })
    this.range = { start: options.start, end: options.end, length: options.length }
    this.prefetches = options.wait !== false && options.prefetch !== false
  }

  protected abstract begin (): Promise<void>
  protected abstract next (): Promise<Uint8Array | null>

  override _open (done: Done): void {
    settle(this.begin(), done)
  }

  override _read (done: Done): void {
    settle(this.next().then((block) => { this.push(block) }), done)
  }

  override _predestroy (): void {
    this.ahead?.destroy()
    this.core.close().catch(() => {})
  }

  override _destroy (done: Done): void {
    this.ahead?.destroy()
    settle(this.core.close(), done)
  }
}

/** The bytes of a blob whose blocks follow each other. */
export class BlobReadStream extends ReadStream {
  #index = 0
  #skip = 0
  #left = 0

  protected override async begin (): Promise<void> {
    const { id } = this
    const window = windowOf(this.range, id.byteLength)
    const [first, end] = await Promise.all([this.#findStart(window.start), this.#findEnd(window.end)])
    ;[this.#index, this.#skip] = first
    this.#left = Math.max(0, window.end - window.start)
    if (this.prefetches && this.#left > 0) this.ahead = this.core.download({ start: this.#index, end, linear: true })
  }

  protected override async next (): Promise<Uint8Array | null> {
    if (this.#left === 0) return null
    const block = await this.core.get(this.#index++) as Uint8Array | null
    if (block === null) throw HypercoreError.BLOCK_NOT_AVAILABLE()
    const part = this.#skip > 0 || block.byteLength > this.#left ? block.subarray(this.#skip, this.#skip + this.#left) : block
    this.#skip = 0
    this.#left -= part.byteLength
    return part
  }

  // What is behind the end of the blob is waited for as everything else: the id may be of a part that is not here yet.
  async #findStart (start: number): Promise<[index: number, skip: number]> {
    const { blockOffset, blockLength, byteOffset, byteLength } = this.id
    if (start === 0) return [blockOffset, 0]
    if (blockLength === 1 && start > 0 && start < byteLength) return [blockOffset, start]
    const found = await this.core.seek(byteOffset + start)
    if (found === null) throw HypercoreError.BLOCK_NOT_AVAILABLE()
    return found
  }

  // How far to fetch ahead: the block after the last one that is needed.
  async #findEnd (end: number): Promise<number> {
    const { blockOffset, blockLength, byteOffset, byteLength } = this.id
    const last = blockOffset + blockLength
    if (end === byteLength || blockLength === 1 || end <= 0) return last
    const found = await this.core.seek(byteOffset + end)
    return found === null ? last : found[1] > 0 ? found[0] + 1 : found[0]
  }
}

/** The bytes of a blob that has a map. */
export class BlockMapReadStream extends ReadStream {
  #blocks: MappedBlock[] = []
  #at = 0
  #skip = 0
  #drop = 0

  protected override async begin (): Promise<void> {
    const map = await getBlockMap(this.core, this.id)
    if (map === null) throw HypercoreError.BLOCK_NOT_AVAILABLE()
    const byteLength = map.blocks.reduce((sum, block) => sum + block.byteLength, 0)
    const { first, end, skip, drop } = locate(map.blocks, windowOf(this.range, byteLength))
    this.#blocks = map.blocks.slice(first, end)
    this.#skip = skip
    this.#drop = drop
  }

  protected override async next (): Promise<Uint8Array | null> {
    const mapped = this.#blocks[this.#at]
    if (!mapped) return null
    let block = await this.#get(mapped.index)
    if (block === null) throw HypercoreError.BLOCK_NOT_AVAILABLE()
    this.#at++
    if (this.#at === this.#blocks.length && this.#drop > 0) block = block.subarray(0, block.byteLength - this.#drop)
    if (this.#skip > 0) block = block.subarray(this.#skip)
    this.#skip = 0
    return block
  }

  // Blocks are fetched ahead from the first one on that is not here.
  async #get (index: number): Promise<Uint8Array | null> {
    if (this.prefetches && this.ahead === null) {
      const block = await this.core.get(index, { wait: false }) as Uint8Array | null
      if (block !== null) return block
      this.ahead = this.core.download({ blocks: this.#blocks.slice(this.#at).map((mapped) => mapped.index) })
    }
    return await this.core.get(index) as Uint8Array | null
  }
}

function settle (work: Promise<unknown>, done: Done): void {
  work.then(() => { done(null) }, done)
}
