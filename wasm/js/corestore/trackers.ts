// What the sessions of one store share: its open cores, and the streams that they replicate on; and which sessions a
// store has made.

import type { Duplex } from 'streamx'

import { unrefTimer } from '../platform.js'
import { isBytes, toHex } from '../support/bytes.js'
import type { Core } from '../hypercore/core.js'
import type { Hypercore } from '../hypercore/hypercore.js'
import { Mux } from '../links/mux.js'

/** How often cores are looked at that nobody uses, and how often that has to be so before they are closed. */
const COLLECT_INTERVAL = 2000
const STRIKES = 4

/** Whoever wants to know of cores as they open. */
export interface CoreWatcher {
  readonly watchers: Set<(core: Core) => unknown> | null
  /** Its place among those that watch; -1 when it does not. */
  watchIndex: number
}

/** The open cores, by their discovery keys in hexadecimal. There is one for each. */
export class CoreTracker {
  readonly map = new Map<string, Core>()
  readonly watching: CoreWatcher[] = []
  readonly #idle = new Set<Core>()
  #timer: ReturnType<typeof setInterval> | null = null

  get size (): number {
    return this.map.size
  }

  watch (watcher: CoreWatcher): void {
    if (watcher.watchIndex === -1) watcher.watchIndex = this.watching.push(watcher) - 1
  }

  unwatch (watcher: CoreWatcher): void {
    if (watcher.watchIndex === -1) return
    const last = this.watching.pop()!
    if (last !== watcher) {
      last.watchIndex = watcher.watchIndex
      this.watching[last.watchIndex] = last
    }
    watcher.watchIndex = -1
  }

  /** A core that is to be used again; also one that is closing, which has to be waited for. */
  resume (id: string): Core | null {
    const core = this.map.get(id)
    if (!core) return null
    if (core.closing === null) this.#spare(core)
    return core
  }

  opened (id: string): boolean {
    const core = this.map.get(id)
    return !!core && core.opened && core.closing === null
  }

  get (id: string | Uint8Array): Core | null {
    const core = this.map.get(isBytes(id) ? toHex(id) : id)
    return core && core.closing === null ? core : null
  }

  set (id: string, core: Core): void {
    this.map.set(id, core)
    for (const watcher of [...this.watching].reverse()) {
      for (const watch of watcher.watchers ?? []) watch(core)
    }
  }

  /** Closes a core after a while, unless somebody uses it before. */
  gc (core: Core): void {
    core.gc = 1
    this.#idle.add(core)
    this.#timer ??= setInterval(() => { this.#collect() }, COLLECT_INTERVAL)
    unrefTimer(this.#timer)
  }

  async close (): Promise<void> {
    this.#idle.clear()
    this.#stop()
    const cores = [...this.map.values()]
    this.map.clear()
    for (const core of cores) core.onidle = () => {}
    await Promise.all(cores.map((core) => core.close()))
  }

  * [Symbol.iterator] (): Iterator<Core> {
    for (const core of this.map.values()) if (core.closing === null) yield core
  }

  #collect (): void {
    for (const core of this.#idle) {
      // A peer may have come, or a session that was made from the core itself.
      if (core.opened && !core.isIdle()) this.#spare(core)
      else if (++core.gc >= STRIKES) this.#drop(core)
    }
    if (this.#idle.size === 0) this.#stop()
  }

  #drop (core: Core): void {
    this.#idle.delete(core)
    const forget = () => {
      const id = toHex(core.discoveryKey!)
      if (this.map.get(id) === core) this.map.delete(id)
    }
    core.close().then(forget, forget)
  }

  #spare (core: Core): void {
    core.gc = 0
    if (this.#idle.delete(core) && this.#idle.size === 0) this.#stop()
  }

  #stop (): void {
    if (this.#timer !== null) clearInterval(this.#timer)
    this.#timer = null
  }
}

/** The sessions that one store has made, by core. */
export class SessionTracker {
  readonly map = new Map<string, Hypercore[]>()

  get size (): number {
    return this.map.size
  }

  /** The list that sessions of a core enter themselves into. */
  get (id: string): Hypercore[] {
    let sessions = this.map.get(id)
    if (!sessions) this.map.set(id, sessions = [])
    return sessions
  }

  gc (id: string): void {
    this.map.delete(id)
  }

  list (id?: string): Hypercore[] {
    return id ? this.map.get(id) ?? [] : [...this]
  }

  * [Symbol.iterator] (): Iterator<Hypercore> {
    for (const sessions of this.map.values()) yield * sessions
  }
}

/** A stream that cores replicate on. */
export interface StreamRecord {
  readonly stream: Duplex
  /** It was given by the program, and is the program's to end. */
  readonly isExternal: boolean
}

/** The streams of a store: each core that is wanted replicates on all of them. */
export class StreamTracker {
  readonly #records = new Set<StreamRecord>()

  get records (): StreamRecord[] {
    return [...this.#records]
  }

  add (stream: Duplex, isExternal: boolean): StreamRecord {
    const record = { stream, isExternal }
    this.#records.add(record)
    return record
  }

  remove (record: StreamRecord): void {
    this.#records.delete(record)
  }

  attachAll (core: Core): void {
    for (const { stream } of this.#records) {
      const mux = Mux.from(stream)
      if (!core.replicator.attached(mux)) core.replicator.attachTo(mux)
    }
  }

  destroy (): void {
    for (const { stream, isExternal } of this.records) if (!isExternal) stream.destroy()
  }
}
