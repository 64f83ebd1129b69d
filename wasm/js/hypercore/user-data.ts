// What programs stored beside a log, as a stream.

import { Readable } from 'streamx'

import { userBytes } from '../platform.js'
import { RECORDS } from '../remote/messages.js'
import type { ReadEvents } from '../support/readable.js'
import type { State } from './state.js'

/** Which names: from `gte` on, up to `lt`, exclusive. */
export interface UserDataRange {
  gte?: string
  lt?: string | null
  gt?: unknown
  lte?: unknown
}

export interface UserDataEntry {
  key: string
  value: Uint8Array
}

interface Page {
  entries: Array<[name: string, value: Uint8Array]>
  more: boolean
}

/** Entries that are read at once. */
const PAGE = 64

export interface UserDataStream {
  read (): UserDataEntry | null
  [Symbol.asyncIterator] (): AsyncIterator<UserDataEntry>
}

/** Pieces of user data, in the order of their names. */
export class UserDataStream extends Readable<ReadEvents<UserDataEntry>> {
  readonly #state: State
  readonly #end: string | undefined
  #next: string | null

  constructor (state: State, { gte = '', lt = null, gt = null, lte = null }: UserDataRange = {}) {
    super()
    if (gt !== null || lte !== null) throw new Error('gt and lte not yet supported for user data streams')
    this.#state = state
    this.#next = gte
    this.#end = lt ?? undefined
  }

  override _read (done: (error: Error | null) => void): void {
    this.#fill().then(() => { done(null) }, done)
  }

  async #fill (): Promise<void> {
    const from = this.#next
    if (from === null) {
      this.push(null)
      return
    }
    const { entries, more } = await this.#state.request<Page>((core, engine) => engine.coreUserDataList(core, from, this.#end, PAGE)).promise
    for (const [key, value] of entries) if (!key.startsWith(RECORDS)) this.push({ key, value: userBytes(value) })
    // The next name there can be.
    this.#next = more && entries.length > 0 ? `${entries.at(-1)![0]}\0` : null
    if (this.#next === null) this.push(null)
  }
}
