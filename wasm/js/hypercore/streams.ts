// Cores as streams: of blocks, of bytes, and for appending.

import { Readable, Writable } from 'streamx'

import type { Download } from './download.js'
import type { Hypercore } from './hypercore.js'
import type { ReadEvents } from '../support/readable.js'

type Done = (error: Error | null) => void

export interface ReadStreamOptions {
  start?: number
  end?: number
  /** Goes on with blocks that are yet to be appended. */
  live?: boolean
  /** Ends at the length that the core has when the stream opens. */
  snapshot?: boolean
  wait?: boolean
  timeout?: number
}

/** What the encoding of values makes of blocks. */
export interface ReadStream<T = any> {
  read (): T | null
  [Symbol.asyncIterator] (): AsyncIterator<T>
}

/** The blocks of a range, one a read. */
export class ReadStream<T = any> extends Readable<ReadEvents<T>> {
  readonly core: Hypercore
  start: number
  end: number
  readonly snapshot: boolean
  readonly live: boolean
  readonly wait: boolean
  readonly timeout: number

  constructor (core: Hypercore, options: ReadStreamOptions = {}) {
    super()
    this.core = core
    this.start = options.start || 0
    this.end = numberOr(options.end, -1)
    this.snapshot = !options.live && options.snapshot !== false
    this.live = this.end === -1 && !!options.live
    this.wait = typeof options.wait === 'boolean' ? options.wait : core.wait
    this.timeout = options.timeout || core.timeout
  }

  override _open (done: Done): void {
    settle(this.#begin(), done)
  }

  override _read (done: Done): void {
    settle(this.#next(), done)
  }

  async #begin (): Promise<void> {
    if (this.end !== -1) return await this.core.ready()
    await this.core.update()
    if (this.snapshot) this.end = this.core.length
  }

  async #next (): Promise<void> {
    const end = this.live ? Infinity : this.end === -1 ? this.core.length : this.end
    if (this.start >= end) this.push(null)
    else this.push(await this.core.get(this.start++, { wait: this.wait, timeout: this.timeout }))
  }
}

export interface WriteStream { end (data?: unknown): this }

/** Appends what is written, in as few batches as come together. */
export class WriteStream extends Writable {
  readonly core: Hypercore

  constructor (core: Hypercore) {
    super()
    this.core = core
  }

  override _writev (batch: unknown[], done: Done): void {
    settle(this.core.append(batch).then(() => {}), done)
  }
}

export interface ByteStreamOptions {
  byteOffset?: number
  byteLength?: number
  /** Blocks to fetch ahead. */
  prefetch?: number
}

export interface ByteStream {
  read (): Uint8Array | null
  [Symbol.asyncIterator] (): AsyncIterator<Uint8Array>
}

/** A range of a core's bytes. */
export class ByteStream extends Readable<ReadEvents<Uint8Array>> {
  readonly #core: Hypercore
  readonly #byteOffset: number
  readonly #prefetch: number
  #left: number
  #block = 0
  #skip = 0
  #started = false
  #ahead: Download | null = null

  constructor (core: Hypercore, options: ByteStreamOptions = {}) {
    super()
    this.#core = core
    this.#byteOffset = options.byteOffset || 0
    this.#left = numberOr(options.byteLength, -1)
    this.#prefetch = numberOr(options.prefetch, 32)
  }

  override _open (done: Done): void {
    settle(this.#begin(), done)
  }

  override _read (done: Done): void {
    settle(this.#next(), done)
  }

  override _destroy (done: Done): void {
    this.#ahead?.destroy()
    done(null)
  }

  async #begin (): Promise<void> {
    if (this.#left !== -1) return
    await this.#core.update()
    this.#left = Math.max(this.#core.byteLength - this.#byteOffset, 0)
  }

  async #next (): Promise<void> {
    if (this.#left === 0) {
      this.push(null)
      return
    }
    if (!this.#started) {
      this.#started = true
      if (this.#byteOffset > 0) [this.#block, this.#skip] = (await this.#core.seek(this.#byteOffset))!
    }
    this.#fetchAhead(this.#block + 1)
    const block = await this.#core.get(this.#block++, { valueEncoding: 'binary' }) as Uint8Array | null
    // A core that does not wait has a gap here, and there is no telling how long it is.
    if (block === null) throw new TypeError(`Block ${this.#block - 1} is not here, and the core does not wait for it`)
    const data = block.subarray(this.#skip).subarray(0, this.#left)
    this.#skip = 0
    this.#left -= data.byteLength
    this.push(data)
    if (this.#left === 0) this.push(null)
  }

  #fetchAhead (start: number): void {
    this.#ahead?.destroy()
    this.#ahead = this.#core.download({ start, end: start + this.#prefetch, linear: true })
  }
}

/** What is no number is as if it were not there. */
function numberOr (value: unknown, fallback: number): number {
  return typeof value === 'number' ? value : fallback
}

function settle (work: Promise<void>, done: Done): void {
  work.then(() => { done(null) }, done)
}
