// Walks over the entries of a range, over history and over differences, and streams of them.

import { Readable } from 'streamx'

import type { BeeWalkHandle, RawChange, RawDifference, RawEntries, RawEntry } from '../binding.js'
import { look } from '../runtime.js'
import type { ReadableOf } from '../support/readable.js'
import type { Batch } from './batch.js'
import { attempt, finalEntry, FoundEntries, take, type Entry, type ReadOptions } from './blocks.js'
import { engineBounds, type Bounds, type Encoding } from './encodings.js'
import { ENTRIES_PER_QUESTION, HyperbeeExtension, type BeeExtension } from './extension.js'

/** Which keys are read, in which order; all, from the first on, by default. */
export interface RangeOptions<K = any> extends Bounds<K>, ReadOptions {
  /** The last key first. */
  reverse?: boolean
  /** Most entries; -1 for all. */
  limit?: number
  /** Where another walk was, to go on from there. */
  checkpoint?: number[]
  /** Ends the stream. */
  signal?: AbortSignal
}

/** Which versions are read, by their blocks; all, from the oldest on, by default. What is below zero counts from the newest. */
export interface HistoryOptions extends ReadOptions {
  /** Blocks after this one. */
  gt?: number
  /** This block, and those after it. */
  gte?: number
  /** The same as `gte`. */
  since?: number
  /** Blocks before this one. */
  lt?: number
  /** This block, and those before it. */
  lte?: number
  /** The same as `lt`. */
  end?: number
  /** The newest first. */
  reverse?: boolean
  /** Most entries; -1 for all. */
  limit?: number
  /** Goes on with what is yet to be written. */
  live?: boolean
  /** Ends the stream. */
  signal?: AbortSignal
}

/** One block of the history. */
export interface HistoryEntry<K = any, V = any> extends Entry<K, V> {
  /** Whether the key was put or deleted. */
  type: 'put' | 'del'
}

/** A key whose entries differ. */
export interface Difference<K = any, V = any> {
  /** The entry here; null for none. */
  left: Entry<K, V> | null
  /** The entry of the other version; null for none. */
  right: Entry<K, V> | null
}

/** Where a walk is, and over what. */
export interface RangeSnapshot {
  /** The version that is walked over. */
  version: number
  /** As of the range, encoded. */
  gte: Uint8Array | null
  /** As of the range, encoded. */
  gt: Uint8Array | null
  /** As of the range, encoded. */
  lte: Uint8Array | null
  /** As of the range, encoded. */
  lt: Uint8Array | null
  /** Entries that are left; -1 for all. */
  limit: number
  /** Whether the last key comes first. */
  reverse: boolean
  /** Whether it is at its end. */
  ended: boolean
  /** Where it is, for `checkpoint` of a range. */
  checkpoint: number[]
}

/** What a stream is made of. */
export interface BeeIterator<T> {
  open (): Promise<void>
  next (): Promise<T | null>
  /** As `next`, of what is here; undefined when it has to be waited for. Where the walk is, it does not say. */
  here? (): T | null | undefined
  close (): Promise<void>
}

/** Entries that a stream has from a walk at once: as many as it keeps for its reader. */
const ENTRIES_AT_ONCE = 16

/** A walk over a range of a batch or of one version. */
export class RangeIterator<K = any, V = any> implements BeeIterator<Entry<K, V>> {
  /** What it reads. */
  readonly batch: Batch
  /** How keys and values become bytes. */
  readonly encoding: Encoding
  /** Whether it is open. */
  opened = false
  #options: RangeOptions
  #limit: number
  #walk: BeeWalkHandle | null = null
  #version = 0
  #isBegun = false
  #found: FoundEntries | null = null
  #extension: HyperbeeExtension | BeeExtension | null
  /** Entries until peers are asked again. */
  #quiet = 0

  /** @internal The bounds are encoded already. */
  constructor (batch: Batch, encoding: Encoding | null, options: RangeOptions = {}, extension: HyperbeeExtension | BeeExtension | null = null) {
    this.batch = batch
    this.encoding = encoding ?? batch.encoding
    this.#options = options
    this.#limit = typeof options.limit === 'number' ? options.limit : -1
    this.#extension = extension
  }

