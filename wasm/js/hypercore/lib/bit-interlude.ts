// Bits that are about to change, in ranges: `hypercore/lib/bit-interlude`.
//
// Source: hypercore 11.35, `lib/bit-interlude.js`.

import { userBytes } from '../../platform.js'
import type { CoreTX } from '../../storage/core-storage.js'
import { fillBits } from './bits.js'
import type { Bitfield, BitRange } from './bitfield.js'

export class BitInterlude {
  /** What was set or unset, in order; no two of a value touch. */
  ranges: BitRange[] = []

  /** Where the bits that are set from there on end. */
  contiguousLength (from: number): number {
    let end = from
    for (const { start, end: next, value } of this.ranges) {
      if (start > end) break
      if (!value && start <= from) return start
      if (!value) break
      if (next > end) end = next
    }
    return end
  }

  get (index: number): boolean {
    return this.ranges.find(({ start, end }) => start <= index && index < end)?.value ?? false
  }

  setRange (start: number, end: number, value: boolean): void {
    if (start === end) return
    const ranges: BitRange[] = []
    const made = { start, end, value }
    let at = 0
    const rest: BitRange[] = []
    for (const range of this.ranges) {
      const touches = range.start <= made.end && made.start <= range.end
      if (touches && range.value === value) {
        made.start = Math.min(made.start, range.start)
        made.end = Math.max(made.end, range.end)
        continue
      }
      if (range.start < made.start) ranges.push({ ...range, end: Math.min(range.end, made.start) })
      if (range.end > made.end) rest.push({ ...range, start: Math.max(range.start, made.end) })
      at++
    }
    this.ranges = [...ranges, made, ...rest]
  }

  /** Writes the pages on which something changes, over those of a bitfield, and gives what changes. */
  flush (tx: CoreTX, bitfield: Bitfield): BitRange[] {
    const bits = bitfield.getPageByteLength() * 8
    const pages = new Set<number>()
    for (const { start, end } of this.ranges) {
      for (let page = Math.floor(start / bits); page * bits < end; page++) pages.add(page)
    }
    for (const page of pages) {
      const first = page * bits
      const there = bitfield.getBitfield(first)
      const words = new Uint32Array(bits / 32)
      if (there) words.set(there.bitfield)
      const changes = this.ranges.filter(({ start, end }) => start < first + bits && end > first)
      for (const { start, end, value } of changes) fillBits(words, value, Math.max(start - first, 0), Math.min(end - first, bits))
      if (there || changes.some(({ value }) => value)) tx.putBitfieldPage(page, userBytes(new Uint8Array(words.buffer)))
    }
    return this.ranges
  }
}
