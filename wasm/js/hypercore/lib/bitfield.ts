// Which blocks are stored, as upstream keeps it in memory: `hypercore/lib/bitfield`. What a core of ours has is in its engine.
//
// Source: hypercore 11.35, `lib/bitfield.js`.

import { userBytes } from '../../platform.js'
import type { CoreStorage, CoreTX } from '../../storage/core-storage.js'
import { BITS_PER_PAGE, BITS_PER_SEGMENT, BYTES_PER_PAGE, SparseBits, WORDS_PER_PAGE } from './bits.js'

/** Words of a segment; the first one begins small and grows. */
const WORDS_PER_SEGMENT = BITS_PER_SEGMENT / 32
const PAGES_PER_SEGMENT = BITS_PER_SEGMENT / BITS_PER_PAGE
const GROWTH = 4

/** What changed: from a block to another, exclusive. */
export interface BitRange {
  start: number
  end: number
  value: boolean
}

export class Bitfield extends SparseBits {
  static readonly BITS_PER_PAGE = BITS_PER_PAGE
  static readonly BYTES_PER_PAGE = BYTES_PER_PAGE

  /** Whether it was made from pages that were stored. */
  readonly resumed: boolean
  /** Pages beside each other, in one piece. */
  readonly #segments = new Map<number, Uint32Array>()

  /** Pages that were stored, from the first on. */
  constructor (buffer: Uint8Array | null = null) {
    super()
    this.resumed = buffer !== null && buffer?.byteLength >= 0
    this.getPage(0, true)
    if (!this.resumed) return
    for (let page = 0; page * BYTES_PER_PAGE < buffer!.byteLength; page++) {
      const bytes = new Uint8Array(BYTES_PER_PAGE)
      bytes.set(buffer!.subarray(page * BYTES_PER_PAGE, (page + 1) * BYTES_PER_PAGE))
      this.getPage(page * BITS_PER_PAGE, true)!.bitfield.set(new Uint32Array(bytes.buffer))
    }
  }

  /** A copy. */
  static from (bitfield: Bitfield): Bitfield {
    return new Bitfield(bitfield.toBuffer(bitfield.pageCount * BITS_PER_PAGE))
  }

  /** Reads what is stored of a log of that length. */
  static async open (storage: CoreStorage, length: number): Promise<Bitfield> {
    if (length === 0) return new Bitfield()
    const pages = Math.ceil(length / BITS_PER_PAGE)
    const buffer = new Uint8Array(pages * BYTES_PER_PAGE)
    for await (const { index, page } of storage.createBitfieldStream({ lt: pages })) buffer.set(page, index * BYTES_PER_PAGE)
    return new Bitfield(buffer)
  }

  /** The bits of so many blocks, in whole pages. */
  toBuffer (length: number): Uint8Array {
    const buffer = userBytes(new Uint8Array(Math.ceil(length / BITS_PER_PAGE) * BYTES_PER_PAGE))
    for (const { index, bitfield } of this.pages) {
      if (index * BYTES_PER_PAGE < buffer.byteLength) buffer.set(new Uint8Array(bitfield.buffer, bitfield.byteOffset, bitfield.byteLength), index * BYTES_PER_PAGE)
    }
    return buffer
  }

  getPageByteLength (): number {
    return BYTES_PER_PAGE
  }

  getPageIndex (index: number): number {
    return Math.floor(index / BITS_PER_PAGE)
  }

  /** Sets what is set in another one, below a length. */
  merge (bitfield: { firstSet (from: number): number, firstUnset (from: number): number }, length: number): void {
    for (let at = 0; at < length;) {
      const start = bitfield.firstSet(at)
      if (start === -1 || start >= length) return
      const end = bitfield.firstUnset(start)
      at = end === -1 ? length : Math.min(end, length)
      this.setRange(start, at, true)
    }
  }

  hasSet (start: number, length: number): boolean {
    const first = this.firstSet(start)
    return first !== -1 && first < start + length
  }

  hasUnset (start: number, length: number): boolean {
    return this.firstUnset(start) < start + length
  }

  count (start: number, length: number, value: boolean): number {
    let count = 0
    for (let at = start; at < start + length;) {
      const first = at - at % BITS_PER_PAGE
      const end = Math.min(start + length, first + BITS_PER_PAGE)
      const page = this.getBitfield(at)
      if (page) count += page.count(at - first, end - at, value)
      else if (!value) count += end - at
      at = end
    }
    return count
  }

  countSet (start: number, length: number): number { return this.count(start, length, true) }
  countUnset (start: number, length: number): number { return this.count(start, length, false) }

  /** The bits of a range, rounded outwards to words and as far as there is room, as peers are told them. */
  * want (start: number, length: number): Generator<{ start: number, bitfield: Uint32Array }> {
    const end = Math.ceil((start + length) / 32) * 32
    for (let from = start - start % 32; from < end;) {
      const segment = Math.floor(from / BITS_PER_SEGMENT)
      const first = segment * BITS_PER_SEGMENT
      const to = Math.min(end, first + BITS_PER_SEGMENT)
      const words = this.#segments.get(segment)
      if (words) yield { start: from, bitfield: words.subarray((from - first) / 32, (to - first) / 32) }
      from = to
    }
  }

  /** Deletes what is stored. */
  clear (tx: CoreTX): void {
    tx.deleteBitfieldPageRange(0, -1)
  }

  /** Takes over what was written. */
  onupdate (ranges: BitRange[]): void {
    for (const { start, end, value } of ranges) this.setRange(start, end, value)
  }

  protected override room (page: number): Uint32Array {
    const segment = Math.floor(page / PAGES_PER_SEGMENT)
    const offset = (page % PAGES_PER_SEGMENT) * WORDS_PER_PAGE
    const before = this.#segments.get(segment)
    let length = before?.length ?? (segment === 0 ? WORDS_PER_PAGE : WORDS_PER_SEGMENT)
    while (length < offset + WORDS_PER_PAGE) length *= GROWTH
    let words = before
    if (words?.length !== length) {
      words = new Uint32Array(length)
      words.set(before ?? [])
      this.#segments.set(segment, words)
      for (const page of this.pages) if (Math.floor(page.index / PAGES_PER_SEGMENT) === segment) page.bitfield = pageOf(words, page.index)
    }
    return pageOf(words!, page)
  }
}

function pageOf (words: Uint32Array, page: number): Uint32Array {
  const offset = (page % PAGES_PER_SEGMENT) * WORDS_PER_PAGE
  return words.subarray(offset, offset + WORDS_PER_PAGE)
}