  /** Has to come first. */
  async open (): Promise<void> {
    await this.batch.prepare(false)
    this.#version = this.batch.version
    const { limit, reverse, checkpoint } = { ...this.#options, limit: this.#limit }
    const options = { ...engineBounds(this.#options), limit: limit < -1 ? 0 : Math.ceil(limit), reverse: !!reverse, ...(checkpoint?.length ? { checkpoint } : {}) }
    this.#walk = look((engine) => engine.BeeWalk.range(this.batch.cache, this.#version, options))
    const walk = this.#walk
    if (this.#options.onseq) walk.startTrace()
    // What a batch would leave is walked from the first step on.
    if (this.batch.pending === null) await this.#take(walk, () => walk.open() as number | undefined | false)
    this.opened = true
  }

  /** Resolves to the next entry, and to null at the end. */
  async next (): Promise<Entry<K, V> | null> {
    const walk = this.#walk
    if (walk === null || (this.#limit !== -1 && this.#limit <= 0)) return null
    const { pending } = this.batch
    const step = (pending ? () => walk.nextPending(pending) : () => walk.next()) as () => RawEntry | null | undefined | false
    const entry = await this.#take(walk, step)
    if (this.#quiet > 0) this.#quiet--
    this.#isBegun = true
    if (entry === null) return this.#end(walk)
    if (this.#limit > 0) this.#limit--
    return finalEntry(entry, this.encoding)
  }

  /** @internal The walk itself is some entries ahead. */
  here (): Entry<K, V> | null | undefined {
    const walk = this.#walk
    if (walk === null || (this.#limit !== -1 && this.#limit <= 0)) return null
    if (this.batch.pending !== null || this.#options.onseq) return undefined
    let entry = this.#found?.take(this.encoding)
    if (!entry) {
      const found = attempt(this.batch.core, () => walk.nextEntries(ENTRIES_AT_ONCE) as RawEntries | null | undefined | false)
      if (!found) return found === null ? this.#end(walk) : undefined
      walk.clear()
      this.#found = new FoundEntries(found)
      entry = this.#found.take(this.encoding)!
    }
    this.#isBegun = true
    if (this.#quiet > 0) this.#quiet--
    if (this.#limit > 0) this.#limit--
    return entry
  }

  /** Has to come last. */
  async close (): Promise<void> {
    await this.batch.closeSnapshot()
  }

  /** Where the walk is; give its checkpoint to another walk to go on from there. */
  snapshot (version = this.batch.version): RangeSnapshot {
    const { gt, gte, lt, lte } = engineBounds(this.#options)
    const checkpoint = this.#walk ? [...this.#walk.checkpoint()] : []
    return {
      version,
      gte: gt ? null : gte ?? null,
      gt: gt ?? null,
      lte: lt ? null : lte ?? null,
      lt: lt ?? null,
      limit: this.#limit,
      reverse: !!this.#options.reverse,
      ended: this.opened && checkpoint.length === 0 && (this.#isBegun || this.batch.pending === null),
      checkpoint
    }
  }

  #end (walk: BeeWalkHandle): null {
    this.#isBegun = true
    // It came to a key behind the range.
    if (walk.checkpoint().length > 0) this.#limit = 0
    return null
  }

  async #take<T> (walk: BeeWalkHandle, step: () => T | undefined | false): Promise<T> {
    const result = await take(walk, this.batch.core, this.#options, step, {
      onwait: (seq) => {
        this.#ask()
        this.#options.onwait?.(seq, this.batch.core)
      }
    })
    if (this.#options.onseq) for (const seq of walk.touched()) this.#options.onseq(seq)
    return result
  }

  /** @internal What to ask peers. */
  question (version: number): Uint8Array | null {
    return this.#walk?.askRange(version) ?? null
  }

  #ask (): void {
    if (this.#extension === null || this.#quiet > 0) return
    this.#quiet = ENTRIES_PER_QUESTION
    if (this.#extension instanceof HyperbeeExtension) this.#extension.iterator(this, this.#version)
    else this.#extension.iterator(this.snapshot(this.#version))
  }
}

/** A walk over everything that was ever put or deleted. */
export class HistoryIterator implements BeeIterator<HistoryEntry> {
  readonly batch: Batch
  readonly live: boolean
  readonly reverse: boolean
  readonly encoding: Encoding
  gte = 0
  lt = 0
  limit: number
  #options: HistoryOptions
  #walk: BeeWalkHandle | null = null

  constructor (batch: Batch, options: HistoryOptions = {}) {
    this.batch = batch
    this.#options = options
    this.live = !!options.live
    this.reverse = !!options.reverse
    this.limit = typeof options.limit === 'number' ? options.limit : -1
    this.encoding = batch.encoding
  }

  async open (): Promise<void> {
    await this.batch.prepare(false)
    const { version } = this.batch
    this.gte = Math.max(1, lowerBound(this.#options, version))
    this.lt = this.live ? Infinity : upperBound(this.#options, version)
    const end = this.live ? this.gte : Math.max(0, this.lt)
    this.#walk = look((engine) => engine.BeeWalk.history(this.batch.cache, this.gte, end, this.reverse, -1))
  }

  async next (): Promise<HistoryEntry | null> {
    const walk = this.#walk
    if (walk === null || this.limit === 0 || this.gte >= this.lt) return null
    if (this.limit > 0) this.limit--
    if (this.live) walk.extend(this.gte + 1)
    const change = await take(walk, this.batch.core, this.#options, () => walk.next() as RawChange | null | undefined | false)
    if (change === null) return null
    if (this.reverse) this.lt--
    else this.gte++
    const [entry, isDeletion] = change
    return { type: isDeletion ? 'del' : 'put', ...finalEntry(entry, this.encoding) }
  }

  async close (): Promise<void> {
    await this.batch.closeSnapshot()
  }
}

/** A walk over what differs between two versions. */
export class DiffIterator implements BeeIterator<Difference> {
  readonly left: Batch
  readonly right: Batch
  limit: number
  #options: RangeOptions
  #walk: BeeWalkHandle | null = null

  constructor (left: Batch, right: Batch, options: RangeOptions = {}) {
    this.left = left
    this.right = right
    this.#options = options
    this.limit = typeof options.limit === 'number' ? options.limit : -1
  }

  async open (): Promise<void> {
    await Promise.all([this.left.prepare(false), this.right.prepare(false)])
    const bounds = engineBounds(this.#options)
    this.#walk = look((engine) => engine.BeeWalk.diff(this.left.cache, this.left.version, this.right.version, bounds))
  }

  async next (): Promise<Difference | null> {
    const walk = this.#walk
    if (walk === null || this.limit === 0) return null
    const found = await take(walk, this.left.core, this.#options, () => walk.next() as RawDifference | null | undefined | false)
    if (found === null) return null
    this.limit--
    const [left, right] = found
    return {
      left: left && finalEntry(left, this.left.encoding),
      right: right && finalEntry(right, this.right.encoding)
    }
  }

  async close (): Promise<void> {
    await Promise.all([this.left.closeSnapshot(), this.right.closeSnapshot()])
  }
}

/** The first block of a history. */
export function lowerBound (options: HistoryOptions, version: number): number {
  if (options.gt) return (options.gt < 0 ? options.gt + version : options.gt) + 1
  const gte = options.gte || options.since || 1
  return gte < 0 ? gte + version : gte
}

/** The block after the last one of a history. */
export function upperBound (options: HistoryOptions, version: number): number {
  if (options.lte === 0 || options.lt === 0 || options.end === 0) return 0
  if (options.lte) return (options.lte < 0 ? options.lte + version : options.lte) + 1
  const lt = options.lt || options.end || version
  return lt < 0 ? lt + version : lt
}

type Done = (error?: Error | null) => void

interface StreamOptions {
  signal?: AbortSignal | null | undefined
  eagerOpen?: boolean
}

/** A stream of what a walk gives. */
export type BeeStream<T> = ReadableOf<T>

/**
 * What a walk gives, as a stream.
 *
 * @param walk what is closed with the stream, even with one that never opens; or what makes it when the stream opens, null when that was closed before
 */
export function streamOf<T> (walk: BeeIterator<T> | ((isClosing: () => boolean) => Promise<BeeIterator<T> | null>), { signal = null, ...options }: StreamOptions = {}): BeeStream<T> {
  let iterator = typeof walk === 'function' ? null : walk
  let closing: Promise<void> | null = null
  const close = (): Promise<void> => {
    closing ??= iterator ? iterator.close() : Promise.resolve()
    closing.catch(() => {})
    return closing
  }
  const open = async (): Promise<void> => {
    if (typeof walk === 'function') iterator = await walk(() => closing !== null)
    if (closing !== null) await iterator?.close()
    else await iterator?.open()
  }
  const settle = (work: Promise<unknown>, done: Done): void => { work.then(() => { done(null) }, done) }
  const step = (): Promise<T | null> => {
    try {
      const here = iterator!.here?.()
      return here === undefined ? iterator!.next() : Promise.resolve(here)
    } catch (error) {
      return Promise.reject(error)
    }
  }
  const stream = new Readable({
    ...options,
    ...(signal ? { signal } : {}),
    open (done: Done) {
      settle(open(), done)
    },
    read (done: Done) {
      step().then((value) => {
        stream.push(value)
        done(null)
      }, done)
    },
    predestroy () {
      close()
    },
    destroy (done: Done) {
      settle(close(), done)
    }
  } as object) as BeeStream<T>
  return stream
}

/** The first that a walk gives. */
export async function first<T> (iterator: BeeIterator<T>): Promise<T | null> {
  try {
    await iterator.open()
    return await iterator.next()
  } finally {
    await iterator.close()
  }
}
