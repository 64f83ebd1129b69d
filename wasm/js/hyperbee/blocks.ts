// Where the steps of a bee get their blocks: from a session of the core, which decrypts, waits and gives up.

import type { BeeCacheHandle, BeeWalkHandle, RawEntries, RawEntry, WalkHandle } from '../binding.js'
import { HypercoreError } from '../errors.js'
import { userBytes } from '../platform.js'
import { look } from '../runtime.js'
import { raw } from '../support/encoding.js'
import type { Hypercore } from '../hypercore/hypercore.js'
import type { BeeCodec, Encoding } from './encodings.js'

/** What reads may be told. Whatever else is given goes to the session's `get`. */
export interface ReadOptions {
  /** False to fail, or to find nothing, where a block is not here; true by default. */
  wait?: boolean
  /** Milliseconds to wait for a block (`REQUEST_TIMEOUT`); 0 for as long as it takes. */
  timeout?: number
  /** Called with each block that has to be waited for. */
  onwait?: ((seq: number, session: Hypercore) => unknown) | null
  /** Called with every block that is read. */
  onseq?: (seq: number) => unknown
  [other: string]: any
}

/** One key of a bee. */
export interface Entry<K = any, V = any> {
  /** The block that put it. */
  seq: number
  /** As the key encoding makes it. */
  key: K
  /** As the value encoding makes it. */
  value: V
}

/** What happens beside the loading of blocks. */
export interface Hooks {
  /** A block has to come from a peer. */
  onwait? (seq: number): void
  /** A block came: there may be something else to wait for. */
  onload? (): Promise<void> | null
}

/** Bytes of a key and its value that are copied to be beside each other. */
const MAX_COPY = 4096

/** Decoded blocks, shared by every view of a core. */
export class Blocks {
  readonly core: Hypercore
  #cache: BeeCacheHandle | null = null
  #fork = 0

  constructor (core: Hypercore) {
    this.core = core
  }

  /** The cache for what a session shows; one of its own for a history that is over. */
  of (session: Hypercore): BeeCacheHandle {
    const { fork } = session
    this.#cache ??= look((engine) => new engine.BeeCache())
    if (fork === this.#fork) return this.#cache
    if (fork !== this.core.fork) return look((engine) => new engine.BeeCache())
    this.#fork = fork
    this.#cache.clear()
    return this.#cache
  }

  truncate (length: number): void {
    this.#cache?.truncate(length)
    this.#fork = this.core.fork
  }

  clear (): void {
    this.#cache?.clear()
  }
}

/** What is in the cache, for programs that look: a key, or a whole node, by its block; null when it is not there. */
export class CacheView<T> {
  readonly #blocks: Blocks
  readonly #pick: (entry: RawEntry) => T

  constructor (blocks: Blocks, pick: (entry: RawEntry) => T) {
    this.#blocks = blocks
    this.#pick = pick
  }

  get (seq: number): T | null {
    const cache = this.#blocks.of(this.#blocks.core)
    const found = look((engine) => new engine.BeeWalk(cache, seq + 1).getBySeq(seq)) as RawEntry | null | undefined | false
    return found ? this.#pick(found) : null
  }
}

/** Takes a step of a walk until it ends, and gives it the blocks that it stops for. */
export async function take<T> (walk: WalkHandle, session: Hypercore, options: ReadOptions, step: () => T | undefined | false, hooks: Hooks = {}): Promise<T> {
  const loading = new Map<number, Promise<void>>()
  for (;;) {
    const value = attempt(session, step)
    if (value === false) {
      await new Promise((resolve) => setTimeout(resolve))
    } else if (value !== undefined) {
      walk.clear()
      return value as T
    } else {
      await load(walk, session, options, hooks, loading)
    }
  }
}

/** As {@link take}, with what is stored here alone; null when that is not enough. */
export async function takeLocal<T> (walk: BeeWalkHandle, session: Hypercore, step: () => T | undefined | false): Promise<T | null> {
  for (;;) {
    const value = attempt(session, step)
    if (value === false) {
      await new Promise((resolve) => setTimeout(resolve))
    } else if (value !== undefined) {
      return value as T
    } else {
      const seqs = walk.needed()
      const found = await Promise.all([...seqs].map((seq) => giveLocal(walk, session, seq)))
      await Promise.all([...walk.ahead()].map((seq) => giveLocal(walk, session, seq)))
      if (!found.some((isFound) => isFound)) return null
    }
  }
}

/** Makes an entry of what the engine found. */
export function finalEntry ([seq, key, value]: RawEntry, encoding: Encoding): Entry {
  const [keyOf, valueOf] = isKept(encoding.key) ? together(key, value) : [userBytes(key), value && userBytes(value)]
  return entryOf(seq, keyOf, valueOf, encoding)
}

/** Entries that the engine found at once; each is decoded when it is taken. */
export class FoundEntries {
  readonly #numbers: Float64Array
  readonly #bytes: Uint8Array
  #next = 0
  #at = 0

