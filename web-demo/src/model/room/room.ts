// One room that is open in this tab: the logs of its members, who is there, and what all of it comes to.

import type { Connection, Corestore } from 'hypertab'

import { pageLink } from '../address.ts'
import type { Catalog, Entry } from '../catalog.ts'
import { Observable } from '../emitter.ts'
import { formatKey, parseKey } from '../key.ts'
import type { Network } from '../network.ts'
import { explain } from '../problem.ts'
import type { Problem } from '../problem.ts'
import type { Status } from '../status.ts'
import type { Vault } from '../vault.ts'
import { MemberLog } from './member-log.ts'
import { Merged } from './merged.ts'
import { nickname } from './nickname.ts'
import { decodeOperation, encodeOperation, nextClock } from './operations.ts'
import type { Operation, Written } from './operations.ts'
import { roomAddress, roomKeys } from './room-key.ts'
import type { RoomKeys } from './room-key.ts'
import { MOST_MEMBERS, RoomLine } from './room-line.ts'
import type { Presence } from './room-line.ts'
import { roomStatus } from './room-status.ts'

/** How long somebody counts as typing after a key, in milliseconds. */
const TYPING_MS = 4_000

/** How often the list of rooms learns of new counts, in milliseconds. */
const NOTE_MS = 1_000

/** A member, as far as is known. */
export interface Person {
  readonly id: string
  readonly name: string
  readonly isMe: boolean
  /** Whether a connection with the member is open now. */
  readonly isHere: boolean
  readonly isTyping: boolean
}

export interface RoomSurroundings {
  readonly vault: Vault
  readonly catalog: Catalog
  readonly network: Network
}

interface Talk {
  readonly line: RoomLine
  presence: Presence | null
}

export class Room extends Observable {
  readonly kind = 'room'
  readonly entry: Entry
  readonly merged = new Merged()
  readonly #around: RoomSurroundings
  readonly #logs = new Map<string, MemberLog>()
  readonly #talks = new Map<Connection, Talk>()
  #keys: RoomKeys | null = null
  #store: Corestore | null = null
  #own: MemberLog | null = null
  #opening: Promise<void> | null = null
  #problem: Problem | null = null
  #hasSearched = false
  #isClosed = false
  #isTyping = false
  #typingTimer: ReturnType<typeof setTimeout> | undefined
  #noteTimer: ReturnType<typeof setTimeout> | null = null
  #leaving: (() => void)[] = []

  constructor (entry: Entry, around: RoomSurroundings) {
    super()
    this.entry = entry
    this.#around = around
  }

  get isOpen (): boolean {
    return this.#own !== null
  }

  get problem (): Problem | null {
    return this.#problem
  }

  get link (): string {
    return pageLink(roomAddress(this.entry))
  }

  get messages (): readonly Written[] {
    return this.merged.messages
  }

  /** The log that this tab writes, once it is open. */
  get me (): string | null {
    return this.#own?.id ?? null
  }

  /** All members that are known: oneself, those who are here, and the others. What they have signed goes before what somebody says of them. */
  get people (): Person[] {
    const present = new Map(this.#present().map((presence) => [presence.id, presence]))
    return Array.from(this.#logs.keys(), (id): Person => {
      const presence = present.get(id)
      const isMe = id === this.me
      return { id, isMe, name: isMe ? nickname() : this.merged.nameOf(id) || (presence?.name ?? ''), isHere: isMe || presence !== undefined, isTyping: presence?.isTyping ?? false }
    }).sort((a, b) => Number(b.isMe) - Number(a.isMe) || Number(b.isHere) - Number(a.isHere) || (a.name || '~').localeCompare(b.name || '~'))
  }

