// The way to other peers: one swarm, through one relay.

import { DHT, Hyperswarm } from 'hypertab'
import type { Connection, Corestore, Hypercore, PathReason } from 'hypertab'

import { relayChoice, relayFault } from './config.ts'
import { Observable } from './emitter.ts'
import { tabKeyPair } from './identity.ts'
import { formatKey } from './key.ts'
import { Rates } from './rates.ts'

export type RelayState =
  | { readonly state: 'unset', readonly fault: string }
  | { readonly state: 'wrong', readonly address: string, readonly fault: string }
  /** Switched off by the person, until {@link Network.start}. */
  | { readonly state: 'off', readonly address: string }
  | { readonly state: 'connecting', readonly address: string }
  | { readonly state: 'open', readonly address: string }
  /** `retryIn` is in seconds; null when the time of the next attempt is not known. */
  | { readonly state: 'lost', readonly address: string, readonly wasOpen: boolean, readonly retryIn: number | null }

/** How often a log without peers looks for some again, in milliseconds. */
const SEARCH_MS = 30_000

/** A log, drive, table or room that wants peers. */
export interface Member {
  readonly topic: Uint8Array
  /** The core that is wanted, unless it is not about one. */
  readonly core?: Hypercore
  /** Whether nobody was found yet: then the search is repeated. */
  isAlone (): boolean
  /** Called with every connection there is, whatever it came about for. */
  connected? (connection: Connection): void
  /** Called each time a search for peers has ended. */
  searched (): void
}

/** A core that finds its peers by its discovery key. `isInStore` says that the page's store replicates it. */
export function memberOf (core: Hypercore, isInStore: boolean, searched: () => void): Member {
  return {
    topic: core.discoveryKey!,
    core,
    isAlone: () => core.peers.length === 0,
    searched,
    ...(isInStore ? {} : { connected: (connection: Connection) => { core.replicate(connection) } })
  }
}

export interface Inspected {
  readonly store: Corestore | null
  readonly swarm: Hyperswarm | null
  readonly cores: Hypercore[]
}

/** Somebody we are connected to. */
export interface ConnectionView {
  readonly id: string
  /** Whether we called them. */
  readonly isCaller: boolean
  /** Whether it goes from browser to browser, or through the relay. */
  readonly isDirect: boolean
  /** Why it goes that way. */
  readonly why: string
  /** Milliseconds there and back; null when nobody has measured it. */
  readonly roundTrip: number | null
  readonly since: number
  readonly received: number
  readonly sent: number
  /** Bytes of the last second. */
  readonly down: number
  readonly up: number
}

/** What a connection had carried a second ago, and in the second before that. */
interface Counted {
  readonly since: number
  received: number
  sent: number
  down: number
  up: number
  roundTrip: number | null
}

/** Why a connection goes the way that it goes, by what the package says. */
const REASONS: Partial<Record<PathReason, string>> = {
  DIALLED: 'no other way was tried',
  OFF: 'direct ways are switched off',
  NO_WEBRTC: 'this browser has no WebRTC',
  REFUSED: 'the other end is no browser',
  CONNECTING: 'a direct way is being looked for',
  CONNECTED: 'the browsers found each other',
  ICE_FAILED: 'no direct way was found',
  ICE_TIMEOUT: 'no direct way was found in time',
  WEBRTC_FAILED: 'the browser refused a direct way',
  ICE_DISCONNECTED: 'the direct way broke',
  CHANNEL_CLOSED: 'the direct way broke',
  SILENT: 'nothing arrived on the direct way',
  REMOTE: 'the other end went back'
}

/** What a swarm calls a topic that it has joined. */
type Discovery = ReturnType<Hyperswarm['join']>

export class Network extends Observable {
  #address = ''
  #fault = relayFault('')
  /** What all connections carry. */
  readonly rates = new Rates()
  #isOff = false
  #store: Corestore | null = null
  #counted = new Map<Connection, Counted>()
  #isOpen = false
  #roundTrip: number | null = null
  #wasOpen = false
  #retryAt: number | null = null
  #members = new Map<Member, Discovery | null>()
  #swarm: Hyperswarm | null = null
  #keyPair: Awaited<ReturnType<typeof tabKeyPair>>

