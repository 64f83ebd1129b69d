// Which blocks a peer announced, as upstream keeps it: `hypercore/lib/remote-bitfield`. What peers of ours announce is in the engine.
//
// Source: hypercore 11.35, `lib/remote-bitfield.js`.

import { BITS_PER_PAGE, BITS_PER_SEGMENT, SparseBits, WORDS_PER_PAGE } from './bits.js'

export class RemoteBitfield extends SparseBits {
  static readonly BITS_PER_PAGE = BITS_PER_PAGE
  static readonly BITS_PER_SEGMENT = BITS_PER_SEGMENT

  /** Takes words in the place of those from a bit on; false when that is not where a word begins. */
  insert (start: number, bitfield: Uint32Array): boolean {
    return this.#each(start, bitfield, (there, word, given) => { there[word] = given })
  }

  /** Unsets what is set in words, from a bit on; false when that is not where a word begins. */
  clear (start: number, bitfield: Uint32Array): boolean {
    return this.#each(start, bitfield, (there, word, given) => { there[word]! &= ~given })
  }

  protected override room (): Uint32Array {
    return new Uint32Array(WORDS_PER_PAGE)
  }

  #each (start: number, bitfield: Uint32Array, change: (there: Uint32Array, word: number, given: number) => void): boolean {
    if (start % 32 !== 0) return false
    bitfield.forEach((given, at) => {
      const bit = start + 32 * at
      change(this.getPage(bit, true)!.bitfield, bit % BITS_PER_PAGE / 32, given)
    })
    return true
  }
}
