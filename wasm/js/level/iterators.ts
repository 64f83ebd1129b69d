// Iterators of a database over a bee. Each reads the version that was the newest when it was made.

import {
  AbstractIterator, AbstractKeyIterator, AbstractValueIterator, type AbstractIteratorOptions, type AbstractKeyIteratorOptions, type AbstractValueIteratorOptions
} from 'abstract-level'

import type { Hyperbee } from '../hyperbee/hyperbee.js'
import type { RangeIterator } from '../hyperbee/iterators.js'
import type { BeeLevel } from './bee-level.js'
import { boundsOf, from, walk, type RawRange } from './ranges.js'
import type { WithSnapshot } from './snapshot.js'

/** What the private side of an iterator is given: keys are encoded already. */
export type IteratorOptions<K, V> = RawRange & WithSnapshot & (AbstractIteratorOptions<K, V> | AbstractKeyIteratorOptions<K> | AbstractValueIteratorOptions<K, V>)

/** Where an iterator is. */
class Cursor {
  readonly #view: Hyperbee
  readonly #isOwn: boolean
  #range: RawRange
  /** What is left of it; null when there is nothing. */
  #rest: RawRange | null
  #walk: Promise<RangeIterator<Uint8Array, Uint8Array>> | null = null

  constructor (bee: Hyperbee, options: RawRange & WithSnapshot) {
    this.#isOwn = !options.snapshot
    this.#view = options.snapshot ? options.snapshot.view : bee.snapshot()
    this.#range = this.#rest = boundsOf(options)
  }

  async next (): Promise<[Uint8Array, Uint8Array] | undefined> {
    if (this.#rest === null) return undefined
    this.#walk ??= walk(this.#view, this.#rest)
    const entry = await (await this.#walk).next()
    return entry === null ? undefined : [entry.key, entry.value ?? new Uint8Array(0)]
  }

  seek (target: Uint8Array): void {
    this.#leave().catch(() => {})
    this.#rest = from(this.#range, target)
  }

  async close (): Promise<void> {
    await this.#leave()
    if (this.#isOwn) await this.#view.close()
  }

  async #leave (): Promise<void> {
    const left = this.#walk
    this.#walk = null
    // One that could not begin has nothing to close, and its error was seen.
    await left?.then((iterator) => iterator.close(), () => {})
  }
}

export class BeeLevelEntries<K, V> extends AbstractIterator<BeeLevel<K, V>, K, V> {
  #cursor: Cursor

  constructor (db: BeeLevel<K, V>, options: IteratorOptions<K, V>) {
    super(db, options as AbstractIteratorOptions<K, V>)
    this.#cursor = new Cursor(db.bee, options)
  }

  /** @internal */
  async _next (): Promise<any> {
    return await this.#cursor.next()
  }

  /** @internal */
  _seek (target: any): void {
    this.#cursor.seek(target)
  }

  /** @internal */
  async _close (): Promise<void> {
    await this.#cursor.close()
  }
}

export class BeeLevelKeys<K> extends AbstractKeyIterator<BeeLevel<K, any>, K> {
  #cursor: Cursor

  constructor (db: BeeLevel<K, any>, options: IteratorOptions<K, any>) {
    super(db, options as AbstractKeyIteratorOptions<K>)
    this.#cursor = new Cursor(db.bee, options)
  }

  /** @internal */
  async _next (): Promise<any> {
    return (await this.#cursor.next())?.[0]
  }

  /** @internal */
  _seek (target: any): void {
    this.#cursor.seek(target)
  }

  /** @internal */
  async _close (): Promise<void> {
    await this.#cursor.close()
  }
}

export class BeeLevelValues<K, V> extends AbstractValueIterator<BeeLevel<K, V>, K, V> {
  #cursor: Cursor

  constructor (db: BeeLevel<K, V>, options: IteratorOptions<K, V>) {
    super(db, options as AbstractValueIteratorOptions<K, V>)
    this.#cursor = new Cursor(db.bee, options)
  }

  /** @internal */
  async _next (): Promise<any> {
    return (await this.#cursor.next())?.[1]
  }

  /** @internal */
  _seek (target: any): void {
    this.#cursor.seek(target)
  }

  /** @internal */
  async _close (): Promise<void> {
    await this.#cursor.close()
  }
}
