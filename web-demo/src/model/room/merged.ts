// What all that was written comes to: the talk in order, and the list as it is. In whatever order the operations come, and
// however often, everybody who has the same ones sees the same.

import { compareWritten } from './operations.ts'
import type { Operation, Written } from './operations.ts'

/** Most messages that are kept; the oldest go first. They stay in their logs. */
const MOST_MESSAGES = 5_000

/** Most items of a list; further ones are not shown. */
export const MOST_ITEMS = 2_000

/** An item of the list. */
export interface Item {
  readonly id: string
  readonly text: string
  readonly isDone: boolean
  /** Who changed it last. */
  readonly by: string
}

/** What one's own devices tell each other of a drive or table. */
export type Owned = Operation & { readonly op: 'own' }

/** A value, and which operation set it: the last one in order wins. */
interface Register<T> {
  value: T
  by: Written
}

interface Entry {
  added: Written | null
  text: Register<string> | null
  isDone: Register<boolean> | null
  isRemoved: boolean
}

export class Merged {
  readonly messages: Written[] = []
  /** The largest clock so far. */
  clock = 0
  #entries = new Map<string, Entry>()
  #names = new Map<string, Register<string>>()
  #owned = new Map<string, Register<Owned>>()
  #taken = new Map<string, Set<number>>()

  /** Takes an operation; false when it was taken before. */
  take (written: Written): boolean {
    const { author, index, clock, operation } = written
    const taken = this.#taken.get(author) ?? new Set()
    if (taken.has(index)) return false
    this.#taken.set(author, taken.add(index))
    this.clock = Math.max(this.clock, clock)
    this.#names.set(author, later(this.#names.get(author) ?? null, { value: written.name, by: written }))
    switch (operation.op) {
      case 'say':
        this.#insert(written)
        break
      case 'add': {
        const entry = this.#entry(`${author}:${index}`)
        if (!entry) break
        entry.added = written
        entry.text = later(entry.text, { value: operation.text, by: written })
        break
      }
      case 'edit': {
        const entry = this.#entry(operation.item)
        if (entry) entry.text = later(entry.text, { value: operation.text, by: written })
        break
      }
      case 'check': {
        const entry = this.#entry(operation.item)
        if (entry) entry.isDone = later(entry.isDone, { value: operation.isDone, by: written })
        break
      }
      case 'remove': {
        const entry = this.#entry(operation.item)
        if (entry) entry.isRemoved = true
        break
      }
      case 'own':
        if (this.#owned.has(operation.id) || this.#owned.size < MOST_ITEMS) this.#owned.set(operation.id, later(this.#owned.get(operation.id) ?? null, { value: operation, by: written }))
    }
    return true
  }

  /** The list, first added first. */
  get items (): Item[] {
    return Array.from(this.#entries)
      .filter(([, { added, isRemoved }]) => added !== null && !isRemoved)
      .sort(([, a], [, b]) => compareWritten(a.added!, b.added!))
      .map(([id, { text, isDone }]) => ({ id, text: text!.value, isDone: isDone?.value ?? false, by: (isDone && compareWritten(isDone.by, text!.by) > 0 ? isDone : text!).by.author }))
  }

  /** The drives and tables that one's own devices told of. */
  get owned (): Owned[] {
    return Array.from(this.#owned.values(), ({ value }) => value)
  }

  /** What an author called himself last, or the empty text. */
  nameOf (author: string): string {
    return this.#names.get(author)?.value ?? ''
  }

  /** How many blocks of an author were taken. */
  countOf (author: string): number {
    return this.#taken.get(author)?.size ?? 0
  }

  // What changes an item may come before the item.
  #entry (id: string): Entry | null {
    const known = this.#entries.get(id)
    if (known) return known
    if (this.#entries.size >= MOST_ITEMS * 2) return null
    const entry: Entry = { added: null, text: null, isDone: null, isRemoved: false }
    this.#entries.set(id, entry)
    return entry
  }

  #insert (written: Written): void {
    const { messages } = this
    let place = messages.length
    while (place > 0 && compareWritten(messages[place - 1]!, written) > 0) place--
    messages.splice(place, 0, written)
    if (messages.length > MOST_MESSAGES) messages.shift()
  }
}

function later<T> (a: Register<T> | null, b: Register<T>): Register<T> {
  return a && compareWritten(a.by, b.by) > 0 ? a : b
}
