// Which blocks are here, or which a peer announced, as upstream's bitfields tell it. The bits are the engine's.
//
// Source: hypercore 11.35, `lib/bitfield.js` and `lib/remote-bitfield.js`.

import type { CoreHandle, PeerHandle } from '../binding.js'
import { userBytes } from '../platform.js'
import { look } from '../runtime.js'

/** Blocks of a page, and of what is loaded together. */
const PAGE = 32_768
const PAGE_BYTES = PAGE / 8
const SEGMENT = 64 * PAGE

/** A page of a list. */
export interface BlockPage {
  readonly index: number
  /** A bit for each block, the first in the lowest one. */
  readonly bitfield: Uint32Array
  get (bit: number): boolean
}

/** Where the engine looks; null when there is nothing to look at any more. */
export type BlockSource = () => { core: CoreHandle, peer?: PeerHandle } | null

/** What a list had when the engine forgot it. */
interface Kept {
  length: number
  /** A bit for each block; null when all are in it. */
  bytes: Uint8Array | null
}

/** A list of blocks, to be read. */
export class BlockList {
  readonly #source: BlockSource
  readonly #pages: () => number
  #kept: Kept | null = null

  /** @internal `length` is of the log. */
  constructor (source: BlockSource, length: () => number) {
    this.#source = source
    this.#pages = () => Math.ceil(length() / PAGE)
  }

  static readonly BITS_PER_PAGE = PAGE
  static readonly BYTES_PER_PAGE = PAGE_BYTES

  get (index: number): boolean {
    return this.#find(true, index, false) === index
  }

  /** The first block from there on that is in the list, or is not; -1 for none. */
  findFirst (value: boolean, from: number): number {
    return this.#find(value, from, false)
  }

  findLast (value: boolean, from: number): number {
    return this.#find(value, from, true)
  }

  firstSet (from: number): number { return this.#find(true, from, false) }
  firstUnset (from: number): number { return this.#find(false, from, false) }
  lastSet (from: number): number { return this.#find(true, from, true) }
  lastUnset (from: number): number { return this.#find(false, from, true) }

  hasSet (start: number, length: number): boolean {
    const first = this.firstSet(start)
    return first !== -1 && first < start + length
  }

  hasUnset (start: number, length: number): boolean {
    return this.firstUnset(start) < start + length
  }

  count (start: number, length: number, value: boolean): number {
    const kept = this.#kept
    let found = kept ? 0 : this.#look((core, peer) => look((engine) => engine.coreCountBlocks(core, peer, start, start + length))) ?? 0
    for (let at = start; kept && at < Math.min(start + length, kept.length); at++) if (this.get(at)) found++
    return value ? found : length - found
  }

  countSet (start: number, length: number): number { return this.count(start, length, true) }
  countUnset (start: number, length: number): number { return this.count(start, length, false) }

  getPageByteLength (): number {
    return PAGE_BYTES
  }

  getPageIndex (index: number): number {
    return Math.floor(index / PAGE)
  }

  /** The page that a block is on; null when nothing on it is in the list. */
  getBitfield (index: number): BlockPage | null {
    const page = this.getPageIndex(index)
    if (!this.hasSet(page * PAGE, PAGE)) return null
    const bitfield = this.#words(page)
    return { index: page, bitfield, get: (bit) => (bitfield[bit >>> 5]! >>> (bit & 31) & 1) === 1 }
  }

  getPage (index: number): BlockPage | null {
    return this.getBitfield(index)
  }

  /** The bits of so many blocks, in whole pages. */
  toBuffer (length: number): Uint8Array {
    const bytes = userBytes(new Uint8Array(Math.ceil(length / PAGE) * PAGE_BYTES))
    for (let at = 0; at < bytes.byteLength; at += PAGE_BYTES) bytes.set(this.#page(at / PAGE_BYTES), at)
    return bytes
  }

  /** The bits of a range, rounded outwards to words, as peers are told them. */
  * want (start: number, length: number): Generator<{ start: number, bitfield: Uint32Array }> {
    const end = Math.min(Math.ceil((start + length) / 32) * 32, this.#pages() * PAGE)
    for (let from = start - start % 32; from < end;) {
      const to = Math.min(end, Math.floor(from / SEGMENT) * SEGMENT + SEGMENT)
      const first = this.getPageIndex(from)
      const words = new Uint32Array((this.getPageIndex(to - 1) + 1 - first) * PAGE / 32)
      for (let page = first; page * PAGE < to; page++) words.set(this.#words(page), (page - first) * PAGE / 32)
      const offset = first * PAGE
      yield { start: from, bitfield: words.subarray((from - offset) / 32, (to - offset) / 32) }
      from = to
    }
  }

  /** @internal Remembers what is in the list, before the engine forgets it. */
  keep (length: number, contiguousLength: number): void {
    this.#kept = { length, bytes: contiguousLength < length ? this.toBuffer(length) : null }
  }

  #find (value: boolean, from: number, backwards: boolean): number {
    const none = value ? -1 : from
    if (!Number.isSafeInteger(from) || from < 0) return none
    if (this.#kept) return this.#findKept(this.#kept, value, from, backwards)
    return this.#look((core, peer) => look((engine) => engine.coreFindBlock(core, peer, value, from, backwards))) ?? none
  }

  #findKept ({ length, bytes }: Kept, value: boolean, from: number, backwards: boolean): number {
    const has = (index: number) => bytes === null || (bytes[Math.floor(index / 8)]! >> index % 8 & 1) === 1
    if (from >= length && (!value || !backwards)) return value ? -1 : from
    let at = Math.min(from, length - 1)
    while (at >= 0 && at < length && has(at) !== value) at += backwards ? -1 : 1
    return at === length && value ? -1 : at
  }

  #words (page: number): Uint32Array {
    const bytes = new Uint8Array(PAGE_BYTES)
    bytes.set(this.#page(page))
    return new Uint32Array(bytes.buffer)
  }

  #page (page: number): Uint8Array {
    const bytes = this.#look((core, peer) => look((engine) => engine.coreBlocksPage(core, peer, page))) ?? new Uint8Array(PAGE_BYTES)
    for (let bit = 0; this.#kept && bit < PAGE; bit++) if (this.get(page * PAGE + bit)) bytes[bit >>> 3]! |= 1 << (bit & 7)
    return bytes
  }

  #look<T> (ask: (core: CoreHandle, peer: PeerHandle | undefined) => T): T | null {
    const source = this.#source()
    return source && ask(source.core, source.peer)
  }
}
