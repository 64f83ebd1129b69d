// A database of the Level family whose entries are in a bee, so that they replicate, and what was is kept.

import { AbstractLevel, type AbstractBatchOperation, type AbstractDatabaseOptions } from 'abstract-level'

import { HypertabError } from '../errors.js'
import type { Hyperbee } from '../hyperbee/hyperbee.js'
import { BeeLevelEntries, BeeLevelKeys, BeeLevelValues, type IteratorOptions } from './iterators.js'
import { boundsOf, entriesOf, RAW, type RawRange } from './ranges.js'
import { BeeLevelSnapshot, viewOf, type WithSnapshot } from './snapshot.js'

/** A bee, or what makes one each time that the database opens. */
export type BeeSource = Hyperbee | (() => Hyperbee | Promise<Hyperbee>)

/**
 * A database over a bee.
 *
 * A bee that is given stays open when the database closes; one that a function made is closed along, and made anew when the
 * database opens again. What peers append to it is read like what is written here; of a bee that cannot be written, writes fail.
 */
export class BeeLevel<K = string, V = string> extends AbstractLevel<Uint8Array, K, V> {
  #source: BeeSource
  #bee: Hyperbee | null = null

  constructor (source: BeeSource, options?: AbstractDatabaseOptions<K, V>) {
    super({
      encodings: { view: true },
      has: true,
      seek: true,
      permanence: true,
      implicitSnapshots: true,
      explicitSnapshots: true,
      createIfMissing: false,
      errorIfExists: false
    }, options)
    if (typeof source !== 'function') refuseParts(source)
    this.#source = source
  }

  /** The bee. @throws while the database is not open */
  get bee (): Hyperbee {
    if (this.#bee === null) throw new HypertabError('LEVEL_DATABASE_NOT_OPEN', 'the database is not open')
    return this.#bee
  }

  /** @internal */
  async _open (): Promise<void> {
    const bee = typeof this.#source === 'function' ? await this.#source() : this.#source
    try {
      refuseParts(bee)
      await bee.ready()
    } catch (error) {
      if (typeof this.#source === 'function') await bee.close()
      throw error
    }
    this.#bee = bee
  }

  /** @internal */
  async _close (): Promise<void> {
    const bee = this.#bee
    if (typeof this.#source === 'function') await bee?.close()
    this.#bee = null
  }

  /** @internal */
  async _get (key: Uint8Array, options: WithSnapshot): Promise<Uint8Array | undefined> {
    const entry = await viewOf(this.bee, options).get(key, RAW)
    // An entry without a value, which other programs may write, is there all the same.
    return entry === null ? undefined : entry.value ?? new Uint8Array(0)
  }

  /** @internal */
  async _getMany (keys: Uint8Array[], options: WithSnapshot): Promise<Array<Uint8Array | undefined>> {
    return await this.#ofOneVersion(options, (snapshot) => Promise.all(keys.map((key) => this._get(key, { snapshot }))))
  }

  /** @internal */
  async _has (key: Uint8Array, options: WithSnapshot): Promise<boolean> {
    return await viewOf(this.bee, options).get(key, RAW) !== null
  }

  /** @internal */
  async _hasMany (keys: Uint8Array[], options: WithSnapshot): Promise<boolean[]> {
    return await this.#ofOneVersion(options, (snapshot) => Promise.all(keys.map((key) => this._has(key, { snapshot }))))
  }

  /** @internal */
  async _put (key: Uint8Array, value: Uint8Array): Promise<void> {
    await this.bee.put(key, value, RAW)
  }

  /** @internal */
  async _del (key: Uint8Array): Promise<void> {
    await this.bee.del(key, RAW)
  }

  /** @internal One append: all of it, or nothing. */
  async _batch (operations: Array<AbstractBatchOperation<this, Uint8Array, Uint8Array>>): Promise<void> {
    const batch = this.bee.batch(RAW)
    try {
      for (const operation of operations) {
        if (operation.type === 'del') await batch.del(operation.key)
        else await batch.put(operation.key, operation.value)
      }
      await batch.flush()
    } catch (error) {
      await batch.close()
      throw error
    }
  }

  /** @internal */
  async _clear (options: RawRange & WithSnapshot): Promise<void> {
    const keys: Uint8Array[] = []
    for await (const { key } of entriesOf(viewOf(this.bee, options), boundsOf(options))) keys.push(key)
    if (keys.length > 0) await this._batch(keys.map((key) => ({ type: 'del', key })))
  }

  /** @internal */
  _iterator (options: IteratorOptions<K, V>): BeeLevelEntries<K, V> {
    return new BeeLevelEntries(this, options)
  }

  /** @internal */
  _keys (options: IteratorOptions<K, V>): BeeLevelKeys<K> {
    return new BeeLevelKeys(this, options)
  }

  /** @internal */
  _values (options: IteratorOptions<K, V>): BeeLevelValues<K, V> {
    return new BeeLevelValues(this, options)
  }

  /** @internal */
  _snapshot (options: object): BeeLevelSnapshot {
    return new BeeLevelSnapshot(this.bee, options)
  }

  async #ofOneVersion<T> (options: WithSnapshot, read: (snapshot: { readonly view: Hyperbee }) => Promise<T>): Promise<T> {
    if (options.snapshot) return await read(options.snapshot)
    const view = this.bee.snapshot()
    try {
      return await read({ view })
    } finally {
      await view.close()
    }
  }
}

function refuseParts (bee: Hyperbee): void {
  if (bee.prefix !== null) throw new TypeError('a part of a bee cannot be a database: give the bee itself, and take db.sublevel(name)')
}
