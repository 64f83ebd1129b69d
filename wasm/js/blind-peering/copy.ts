// A copy that a blind peer is to keep: asked for, followed until it is whole, and asked for again before it is dropped.

import { HypertabError } from '../errors.js'
import type { Hypercore } from '../hypercore/hypercore.js'
import { fixed32 } from '../support/compact.js'
import { EventEmitter } from '../support/emitter.js'
import { read, type BlindPeer } from './blind-peer.js'
import { addCore, copyRecord, coreRecord } from './messages.js'

/** A core, or something that is in cores: a table, a drive, or several of them. */
export type Keepable = Hypercore | { readonly core: Hypercore } | { readonly core: Hypercore, getBlobs (): Promise<{ core: Hypercore } | null> } | Keepable[]

/** Where and how a copy is kept. */
export interface KeepOptions {
  /** The blind peer; the first one that is known without it. */
  key?: string | Uint8Array
  /** Whether the copy is to be found on the DHT; true without it. */
  announce?: boolean
  /** How much it matters, for blind peers that look at it; 1 by default. */
  priority?: number
  /** Ends the watch over it, as {@link Copy.close} does. */
  signal?: AbortSignal
}

/**
 * - `asking`: the mirror has not answered yet; `error` says why, if something is in the way
 * - `copying`: it has a part
 * - `kept`: it has everything
 * - `stopped`: it has a part and takes no more; `error` says why
 * - `refused`: it keeps nothing; `error` says why
 * - `closed`: nobody watches any more, and the copy is where it was
 */
export type CopyState = 'asking' | 'copying' | 'kept' | 'stopped' | 'refused' | 'closed'

/** How a copy is doing. */
export interface CopyStatus {
  /** See the states. */
  state: CopyState
  /** Blocks of all cores, as they are here. */
  length: number
  /** Blocks among them that the mirror has. */
  held: number
  /** What the copy counts for, in bytes; null where the mirror does not tell. */
  bytes: number | null
  /** When it is dropped unless it is asked for again; null where the mirror does not tell. */
  until: Date | null
  /** Whether it is to be found on the DHT. */
  announced: boolean
  /** What is in the way; null for nothing. */
  error: HypertabError | null
}

/** What a copy tells. */
export type CopyEvents = {
  /** Its status has changed. */
  update: [status: CopyStatus]
}

/** How often a copy that grows is looked at, in milliseconds, and one that was refused or stopped. */
const LOOK = 1000
const TRY_AGAIN = 60_000

/** How often a copy is asked for again whose mirror does not say until when it keeps it. */
const DAY = 86_400_000

interface Part {
  length: number
  held: number
  bytes: number | null
  until: number | null
  announced: boolean
  stopped: string
}

/** A copy at one blind peer. */
export class Copy extends EventEmitter<CopyEvents> {
  /** How it is doing. */
  status: CopyStatus = { state: 'asking', length: 0, held: 0, bytes: null, until: null, announced: false, error: null }
  #peer: BlindPeer
  #announce: boolean
  #priority: number
  #cores: Hypercore[] = []
  #streams = new WeakSet<object>()
  /** The connection on which each core was asked for last. */
  #asked = new WeakMap<Hypercore, object>()
  #stop: (() => void) | null = null
  #onclose: () => void
  #wake: (() => void) | null = null
  #woken = false
  #closed = false
  #appended = () => { this.wake() }
  #aborted = () => { this.close() }
  #signal: AbortSignal | undefined
  #opening: Promise<void>

