// Ranges of keys as bytes, and the entries in them.

import type { Hyperbee } from '../hyperbee/hyperbee.js'
import type { Entry } from '../hyperbee/blocks.js'
import type { RangeIterator } from '../hyperbee/iterators.js'
import { compare } from '../support/bytes.js'

/** Keys and values as they are stored, whatever the bee makes of them. */
export const RAW = { keyEncoding: 'binary', valueEncoding: 'binary' }

/** A range as it comes from `abstract-level`, with encoded keys. */
export interface RawRange {
  gt?: Uint8Array
  gte?: Uint8Array
  lt?: Uint8Array
  lte?: Uint8Array
  reverse?: boolean
  limit?: number
}

/** The part of options that says which keys. Of two bounds on one side, the one with `e` counts, as in every such database. */
export function boundsOf ({ gt, gte, lt, lte, reverse, limit }: RawRange): RawRange {
  const range: RawRange = { reverse: !!reverse, limit: limit ?? -1 }
  if (gte !== undefined) range.gte = gte
  else if (gt !== undefined) range.gt = gt
  if (lte !== undefined) range.lte = lte
  else if (lt !== undefined) range.lt = lt
  return range
}

/** The range from a key on, in the direction of the range; null when the key is outside. */
export function from (range: RawRange, target: Uint8Array): RawRange | null {
  const { gt, gte, lt, lte, reverse } = range
  if (gt && compare(target, gt) <= 0) return null
  if (gte && compare(target, gte) < 0) return null
  if (lt && compare(target, lt) >= 0) return null
  if (lte && compare(target, lte) > 0) return null
  const rest: RawRange = { ...range }
  if (reverse) {
    delete rest.lt
    rest.lte = target
  } else {
    delete rest.gt
    rest.gte = target
  }
  return rest
}

/** Begins a walk. */
export async function walk (view: Hyperbee, range: RawRange): Promise<RangeIterator<Uint8Array, Uint8Array>> {
  const iterator = view.createRangeIterator(range, RAW)
  await iterator.open()
  return iterator
}

/** Every entry of a range. */
export async function * entriesOf (view: Hyperbee, range: RawRange): AsyncGenerator<Entry<Uint8Array, Uint8Array | null>> {
  const iterator = await walk(view, range)
  try {
    for (let entry = await iterator.next(); entry !== null; entry = await iterator.next()) yield entry
  } finally {
    await iterator.close()
  }
}
