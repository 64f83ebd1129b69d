// The connection to a relay, kept up: the same relay once more when the connection broke and the relay holds what ran over
// it; else the next of the list, and again, with pauses that grow once all of them have failed.

import type { Failure, RelayHandle } from '../binding.js'
import { HypertabError } from '../errors.js'
import { openSocket, unrefTimer } from '../platform.js'
import { homeOfEverything } from '../remote/router.js'
import { call, listen, ready, unlisten } from '../runtime.js'
import { isMessageStream, type MessageStream, StreamSocket } from './stream-socket.js'

/** First and longest pause between two attempts, in milliseconds. */
const FIRST_PAUSE = 100
const LONGEST_PAUSE = 16_000

/** How long something may wait for the relay, in milliseconds. */
const PATIENCE = 20_000

/** How long a relay may take to answer before the next is tried, in milliseconds. */
const OPENING = 10_000

/** Longest pause between two attempts to come back to a relay, and how long one may take, in milliseconds. */
const LONGEST_RETURN = 1600
const RETURNING = 3000

/** Attempts to come back before another relay of the list is better than this one. */
const RETURNS = 5

/** How long a relay may take to answer once the network has changed, in milliseconds. */
const PROOF = 2000

export interface RelayEvents {
  /** An attempt begins. */
  connecting (url: string): void
  open (url: string): void
  /** The connection broke, and the relay holds what ran over it for `grace` milliseconds. */
  interrupted (url: string, error: Error, grace: number): void
  resumed (url: string): void
  /** It is gone, or was never there; `retry` is in how many milliseconds the next attempt begins. */
  close (url: string, error: Error, retry: number): void
}

/** Holds one relay open. */
export class RelayClient {
  /** None where a stream of the program's is the connection. */
  readonly urls: string[]
  /** Where the DHT sees the relay that was used last, or where that listens; null before one has said so. */
  address: { host: string, port: number } | null = null
  /** The tokens of the addresses that have one, which events and errors do not show. */
  #tokens: Array<string | null>
  #events
  #keyPair: () => Promise<{ publicKey: Uint8Array, secretKey: Uint8Array }>
  #handle: RelayHandle | null = null
  /** The place in the list of the one in use, or that is tried next. */
  #index = 0
  /** Attempts since one was open. */
  #failures = 0
  #pause: ReturnType<typeof setTimeout> | undefined
  #opened: ReturnType<typeof setTimeout> | undefined
  #running = false
  /** How often it was started: an attempt that began before the last time is over. */
  #starts = 0
  #waiting = new Set<{ resolve: (relay: RelayHandle) => void, reject: (error: Error) => void }>()
  #opening: RelayHandle | null = null
  /** Who waits for a sign of life. */
  #pings = new Set<(elapsed: number | null) => void>()
  /** Who waits for it as long as the connection is there. */
  #asking = new Set<() => void>()
  #lastError: Error | null = null
  /** Why the connection broke that is being made again. */
  #interruption: Error | null = null
  /** Attempts to do so. */
  #returns = 0
  readonly #stream: MessageStream | null
  #ononline = (): void => { this.#online() }

  constructor (source: string[] | MessageStream, keyPair: () => Promise<{ publicKey: Uint8Array, secretKey: Uint8Array }>, events: RelayEvents, token?: string) {
    this.#stream = isMessageStream(source) ? source : null
    const relays = isMessageStream(source) ? [] : source.map((url) => checkUrl(url, token))
    this.urls = relays.map(({ url }) => url)
    this.#tokens = relays.map(({ token }) => token)
    this.#keyPair = keyPair
    this.#events = events
  }

  /** The engine's handle while the relay is connected. */
  get handle (): RelayHandle | null {
    return this.#handle
  }

  /** Whether the connection broke and is being made again. What is asked of the relay meanwhile waits. */
  get interrupted (): boolean {
    return this.#interruption !== null
  }

  /** The address of the relay while it is connected. */
  get url (): string | null {
    return this.#handle === null ? null : this.urls[this.#index] ?? null
  }

  /** How long an answer of the relay takes at the moment, in milliseconds; null without an answer, or a relay. */
  async roundTrip (patience = OPENING): Promise<number | null> {
    const relay = this.#handle
    if (relay === null) return null
    return await new Promise((resolve) => {
      const done = (elapsed: number | null) => {
        clearTimeout(timer)
        this.#pings.delete(done)
        resolve(elapsed)
      }
      const timer = setTimeout(() => { done(null) }, patience)
      unrefTimer(timer)
      this.#pings.add(done)
      call((engine) => { engine.relayPing(relay) })
    })
  }

