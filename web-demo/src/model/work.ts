// What drives and tables have in common: they live in the page's store, have a key, peers and versions.

import type { Corestore, Hypercore } from 'hypertab'

import type { Catalog, Entry } from './catalog.ts'
import { Observable } from './emitter.ts'
import { formatKey, parseKey } from './key.ts'
import { memberOf } from './network.ts'
import type { Network } from './network.ts'
import { explain } from './problem.ts'
import type { Problem } from './problem.ts'
import type { Status } from './status.ts'
import type { Vault } from './vault.ts'
import { workStatus } from './work-status.ts'

export type Kind = 'drive' | 'table'

/** How long a block of metadata is waited for while peers are connected, in milliseconds. */
const PATIENCE_MS = 20_000

/** What upstream's bees begin with: the name of their protocol, in the header. */
const PROTOCOL = 'hyperbee'

/** What is opened in the store. */
export interface Opened {
  readonly core: Hypercore
  ready (): Promise<void>
  close (): Promise<unknown>
}

export interface Surroundings {
  readonly vault: Vault
  readonly catalog: Catalog
  readonly network: Network
}

export abstract class Work<T extends Opened = Opened> extends Observable {
  abstract readonly kind: Kind
  readonly entry: Entry
  protected opened: T | null = null
  readonly #around: Surroundings
  #problem: Problem | null = null
  #hasSearched = false
  #isClosed = false
  #leave: () => void = () => {}
  #unwatch: () => void = () => {}
  #opening: Promise<void> | null = null

  constructor (entry: Entry, around: Surroundings) {
    super()
    this.entry = entry
    this.#around = around
  }

  /** Opens it in a session of the store; in one with names of its own when it is ours. */
  protected abstract make (store: Corestore, key: Uint8Array | null): T

  /** How many blocks of the core make up the newest version. */
  get version (): number {
    return this.opened?.core.length ?? this.entry.length
  }

  /** What is opened, for whoever is to keep a copy of it. */
  get work (): T | null {
    return this.opened
  }

  get isOpen (): boolean {
    return this.opened !== null
  }

  get problem (): Problem | null {
    return this.#problem
  }

  get peers (): string[] {
    // Somebody may be there twice: found by the key, and asked for a copy.
    return [...new Set((this.opened?.core.peers ?? []).map((peer) => formatKey(peer.remotePublicKey)))]
  }

  /** Whether versions that were written elsewhere are still on their way: writing now would split the history. */
  get isBehind (): boolean {
    return this.entry.isOwn && this.opened !== null && (this.entry.isAdopted === true || this.opened.core.length < this.entry.length)
  }

  get canWrite (): boolean {
    return this.entry.isOwn && this.opened !== null && !this.isBehind
  }

  get link (): string {
    return `hyper://${this.entry.id}`
  }

  get status (): Status {
    return workStatus({
      kind: this.kind,
      isOpen: this.isOpen,
      problem: this.#problem,
      isOwn: this.entry.isOwn,
      isBehind: this.isBehind,
      isOnline: navigator.onLine,
      relay: this.#around.network.relay,
      hasSearched: this.#hasSearched,
      peers: this.peers.length,
      version: this.version
    })
  }

  /** How metadata is read: nothing is waited for that nobody could send. */
  get waiting (): { wait: boolean, timeout: number } {
    return { wait: this.peers.length > 0, timeout: PATIENCE_MS }
  }

  /** Opens what is stored and joins the network. A failure becomes the status. */
  async open (): Promise<void> {
    this.#opening ??= this.#open().finally(() => { this.#opening = null })
    await this.#opening
  }

  /** Leaves the network and closes what is stored. */
  async close (): Promise<void> {
    this.#isClosed = true
    const opened = this.#forget()
    await opened?.close()
  }

  protected note (): void {
    if (this.opened && !this.isBehind) {
      this.entry.length = this.opened.core.length
      this.#around.catalog.update(this.entry.id, { length: this.entry.length })
    }
    this.changed()
  }

  protected fail (error: unknown): void {
    this.#problem = explain(error, this.kind, this.entry.isOwn)
    this.changed()
  }

  async #open (): Promise<void> {
    if (this.#isClosed || this.opened) return
    this.#problem = null
    this.changed()
    let opened: T | null = null
    try {
      const store = await this.#around.vault.open()
      this.#around.network.useStore(store)
      opened = this.entry.isOwn ? this.make(store.namespace(this.entry.space!), null) : this.make(store.session(), parseKey(this.entry.id))
      await opened.ready()
      if (this.#isClosed) return void await opened.close()
      this.#use(opened)
    } catch (error) {
      await opened?.close().catch(() => {})
      this.fail(error)
    }
  }

  #use (opened: T): void {
    const { network } = this.#around
    this.opened = opened
    const { core } = opened
    core.on('append', () => { this.note(); void this.#catchUp(core); void this.#checkKind(core) })
    core.on('truncate', () => this.note())
    core.on('peer-add', () => { this.changed(); void this.#catchUp(core) })
    core.on('peer-remove', () => this.changed())
    core.on('storage-full', (error) => this.fail(error))
    this.#unwatch = network.watch(() => this.changed())
    this.#leave = network.join(memberOf(core, true, () => { this.#hasSearched = true; this.changed() }))
    this.note()
    void this.#checkKind(core)
  }

  // What came from another device can be written on once somebody who has it was asked for what is new.
  async #catchUp (core: Hypercore): Promise<void> {
    if (!this.entry.isAdopted) return
    await core.update({ wait: true }).catch(() => {})
    if (core.peers.length === 0 || core.length < Math.max(1, this.entry.length, ...core.peers.map(({ remoteLength }) => remoteLength))) return
    this.entry.isAdopted = false
    this.#around.catalog.update(this.entry.id, { isAdopted: false })
    this.note()
  }

  // A key says nothing of what is behind it; the first block does.
  async #checkKind (core: Hypercore): Promise<void> {
    if (this.entry.isOwn || core.length === 0 || this.#problem) return
    const first = await core.get(0, { timeout: PATIENCE_MS }).catch(() => null)
    if (first === null || new TextDecoder().decode(first).includes(PROTOCOL) || this.#isClosed) return
    this.#problem = {
      state: 'wrong-kind',
      title: `This key is not of a ${this.kind}`,
      detail: 'It belongs to a log of something else. Its blocks can be read one by one.',
      canRetry: false
    }
    this.changed()
  }

  #forget (): T | null {
    const { opened } = this
    this.opened = null
    this.#leave()
    this.#unwatch()
    return opened
  }
}
