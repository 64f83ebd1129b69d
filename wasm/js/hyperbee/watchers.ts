// What tells that something in a bee changed.

import { createLock, debounce } from '../support/lock.js'
import { ReadyResource } from '../support/ready-resource.js'
import type { EncodingOptions } from './batch.js'
import type { Entry } from './blocks.js'
import type { BeeEncoding } from './encodings.js'
import type { Hyperbee } from './hyperbee.js'
import type { RangeOptions } from './iterators.js'

/** What a watcher gives, and when. */
export interface WatchOptions<T = Hyperbee> extends EncodingOptions {
  /** Gives what is there already, first. */
  eager?: boolean
  /** Makes of a snapshot what is given. */
  map? (snapshot: Hyperbee): T
  /** Makes the stream whose first data says that something changed. */
  differ? (current: Hyperbee, previous: Hyperbee, range: RangeOptions | null | undefined): AsyncIterable<unknown>
  /** Called for every change; the watcher then needs no reader. */
  onchange? (): unknown
}

type WatcherEvents = {
  ready: []
  close: []
  update: []
}

/** Snapshots before and after each change of a range, as an iterator. */
export class Watcher<T = any> extends ReadyResource<WatcherEvents> implements AsyncIterableIterator<[T, T]> {
  /** Of keys. */
  readonly keyEncoding: BeeEncoding | null
  /** Of values. */
  readonly valueEncoding: BeeEncoding | null
  /** @internal */
  index: number
  /** What is watched. */
  readonly bee: Hyperbee
  /** Its core. */
  readonly core: Hyperbee['core']
  /** Which keys; all without one. */
  readonly range: RangeOptions | null | undefined
  /** Makes of a snapshot what is given. */
  map: (snapshot: Hyperbee) => T
  /** Kept for programs that look at it; always 0. */
  latestDiff = 0
  /** The bee after the change. */
  current: Hyperbee | null = null
  /** The bee before it. */
  previous: Hyperbee | null = null
  /** What `map` made of it. */
  currentMapped: T | null = null
  /** What `map` made of it. */
  previousMapped: T | null = null
  /** The stream of differences that is looked at; null for none. */
  stream: AsyncIterable<unknown> | null = null
  #lock = createLock()
  #flowing = false
  #wake: (() => void) | null = null
  #differ: NonNullable<WatchOptions['differ']>
  #eager: boolean
  #onchange: (() => unknown) | null

