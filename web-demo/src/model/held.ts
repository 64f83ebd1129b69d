// Which blocks are on this device: one bit a block, and how many bits are set. How long a log is says who signs it: what is not here
// takes neither room nor time.

/** Where a core tells which blocks it holds. */
export interface HeldBlocks {
  /** The first block from one on that is held; -1 for none. */
  firstSet (from: number): number
  firstUnset (from: number): number
}

/** Blocks of a page. */
const PAGE = 32_768

interface Page {
  readonly words: Uint32Array
  count: number
}

export class Held {
  /** Pages with a block that is held, by their numbers. */
  readonly #pages = new Map<number, Page>()
  #count = 0
  #length = 0

  /** How many blocks are held. */
  get count (): number {
    return this.#count
  }

  /** How many blocks the log has, as far as this map knows. */
  get length (): number {
    return this.#length
  }

  has (index: number): boolean {
    const page = this.#pages.get(Math.floor(index / PAGE))
    return page !== undefined && isSet(page, index % PAGE)
  }

  add (index: number): void {
    this.#length = Math.max(this.#length, index + 1)
    const number = Math.floor(index / PAGE)
    let page = this.#pages.get(number)
    if (!page) this.#pages.set(number, page = { words: new Uint32Array(PAGE / 32), count: 0 })
    const place = index % PAGE
    if (isSet(page, place)) return
    page.words[place >>> 5]! |= 1 << (place & 31)
    page.count++
    this.#count++
  }

  /** Forgets the blocks from `length` on, after the log was shortened. */
  truncate (length: number): void {
    this.#length = Math.min(this.#length, length)
    for (const [number, page] of this.#pages) {
      for (let place = Math.max(0, length - number * PAGE); place < PAGE; place++) {
        if (!isSet(page, place)) continue
        page.words[place >>> 5]! &= ~(1 << (place & 31))
        page.count--
        this.#count--
      }
      if (page.count === 0) this.#pages.delete(number)
    }
  }

  /** Returns how many of the blocks `start .. end` are held. */
  countBetween (start: number, end: number): number {
    const [first, last] = [Math.floor(start / PAGE), Math.ceil(end / PAGE)]
    let total = 0
    if (last - first <= this.#pages.size) {
      for (let number = first; number < last; number++) total += countOn(this.#pages.get(number), start - number * PAGE, end - number * PAGE)
    } else {
      for (const [number, page] of this.#pages) total += countOn(page, start - number * PAGE, end - number * PAGE)
    }
    return total
  }

  /** Learns from a core what it holds of the blocks `start .. end`. */
  scan (core: HeldBlocks, start: number, end: number): void {
    this.#length = Math.max(this.#length, end)
    for (let from = core.firstSet(start); from !== -1 && from < end;) {
      const until = Math.min(core.firstUnset(from), end)
      for (let index = from; index < until; index++) this.add(index)
      from = until < end ? core.firstSet(until) : -1
    }
  }
}

function isSet ({ words }: Page, place: number): boolean {
  return (words[place >>> 5]! >>> (place & 31) & 1) === 1
}

/** How many blocks of a page are held between two places, which may lie beside it. */
function countOn (page: Page | undefined, start: number, end: number): number {
  if (!page || end <= 0 || start >= PAGE) return 0
  if (start <= 0 && end >= PAGE) return page.count
  let total = 0
  for (let place = Math.max(0, start), behind = Math.min(end, PAGE); place < behind;) {
    if ((place & 31) === 0 && behind - place >= 32) {
      total += bitsSet(page.words[place >>> 5]!)
      place += 32
    } else {
      if (isSet(page, place)) total++
      place++
    }
  }
  return total
}

function bitsSet (word: number): number {
  word -= (word >>> 1) & 0x55555555
  word = (word & 0x33333333) + ((word >>> 2) & 0x33333333)
  return Math.imul((word + (word >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24
}
