// Bits in pages, of which only those exist that have something to say.
//
// Source: hypercore 11.35, `lib/bitfield.js` and `lib/remote-bitfield.js`.

/** Bits, bytes and words of a page, and bits that are told to peers together. */
export const BITS_PER_PAGE = 32_768
export const BYTES_PER_PAGE = BITS_PER_PAGE / 8
export const WORDS_PER_PAGE = BYTES_PER_PAGE / 4
export const BITS_PER_SEGMENT = 64 * BITS_PER_PAGE

/** Whether a bit of words is set, the first in the lowest one. */
export function getBit (words: Uint32Array, index: number): boolean {
  return (words[index >>> 5]! >>> (index & 31) & 1) === 1
}

export function setBit (words: Uint32Array, index: number, value: boolean): void {
  if (value) words[index >>> 5]! |= 1 << (index & 31)
  else words[index >>> 5]! &= ~(1 << (index & 31))
}

export function fillBits (words: Uint32Array, value: boolean, start: number, end: number): void {
  let at = start
  while (at < end && (at & 31) !== 0) setBit(words, at++, value)
  const whole = at + Math.max(0, end - at - (end - at) % 32)
  words.fill(value ? 0xffffffff : 0, at >>> 5, whole >>> 5)
  for (at = Math.max(at, whole); at < end; at++) setBit(words, at, value)
}

/** The first bit of a value from there on; -1 for none. */
export function firstBit (words: Uint32Array, value: boolean, from: number): number {
  const none = value ? 0 : 0xffffffff
  for (let at = from; at < words.length * 32;) {
    if ((at & 31) === 0 && words[at >>> 5] === none) at += 32
    else if (getBit(words, at) === value) return at
    else at++
  }
  return -1
}

/** The last bit of a value up to there; -1 for none. */
export function lastBit (words: Uint32Array, value: boolean, from: number): number {
  const none = value ? 0 : 0xffffffff
  for (let at = Math.min(from, words.length * 32 - 1); at >= 0;) {
    if ((at & 31) === 31 && words[at >>> 5] === none) at -= 32
    else if (getBit(words, at) === value) return at
    else at--
  }
  return -1
}

/** A page of bits. */
export class BitfieldPage {
  readonly index: number
  bitfield: Uint32Array

  /** @internal */
  constructor (index: number, bitfield: Uint32Array) {
    this.index = index
    this.bitfield = bitfield
  }

  get (index: number): boolean {
    return getBit(this.bitfield, index)
  }

  set (index: number, value: boolean): void {
    setBit(this.bitfield, index, value)
  }

  setRange (start: number, end: number, value: boolean): void {
    fillBits(this.bitfield, value, start, end)
  }

  findFirst (value: boolean, from: number): number {
    return firstBit(this.bitfield, value, from)
  }

  findLast (value: boolean, from: number): number {
    return lastBit(this.bitfield, value, from)
  }

  count (start: number, length: number, value: boolean): number {
    let count = 0
    for (let at = start; at < start + length; at++) if (this.get(at) === value) count++
    return count
  }
}

/** Bits of any index: those of pages that are not there are not set. */
export abstract class SparseBits {
  readonly #pages = new Map<number, BitfieldPage>()
  #last = -1

  /** @internal Room for the bits of a page. */
  protected abstract room (page: number): Uint32Array

  /** @internal Pages below this one, that are there or not. */
  protected get pageCount (): number {
    return this.#last + 1
  }

  get (index: number): boolean {
    return this.getBitfield(index)?.get(index % BITS_PER_PAGE) ?? false
  }

  set (index: number, value: boolean): void {
    this.getPage(index, value)?.set(index % BITS_PER_PAGE, value)
  }

  setRange (start: number, end: number, value: boolean): void {
    for (let at = start; at < end;) {
      const first = at - at % BITS_PER_PAGE
      const last = Math.min(end, first + BITS_PER_PAGE)
      this.getPage(at, value)?.setRange(at - first, last - first, value)
      at = last
    }
  }

  /** The first bit of a value from there on; -1 when none is set. */
  findFirst (value: boolean, from: number): number {
    let at = from
    for (let page = Math.floor(from / BITS_PER_PAGE); page < this.pageCount; page++) {
      const bits = this.#pages.get(page)
      if (!bits && !value) return at
      const found = bits?.findFirst(value, at % BITS_PER_PAGE) ?? -1
      if (found !== -1) return page * BITS_PER_PAGE + found
      at = (page + 1) * BITS_PER_PAGE
      // Far away from each other, those in between are not looked at one by one.
      if (!bits) {
        const next = this.#next(page)
        page = next - 1
        at = next * BITS_PER_PAGE
      }
    }
    return value ? -1 : at
  }

  /** The last bit of a value up to there; -1 for none. */
  findLast (value: boolean, from: number): number {
    let at = from
    for (let page = Math.floor(from / BITS_PER_PAGE); page >= 0; page--) {
      const bits = this.#pages.get(page)
      if (!bits && !value) return at
      const found = bits?.findLast(value, at % BITS_PER_PAGE) ?? -1
      if (found !== -1) return page * BITS_PER_PAGE + found
      if (!bits) page = this.#previous(page) + 1
      at = page * BITS_PER_PAGE - 1
    }
    return -1
  }

  firstSet (from: number): number { return this.findFirst(true, from) }
  firstUnset (from: number): number { return this.findFirst(false, from) }
  lastSet (from: number): number { return this.findLast(true, from) }
  lastUnset (from: number): number { return this.findLast(false, from) }

  /** The page that a bit is on; null when there is none. */
  getBitfield (index: number): BitfieldPage | null {
    return this.#pages.get(Math.floor(index / BITS_PER_PAGE)) ?? null
  }

  /** The same, which is made when it is not there. */
  getPage (index: number, create = false): BitfieldPage | null {
    const page = Math.floor(index / BITS_PER_PAGE)
    const there = this.#pages.get(page)
    if (there || !create) return there ?? null
    const made = new BitfieldPage(page, this.room(page))
    this.#pages.set(page, made)
    this.#last = Math.max(this.#last, page)
    return made
  }

  /** @internal */
  protected get pages (): Iterable<BitfieldPage> {
    return this.#pages.values()
  }

  #next (page: number): number {
    let next = this.pageCount
    for (const other of this.#pages.keys()) if (other > page && other < next) next = other
    return next
  }

  #previous (page: number): number {
    let previous = -1
    for (const other of this.#pages.keys()) if (other < page && other > previous) previous = other
    return previous
  }
}