  /** @internal */
  constructor (bee: Hyperbee, range?: RangeOptions | null, options: WatchOptions<T> | null = {}) {
    super()
    options ??= {}
    this.keyEncoding = options.keyEncoding || bee.keyEncoding
    this.valueEncoding = options.valueEncoding || bee.valueEncoding
    this.index = bee._watchers!.push(this) - 1
    this.bee = bee
    this.core = bee.core
    this.range = range
    this.map = options.map ?? ((snapshot) => snapshot as T)
    this.#differ = options.differ ?? ((current, previous, range) => current.createDiffStream(previous, range))
    this.#eager = !!options.eager
    this.#onchange = options.onchange ?? null
    this.on('newListener' as never, ((name: string) => { if (name === 'update') this.#consume().catch(() => {}) }) as never)
    this.ready().catch(() => {})
  }

  /** Itself. */
  [Symbol.asyncIterator] (): this {
    this.#flowing = true
    return this
  }

  /** Waits for the next change. */
  async next (): Promise<IteratorResult<[T, T]>> {
    try {
      return await this.#next()
    } catch (error) {
      if (this.closing) return { value: undefined, done: true }
      await this.close()
      throw error
    }
  }

  /** Ends it. */
  async return (): Promise<IteratorResult<[T, T]>> {
    await this.close()
    return { done: true } as IteratorResult<[T, T]>
  }

  /** Ends it. */
  destroy (): Promise<void> {
    return this.close()
  }

  /** @internal */
  onchange (): void {
    const wake = this.#wake
    this.#wake = null
    wake?.()
  }

  /** @internal */
  override async _open (): Promise<void> {
    await this.bee.ready()
    const options = this.#encodings()
    this.current = this.#eager ? this.bee.checkout(1, options) : this.bee.snapshot(options)
    await this.current.ready()
    if (!this.#onchange) return
    if (this.#eager) await this.#onchange()
    this.#consume().catch(() => {})
  }

  /** @internal */
  override async _close (): Promise<void> {
    const watchers = this.bee._watchers!
    const last = watchers.pop()!
    if (last !== this) {
      last.index = this.index
      watchers[last.index] = last
    }
    const stream = this.stream as (AsyncIterable<unknown> & { destroying?: boolean, destroy? (): void }) | null
    if (stream && !stream.destroying) stream.destroy?.()
    this.onchange()
    await this.#closeCurrent().catch(() => {})
    await this.#closePrevious().catch(() => {})
    const release = await this.#lock()
    release()
  }

  async #next (): Promise<IteratorResult<[T, T]>> {
    const release = await this.#lock()
    try {
      if (this.closing) return { value: undefined, done: true }
      if (!this.opened) await this.ready()
      for (;;) {
        await this.#changed()
        if (this.closing) return { value: undefined, done: true }
        await this.#closePrevious()
        this.previous = this.current!.snapshot()
        await this.#closeCurrent()
        this.current = this.bee.snapshot(this.#encodings())
        await this.current.ready()
        await this.previous.ready()
        // Another history: every key may be another.
        if (this.current.core.fork !== this.previous.core.fork) return await this.#give()
        if (await this.#differs()) return await this.#give()
      }
    } finally {
      release()
    }
  }

  async #differs (): Promise<boolean> {
    this.stream = this.#differ(this.current!, this.previous!, this.range)
    try {
      for await (const _ of this.stream) return true
      return false
    } finally {
      this.stream = null
    }
  }

  async #changed (): Promise<void> {
    if (this.current!.version < this.bee.version || this.closing) return
    await new Promise<void>((resolve) => { this.#wake = resolve })
  }

  async #give (): Promise<IteratorResult<[T, T]>> {
    this.currentMapped = this.map(this.current!)
    this.previousMapped = this.map(this.previous!)
    try {
      await this.#onchange?.()
    } catch (error) {
      throwIfProgrammer(error)
    }
    this.emit('update')
    return { done: false, value: [this.currentMapped, this.previousMapped] }
  }

  async #consume (): Promise<void> {
    if (this.#flowing) return
    try {
      for await (const _ of this) { /* onchange and listeners are told */ }
    } catch {
      // The watcher is closed by it.
    }
  }

  async #closeCurrent (): Promise<void> {
    await closeMapped(this.currentMapped)
    await this.current?.close()
    this.current = this.currentMapped = null
  }

  async #closePrevious (): Promise<void> {
    await closeMapped(this.previousMapped)
    await this.previous?.close()
    this.previous = this.previousMapped = null
  }

  #encodings (): EncodingOptions {
    return { keyEncoding: this.keyEncoding, valueEncoding: this.valueEncoding }
  }
}

type EntryWatcherEvents = {
  ready: []
  close: []
  update: []
  error: [error: Error]
}

/** The entry of one key, as it is now. */
export class EntryWatcher<K = any, V = any> extends ReadyResource<EntryWatcherEvents> {
  /** Of the key. */
  readonly keyEncoding: BeeEncoding | null
  /** Of the value. */
  readonly valueEncoding: BeeEncoding | null
  /** @internal */
  index: number
  /** What is watched. */
  readonly bee: Hyperbee
  /** Of the entry. */
  readonly key: K
  /** The entry, or null when there is none. */
  node: Entry<K, V> | null = null
  /** @internal */
  readonly _debouncedUpdate: () => Promise<void>
  #force = false

  /** @internal */
  constructor (bee: Hyperbee, key: K, options: EncodingOptions | null = {}) {
    super()
    this.keyEncoding = options?.keyEncoding || bee.keyEncoding
    this.valueEncoding = options?.valueEncoding || bee.valueEncoding
    this.index = bee._entryWatchers!.push(this) - 1
    this.bee = bee
    this.key = key
    this._debouncedUpdate = debounce(() => this.#update())
  }

  /** @internal */
  onchange (isTruncated: boolean): void {
    this.#force ||= isTruncated
    this._debouncedUpdate().catch(() => {})
  }

  /** @internal */
  override async _close (): Promise<void> {
    const watchers = this.bee._entryWatchers!
    const last = watchers.pop()!
    if (last === this) return
    last.index = this.index
    watchers[last.index] = last
  }

  async #update (): Promise<void> {
    const force = this.#force
    this.#force = false
    let node: Entry | null
    try {
      node = await this.bee.get(this.key, { keyEncoding: this.keyEncoding, valueEncoding: this.valueEncoding })
    } catch (error) {
      // A truncation came between, and with it another update.
      if ((error as { code?: string }).code === 'SNAPSHOT_NOT_AVAILABLE') return
      if (this.bee.closing) {
        this.close().catch(() => {})
        return
      }
      this.emit('error', error as Error)
      return
    }
    if (!force && node?.seq === this.node?.seq) return
    this.node = node
    this.emit('update')
  }
}

async function closeMapped (mapped: unknown): Promise<void> {
  await (mapped as { close? (): Promise<void> } | null)?.close?.()
}

function throwIfProgrammer (error: unknown): void {
  if (error instanceof TypeError || error instanceof SyntaxError || error instanceof ReferenceError) throw error
}

