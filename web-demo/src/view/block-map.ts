// A map of the blocks held: a cell a block, or a cell for many when there are many.

import type { Held } from '../model/held.ts'
import { count } from '../model/words.ts'
import { colour, context2d, onColours } from './dom.ts'

/** Largest and smallest cell in CSS pixels, the gap around it included. */
const LARGEST = 40
const SMALLEST = 4

/** Cell of the empty map. */
const EMPTY = 20

interface Layout {
  readonly cell: number
  readonly columns: number
  /** Blocks in one cell. */
  readonly blocks: number
}

export class BlockMap {
  #canvas: HTMLCanvasElement
  #held: Held | null = null
  #length = 0
  #layout: Layout | null = null
  #isDue = false

  constructor (canvas: HTMLCanvasElement, onChoose: (index: number) => void) {
    this.#canvas = canvas
    canvas.addEventListener('click', ({ offsetX, offsetY }) => {
      const index = this.#blockAt(offsetX, offsetY)
      if (index !== null) onChoose(index)
    })
    new ResizeObserver(() => this.draw()).observe(canvas)
    onColours(() => this.draw())
  }

  show (held: Held | null, length: number): void {
    this.#held = held
    this.#length = length
    this.draw()
  }

  /** Returns how many blocks one cell stands for. */
  get blocksPerCell (): number {
    return this.#layout?.blocks ?? 1
  }

  /** Draws at the next frame. */
  draw (): void {
    if (this.#isDue) return
    this.#isDue = true
    requestAnimationFrame(() => {
      this.#isDue = false
      this.#paint()
    })
  }

  #paint (): void {
    const target = context2d(this.#canvas)
    if (!target) return
    const { context, width, height } = target
    const length = Math.max(this.#length, this.#held?.length ?? 0)
    const missing = colour('missing')
    if (!this.#held || length === 0) {
      this.#layout = null
      context.fillStyle = missing
      context.globalAlpha = 0.5
      const columns = Math.floor(width / EMPTY)
      cells(context, { cell: EMPTY, columns, blocks: 1 }, 0, columns * Math.floor(height / EMPTY))
      context.globalAlpha = 1
      return
    }
    const layout = this.#layout = layoutOf(length, width, height)
    const colours = { none: missing, part: colour('part'), all: colour('held') }
    for (let cell = 0, start = 0; start < length; cell++, start += layout.blocks) {
      const end = Math.min(start + layout.blocks, length)
      const held = this.#held.countBetween(start, end)
      context.fillStyle = held === 0 ? colours.none : held === end - start ? colours.all : colours.part
      cells(context, layout, cell, 1)
    }
    this.#canvas.setAttribute('aria-label', `Map of the blocks held: ${count(this.#held.count)} of ${count(length)}`)
  }

  #blockAt (x: number, y: number): number | null {
    if (!this.#layout) return null
    const { cell, columns, blocks } = this.#layout
    const column = Math.floor(x / cell)
    if (column >= columns) return null
    const index = (Math.floor(y / cell) * columns + column) * blocks
    return index < this.#length ? index : null
  }
}

// The largest cells with which everything fits; below the smallest, several blocks share one.
function layoutOf (length: number, width: number, height: number): Layout {
  for (let cell = LARGEST; cell > SMALLEST; cell--) {
    const columns = Math.floor(width / cell)
    if (columns * Math.floor(height / cell) >= length) return { cell, columns, blocks: 1 }
  }
  const columns = Math.max(1, Math.floor(width / SMALLEST))
  const rows = Math.max(1, Math.floor(height / SMALLEST))
  return { cell: SMALLEST, columns, blocks: Math.ceil(length / (columns * rows)) }
}

function cells (context: CanvasRenderingContext2D, { cell, columns }: Layout, first: number, number: number): void {
  const gap = cell > 9 ? 2 : 1
  for (let place = first; place < first + number; place++) {
    context.fillRect((place % columns) * cell, Math.floor(place / columns) * cell, cell - gap, cell - gap)
  }
}
