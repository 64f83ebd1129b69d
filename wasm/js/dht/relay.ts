// The connection to a relay, kept up: the next of the list when one is lost, and again, with pauses that grow once all
// of them have failed.

import type { Failure, RelayHandle } from '../binding.js'
import { HypertabError } from '../errors.js'
import { openSocket, unrefTimer } from '../platform.js'
import { homeOfEverything } from '../remote/router.js'
import { call, listen, ready, unlisten } from '../runtime.js'

/** First and longest pause between two attempts, in milliseconds. */
const FIRST_PAUSE = 100
const LONGEST_PAUSE = 16_000

/** How long something may wait for the relay, in milliseconds. */
const PATIENCE = 20_000

/** How long a relay may take to answer before the next is tried, in milliseconds. */
const OPENING = 10_000

export interface RelayEvents {
  /** An attempt begins. */
  connecting (url: string): void
  open (url: string): void
  /** It is gone, or was never there; `retry` is in how many milliseconds the next attempt begins. */
  close (url: string, error: Error, retry: number): void
}

/** Holds one relay open. */
export class RelayClient {
  readonly urls: string[]
  /** Where the DHT sees the relay that was used last. */
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
  #waiting = new Set<{ resolve: (relay: RelayHandle) => void, reject: (error: Error) => void }>()
  #opening: RelayHandle | null = null
  /** Who waits for a sign of life. */
  #pings = new Set<(elapsed: number | null) => void>()
  #lastError: Error | null = null

  constructor (urls: string[], keyPair: () => Promise<{ publicKey: Uint8Array, secretKey: Uint8Array }>, events: RelayEvents, token?: string) {
    const relays = urls.map((url) => checkUrl(url, token))
    this.urls = relays.map(({ url }) => url)
    this.#tokens = relays.map(({ token }) => token)
    this.#keyPair = keyPair
    this.#events = events
  }

  /** The engine's handle while the relay is connected. */
  get handle (): RelayHandle | null {
    return this.#handle
  }

  /** The address of the relay while it is connected. */
  get url (): string | null {
    return this.#handle === null ? null : this.urls[this.#index]!
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
    void this.#connect()
  }

  /** Disconnects for good, or until {@link start}. */
  stop (error: Error = new HypertabError('RELAY_CLOSED', 'the relay was closed here')): void {
    this.#running = false
    clearTimeout(this.#pause)
    this.#letGo()
    this.#rejectWaiting(error)
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
    const url = this.urls[this.#index]!
    const token = this.#tokens[this.#index] ?? null
    try {
      await ready()
      const { publicKey, secretKey } = await this.#keyPair()
      if (!this.#running) return
      this.#events.connecting(url)
      const relay = call((engine) => {
        if (!engine.openRelay) throw new HypertabError('NOT_SUPPORTED', 'this engine has no relay client')
        const protocols = token === null ? undefined : ['hypertab-relay', `token.${token}`]
        // Where there is a worker for it, the socket is there.
        return engine.openRelay(homeOfEverything() ? { url, protocols } : openSocket(url, protocols), publicKey, secretKey)
      })
      this.#opening = relay
      this.#opened = setTimeout(() => {
        this.#letGo()
        this.#failed(url, new HypertabError('RELAY_NOT_CONNECTED', `${url}: no answer within ${OPENING} ms`))
      }, OPENING)
      listen('relay', relay, (kind, rest) => { this.#handleEvent(url, relay, kind, rest[0]) })
    } catch (error) {
      this.#failed(url, error as Error)
    }
  }

  #handleEvent (url: string, relay: RelayHandle, kind: string, rest: unknown): void {
    if (kind === 'relay-opened') {
      clearTimeout(this.#opened)
      this.#opening = null
      this.#handle = relay
      this.#failures = 0
      for (const waiter of this.#waiting) waiter.resolve(relay)
      this.#waiting.clear()
      this.#events.open(url)
    } else if (kind === 'relay-round-trip') {
      for (const done of [...this.#pings]) done(rest as number)
    } else if (kind === 'relay-closed') {
      for (const done of [...this.#pings]) done(null)
      clearTimeout(this.#opened)
      unlisten('relay', relay)
      this.#handle = null
      this.#opening = null
      const failure = rest as Failure | null
      this.#failed(url, new HypertabError(failure?.code ?? 'RELAY_CLOSED', `${url}: ${failure?.message ?? 'the relay closed the connection'}`))
    }
  }

  #failed (url: string, error: Error): void {
    if (!this.#running) return
    this.#lastError = error
    this.#index = (this.#index + 1) % this.urls.length
    const rounds = Math.floor(this.#failures++ / this.urls.length)
    const longest = Math.min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** Math.min(rounds, 10))
    const pause = Math.round(longest * (0.5 + Math.random() / 2))
    this.#events.close(url, error, pause)
    this.#pause = setTimeout(() => { void this.#connect() }, pause)
  }

  #letGo (): void {
    clearTimeout(this.#opened)
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
