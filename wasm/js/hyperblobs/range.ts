// Parts of a blob.

import type { MappedBlock } from './block-map.js'

/** A part of a blob; all of it by default. */
export interface ByteRange {
  /** First byte. */
  start?: number | undefined
  /** Last byte, inclusive. */
  end?: number | undefined
  /** Bytes; counts before `end`. */
  length?: number | undefined
}

/** Bytes of a blob: the first, and the one after the last. */
export interface Window {
  start: number
  end: number
}

/** The window of a range. It may begin behind the end of the blob, but never ends there: what follows is another's. */
export function windowOf ({ start = 0, end, length }: ByteRange, byteLength: number): Window {
  const wanted = length !== undefined ? start + length : end !== undefined ? end + 1 : byteLength
  return { start, end: Math.min(wanted, byteLength) }
}

/** The blocks of a map that hold a window, and what is cut off the first and the last one. */
export function locate (blocks: MappedBlock[], window: Window): { first: number, end: number, skip: number, drop: number } {
  let first = blocks.length
  let skip = 0
  if (window.start < window.end) {
    let offset = 0
    for (const [i, { byteLength }] of blocks.entries()) {
      const end = offset + byteLength
      if (first === blocks.length && window.start < end) {
        first = i
        skip = window.start - offset
      }
      if (window.end <= end) return { first, end: i + 1, skip, drop: end - window.end }
      offset = end
    }
  }
  return { first, end: blocks.length, skip, drop: 0 }
}
