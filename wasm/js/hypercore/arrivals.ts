// Blocks that came while the store of a core moved to another tab: whoever had the core then had nobody to tell of them.

import type { CoreHandle } from '../binding.js'
import { PAGE } from '../remote/block-bits.js'
import { look } from '../runtime.js'

/** Pages that are compared: a MiB of bits. */
const MOST_PAGES = 256

/** Blocks that are told. More do not come in the second that a move takes; a tab that slept for long looks at the log itself. */
const MOST_BLOCKS = 8192

/** The blocks that a core had. */
export class Arrivals {
  readonly #first: number
  readonly #pages: Map<number, Uint8Array>
  readonly #told = new Set<number>()

  constructor (core: CoreHandle) {
    this.#first = look((engine) => engine.coreContiguousLength(core))
    this.#pages = pagesOf(core, this.#first)
  }

  /** Somebody was told of a block meanwhile. */
  tell (index: number): void {
    this.#told.add(index)
  }

  /** Blocks below a length that a core has, had not, and of which nobody was told. */
  since (core: CoreHandle, length: number): number[] {
    const found: number[] = []
    for (const [page, bits] of pagesOf(core, this.#first)) {
      const before = this.#pages.get(page)
      for (const [at, byte] of bits.entries()) {
        let left = byte & ~(before?.[at] ?? 0)
        for (let index = page * PAGE + at * 8; left !== 0; index++, left >>= 1) {
          if ((left & 1) === 0 || index < this.#first || index >= length || this.#told.has(index)) continue
          found.push(index)
          if (found.length === MOST_BLOCKS) return found
        }
      }
    }
    return found
  }
}

/** The pages with blocks from one on. */
function pagesOf (core: CoreHandle, first: number): Map<number, Uint8Array> {
  return look((engine) => {
    const start = Math.floor(first / PAGE)
    const contiguous = Math.ceil(engine.coreContiguousLength(core) / PAGE)
    const [, ...changed] = engine.coreChangedPages(core, undefined, 0, start) ?? []
    const full = Array.from({ length: Math.min(MOST_PAGES, Math.max(0, contiguous - start)) }, (_, at) => start + at)
    const numbers = [...new Set([...full, ...changed])].slice(0, MOST_PAGES)
    return new Map(numbers.flatMap((page) => {
      const bits = engine.coreBlocksPage(core, undefined, page)
      return bits ? [[page, bits]] : []
    }))
  })
}
