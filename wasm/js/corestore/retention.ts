// What stays of other people's cores when room is limited: what is pinned, and what was used last.

import type { Core } from '../hypercore/core.js'
import { Hypercore } from '../hypercore/hypercore.js'
import { fromUtf8, toUtf8 } from '../support/bytes.js'
import { decodeId } from '../support/id.js'
import type { Corestore } from './corestore.js'

/** What a retention keeps to. */
export interface RetentionOptions {
  /** Bytes of blocks that can be fetched again, of all cores together; blocks beyond are dropped. */
  limit: number
}

/** A core whose blocks can be fetched again. */
export interface Retained {
  /** Of the core, 32 bytes. */
  key: Uint8Array
  /** About how many bytes of its blocks are here. */
  bytes: number
  /** Whether nothing of it is dropped. */
  pinned: boolean
  /** When it was used last, in milliseconds of Unix time; 0 for never since there is a retention. */
  used: number
}

/** Where it is kept with a core. */
const PINNED = 'hypertab/pinned'
const USED = 'hypertab/used'

/** Bytes that come before it is looked whether there are too many. */
const LOOK_EVERY = 16 << 20

/** Milliseconds between two notes that a core is in use. */
const NOTE_EVERY = 10_000

/**
 * Keeps the blocks of a store's cores within a limit. Those that can be fetched again are dropped, of whole cores, the one that
 * was used longest ago first; never those of cores that are written here, nor of pinned ones.
 */
export class Retention {
  /** Whose cores are kept within the limit. */
  readonly store: Corestore
  /** Bytes; may be changed at any time. */
  limit: number
  #noted = new WeakMap<Core, number>()
  #come = 0
  #evicting: Promise<number> | null = null
  #watched = new Map<Core, Hypercore>()
  #closed = false

  constructor (store: Corestore, { limit }: RetentionOptions = { limit: NaN }) {
    if (!(limit >= 0)) throw new RangeError('the limit is a number of bytes')
    this.store = store
    this.limit = limit
    store.watch(this.#watch)
  }

  /** Keeps what is here of a core, and what will be. */
  async pin (key: Uint8Array | string): Promise<void> {
    await this.#with(key, (core) => core.setUserData(PINNED, fromUtf8('1')))
  }

  /** Lets a core be dropped again. */
  async unpin (key: Uint8Array | string): Promise<void> {
    await this.#with(key, (core) => core.setUserData(PINNED, null))
  }

  /** Resolves to whether a core was pinned. */
  async isPinned (key: Uint8Array | string): Promise<boolean> {
    return await this.#with(key, (core) => core.getUserData(PINNED)) !== null
  }

  /** What can be fetched again, the one that was used longest ago first. */
  async list (): Promise<Retained[]> {
    await this.store.ready()
    const found: Retained[] = []
    for await (const discoveryKey of this.store.list()) {
      const auth = await this.store.getAuth(discoveryKey)
      if (!auth || auth.keyPair?.secretKey) continue
      found.push(await this.#with(auth.key, async (core) => {
        const [pinned, used] = [await core.getUserData(PINNED), await core.getUserData(USED)]
        return { key: auth.key, bytes: bytesHere(core), pinned: pinned !== null, used: used ? Number(toUtf8(used)) : 0 }
      }))
    }
    return found.sort((a, b) => a.used - b.used)
  }

  /** Drops blocks until the limit is kept, and resolves to about how many bytes that were. */
  async evict (): Promise<number> {
    this.#evicting ??= this.#evict().finally(() => { this.#evicting = null })
    return await this.#evicting
  }

  /** Watches the store no longer. */
  async close (): Promise<void> {
    this.#closed = true
    this.store.unwatch(this.#watch)
    const sessions = [...this.#watched.values()]
    this.#watched.clear()
    await Promise.all(sessions.map((session) => session.close()))
    await this.#evicting?.catch(() => {})
  }

  async #evict (): Promise<number> {
    const cores = await this.list()
    let over = cores.reduce((sum, { bytes }) => sum + bytes, 0) - this.limit
    let freed = 0
    for (const { key, bytes, pinned } of cores) {
      if (over <= 0) break
      if (pinned || bytes === 0) continue
      await this.#with(key, (core) => core.clear(0, core.length))
      over -= bytes
      freed += bytes
    }
    return freed
  }

  readonly #watch = (core: Core): void => {
    // A session that keeps nothing open.
    void core.ready().then(() => {
      if (this.#closed || core.keyPair?.secretKey || this.#watched.has(core)) return
      const session = new Hypercore(null, null, { core, weak: true, active: false })
      this.#watched.set(core, session)
      session.on('download', (_index, byteLength) => { this.#used(core, byteLength) })
      session.on('close', () => { this.#watched.delete(core) })
      this.#used(core, 0)
    }, () => {})
  }

  #used (core: Core, bytes: number): void {
    this.#come += bytes
    if (this.#come >= LOOK_EVERY) {
      this.#come = 0
      this.evict().catch(() => {})
    }
    const now = Date.now()
    if (now - (this.#noted.get(core) ?? 0) < NOTE_EVERY) return
    this.#noted.set(core, now)
    if (!core.closed && core.closing === null) core.state.setUserData(USED, String(now)).catch(() => {})
  }

  async #with<T> (key: Uint8Array | string, use: (core: Hypercore) => Promise<T>): Promise<T> {
    const core = this.store.get({ key: decodeId(key), active: false })
    await core.ready()
    try {
      return await use(core)
    } finally {
      await core.close()
    }
  }
}

/** About how many bytes of a core's blocks are here: blocks are taken to be equally large. */
function bytesHere (core: Hypercore): number {
  if (core.length === 0) return 0
  const blocks = core.core!.bitfield.count(0, core.length, true)
  return Math.round(core.byteLength / core.length * blocks)
}

