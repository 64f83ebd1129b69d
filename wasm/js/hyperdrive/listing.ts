// Walks over folders.

import { Readable } from 'streamx'

import type { ReadableOf, ReadEvents } from '../support/readable.js'
import type { DriveEntry } from './options.js'

type Done = (error: Error | null) => void

/** Looks up the first entry after a path of a folder. */
export type Peek = (after: string) => Promise<DriveEntry | null>

/** What is directly in a folder: one look into the bee for each child, however much is below it. */
export class ChildStream extends Readable<ReadEvents<any>> {
  readonly #peek: Peek
  readonly #folder: string
  readonly #pick: (name: string, entry: DriveEntry) => unknown
  readonly #ignore: ((key: string) => boolean) | null
  #after = '/'
  #last = ''

  constructor (folder: string, peek: Peek, pick: (name: string, entry: DriveEntry) => unknown, ignore: ((key: string) => boolean) | null) {
    super()
    this.#folder = folder
    this.#peek = peek
    this.#pick = pick
    this.#ignore = ignore
  }

  override _read (done: Done): void {
    this.#next().then((child) => {
      this.push(child)
      done(null)
    }, done)
  }

  async #next (): Promise<unknown> {
    for (;;) {
      const entry = await this.#peek(this.#after)
      if (!entry) return null
      const rest = entry.key.slice(this.#folder.length + 1)
      const end = rest.indexOf('/')
      const name = end === -1 ? rest : rest.slice(0, end)
      // '0' comes right after '/': the first path that is not below the child.
      this.#after = `/${name}${end === -1 ? '' : '0'}`
      // A file and a folder of one name are one child.
      if (name === this.#last) continue
      this.#last = name
      if (!this.#ignore?.(entry.key)) return this.#pick(name, entry)
    }
  }
}

/** Another stream without what is ignored. */
export class FilteredStream extends Readable<ReadEvents<DriveEntry>> {
  readonly #source: ReadableOf<DriveEntry>
  readonly #entries: AsyncIterator<DriveEntry>
  readonly #ignore: (key: string) => boolean

  constructor (source: ReadableOf<DriveEntry>, ignore: (key: string) => boolean) {
    super()
    this.#source = source
    this.#entries = source[Symbol.asyncIterator]()
    this.#ignore = ignore
  }

  override _read (done: Done): void {
    this.#next().then((entry) => {
      this.push(entry)
      done(null)
    }, done)
  }

  override _predestroy (): void {
    this.#source.destroy()
  }

  async #next (): Promise<DriveEntry | null> {
    for (;;) {
      const { done, value } = await this.#entries.next()
      if (done) return null
      if (!this.#ignore(value.key)) return value
    }
  }
}
