// The logs, drives, tables or rooms that this browser knows. Only what is needed to list them: keys, names, counts.

import { Observable } from './emitter.ts'
import { setSetting, setting } from './settings.ts'

export interface Entry {
  /** The key as 52 characters. */
  readonly id: string
  /** The name of the store that holds it. */
  readonly store: string
  /** Where in the store one's own drives and tables are, and what one writes in a room. */
  readonly space?: string
  /** Whether it came from another device, and may have been written on there: nothing is written here before a peer was asked. */
  isAdopted?: boolean
  /** Whether a drive was looked at as a site. */
  isSite?: boolean
  /** The logs of the others in a room. */
  members?: readonly string[]
  /** Whether this browser holds the key to append with. */
  readonly isOwn: boolean
  name: string
  length: number
  held: number
  /** When it was last looked at, in milliseconds since 1970. */
  seen: number
}

/** A list of what is known, kept in the settings and shared with the other tabs of this page. */
export class Catalog extends Observable {
  readonly #setting: string

  constructor (what: 'logs' | 'drives' | 'tables' | 'rooms' | 'devices') {
    super()
    this.#setting = `hypertab.${what}`
    addEventListener('storage', (event) => {
      if (event.key === this.#setting) this.changed()
    })
  }

  /** All entries, last seen first. */
  all (): Entry[] {
    return this.#read().sort((a, b) => b.seen - a.seen)
  }

  find (id: string): Entry | null {
    return this.#read().find((entry) => entry.id === id) ?? null
  }

  /** Adds an entry, or changes the one with the same key. */
  put (entry: Entry): void {
    this.#write([...this.#read().filter(({ id }) => id !== entry.id), entry])
  }

  /** Changes some fields of an entry that is still there. */
  update (id: string, fields: Partial<Pick<Entry, 'name' | 'length' | 'held' | 'seen' | 'members' | 'isSite' | 'isAdopted'>>): void {
    const entry = this.find(id)
    if (entry) this.put({ ...entry, ...fields })
  }

  remove (id: string): void {
    this.#write(this.#read().filter((entry) => entry.id !== id))
  }

  #read (): Entry[] {
    try {
      const entries: unknown = JSON.parse(setting(this.#setting) ?? '[]')
      return Array.isArray(entries) ? entries.filter((entry) => typeof entry?.id === 'string' && typeof entry?.store === 'string') : []
    } catch {
      return []
    }
  }

  #write (entries: Entry[]): void {
    setSetting(this.#setting, JSON.stringify(entries))
    this.changed()
  }
}
