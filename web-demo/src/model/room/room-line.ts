// What members tell each other on a connection, beside the replication of their logs: which logs there are, and who is there.
//
// Each end proves that it knows the room before it is told anything.

import { Protomux } from 'hypertab'
import type { Channel, Connection } from 'hypertab'

import { LONGEST_NAME } from './operations.ts'
import { proofOf } from './room-key.ts'
import type { RoomKeys } from './room-key.ts'

/** Most members of a room that one end names. */
export const MOST_MEMBERS = 200

const PROTOCOL = 'hypertab/room'
const KEY_LENGTH = 32

/** What a member tells of itself. */
export interface Presence {
  /** The member's log. */
  readonly id: string
  readonly name: string
  readonly isTyping: boolean
}

export interface RoomLineEvents {
  /** The other end has proved that it is a member. */
  opened (): void
  members (keys: Uint8Array[]): void
  presence (presence: Presence): void
  closed (): void
}

/** Bytes as they are. */
const bytes = {
  preencode (state: { end: number }, value: Uint8Array) { state.end += value.byteLength },
  encode (state: { start: number, buffer: Uint8Array | null }, value: Uint8Array) {
    state.buffer!.set(value, state.start)
    state.start += value.byteLength
  },
  decode (state: { start: number, end: number, buffer: Uint8Array | null }): Uint8Array {
    const value = state.buffer!.subarray(state.start, state.end)
    state.start = state.end
    return value
  }
}

export class RoomLine {
  readonly #keys: RoomKeys
  readonly #connection: Connection
  readonly #events: RoomLineEvents
  readonly #mux: Protomux
  #channel: Channel | null = null
  #isOpen = false

  constructor (keys: RoomKeys, connection: Connection, events: RoomLineEvents) {
    this.#keys = keys
    this.#connection = connection
    this.#events = events
    this.#mux = Protomux.from(connection)
    // The other end may come into the room later than we called.
    this.#mux.pair({ protocol: PROTOCOL, id: keys.channel }, () => this.#open())
    this.#open()
  }

  get isOpen (): boolean {
    return this.#isOpen
  }

  /** Names logs to the other end. */
  sendMembers (keys: Uint8Array[]): void {
    if (!this.#isOpen) return
    const message = new Uint8Array(Math.min(keys.length, MOST_MEMBERS) * KEY_LENGTH)
    keys.slice(0, MOST_MEMBERS).forEach((key, index) => message.set(key, index * KEY_LENGTH))
    this.#channel?.messages[0]!.send(message)
  }

  sendPresence ({ id, name, isTyping }: Presence): void {
    if (this.#isOpen) this.#channel?.messages[1]!.send(new TextEncoder().encode(JSON.stringify({ id, name, isTyping })))
  }

  close (): void {
    this.#mux.unpair({ protocol: PROTOCOL, id: this.#keys.channel })
    this.#channel?.close()
  }

  #open (): void {
    if (this.#channel && !this.#channel.closed) return
    const { handshakeHash, isInitiator } = this.#connection
    if (!handshakeHash) return
    const channel = this.#mux.createChannel({
      protocol: PROTOCOL,
      id: this.#keys.channel,
      handshake: bytes,
      messages: [
        { encoding: bytes, onmessage: (message: Uint8Array) => { if (this.#isOpen) this.#events.members(keysOf(message)) } },
        { encoding: bytes, onmessage: (message: Uint8Array) => { this.#heard(message) } }
      ],
      onopen: (proof: Uint8Array) => {
        if (!isEqual(proof, proofOf(this.#keys.id, handshakeHash, !isInitiator))) return channel!.close()
        this.#isOpen = true
        this.#events.opened()
      },
      onclose: () => {
        const wasOpen = this.#isOpen
        this.#isOpen = false
        if (wasOpen) this.#events.closed()
      }
    })
    this.#channel = channel
    channel?.open(proofOf(this.#keys.id, handshakeHash, isInitiator))
  }

  #heard (message: Uint8Array): void {
    if (!this.#isOpen) return
    let given: { id?: unknown, name?: unknown, isTyping?: unknown } | null
    try {
      given = JSON.parse(new TextDecoder().decode(message))
    } catch {
      return
    }
    const { id, name, isTyping } = given ?? {}
    if (typeof id !== 'string' || !/^[a-z0-9]{52}$/.test(id) || typeof name !== 'string') return
    this.#events.presence({ id, name: name.slice(0, LONGEST_NAME), isTyping: isTyping === true })
  }
}


function keysOf (message: Uint8Array): Uint8Array[] {
  const count = Math.min(Math.floor(message.byteLength / KEY_LENGTH), MOST_MEMBERS)
  return Array.from({ length: count }, (_, index) => message.slice(index * KEY_LENGTH, (index + 1) * KEY_LENGTH))
}

function isEqual (a: Uint8Array | null, b: Uint8Array): boolean {
  return a !== null && a.byteLength === b.byteLength && a.every((byte, index) => byte === b[index])
}
