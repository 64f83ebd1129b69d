// What a swarm knows of a peer, and how eagerly it wants to connect.

import { userBytes } from '../platform.js'
import { toHex } from '../support/bytes.js'
import { EventEmitter } from '../support/emitter.js'

/** A connection that held this long starts the count of attempts anew, in milliseconds. */
const LASTING = 15_000

/** Attempts after which a peer has to be found again. */
const MOST_ATTEMPTS = 3

const NORMAL_PRIORITY = 2

/** By the number of attempts: a peer that just dropped is worth a fast retry, one that fails again is not. */
const PRIORITIES = [NORMAL_PRIORITY, 4, 3, 1]

/** What a swarm knows of somebody. */
export class PeerInfo extends EventEmitter<{ topic: [topic: Uint8Array] }> {
  readonly publicKey: Uint8Array
  /** Nodes that know the way to it, if any were named. */
  relayAddresses: unknown[] | null | undefined
  reconnecting = true
  /** It was connected once. */
  proven = false
  /** When it connected, in milliseconds of the epoch; -1 while it is not. */
  connectedTime = -1
  disconnectedTime = 0
  banned = false
  tried = false
  explicit = false
  /** It will be tried again by itself. */
  waiting = false
  forceRelaying = false
  /** It is to be connected to as soon as there is room. */
  queued = false
  /** We dialled it. */
  client = false
  readonly topics: Uint8Array[] = []
  attempts = 0
  priority = NORMAL_PRIORITY
  /** @internal The flushes that have to wait for it. */
  flushTick = 0
  #seen = new Set<string>()

  constructor ({ publicKey, relayAddresses }: { publicKey: Uint8Array, relayAddresses?: unknown[] | null }) {
    super()
    this.publicKey = ownBytes(publicKey)
    this.relayAddresses = relayAddresses
  }

  get server (): boolean {
    return !this.client
  }

  get prioritized (): boolean {
    return this.priority >= NORMAL_PRIORITY
  }

  /** Never connects to it again, or does. */
  ban (banned: boolean): void {
    this.banned = !!banned
  }

  /** Says whether to connect again after it is gone. */
  reconnect (reconnecting: boolean): void {
    this.reconnecting = !!reconnecting
  }

  /** Whether nothing needs it. */
  shouldGC (): boolean {
    return !(this.banned || this.queued || this.explicit || this.waiting)
  }

  /** @internal */
  connected (): void {
    this.proven = true
    this.connectedTime = Date.now()
  }

  /** @internal */
  disconnected (): void {
    this.disconnectedTime = Date.now()
    if (this.connectedTime > -1 && this.disconnectedTime - this.connectedTime >= LASTING) this.attempts = 0
    this.connectedTime = -1
    this.attempts++
  }

  /** @internal It was found anew. */
  reset (): void {
    this.client = false
    this.proven = false
    this.tried = false
    this.attempts = 0
  }

  /** @internal Whether it may be queued. */
  updatePriority (): boolean {
    if (this.explicit && this.attempts > MOST_ATTEMPTS) this.attempts = MOST_ATTEMPTS
    if (this.banned || this.queued || this.attempts > MOST_ATTEMPTS) return false
    this.priority = this.tried && !this.proven ? 0 : PRIORITIES[this.attempts] ?? 0
    return true
  }

  /** @internal */
  addTopic (topic: Uint8Array): void {
    const id = toHex(topic)
    if (this.#seen.has(id)) return
    this.#seen.add(id)
    this.topics.push(topic)
    this.emit('topic', topic)
  }
}

/** Bytes that hold no larger memory alive. */
export function ownBytes (bytes: Uint8Array): Uint8Array {
  return bytes.byteLength === bytes.buffer.byteLength ? bytes : userBytes(new Uint8Array(bytes))
}
