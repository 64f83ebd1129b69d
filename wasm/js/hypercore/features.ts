// What all cores of a process do, as programs switch it.
//
// Source: hypercore 11.35, `lib/feature-flags.js`, and `lib/wants.js`, `updateCompat`.

/** Wants of 4096 blocks, and wants of any block of a range. */
export const SMALL_WANTS = 1

const LARGE_BATCH = 1 << 21
const SMALL_BATCH = 1 << 12

/** Blocks that a peer is asked to report at once. */
export let WANT_BATCH = LARGE_BATCH

export function enableFeatures (flags: number): void {
  WANT_BATCH = (flags & SMALL_WANTS) !== 0 ? SMALL_BATCH : LARGE_BATCH
}

export function hasSmallWants (): boolean {
  return WANT_BATCH === SMALL_BATCH
}
