// Storage as upstream's package hypercore-storage gives it: by a path, to be shared by cores and stores.

import type { StoreHandle } from '../binding.js'
import { openPath } from '../platform.js'
import type { StorageOptions } from './parse.js'
import { Storage } from './storage.js'

/** Storage at a path: a folder in Node, a database in a browser. */
export class HypercoreStorage extends Storage {
  #opening: Promise<StoreHandle> | null = null

  constructor (path: string | URL, options?: StorageOptions | null) {
    const { wait = false, readOnly = false } = options ?? {}
    const { name, opener } = openPath(typeof path === 'string' ? path : decodeURIComponent(path.pathname), { wait, readOnly })
    super(name, opener, { readOnly })
  }

  /** Whether something is a storage. */
  static isCoreStorage (value: unknown): value is Storage {
    return value instanceof Storage
  }

  /** The storage that a path stands for, or the one that is given. */
  static from (value: Storage | string): Storage {
    return value instanceof Storage ? value : new this(value)
  }

  /** Opens it until it is closed; cores do so on their own. */
  override async ready (): Promise<void> {
    this.#opening ??= this.acquire()
    await this.#opening
  }

  /** Closes it, with every core in it. */
  override async close (): Promise<void> {
    await this.#letGo()
    await this.closeUsers()
    await super.close()
  }

  override async userClosed (): Promise<void> {
    if (this.users === 1) await this.#letGo()
  }

  async #letGo (): Promise<void> {
    const opening = this.#opening
    this.#opening = null
    await opening?.then(() => this.release(), () => {})
  }
}
