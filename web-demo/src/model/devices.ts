// One's own devices: those with the same identity meet in a room that only the identity's secret leads to, and tell each other
// which drives and tables there are. So a key that was typed in as words finds its works.

import { hash } from 'hypertab'

import { Catalog } from './catalog.ts'
import { Observable } from './emitter.ts'
import { formatKey } from './key.ts'
import type { Network } from './network.ts'
import { Room } from './room/room.ts'
import { setSetting, setting } from './settings.ts'
import type { Exported, Vault } from './vault.ts'

/** Names of works that came from other devices once: one that was removed here since does not come again. */
const SETTING = 'hypertab.adopted'

type Works = Exported['works']

export interface DevicesActions {
  /** One's own drives and tables. */
  own (): Works
  adopt (works: Works, store: string): void
}

export class Devices extends Observable {
  readonly #catalog = new Catalog('devices')
  readonly #vault: Vault
  readonly #network: Network
  readonly #actions: DevicesActions
  #room: Room | null = null
  /** What was told already, by key. */
  readonly #told = new Map<string, string>()
  #telling: Promise<void> = Promise.resolve()

  constructor (vault: Vault, network: Network, actions: DevicesActions) {
    super()
    this.#vault = vault
    this.#network = network
    this.#actions = actions
  }

  /** How many others are connected. */
  get here (): number {
    return this.#room?.people.filter(({ isHere, isMe }) => isHere && !isMe).length ?? 0
  }

  /** Meets the other devices of the identity in use. The store is open. */
  async open (): Promise<void> {
    if (this.#room) return
    const secret = hash([new TextEncoder().encode('hypertab identity: devices'), await this.#vault.primaryKey()])
    const id = formatKey(secret)
    const known = this.#catalog.find(id)
    const entry = known ?? { id, store: this.#vault.name, space: `devices/${crypto.randomUUID()}`, isOwn: true, name: '', length: 0, held: 0, seen: Date.now(), members: [] }
    if (!known) this.#catalog.put(entry)
    const room = this.#room = new Room(entry, { vault: this.#vault, network: this.#network, catalog: this.#catalog })
    room.watch(() => {
      this.#adopt(room)
      this.tell()
      this.changed()
    })
    await room.open()
  }

  /** Tells the other devices what is new. */
  tell (): void {
    const room = this.#room
    if (!room?.isOpen || room.status.state === 'catching-up') return
    const heard = new Set(room.merged.owned.map(({ id }) => id))
    for (const { kind, id, space, name, length } of this.#actions.own()) {
      const words = JSON.stringify([space, name])
      if (this.#told.get(id) === words || (heard.has(id) && !this.#told.has(id))) continue
      this.#told.set(id, words)
      this.#telling = this.#telling.then(() => room.write({ op: 'own', kind: kind as 'drive' | 'table', id, space, title: name, length })).catch(() => {})
    }
  }

  #adopt (room: Room): void {
    const adopted = new Set(read())
    const known = new Set(this.#actions.own().map(({ id }) => id))
    const works = room.merged.owned.filter(({ id }) => !known.has(id) && !adopted.has(id))
      .map(({ kind, id, space, title, length }) => ({ kind, id, space, name: title, length }))
    if (works.length === 0) return
    setSetting(SETTING, JSON.stringify([...adopted, ...works.map(({ id }) => id)]))
    this.#actions.adopt(works, this.#vault.name)
  }
}

function read (): string[] {
  try {
    const ids: unknown = JSON.parse(setting(SETTING) ?? '[]')
    return Array.isArray(ids) ? ids.filter((id) => typeof id === 'string') : []
  } catch {
    return []
  }
}
