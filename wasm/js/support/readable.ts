// What streams to read give, for compilers.

import type { Readable, ReadableEvents } from 'streamx'

/** The events of a stream of chunks of one type. */
export interface ReadEvents<T> extends ReadableEvents {
  data: [data: T]
}

/** A stream of chunks of one type. */
export interface ReadableOf<T> extends Readable<ReadEvents<T>> {
  read (): T | null
  [Symbol.asyncIterator] (): AsyncIterator<T>
}