  start (): void {
    if (this.#running) return
    this.#running = true
    this.#starts++
    network.addEventListener?.('online', this.#ononline)
    void this.#connect()
  }

  /** A node of the DHT has said where it sees the relay. */
  seen (address: { host: string, port: number }): void {
    if (this.address === null || this.address.host === ANY_HOST) this.address = address
  }

  /** Disconnects for good, or until {@link start}. */
  stop (error: Error = new HypertabError('RELAY_CLOSED', 'the relay was closed here')): void {
    this.#running = false
    network.removeEventListener?.('online', this.#ononline)
    clearTimeout(this.#pause)
    this.#letGo()
    this.#rejectWaiting(error)
  }

  /** Waits for what is asked of the relay, unless the connection breaks: what it is to forget it hears later, or forgets by itself. */
  async told (asked: Promise<unknown>): Promise<void> {
    let broke!: () => void
    const broken = new Promise<void>((resolve) => { broke = resolve })
    if (this.interrupted) broke()
    this.#asking.add(broke)
    try {
      await Promise.race([asked, broken])
    } finally {
      this.#asking.delete(broke)
    }
  }

  /** Resolves with the relay once it is connected. */
  async connected (patience = PATIENCE): Promise<RelayHandle> {
    if (this.#handle !== null) return this.#handle
    if (!this.#running) throw new HypertabError('RELAY_CLOSED', 'the relay was closed here')
    return await new Promise((resolve, reject) => {
      const waiter = {
        resolve: (relay: RelayHandle) => { clearTimeout(timer); resolve(relay) },
        reject: (error: Error) => { clearTimeout(timer); reject(error) }
      }
      const timer = setTimeout(() => {
        this.#waiting.delete(waiter)
        const cause = this.#lastError
        reject(new HypertabError('RELAY_NOT_CONNECTED', cause?.message ?? `no relay answered within ${patience} ms`, { cause }))
      }, patience)
      this.#waiting.add(waiter)
    })
  }

  async #connect (): Promise<void> {
    const url = this.urls[this.#index] ?? THE_STREAM
    const token = this.#tokens[this.#index] ?? null
    const start = this.#starts
    const isOver = (): boolean => !this.#running || start !== this.#starts
    try {
      await ready()
      const { publicKey, secretKey } = await this.#keyPair()
      if (isOver()) return
      this.#events.connecting(url)
      const relay = call((engine) => {
        if (!engine.openRelay) throw new HypertabError('NOT_SUPPORTED', 'this engine has no relay client')
        return engine.openRelay(this.#stream ? socketOver(this.#stream) : socketTo(url, token), publicKey, secretKey)
      })
      this.#opening = relay
      this.#opened = setTimeout(() => {
        this.#letGo()
        this.#failed(url, new HypertabError('RELAY_NOT_CONNECTED', `${url}: no answer within ${OPENING} ms`))
      }, OPENING)
      listen('relay', relay, (kind, rest) => { this.#handleEvent(url, relay, kind, rest[0], rest[1]) })
    } catch (error) {
      if (!isOver()) this.#failed(url, error as Error)
    }
  }

  #handleEvent (url: string, relay: RelayHandle, kind: string, rest: unknown, more: unknown): void {
    if (kind === 'relay-opened') {
      clearTimeout(this.#opened)
      this.#opening = null
      this.#handle = relay
      this.address = rest as { host: string, port: number } | null
      this.#failures = 0
      for (const waiter of this.#waiting) waiter.resolve(relay)
      this.#waiting.clear()
      this.#events.open(url)
    } else if (kind === 'relay-round-trip') {
      for (const done of [...this.#pings]) done(rest as number)
    } else if (kind === 'relay-interrupted') {
      const error = new HypertabError('RELAY_INTERRUPTED', `${url}: ${(more as string | null) ?? 'the connection broke'}`)
      const isFirst = this.#interruption === null
      this.#interruption = error
      clearTimeout(this.#opened)
      if (isFirst) {
        this.#returns = 0
        for (const broke of this.#asking) broke()
        this.#events.interrupted(url, error, rest as number)
      }
      this.#return(relay)
    } else if (kind === 'relay-resumed') {
      this.#endInterruption()
      this.#events.resumed(url)
    } else if (kind === 'relay-closed') {
      const interruption = this.#interruption
      this.#endInterruption()
      for (const done of [...this.#pings]) done(null)
      clearTimeout(this.#opened)
      unlisten('relay', relay)
      this.#handle = null
      this.#opening = null
      const failure = rest as Failure | null
      const message = failure ? `${url}: ${failure.message}` : interruption?.message ?? `${url}: the relay closed the connection`
      this.#failed(url, new HypertabError(failure?.code ?? 'RELAY_CLOSED', message))
    }
  }

  /** Makes the connection to an interrupted relay again, soon. The engine knows how long that is of use. */
  #return (relay: RelayHandle): void {
    // Nothing can be reached before there is a network; the event comes with it.
    if (network.navigator?.onLine === false) return
    if (this.#returns >= RETURNS && this.urls.length > 1) {
      call((engine) => { engine.closeRelay(relay) })
      return
    }
    const longest = this.#returns === 0 ? 0 : Math.min(LONGEST_RETURN, FIRST_PAUSE * 2 ** (this.#returns - 1))
    this.#returns++
    clearTimeout(this.#pause)
    this.#pause = setTimeout(() => { this.#attempt(relay) }, longest * (0.5 + Math.random() / 2))
  }

  #attempt (relay: RelayHandle): void {
    if (!this.#running || (this.#handle ?? this.#opening) !== relay) return
    const url = this.urls[this.#index]!
    this.#events.connecting(url)
    clearTimeout(this.#opened)
    this.#opened = setTimeout(() => { call((engine) => { engine.interruptRelay(relay) }) }, RETURNING)
    call((engine) => { engine.resumeRelay(relay, socketTo(url, this.#tokens[this.#index] ?? null)) })
  }

  #endInterruption (): void {
    if (this.#interruption === null) return
    this.#interruption = null
    clearTimeout(this.#pause)
    clearTimeout(this.#opened)
  }

  /** There is a network again, or another one: the connection that there was may be dead without anybody's word. */
  #online (): void {
    const relay = this.#handle
    if (relay === null) return
    if (this.#interruption !== null) {
      this.#returns = 0
      this.#return(relay)
      return
    }
    void this.roundTrip(PROOF).then((elapsed) => {
      if (elapsed !== null || this.#handle !== relay || this.#interruption !== null) return
      call((engine) => { engine.interruptRelay(relay) })
    })
  }

  #failed (url: string, error: Error): void {
    if (!this.#running) return
    this.#lastError = error
    if (this.#stream) {
      this.stop(error)
      this.#events.close(url, error, Infinity)
      return
    }
    this.#index = (this.#index + 1) % this.urls.length
    const rounds = Math.floor(this.#failures++ / this.urls.length)
    const longest = Math.min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** Math.min(rounds, 10))
    const pause = Math.round(longest * (0.5 + Math.random() / 2))
    this.#events.close(url, error, pause)
    this.#pause = setTimeout(() => { void this.#connect() }, pause)
  }

  #letGo (): void {
    clearTimeout(this.#opened)
    this.#endInterruption()
    const relay = this.#handle ?? this.#opening
    this.#handle = null
    this.#opening = null
    for (const done of [...this.#pings]) done(null)
    if (relay === null) return
    unlisten('relay', relay)
    call((engine) => { engine.closeRelay(relay) })
  }

  #rejectWaiting (error: Error): void {
    for (const waiter of this.#waiting) waiter.reject(error)
    this.#waiting.clear()
  }
}

/** The events of the network, where there are any. */
const network = globalThis as {
  addEventListener?: (name: string, listener: () => void) => void
  removeEventListener?: (name: string, listener: () => void) => void
  navigator?: { onLine?: boolean }
}

/** Host of a relay that does not know yet where the DHT sees it. */
export const ANY_HOST = '0.0.0.0'

/** A stream of the program's as a socket. The engine has to be where the program is. */
function socketOver (stream: MessageStream): unknown {
  if (homeOfEverything()) throw new HypertabError('NOT_SUPPORTED', 'a stream cannot be handed to the worker that the engine is in: give the address of a relay')
  return new StreamSocket(stream)
}

/** What stands for the address of a relay at the end of a stream. */
const THE_STREAM = 'the stream'

/** A socket to a relay. Where there is a worker for it, the socket is there. */
function socketTo (url: string, token: string | null): unknown {
  const protocols = token === null ? undefined : ['hypertab-relay', `token.${token}`]
  return homeOfEverything() ? { url, protocols } : openSocket(url, protocols)
}

function checkUrl (url: string, token?: string): { url: string, token: string | null } {
  let parsed
  try {
    parsed = new URL(url)
  } catch {
    throw new HypertabError('BAD_RELAY', `${url} is no address of a relay; it looks like wss://relay.example.org`)
  }
  if (!['ws:', 'wss:'].includes(parsed.protocol)) throw new HypertabError('BAD_RELAY', `${url} must begin with ws:// or wss://`)
  const own = parsed.searchParams.get('token')
  parsed.searchParams.delete('token')
  const found = own ?? token ?? null
  if (found !== null && !/^[\w.~-]+$/.test(found)) throw new HypertabError('BAD_RELAY', 'a token of a relay has letters, digits and .-_~ only')
  return { url: parsed.href, token: found }
}
