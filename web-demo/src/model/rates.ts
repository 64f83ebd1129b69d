// Bytes per second, down and up, over the last minute.

/** How many seconds are remembered. */
export const SECONDS = 60

/** Over how many seconds the shown figure is averaged. */
const WINDOW = 3

export class Rates {
  /** Bytes of each whole second, oldest first; the last is the newest. */
  readonly down = new Float64Array(SECONDS)
  readonly up = new Float64Array(SECONDS)
  #down = 0
  #up = 0

  received (bytes: number): void {
    this.#down += bytes
  }

  sent (bytes: number): void {
    this.#up += bytes
  }

  /** Ends a second. */
  tick (): void {
    shift(this.down, this.#down)
    shift(this.up, this.#up)
    this.#down = 0
    this.#up = 0
  }

  get downPerSecond (): number {
    return recent(this.down)
  }

  get upPerSecond (): number {
    return recent(this.up)
  }

  /** Most bytes of one second in one direction. */
  get most (): number {
    return Math.max(...this.down, ...this.up)
  }

  /** Whether nothing moved for as long as is remembered. */
  get isStill (): boolean {
    return this.down.every((bytes) => bytes === 0) && this.up.every((bytes) => bytes === 0)
  }
}

function shift (seconds: Float64Array, newest: number): void {
  seconds.copyWithin(0, 1)
  seconds[SECONDS - 1] = newest
}

function recent (seconds: Float64Array): number {
  return seconds.subarray(SECONDS - WINDOW).reduce((sum, bytes) => sum + bytes, 0) / WINDOW
}
