// The rooms that are open in this tab, and the list of those that are known.

import { Catalog } from '../catalog.ts'
import type { Entry } from '../catalog.ts'
import type { Network } from '../network.ts'
import type { Vault } from '../vault.ts'
import { randomRoom } from './room-key.ts'
import type { RoomPlace } from './room-key.ts'
import { Room } from './room.ts'

export class Rooms {
  readonly catalog = new Catalog('rooms')
  readonly #vault: Vault
  readonly #network: Network
  /** Those that are open stay so when another view is shown. */
  readonly #open = new Map<string, Room>()

  constructor (vault: Vault, network: Network) {
    this.#vault = vault
    this.#network = network
  }

  /** Returns a room; it is opened by its `open()`. */
  get ({ id, name }: RoomPlace): Room {
    const open = this.#open.get(id)
    if (open) return open
    const known = this.catalog.find(id)
    const entry = known?.store === this.#vault.name ? known : this.#entry(id, name, false)
    if (entry !== known) this.catalog.put(entry)
    const room = new Room(entry, { vault: this.#vault, network: this.#network, catalog: this.catalog })
    this.#open.set(id, room)
    return room
  }

  /** Makes a room that nobody else knows yet. */
  create (name: string): RoomPlace {
    const id = randomRoom()
    this.catalog.put(this.#entry(id, name, true))
    return { id, name }
  }

  /** Deletes what is stored of a room. */
  async remove (id: string): Promise<void> {
    const room = this.get({ id, name: '' })
    await room.open()
    await room.purge()
    this.#open.delete(id)
    this.catalog.remove(id)
  }

  // Every device writes a log of its own, also with the same identity: two that write one log would split its history.
  #entry (id: string, name: string, isOwn: boolean): Entry {
    return { id, store: this.#vault.name, space: `room/${crypto.randomUUID()}`, isOwn, name, length: 0, held: 0, seen: Date.now(), members: [] }
  }
}
