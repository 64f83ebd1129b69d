// One table: a Hyperbee, whose keys and values are taken as bytes and shown as what they look like.

import { Hyperbee } from 'hypertab'
import type { Corestore } from 'hypertab'

import { Work } from './work.ts'

/** Rows of a page. */
const PAGE_ROWS = 50

/** Most keys of a comparison that are listed. */
export const MOST_DIFFERENCES = 500

const utf8 = new TextEncoder()

export interface Row {
  readonly key: Uint8Array
  readonly value: Uint8Array | null
  /** The version that put it. */
  readonly version: number
}

export interface Question {
  /** Keys that begin so; the empty text is all. */
  readonly prefix: string
  /** The first key; the empty text is from the start. */
  readonly from: string
  readonly to: string
  readonly isReverse: boolean
  readonly version: number | null
  /** The last key of the page before this one. */
  readonly after: Uint8Array | null
}

export interface Page {
  readonly rows: Row[]
  readonly hasMore: boolean
}

export interface TableChange extends Row {
  readonly isRemoved: boolean
}

export interface Difference {
  readonly key: Uint8Array
  /** As it is in the newer version, and as it was in the older one. */
  readonly newer: Uint8Array | null
  readonly older: Uint8Array | null
}

type Bounds = { gt?: Uint8Array, gte?: Uint8Array, lt?: Uint8Array, lte?: Uint8Array }

export class Table extends Work<Hyperbee> {
  readonly kind = 'table'

  /** Reads one page. Only the blocks on the way to its rows are fetched. */
  async page (question: Question): Promise<Page> {
    const bee = this.#bee()
    const at = question.version === null ? bee.snapshot() : bee.checkout(question.version)
    try {
      const rows: Row[] = []
      for await (const { key, value, seq } of at.createReadStream(boundsOf(question), { reverse: question.isReverse, limit: PAGE_ROWS + 1, ...this.waiting })) {
        rows.push({ key, value, version: seq + 1 })
      }
      return { rows: rows.slice(0, PAGE_ROWS), hasMore: rows.length > PAGE_ROWS }
    } finally {
      await at.close()
    }
  }

  /** Lists changes, the last one first. */
  async history (limit: number): Promise<TableChange[]> {
    const changes: TableChange[] = []
    for await (const { type, seq, key, value } of this.#bee().createHistoryStream({ reverse: true, limit, ...this.waiting })) {
      changes.push({ key, value, version: seq + 1, isRemoved: type === 'del' })
    }
    return changes
  }

  /** Compares two versions. */
  async compare (older: number, newer: number): Promise<Difference[]> {
    const at = this.#bee().checkout(newer)
    try {
      const differences: Difference[] = []
      for await (const { left, right } of at.createDiffStream(older, { limit: MOST_DIFFERENCES }, this.waiting)) {
        differences.push({ key: (left ?? right)!.key, newer: left?.value ?? null, older: right?.value ?? null })
      }
      return differences
    } finally {
      await at.close()
    }
  }

  async put (key: string, value: string): Promise<void> {
    await this.#bee().put(utf8.encode(key), utf8.encode(value))
    this.note()
  }

  async remove (key: Uint8Array): Promise<void> {
    await this.#bee().del(key)
    this.note()
  }

  /** Closes the table and deletes what is stored of it. */
  async purge (): Promise<void> {
    const core = this.opened?.core
    if (core) await core.purge()
    await this.close()
  }

  protected override make (store: Corestore, key: Uint8Array | null): Hyperbee {
    return new Hyperbee(key ? store.get({ key }) : store.get({ name: 'table' }), { keyEncoding: 'binary', valueEncoding: 'binary' })
  }

  #bee (): Hyperbee {
    if (!this.opened) throw new Error('The table is not open')
    return this.opened
  }
}

// Where a page begins and ends: the narrowest of what the prefix, the range and the page before it say.
function boundsOf ({ prefix, from, to, isReverse, after }: Question): Bounds {
  const bounds: Bounds = {}
  const start = utf8.encode(prefix)
  const end = prefix === '' ? null : behind(start)
  const first = utf8.encode(from)
  const last = utf8.encode(to)
  if (start.length > 0) bounds.gte = start
  if (end) bounds.lt = end
  if (first.length > 0 && order(first, start) > 0) bounds.gte = first
  if (last.length > 0 && (!end || order(last, end) < 0)) {
    delete bounds.lt
    bounds.lte = last
  }
  if (!after) return bounds
  if (isReverse) {
    delete bounds.lte
    return { ...bounds, lt: after }
  }
  delete bounds.gte
  return { ...bounds, gt: after }
}

// The first key after all that begin so; null when there is none.
function behind (prefix: Uint8Array): Uint8Array | null {
  let length = prefix.length
  while (length > 0 && prefix[length - 1] === 255) length--
  if (length === 0) return null
  const end = prefix.slice(0, length)
  end[length - 1]!++
  return end
}

function order (a: Uint8Array, b: Uint8Array): number {
  for (let index = 0; index < Math.min(a.length, b.length); index++) {
    if (a[index] !== b[index]) return a[index]! - b[index]!
  }
  return a.length - b.length
}