  constructor ([numbers, bytes]: RawEntries) {
    this.#numbers = numbers
    this.#bytes = userBytes(bytes)
  }

  /** The next one; null when there are no more. */
  take (encoding: Encoding): Entry | null {
    const numbers = this.#numbers
    const seq = numbers[this.#next]
    if (seq === undefined) return null
    const key = this.#cut(numbers[this.#next + 1]!)
    const length = numbers[this.#next + 2]!
    this.#next += 3
    const value = length < 0 ? null : this.#cut(length)
    // What is kept of an entry keeps no other.
    const [keyOf, valueOf] = isKept(encoding.key) || isKept(encoding.value) ? together(key, value, Infinity) : [key, value]
    return entryOf(seq, keyOf, valueOf, encoding)
  }

  #cut (length: number): Uint8Array {
    return this.#bytes.subarray(this.#at, this.#at += length)
  }
}

function entryOf (seq: number, key: Uint8Array, value: Uint8Array | null, encoding: Encoding): Entry {
  return {
    seq,
    key: encoding.key ? encoding.key.decode(key) : key,
    value: value && (encoding.value ? encoding.value.decode(value) : value)
  }
}

/** What upstream keeps in memory of one block: a key and a value that have it to themselves. */
export function together (key: Uint8Array, value: Uint8Array | null, most = MAX_COPY): [key: Uint8Array, value: Uint8Array | null] {
  const length = key.byteLength
  if (length + (value?.byteLength ?? 0) > most) return [userBytes(key), value && userBytes(value)]
  const both = userBytes(new Uint8Array(length + (value?.byteLength ?? 0)))
  both.set(key)
  if (value !== null) both.set(value, length)
  return [both.subarray(0, length), value && both.subarray(length)]
}

// Whether a program gets the bytes themselves.
function isKept (encoding: BeeCodec | null): boolean {
  return encoding === null || encoding.name === 'binary'
}

async function load (walk: WalkHandle, session: Hypercore, options: ReadOptions, hooks: Hooks, loading: Map<number, Promise<void>>): Promise<void> {
  const needed = [...walk.needed()]
  const ahead = [...walk.ahead?.() ?? []]
  for (const seq of needed) {
    if (!loading.has(seq)) start(seq, fetchBlock(walk, session, seq, options, hooks))
  }
  // Taken now: what fails before the rest is looked up has failed all the same.
  const waiting = needed.map((seq) => loading.get(seq)!)
  const fresh = ahead.filter((seq) => !loading.has(seq))
  if (fresh.length > 0) await loadAhead(walk, session, options, fresh)
  // One at a time: a peer may lack what another read would do without.
  await Promise.race(waiting)
  const wait = hooks.onload?.()
  if (wait) await wait

  function start (seq: number, work: Promise<void>): void {
    const entry = work.finally(() => { loading.delete(seq) })
    entry.catch(() => {})
    loading.set(seq, entry)
  }
}

async function fetchBlock (walk: WalkHandle, session: Hypercore, seq: number, options: ReadOptions, hooks: Hooks): Promise<void> {
  const block = await session.get(seq, {
    ...options,
    valueEncoding: raw,
    onwait: (index: number, session: Hypercore) => {
      if (hooks.onwait) hooks.onwait(index)
      else options.onwait?.(index, session)
    }
  }) as Uint8Array | null
  if (block === null) throw HypercoreError.BLOCK_NOT_AVAILABLE()
  walk.give(seq, block)
}

// What is here is given at once, the rest comes by itself.
async function loadAhead (walk: WalkHandle, session: Hypercore, options: ReadOptions, seqs: number[]): Promise<void> {
  const found = await Promise.all(seqs.map((seq) => giveLocal(walk, session, seq)))
  const blocks = seqs.filter((seq, i) => !found[i] && seq < session.length)
  if (blocks.length > 0 && options.wait !== false && !session.closing) session.download({ blocks })
}

async function giveLocal (walk: WalkHandle, session: Hypercore, seq: number): Promise<boolean> {
  try {
    const block = await session.get(seq, { wait: false, valueEncoding: raw }) as Uint8Array | null
    if (block === null) return false
    walk.give(seq, block)
    return true
  } catch {
    return false
  }
}

/** Takes a step, whose failure says that a block is none of a bee. */
export function attempt<T> (session: Hypercore, step: () => T): T {
  try {
    return step()
  } catch (error) {
    if (error instanceof WebAssembly.RuntimeError || error instanceof TypeError) throw error
    throw HypercoreError.DECODING_ERROR((error as Error).message, session.discoveryKey)
  }
}
