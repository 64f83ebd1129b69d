// Whether two files are the same.

import type { Readable } from 'streamx'

import { equal, isBytes } from '../support/bytes.js'

/** Whether two streams give the same bytes. Both are at their end, or destroyed, afterwards. */
export async function streamsEqual (a: Readable, b: Readable): Promise<boolean> {
  const left = chunksOf(a)
  const right = chunksOf(b)
  try {
    let x = await left()
    let y = await right()
    while (x !== null && y !== null) {
      const length = Math.min(x.byteLength, y.byteLength)
      if (!equal(x.subarray(0, length), y.subarray(0, length))) return false
      x = x.byteLength === length ? await left() : x.subarray(length)
      y = y.byteLength === length ? await right() : y.subarray(length)
    }
    return x === null && y === null
  } finally {
    a.destroy()
    b.destroy()
  }
}

/** Gives one chunk after the other, none of them empty, and null at the end. */
function chunksOf (stream: Readable): () => Promise<Uint8Array | null> {
  const chunks = (stream as AsyncIterable<Uint8Array>)[Symbol.asyncIterator]()
  return async () => {
    for (;;) {
      const { done, value } = await chunks.next()
      if (done) return null
      if (value.byteLength > 0) return value
    }
  }
}

/** Whether two values are the same by what is in them. */
export function sameData (a: unknown, b: unknown): boolean {
  if (Object.is(a, b)) return true
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false
  if (isBytes(a) || isBytes(b)) return isBytes(a) && isBytes(b) && equal(a, b)
  if (Array.isArray(a) !== Array.isArray(b)) return false
  const keys = Object.keys(a)
  if (keys.length !== Object.keys(b).length) return false
  return keys.every((key) => Object.hasOwn(b, key) && sameData((a as any)[key], (b as any)[key]))
}
