// Which blocks are on this device: one bit a block, and how many bits are set.

/** What is asked about ranges of blocks. */
export interface HasBlocks {
  has (start: number, end?: number): boolean | Promise<boolean>
}

/** Largest range that is halved further when not all of it is held. */
const STRIDE = 65_536

export class Held {
  #words = new Uint32Array(64)
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
    return ((this.#words[index >>> 5] ?? 0) >>> (index & 31) & 1) === 1
  }

  add (index: number): void {
    this.#grow(index + 1)
    if (this.has(index)) return
    this.#words[index >>> 5]! |= 1 << (index & 31)
    this.#count++
  }

  /** Forgets the blocks from `length` on, after the log was shortened. */
  truncate (length: number): void {
    for (let index = length; index < this.#length; index++) this.#remove(index)
    this.#length = Math.min(this.#length, length)
  }

  /** Returns how many of the blocks `start .. end` are held. */
  countBetween (start: number, end: number): number {
    let total = 0
    for (let index = start; index < end;) {
      if ((index & 31) === 0 && end - index >= 32) {
        total += bitsSet(this.#words[index >>> 5] ?? 0)
        index += 32
      } else {
        if (this.has(index)) total++
        index++
      }
    }
    return total
  }

  /** Learns from a core what it holds of the blocks `start .. end`. */
  async scan (core: HasBlocks, start: number, end: number): Promise<void> {
    this.#grow(end)
    for (let from = start; from < end; from += STRIDE) await this.#scanRange(core, from, Math.min(from + STRIDE, end))
  }

  async #scanRange (core: HasBlocks, start: number, end: number): Promise<void> {
    if (await core.has(start, end)) {
      for (let index = start; index < end; index++) this.add(index)
    } else if (end - start > 1) {
      const middle = start + ((end - start) >>> 1)
      await this.#scanRange(core, start, middle)
      await this.#scanRange(core, middle, end)
    }
  }

  #remove (index: number): void {
    if (!this.has(index)) return
    this.#words[index >>> 5]! &= ~(1 << (index & 31))
    this.#count--
  }

  #grow (length: number): void {
    if (length <= this.#length) return
    this.#length = length
    const needed = (length + 31) >>> 5
    if (needed <= this.#words.length) return
    const larger = new Uint32Array(Math.max(needed, this.#words.length * 2))
    larger.set(this.#words)
    this.#words = larger
  }
}

function bitsSet (word: number): number {
  word -= (word >>> 1) & 0x55555555
  word = (word & 0x33333333) + ((word >>> 2) & 0x33333333)
  return Math.imul((word + (word >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24
}
