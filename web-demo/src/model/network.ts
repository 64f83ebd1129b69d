// The way to other peers: one swarm, through one relay.

import { DHT, Hyperswarm } from 'hypertab'
import type { Hypercore } from 'hypertab'

import { relayChoice, relayFault } from './config.ts'
import { Observable } from './emitter.ts'

export type RelayState =
  | { readonly state: 'unset', readonly fault: string }
  | { readonly state: 'wrong', readonly address: string, readonly fault: string }
  | { readonly state: 'connecting', readonly address: string }
  | { readonly state: 'open', readonly address: string }
  /** `retryIn` is in seconds; null when the time of the next attempt is not known. */
  | { readonly state: 'lost', readonly address: string, readonly wasOpen: boolean, readonly retryIn: number | null }

/** How often a log without peers looks for some again, in milliseconds. */
const SEARCH_MS = 30_000

/** A log that wants peers. */
export interface Member {
  readonly core: Hypercore
  /** Called each time a search for peers has ended. */
  searched (): void
}

/** What a swarm calls a topic that it has joined. */
type Discovery = ReturnType<Hyperswarm['join']>

export class Network extends Observable {
  #address = ''
  #fault = relayFault('')
  #isOpen = false
  #wasOpen = false
  #retryAt: number | null = null
  #members = new Map<Member, Discovery | null>()
  #swarm: Hyperswarm | null = null

  constructor () {
    super()
    setInterval(() => this.#searchAgain(), SEARCH_MS)
  }

  get relay (): RelayState {
    const address = this.#address
    if (this.#fault !== null) return address === '' ? { state: 'unset', fault: this.#fault } : { state: 'wrong', address, fault: this.#fault }
    if (this.#isOpen) return { state: 'open', address }
    if (this.#retryAt === null) return { state: 'connecting', address }
    return { state: 'lost', address, wasOpen: this.#wasOpen, retryIn: Math.max(0, Math.ceil((this.#retryAt - Date.now()) / 1000)) }
  }

  /** Goes through the relay that the configuration names now, and at once. */
  start (): void {
    this.#stop()
    this.#address = relayChoice().address
    this.#fault = relayFault(this.#address)
    if (this.#fault === null) this.#connect()
    this.changed()
  }

  /** Finds peers for a log until the returned function is called. */
  join (member: Member): () => void {
    this.#members.set(member, null)
    this.#discover(member)
    return () => {
      this.#members.get(member)?.destroy().catch(() => {})
      this.#members.delete(member)
    }
  }

  #connect (): void {
    const dht = new DHT({ relay: this.#address })
    const swarm = this.#swarm = new Hyperswarm({ dht })
    dht.on('relay-open', () => { if (swarm === this.#swarm) this.#opened() })
    dht.on('relay-close', (_url, _error, pause) => { if (swarm === this.#swarm) this.#lost(pause) })
    // One connection carries every log that both sides have.
    swarm.on('connection', (connection) => {
      connection.on('error', () => {})
      for (const { core } of this.#members.keys()) core.replicate(connection)
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
    const { core } = member
    const discovery = this.#swarm.join(core.discoveryKey!, { server: true, client: true })
    this.#members.set(member, discovery)
    for (const connection of this.#swarm.connections) core.replicate(connection)
    const done = core.findingPeers()
    discovery.flushed().catch(() => {}).finally(() => {
      done()
      if (this.#members.get(member) === discovery) member.searched()
    })
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
    for (const [{ core }, discovery] of this.#members) {
      if (core.peers.length === 0) discovery?.refresh().catch(() => {})
    }
  }
}
