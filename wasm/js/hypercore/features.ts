// What all cores of a process do, as programs switch it.
//
// Source: hypercore 11.35, `lib/feature-flags.js`, and `lib/wants.js`, `updateCompat`.

/** Wants of 4096 blocks, and wants of any block of a range. */
export const SMALL_WANTS = 1

let smallWants = false

export function enableFeatures (flags: number): void {
  smallWants = (flags & SMALL_WANTS) !== 0
}

export function hasSmallWants (): boolean {
  return smallWants
}
