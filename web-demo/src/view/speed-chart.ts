// Bytes per second over the last minute: down as an area, up as a line.

import { SECONDS } from '../model/rates.ts'
import type { Rates } from '../model/rates.ts'
import { bytes } from '../model/words.ts'
import { colour, context2d, onColours } from './dom.ts'

/** The scale never zooms in on less than this many bytes per second. */
const LEAST_TOP = 1_000

export class SpeedChart {
  #canvas: HTMLCanvasElement
  #rates: Rates | null = null

  constructor (canvas: HTMLCanvasElement) {
    this.#canvas = canvas
    new ResizeObserver(() => this.draw()).observe(canvas)
    onColours(() => this.draw())
  }

  show (rates: Rates | null): void {
    this.#rates = rates
    this.draw()
  }

  draw (): void {
    const target = context2d(this.#canvas)
    if (!target) return
    const { context, width, height } = target
    context.strokeStyle = colour('line')
    context.lineWidth = 1
    for (const y of [0.5, Math.round(height / 2) - 0.5, height - 0.5]) {
      context.beginPath()
      context.moveTo(0, y)
      context.lineTo(width, y)
      context.stroke()
    }
    if (!this.#rates) return
    const { down, up } = this.#rates
    const top = Math.max(LEAST_TOP, ...down, ...up) * 1.15
    const x = (second: number) => second / (SECONDS - 1) * width
    const y = (value: number) => height - 1 - value / top * (height - 2)

    context.fillStyle = context.strokeStyle = colour('down')
    line(context, down, x, y)
    context.lineWidth = 1.5
    context.stroke()
    context.lineTo(width, height)
    context.lineTo(0, height)
    context.globalAlpha = 0.22
    context.fill()
    context.globalAlpha = 1

    context.strokeStyle = colour('up')
    line(context, up, x, y)
    context.stroke()
    this.#canvas.setAttribute('aria-label', `Bytes per second over the last minute; at most ${bytes(Math.max(...down))} down and ${bytes(Math.max(...up))} up`)
  }
}

function line (context: CanvasRenderingContext2D, values: Float64Array, x: (second: number) => number, y: (value: number) => number): void {
  context.beginPath()
  values.forEach((value, second) => { context.lineTo(x(second), y(value)) })
}
