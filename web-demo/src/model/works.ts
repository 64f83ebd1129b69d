// The drives, or the tables, that are open in this tab, and the list of those that are known.

import { Catalog } from './catalog.ts'
import type { Entry } from './catalog.ts'
import type { Network } from './network.ts'
import type { Exported, Vault } from './vault.ts'
import type { Kind, Surroundings, Work } from './work.ts'

export class Works<T extends Work & { purge (): Promise<void> }> {
  readonly catalog: Catalog
  readonly #kind: Kind
  readonly #around: Surroundings
  readonly #make: (entry: Entry, around: Surroundings) => T
  /** Those that are open stay so when another view is shown, and go on replicating. */
  readonly #open = new Map<string, T>()

  constructor (kind: Kind, vault: Vault, network: Network, make: (entry: Entry, around: Surroundings) => T) {
    this.#kind = kind
    this.catalog = new Catalog(`${kind}s`)
    this.#around = { vault, network, catalog: this.catalog }
    this.#make = make
  }

  /** Returns the one with this key; it is opened by its `open()`. */
  get (id: string): T {
    const open = this.#open.get(id)
    if (open) return open
    const store = this.#around.vault.name
    const known = this.catalog.find(id)
    const entry = known?.store === store ? known : { id, store, isOwn: false, name: '', length: 0, held: 0, seen: Date.now() }
    if (entry !== known) this.catalog.put(entry)
    const work = this.#make(entry, this.#around)
    this.#open.set(id, work)
    return work
  }

  /** Makes one of one's own and returns its key. */
  async create (name: string): Promise<string> {
    const space = `${this.#kind}/${crypto.randomUUID()}`
    const store = await this.#around.vault.open()
    const core = store.namespace(space).get({ name: this.#kind === 'drive' ? 'db' : 'table' })
    await core.ready()
    const id = core.id!
    await core.close()
    this.catalog.put({ id, store: this.#around.vault.name, isOwn: true, space, name, length: 0, held: 0, seen: Date.now() })
    return id
  }

  /** Opens anew one that failed. */
  async retry (id: string): Promise<void> {
    await this.#open.get(id)?.open()
  }

  /** Deletes what is stored of one. */
  async remove (id: string): Promise<void> {
    const work = this.get(id)
    await work.open()
    await work.purge()
    this.#open.delete(id)
    this.catalog.remove(id)
  }

  /** One's own, as an exported identity carries them. */
  own (): Exported['works'] {
    const store = this.#around.vault.name
    return this.catalog.all().filter((entry) => entry.isOwn && entry.store === store)
      .map(({ id, space, name, length }) => ({ kind: this.#kind, id, space: space!, name, length }))
  }

  /** Lists what came with an imported identity, unless it is known here. */
  adopt (works: Exported['works'], store: string): void {
    for (const { kind, id, space, name, length } of works) {
      if (kind !== this.#kind || this.catalog.find(id)?.isOwn) continue
      this.catalog.put({ id, store, isOwn: true, isAdopted: true, space, name, length, held: 0, seen: Date.now() })
    }
  }
}
