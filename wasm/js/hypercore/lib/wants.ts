// Which ranges peers are to report, or ask for reports of: `hypercore/lib/wants`.
//
// Source: hypercore 11.35, `lib/wants.js`.

import { hasSmallWants, WANT_BATCH } from '../features.js'

/** A range that is wanted, in blocks, or any block of it. */
export interface WantRange {
  start: number
  length: number
  any: boolean
}

/** A range, or a batch by its number, and who wants it. */
export interface Want extends WantRange {
  wants: LocalWants
  handles: Set<WantHandle>
}

/** Who wants something, and keeps account of it. */
export interface WantHandle {
  addWant (want: Want): void
  removeWant (want: Want): void
}

/** Most batches that are wanted of a peer. */
const MAX = 512
/** Most ranges of which any block is wanted, and kinds of batches, before everything is. */
const MAX_ANY = 16
const MAX_KINDS = 4
/** The smallest and the largest batch, in blocks. */
const MIN_RANGE = 32
const MAX_RANGE = 1 << 21
/** Batches of a range that are looked at. */
const MAX_LOOKS = 3

/** What is wanted of one peer. */
export class LocalWants {
  destroyed = false
  readonly peer: unknown
  readonly wants = new Map<number, Want>()
  /** Batches that nobody wants any more, and of which the peer has not been told. */
  readonly free = new Set<number>()
  any: Want[] | null = null

  constructor (peer?: unknown) {
    this.peer = peer
  }

  /** Wants the batch of a block; what the peer is to be told, or null for nothing. */
  add (index: number, handle: WantHandle): { want: WantRange, unwant: WantRange | null } | null {
    return this.addBatch(Math.floor(index / WANT_BATCH), handle)
  }

  addAnyRange (start: number, length: number, handle: WantHandle): WantRange | null {
    if (this.destroyed) return null
    this.any ??= []
    const isCompat = !hasSmallWants()
    if (isCompat) {
      const before = start % WANT_BATCH
      start -= before
      length = Math.ceil((length + before) / WANT_BATCH) * WANT_BATCH
    }
    const known = this.any.find((want) => want.start === start && want.length === length)
    const want = known ?? { wants: this, start, length, any: true, handles: new Set() }
    want.handles.add(handle)
    if (!known) this.any.push(want)
    handle.addWant(want)
    return known ? null : { start, length, any: !isCompat }
  }

  removeAnyRange (start: number, length: number, handle: WantHandle): WantRange | null {
    const { any } = this
    const at = any?.findIndex((want) => want.start === start && want.length === length) ?? -1
    if (at === -1) return null
    const want = any![at]!
    want.handles.delete(handle)
    handle.removeWant(want)
    if (want.handles.size > 0) return null
    takeOut(any!, at)
    return { start, length, any: hasSmallWants() }
  }

  addBatch (index: number, handle: WantHandle): { want: WantRange, unwant: WantRange | null } | null {
    if (this.destroyed) return null
    const known = this.wants.get(index)
    if (known?.handles.has(handle)) return null
    const want = known ?? { wants: this, start: index, length: 0, any: false, handles: new Set() }
    const isTold = known !== undefined || this.free.delete(index)
    let unwant: WantRange | null = null
    if (!isTold && this.wants.size + this.free.size === MAX) {
      const [oldest] = this.free
      if (oldest === undefined) return null
      this.free.delete(oldest)
      unwant = batch(oldest)
    }
    want.handles.add(handle)
    this.wants.set(index, want)
    handle.addWant(want)
    return isTold ? null : { want: batch(index), unwant }
  }

  /** Wants the batch of a block no more; true when there is room for another one again. */
  remove (index: number, handle: WantHandle): boolean {
    return this.removeBatch(Math.floor(index / WANT_BATCH), handle)
  }

  removeBatch (index: number, handle: WantHandle): boolean {
    const want = this.destroyed ? undefined : this.wants.get(index)
    if (!want) return false
    want.handles.delete(handle)
    handle.removeWant(want)
    if (want.handles.size > 0) return false
    this.free.add(index)
    this.wants.delete(index)
    return this.free.size === 1 && this.wants.size === MAX - 1
  }

  destroy (): void {
    if (this.destroyed) return
    this.destroyed = true
    for (const want of this.wants.values()) for (const handle of want.handles) handle.removeWant(want)
    this.wants.clear()
  }
}

/** What a peer wants. */
export class RemoteWants {
  any: WantRange[] | null = null
  /** Whether it wants so much that it gets everything. */
  all = false
  size = 0
  readonly batches: Array<{ length: number, ranges: Set<number> }> = []

  hasAny (start: number, length: number): boolean {
    const end = start + length
    const isWanted = (this.any ?? []).some((range) => {
      const rangeEnd = range.start + range.length
      return (range.start <= start && start < rangeEnd) || (range.start < end && end <= rangeEnd)
    })
    return isWanted || this.all
  }

  hasRange (start: number, length: number): boolean {
    if (this.any !== null && this.hasAny(start, length)) return true
    if (length === 1) return this.has(start)
    if (this.batches.length === 0) return this.all
    const smallest = Math.min(...this.batches.map((batch) => batch.length))
    let looks = 0
    for (let at = start - start % smallest; at < start + length; at += smallest) {
      // Long ranges are told rather than looked for.
      if (looks++ === MAX_LOOKS || this.has(at)) return true
    }
    return this.all
  }

  has (index: number): boolean {
    return this.all || this.batches.some(({ length, ranges }) => ranges.has(Math.floor(index / length)))
  }

  /** False when no peer may want that much. */
  add (range: WantRange): boolean {
    if (range.any) {
      this.any ??= []
      if (this.any.length < MAX_ANY) this.any.push(range)
      else this.all = true
      return true
    }
    if (range.length > MAX_RANGE) return false
    const batch = this.batches.find(({ length }) => length === range.length)
    if (!isBatch(range) || this.size >= MAX || (!batch && this.batches.length >= MAX_KINDS)) {
      this.all = true
      return true
    }
    if (batch) batch.ranges.add(range.start / range.length)
    else this.batches.push({ length: range.length, ranges: new Set([range.start / range.length]) })
    this.size++
    return true
  }

  remove (range: WantRange): boolean {
    const list: Array<{ length: number }> = range.any ? this.any ?? [] : this.batches
    const at = range.any
      ? (this.any ?? []).findIndex(({ start, length }) => start === range.start && length === range.length)
      : isBatch(range) ? this.batches.findIndex(({ length }) => length === range.length) : -1
    if (at === -1) return false
    if (!range.any) {
      const { ranges } = this.batches[at]!
      if (ranges.delete(range.start / range.length)) this.size--
      if (ranges.size > 0) return true
    }
    takeOut(list, at)
    return true
  }
}

function batch (index: number): WantRange {
  return { start: index * WANT_BATCH, length: WANT_BATCH, any: false }
}

/** Whether it is of a length that is a power of two, and begins at a multiple of it. */
function isBatch ({ start, length }: WantRange): boolean {
  return length >= MIN_RANGE && length <= MAX_RANGE && Number.isInteger(Math.log2(length)) && start % length === 0
}

/** The last one takes its place. */
function takeOut<T> (list: T[], at: number): void {
  const last = list.pop()!
  if (at < list.length) list[at] = last
}