  /** @internal */
  constructor (peer: BlindPeer, what: Keepable, options: KeepOptions, onclose: () => void) {
    super()
    this.#peer = peer
    this.#announce = options.announce ?? true
    this.#priority = options.priority ?? 1
    this.#onclose = onclose
    this.#signal = options.signal
    this.#signal?.addEventListener('abort', this.#aborted)
    this.#opening = this.#open(what)
    this.#opening.then(() => this.#watch(), (cause) => {
      this.#say({ state: 'refused', error: new HypertabError('MIRROR_NOTHING', (cause as Error).message, { cause }) })
    })
    if (options.signal?.aborted) this.close()
  }

  /** The public key of the blind peer. */
  get mirror (): Uint8Array {
    return this.#peer.remotePublicKey
  }

  /** Resolves once the mirror has everything that is here now; rejects when it takes no more, or the copy is closed. */
  done (): Promise<CopyStatus> {
    return new Promise((resolve, reject) => {
      const look = () => {
        const { state, error } = this.status
        if (state === 'asking' || state === 'copying') return false
        if (state === 'kept') resolve(this.status)
        else reject(error ?? new HypertabError('CLOSED', 'the copy is not watched any more'))
        return true
      }
      if (look()) return
      const listener = () => { if (look()) this.off('update', listener) }
      this.on('update', listener)
    })
  }

  /** Takes back that it was asked for: the mirror drops it, unless others want it too. Resolves to whether there was one. */
  async remove (): Promise<boolean> {
    await this.#opening
    const stop = this.#peer.use()
    try {
      await this.#peer.connecting
      let found = false
      for (const core of this.#cores) {
        const [answer] = await this.#peer.request('delete-core', fixed32, core.key!)
        found ||= answer === 1
      }
      return found
    } finally {
      stop()
      this.close()
    }
  }

  /** Stops to watch over it. The copy stays where it is, until its time is over. */
  close (): void {
    if (this.#closed) return
    this.#closed = true
    this.#signal?.removeEventListener('abort', this.#aborted)
    for (const core of this.#cores) core.off('append', this.#appended)
    this.#release()
    this.#onclose()
    this.#say({ state: 'closed', error: null })
    this.wake()
  }

  /** @internal Looks at once. */
  wake (): void {
    this.#woken = true
    this.#wake?.()
  }

  /** @internal Replicates its cores, which need not be in a store. */
  replicate (stream: any): void {
    if (this.#streams.has(stream)) return
    this.#streams.add(stream)
    for (const core of this.#cores) core.replicate(stream)
  }

  async #open (what: Keepable): Promise<void> {
    this.#cores = await coresOf(what)
    if (this.#closed) return
    for (const core of this.#cores) core.on('append', this.#appended)
    this.#stop = this.#peer.use()
    if (this.#peer.stream) this.replicate(this.#peer.stream)
  }

  #release (): void {
    this.#stop?.()
    this.#stop = null
  }

  async #watch (): Promise<void> {
    while (!this.#closed) {
      this.#woken = false
      const pause = await this.#look()
      await this.#sleep(pause)
    }
  }

  /** Asks, and returns when to do so again. */
  async #look (): Promise<number> {
    this.#stop ??= this.#peer.use()
    if (!this.#peer.connected) {
      const { error } = this.#peer
      const missing = error && new HypertabError('MIRROR_UNREACHABLE', error.message, { cause: error })
      this.#say({ ...(this.status.state === 'kept' ? {} : { state: 'asking' as const }), error: missing })
      // Whoever connects wakes this up.
      return TRY_AGAIN
    }
    try {
      if (this.#peer.stream) this.replicate(this.#peer.stream)
      const parts = []
      for (const core of this.#cores) parts.push(await this.#ask(core))
      return this.#judge(parts)
    } catch (error) {
      const { code } = error as HypertabError
      if (this.#closed) return 0
      const isLost = ['MIRROR_UNREACHABLE', 'REQUEST_TIMEOUT', 'CHANNEL_CLOSED'].includes(code)
      this.#say({ state: isLost ? 'asking' : 'refused', error: error as HypertabError })
      if (!isLost) this.#release()
      return isLost ? LOOK : TRY_AGAIN
    }
  }

  async #ask (core: Hypercore): Promise<Part> {
    const key = core.key!
    const add = async () => read(coreRecord, await this.#peer.request('add-core', addCore, { key, announce: this.#announce, priority: this.#priority }))
    // Once on each connection: that renews it, too.
    const stream = this.#peer.stream as object
    const isAsked = this.#asked.get(core) === stream
    let record = isAsked ? null : await add()
    this.#asked.set(core, stream)
    try {
      const { flags, held, bytes, until, stopped } = read(copyRecord, await this.#peer.request('hypertab/copy', fixed32, key))
      return { length: core.length, held: Math.min(held, core.length), bytes, until, announced: (flags & 2) !== 0, stopped }
    } catch (error) {
      if ((error as HypertabError).code !== 'UNKNOWN_METHOD') throw error
      // Upstream's say no more than this; what they have they tell as any peer does.
      const held = Math.min(core.length, core.remoteContiguousLength)
      record ??= await add()
      return { length: core.length, held, bytes: record.bytesAllocated, until: null, announced: false, stopped: '' }
    }
  }

  #judge (parts: Part[]): number {
    const sum = (of: (part: Part) => number) => parts.reduce((total, part) => total + of(part), 0)
    const length = sum((part) => part.length)
    const held = sum((part) => part.held)
    const { stopped } = parts.find(({ stopped }) => stopped !== '') ?? { stopped: '' }
    const ends = parts.flatMap(({ until }) => until === null ? [] : [until])
    const until = ends.length > 0 ? Math.min(...ends) : null
    const isKept = held === length
    this.#say({
      state: isKept ? 'kept' : stopped === '' ? 'copying' : 'stopped',
      length,
      held,
      bytes: parts.every(({ bytes }) => bytes !== null) ? sum(({ bytes }) => bytes!) : null,
      until: until === null ? null : new Date(until),
      announced: parts.every(({ announced }) => announced),
      error: isKept || stopped === '' ? null : new HypertabError(stopped, words(stopped))
    })
    if (!isKept) return stopped === '' ? LOOK : TRY_AGAIN
    // Nothing to do until something is written, or half of the time is over.
    this.#release()
    return until === null ? DAY : Math.max(TRY_AGAIN, Math.min(DAY, (until - Date.now()) / 2))
  }

  #sleep (pause: number): Promise<void> {
    if (this.#woken || this.#closed) return new Promise((resolve) => setTimeout(resolve, 0))
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer)
        this.#wake = null
        resolve()
      }
      const timer = setTimeout(done, pause)
      this.#wake = done
    })
  }

  #say (change: Partial<CopyStatus>): void {
    const before = this.status
    if (before.state === 'closed') return
    this.status = { ...before, ...change }
    const isSame = Object.entries(this.status).every(([name, value]) => String(value) === String(before[name as keyof CopyStatus]))
    if (!isSame) this.emit('update', this.status)
  }
}

async function coresOf (what: Keepable): Promise<Hypercore[]> {
  if (Array.isArray(what)) return (await Promise.all(what.map(coresOf))).flat()
  if ('append' in what && typeof what.append === 'function') {
    await (what as Hypercore).ready()
    return [what as Hypercore]
  }
  await (what as { ready? (): Promise<void> }).ready?.()
  const cores = [what.core]
  if ('getBlobs' in what) {
    const blobs = await what.getBlobs()
    if (blobs) cores.push(blobs.core)
  }
  await Promise.all(cores.map((core) => core!.ready()))
  return cores as Hypercore[]
}

function words (code: string): string {
  switch (code) {
    case 'MIRROR_FULL': return 'the mirror is full'
    case 'MIRROR_CLIENT_FULL': return 'this client has as many copies there as one may have'
    case 'MIRROR_TOO_LARGE': return 'it is larger than the mirror keeps'
    default: return 'the mirror takes no more of it'
  }
}