  get status (): Status {
    return roomStatus({
      isOpen: this.isOpen,
      problem: this.#problem,
      isOnline: navigator.onLine,
      relay: this.#around.network.relay,
      hasSearched: this.#hasSearched,
      here: this.#present().length,
      isBehind: [...this.#logs.values()].some((log) => log.isBehind),
      entries: this.merged.messages.length
    })
  }

  /** Opens what is stored and joins the network. A failure becomes the status. */
  async open (): Promise<void> {
    this.#opening ??= this.#open().finally(() => { this.#opening = null })
    await this.#opening
  }

  /** Writes for all members to see. */
  async write (operation: Operation): Promise<void> {
    if (!this.#own) throw new Error('The room is not open')
    this.typing(false)
    try {
      await this.#own.core.append(encodeOperation(operation, { clock: nextClock(this.merged.clock), time: Date.now(), name: nickname() }))
    } catch (error) {
      this.#fail(error)
      throw error
    }
  }

  /** Tells the members who are here that something is being typed, or that it is not. */
  typing (isTyping: boolean): void {
    clearTimeout(this.#typingTimer)
    if (isTyping) this.#typingTimer = setTimeout(() => this.typing(false), TYPING_MS)
    if (isTyping === this.#isTyping) return
    this.#isTyping = isTyping
    this.introduce()
  }

  /** Tells the members who are here who this is. */
  introduce (): void {
    const presence = this.#presence()
    if (presence) for (const { line } of this.#talks.values()) line.sendPresence(presence)
    this.changed()
  }

  /** Leaves the network and closes what is stored. */
  async close (): Promise<void> {
    this.#isClosed = true
    for (const leave of this.#leaving.splice(0)) leave()
    for (const { line } of this.#talks.values()) line.close()
    this.#talks.clear()
    this.#note()
    await Promise.all(Array.from(this.#logs.values(), (log) => log.close()))
    this.#own = null
  }

  /** Deletes what is stored of the room. */
  async purge (): Promise<void> {
    const cores = Array.from(this.#logs.values(), ({ core }) => core)
    for (const leave of this.#leaving.splice(0)) leave()
    for (const core of cores) await core.purge()
    await this.close()
  }

  async #open (): Promise<void> {
    if (this.#isClosed || this.#own) return
    this.#problem = null
    this.changed()
    try {
      const { vault, network } = this.#around
      const store = this.#store = await vault.open()
      network.useStore(store)
      const keys = this.#keys = await roomKeys(this.entry.id)
      const core = store.namespace(this.entry.space!).get({ name: 'room', encryptionKey: keys.encryption })
      await core.ready()
      if (this.#isClosed) return void await core.close()
      core.on('storage-full', (error) => this.#fail(error))
      this.#own = this.#follow(formatKey(core.key!), core)
      for (const id of this.entry.members ?? []) await this.#meet(id)
      this.#leaving.push(
        network.watch(() => this.changed()),
        network.join({
          topic: keys.topic,
          isAlone: () => this.#present().length === 0,
          connected: (connection) => this.#talk(connection),
          searched: () => { this.#hasSearched = true; this.changed() }
        }))
      this.changed()
    } catch (error) {
      this.#fail(error)
    }
  }

  #follow (id: string, core: MemberLog['core']): MemberLog {
    const log = new MemberLog(id, core, (block, index) => {
      const written = decodeOperation(block, id, index)
      if (written) this.merged.take(written)
      this.#noteTimer ??= setTimeout(() => this.#note(), NOTE_MS)
      this.changed()
    })
    this.#logs.set(id, log)
    return log
  }

  // Follows the log of a member; false when that is done already.
  async #meet (id: string): Promise<boolean> {
    if (this.#isClosed || this.#logs.has(id) || this.#logs.size >= MOST_MEMBERS) return false
    const core = this.#store!.get({ key: parseKey(id), encryptionKey: this.#keys!.encryption })
    await core.ready()
    if (this.#isClosed || this.#logs.has(id)) {
      await core.close()
      return false
    }
    this.#follow(id, core)
    return true
  }

  #talk (connection: Connection): void {
    if (this.#talks.has(connection)) return
    const line = new RoomLine(this.#keys!, connection, {
      opened: () => {
        line.sendMembers(this.#memberKeys())
        const presence = this.#presence()
        if (presence) line.sendPresence(presence)
        this.changed()
      },
      members: (keys) => { void this.#introduced(keys.map(formatKey)) },
      presence: (presence) => {
        const talk = this.#talks.get(connection)
        if (talk) talk.presence = presence
        void this.#introduced([presence.id])
        this.changed()
      },
      closed: () => {
        const talk = this.#talks.get(connection)
        if (talk) talk.presence = null
        this.changed()
      }
    })
    this.#talks.set(connection, { line, presence: null })
    connection.once('close', () => {
      this.#talks.delete(connection)
      this.changed()
    })
  }

  async #introduced (ids: string[]): Promise<void> {
    let hasNew = false
    try {
      for (const id of ids) hasNew = await this.#meet(id) || hasNew
    } catch (error) {
      this.#fail(error)
    }
    if (!hasNew) return
    this.entry.members = [...this.#logs.keys()].filter((id) => id !== this.me)
    this.#around.catalog.update(this.entry.id, { members: this.entry.members })
    for (const { line } of this.#talks.values()) line.sendMembers(this.#memberKeys())
    this.changed()
  }

  #memberKeys (): Uint8Array[] {
    return Array.from(this.#logs.keys(), parseKey)
  }

  #presence (): Presence | null {
    return this.me === null ? null : { id: this.me, name: nickname(), isTyping: this.#isTyping }
  }

  #present (): Presence[] {
    const present = new Map<string, Presence>()
    for (const { presence } of this.#talks.values()) if (presence && presence.id !== this.me) present.set(presence.id, presence)
    return [...present.values()]
  }

  #note (): void {
    if (this.#noteTimer) clearTimeout(this.#noteTimer)
    this.#noteTimer = null
    this.entry.length = this.merged.messages.length
    this.#around.catalog.update(this.entry.id, { length: this.entry.length })
  }

  #fail (error: unknown): void {
    this.#problem ??= explain(error, 'room', true)
    this.changed()
  }
}
