// How many bytes a second there were lately.

import { unrefTimer } from '../platform.js'

/** Parts of a second that are told apart. */
const RESOLUTION = 4

/** Seconds that count. */
const SECONDS = 5

const MAX_TICK = 65535

let tick = 1
let timer: ReturnType<typeof setInterval> | null = null

/** Adds bytes, and tells how many a second there were. */
export type Speedometer = (bytes?: number) => number

export function speedometer (): Speedometer {
  if (timer === null) {
    timer = setInterval(() => { tick = (tick + 1) & MAX_TICK }, 1000 / RESOLUTION)
    unrefTimer(timer)
  }
  const size = RESOLUTION * SECONDS
  // Bytes so far at each tick, in a ring.
  const totals = [0]
  let next = 1
  let last = (tick - 1) & MAX_TICK

  return (bytes = 0) => {
    let passed = Math.min((tick - last) & MAX_TICK, size)
    last = tick
    for (; passed > 0; passed--) {
      if (next === size) next = 0
      totals[next] = totals[next === 0 ? size - 1 : next - 1]!
      next++
    }
    totals[next - 1]! += bytes
    const newest = totals[next - 1]!
    const oldest = totals.length < size ? 0 : totals[next === size ? 0 : next]!
    return totals.length < RESOLUTION ? newest : (newest - oldest) * RESOLUTION / totals.length
  }
}
