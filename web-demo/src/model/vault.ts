// The one Corestore of the page: everything but the logs is in it, and its primary key is the person's identity.

import { Corestore } from 'hypertab'
import type { Storage } from 'hypertab/storage'

import { formatKey, toHex } from './key.ts'
import { setSetting, setting } from './settings.ts'
import { openStore } from './store.ts'

const SETTING = 'hypertab.store'
const FIRST = 'store'

/** What an exported file holds. */
export interface Exported {
  readonly primaryKey: Uint8Array
  readonly works: readonly { readonly kind: string, readonly id: string, readonly space: string, readonly name: string, readonly length: number }[]
}

export class Vault {
  #opening: Promise<Corestore> | null = null
  readonly #onOpen: () => void

  /** `onOpen` is called once the store is open. */
  constructor (onOpen: () => void = () => {}) {
    this.#onOpen = onOpen
  }

  /** The name of the store in use; drives and tables of another one are not listed. */
  get name (): string {
    return setting(SETTING) ?? FIRST
  }

  /** Opens the store, once. A failure is forgotten, so that the next call tries again. */
  async open (): Promise<Corestore> {
    this.#opening ??= this.#open()
    try {
      return await this.#opening
    } catch (error) {
      this.#opening = null
      throw error
    }
  }

  /** Whether the store was asked for already. */
  get isOpen (): boolean {
    return this.#opening !== null
  }

  /** The public half of the identity, as 52 characters. */
  async publicKey (): Promise<string> {
    const store = await this.open()
    return formatKey((await store.createKeyPair('identity')).publicKey)
  }

  /** Writes the identity, and what is needed to find one's own drives and tables again. */
  async export (works: Exported['works']): Promise<Blob> {
    const store = await this.open()
    const text = JSON.stringify({ hypertab: 'identity', version: 1, primaryKey: toHex(store.primaryKey!), works }, null, 2)
    return new Blob([text + '\n'], { type: 'application/json' })
  }

  /** The secret that the identity is: its bytes are for {@link import} and words only. */
  async primaryKey (): Promise<Uint8Array> {
    return (await this.open()).primaryKey!
  }

  /** Makes an identity the one in use, from the next load of the page on. Returns the name of its store. */
  async import ({ primaryKey }: Pick<Exported, 'primaryKey'>): Promise<string> {
    const current = await this.open()
    if (toHex(current.primaryKey!) === toHex(primaryKey)) return this.name
    const name = await this.nameFor(primaryKey)
    const store = new Corestore(openStore(name), { primaryKey, unsafe: true })
    await store.ready()
    await store.close()
    setSetting(SETTING, name)
    return name
  }

  /** What the store of an identity is called where it was not made. */
  async nameFor (primaryKey: Uint8Array): Promise<string> {
    const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', primaryKey as Uint8Array<ArrayBuffer>))
    return `store-${toHex(digest.subarray(0, 8))}`
  }

  /** The storage of the identity whose store would be called so: that of the one in use, if it is that. */
  async storageOf (name: string): Promise<Storage> {
    const current = await this.open()
    return name === await this.nameFor(current.primaryKey!) ? current.storage : openStore(name)
  }

  /** Makes the store of {@link storageOf} the one in use, from the next load of the page on. Returns its name. */
  async use (name: string): Promise<string> {
    const current = await this.open()
    if (name === await this.nameFor(current.primaryKey!)) return this.name
    setSetting(SETTING, name)
    return name
  }

  async #open (): Promise<Corestore> {
    const store = new Corestore(openStore(this.name))
    try {
      await store.ready()
    } catch (error) {
      await store.close().catch(() => {})
      throw error
    }
    // Not before whoever waits for the store has it.
    setTimeout(this.#onOpen)
    return store
  }
}

/** Reads an exported file. Throws a sentence when it is none. */
export function parseExported (text: string): Exported {
  let given: { hypertab?: unknown, version?: unknown, primaryKey?: unknown, works?: unknown }
  try {
    given = JSON.parse(text)
  } catch {
    throw new Error('This file is not an exported identity.')
  }
  if (given?.hypertab !== 'identity' || typeof given.primaryKey !== 'string' || !/^[0-9a-f]{64}$/.test(given.primaryKey)) throw new Error('This file is not an exported identity.')
  if (given.version !== 1) throw new Error('This file was exported by a newer version of the page.')
  const works = Array.isArray(given.works) ? given.works : []
  return {
    primaryKey: Uint8Array.from(given.primaryKey.match(/../g)!, (pair) => Number.parseInt(pair, 16)),
    works: works.filter((work) => ['drive', 'table'].includes(work?.kind) && ['id', 'space', 'name'].every((field) => typeof work[field] === 'string') && Number.isSafeInteger(work.length))
  }
}