  constructor () {
    super()
    setInterval(() => this.#searchAgain(), SEARCH_MS)
  }

  get relay (): RelayState {
    const address = withoutToken(this.#address)
    if (this.#fault !== null) return address === '' ? { state: 'unset', fault: this.#fault } : { state: 'wrong', address, fault: this.#fault }
    if (this.#isOff) return { state: 'off', address }
    if (this.#isOpen) return { state: 'open', address }
    if (this.#retryAt === null) return { state: 'connecting', address }
    return { state: 'lost', address, wasOpen: this.#wasOpen, retryIn: Math.max(0, Math.ceil((this.#retryAt - Date.now()) / 1000)) }
  }

  /** Takes the key that this tab had before it was loaded again. To be called before {@link start}. */
  async identify (): Promise<void> {
    // An engine that does not load is told where it is needed.
    this.#keyPair = await tabKeyPair().catch(() => undefined)
  }

  /** Goes through the relay that the configuration names now, and at once. */
  start (): void {
    this.#stop()
    this.#isOff = false
    this.#address = relayChoice().address
    this.#fault = relayFault(this.#address)
    if (this.#fault === null) this.#connect()
    this.changed()
  }

  /** Leaves every peer and the relay, until {@link start}. */
  switchOff (): void {
    this.#stop()
    this.#isOff = true
    this.changed()
  }

  /** Everybody we are connected to, the first one first. */
  get connections (): ConnectionView[] {
    return Array.from(this.#counted, ([connection, counted]) => ({ id: formatKey(connection.remotePublicKey!), isCaller: connection.isInitiator, isDirect: connection.path === 'direct', why: connection.pathReason === null ? '' : REASONS[connection.pathReason] ?? '', ...counted }))
  }

  /** What there is to look at for who wants to see more than this page shows: the store, the swarm, and the cores that find their peers. */
  get inspected (): Inspected {
    return { store: this.#store, swarm: this.#swarm, cores: [...this.#members.keys()].flatMap(({ core }) => core && !core.closed ? [core] : []) }
  }

  /** Milliseconds to the relay and back; null when it has not answered. */
  get roundTrip (): number | null {
    return this.#isOpen ? this.#roundTrip : null
  }

  /** Leaves the direct way to somebody, as if it had broken: the connection goes on through the relay, and looks for another. */
  cut (id: string): void {
    for (const connection of this.#counted.keys()) if (formatKey(connection.remotePublicKey!) === id) connection.dropDirect()
  }

  /** Measures how long bytes are on their way, to the relay and to those who are connected directly. */
  async measure (): Promise<void> {
    const swarm = this.#swarm
    const [relay] = await Promise.all([
      this.#isOpen ? swarm!.dht.roundTrip() : null,
      ...Array.from(this.#counted, async ([connection, counted]) => { counted.roundTrip = connection.path === 'direct' ? await connection.roundTrip().catch(() => null) : null })
    ])
    if (swarm !== this.#swarm) return
    this.#roundTrip = relay
    this.changed()
  }

  /** Sends and fetches what is in a store over every connection. */
  useStore (store: Corestore): void {
    if (store === this.#store) return
    this.#store = store
    for (const connection of this.#swarm?.connections ?? []) store.replicate(connection)
  }

  /** Ends a second: rates are per second. */
  tick (): void {
    const wasStill = this.rates.isStill
    for (const [connection, counted] of this.#counted) this.#measure(connection, counted)
    this.rates.tick()
    if (!wasStill || !this.rates.isStill) this.changed()
  }

  /** Finds peers for a member until the returned function is called. */
  join (member: Member): () => void {
    this.#members.set(member, null)
    this.#discover(member)
    return () => {
      this.#members.get(member)?.destroy().catch(() => {})
      this.#members.delete(member)
    }
  }

  #connect (): void {
    const keyPair = this.#keyPair && { keyPair: this.#keyPair }
    const dht = new DHT({ relay: this.#address, ...keyPair })
    const swarm = this.#swarm = new Hyperswarm({ dht, ...keyPair })
    dht.on('relay-open', () => { if (swarm === this.#swarm) this.#opened() })
    // Streams wait for the relay, and it for us, for some seconds.
    dht.on('relay-interrupted', () => { if (swarm === this.#swarm) this.#lost(0) })
    dht.on('relay-resumed', () => { if (swarm === this.#swarm) this.#opened() })
    dht.on('relay-close', (_url, _error, pause) => { if (swarm === this.#swarm) this.#lost(pause) })
    // One connection carries every log that both sides have.
    swarm.on('connection', (connection) => {
      connection.on('error', () => {})
      this.#counted.set(connection, { since: Date.now(), received: 0, sent: 0, down: 0, up: 0, roundTrip: null })
      connection.on('path', () => this.changed())
      connection.once('close', () => {
        this.#counted.delete(connection)
        this.changed()
      })
      this.#store?.replicate(connection)
      for (const member of this.#members.keys()) member.connected?.(connection)
      this.changed()
    })
    for (const member of this.#members.keys()) this.#discover(member)
  }

  #stop (): void {
    const swarm = this.#swarm
    this.#swarm = null
    this.#isOpen = this.#wasOpen = false
    this.#retryAt = null
    for (const member of this.#members.keys()) this.#members.set(member, null)
    swarm?.destroy({ force: true }).catch(() => {})
  }

  #discover (member: Member): void {
    if (!this.#swarm) return
    const discovery = this.#swarm.join(member.topic, { server: true, client: true })
    this.#members.set(member, discovery)
    for (const connection of this.#swarm.connections) member.connected?.(connection)
    const done = member.core?.findingPeers() ?? (() => {})
    discovery.flushed().catch(() => {}).finally(() => {
      done()
      if (this.#members.get(member) === discovery) member.searched()
    })
  }

  #measure (connection: Connection, counted: Counted): void {
    const { bytesReceived = counted.received, bytesTransmitted = counted.sent } = connection.rawStream ?? {}
    counted.down = bytesReceived - counted.received
    counted.up = bytesTransmitted - counted.sent
    counted.received = bytesReceived
    counted.sent = bytesTransmitted
    this.rates.received(counted.down)
    this.rates.sent(counted.up)
  }

  #opened (): void {
    this.#isOpen = this.#wasOpen = true
    this.#retryAt = null
    this.changed()
  }

  #lost (pause: number): void {
    this.#isOpen = false
    this.#retryAt = Date.now() + pause
    this.changed()
  }

  #searchAgain (): void {
    if (!this.#isOpen) return
    for (const [member, discovery] of this.#members) {
      if (member.isAlone()) discovery?.refresh().catch(() => {})
    }
  }
}

// Words on the page are read by whoever looks over the shoulder.
function withoutToken (address: string): string {
  return URL.canParse(address) && address.includes('?') ? address.slice(0, address.indexOf('?')) : address
}
