// A log, branch or atomic state as it was once.
//
// Source: hypercore 11.35, `lib/session-state.js`, `snapshot` and `snapshotCompatLength`.

import type { CoreHandle } from '../binding.js'
import { userBytes } from '../platform.js'
import { call } from '../runtime.js'
import type { StoredHead } from '../storage/records.js'
import type { Atom, ForeignAtom } from './atom.js'
import type { TreeNode } from './proof.js'
import { State } from './state.js'

/** What a snapshot shows. */
export interface Shown {
  readonly length: number
  readonly byteLength: number
  readonly fork: number
  readonly hash: Uint8Array
  /** The engine's; null once it has the core anew, and knows nothing of snapshots. */
  id: number | null
  /** Blocks that are still where they were. */
  intact: number
  /** Blocks that the log still shares. */
  compat: number
}

/** What a session that is a snapshot looks at. Given up by `unref()` as often as it was taken. */
export class SnapshotState extends State {
  /** @internal */
  readonly shown: Shown
  readonly #live: State
  /** What a branch has from below, up to where, and since a commit more of it. */
  readonly #below: Array<{ end: number, picture: SnapshotState }> = []
  readonly #roots: TreeNode[]
  readonly #signature: Uint8Array | null
  #users = 1

  /** @internal A picture of a state as it is now. */
  constructor (live: State) {
    super(live.core, null, live.from, live.name, live.atom, live.sessions)
    this.#live = live.ref()
    // Once the store is open again, the engine has the core anew.
    const { snapshot, length, byteLength, fork, hash } = live.resuming
      ? { snapshot: null, length: live.length, byteLength: live.byteLength, fork: live.fork, hash: null }
      : call((engine) => engine.coreSnapshot(live.handle))
    this.shown = { length, byteLength, fork, hash: hash ?? live.hash(), id: snapshot, intact: length, compat: Math.min(length, this.core.length) }
    this.lookBelow()
    // What is below may have been cut already.
    for (const { end, picture: { shown } } of this.#below) if (shown.intact < end) this.shown.intact = shown.intact
    this.#roots = live.rootsOf(this.shown.hash)
    this.#signature = live.signed
    this.core.pictures.add(this)
  }

  override get live (): State { return this.#live }
  override get handle (): CoreHandle { return this.#live.handle }
  override get parent (): null { return null }
  override get length (): number { return this.shown.length }
  override get byteLength (): number { return this.shown.byteLength }
  override get fork (): number { return this.shown.fork }
  override get roots (): TreeNode[] { return [...this.#roots] }
  override get signature (): Uint8Array | null { return this.#signature && userBytes(this.#signature) }

  /** Blocks that the log still shares with it. */
  get snapshotCompatLength (): number { return this.shown.compat }

  override hash (): Uint8Array {
    return userBytes(this.shown.hash)
  }

  override isSnapshot (): this is SnapshotState {
    return true
  }

  override get shownHead (): StoredHead | null {
    const { length, fork, hash } = this.shown
    if (length === 0 && fork === 0) return null
    // When it was written is not kept: 0 is unknown.
    return { fork, length, rootHash: userBytes(hash), signature: this.signature, timestamp: 0 }
  }

  override isDefault (): boolean {
    return false
  }

  override isAtomicDefault (): boolean {
    return false
  }

  override flushedLength (): number {
    return this.length
  }

  override signedLength (): number {
    return Math.min(this.length, this.shown.compat, this.core.length)
  }

  override mayHave (index: number): boolean {
    return this.#live.mayHave(index)
  }

  override has (start: number, end: number): boolean | Promise<boolean> {
    return this.#live.has(start, end)
  }

  override async branch (name: string, overwrite: boolean, checkout?: number): Promise<State> {
    return await this.#live.branch(name, overwrite, checkout)
  }

  override async atomic (atom: Atom | ForeignAtom): Promise<State> {
    return await this.#live.atomic(atom)
  }

  /** The block as it is stored, also when the log was cut meanwhile; null when it is not here. */
  async get (index: number): Promise<Uint8Array | null> {
    const source = this.source(index)
    const snapshot = source.shown.id
    if (index >= source.length || snapshot === null) return null
    const block = await source.request<Uint8Array | null>((core, engine) => engine.coreGet(core, index, { wait: false, snapshot })).promise
    return block ? userBytes(block) : null
  }

  /** @internal Takes a picture of what a branch has from below: it may be cut there. A commit makes that more. */
  lookBelow (): void {
    const live = this.#live
    if (live.name === null || live.atom !== null) return
    const end = Math.min(this.shown.intact, live.flushedLength())
    if (end > this.#shared) this.#below.push({ end, picture: live.from!.picture() })
  }

  /** @internal The picture that has a block. */
  source (index: number): SnapshotState {
    return this.#below.find(({ end }) => index < end)?.picture.source(index) ?? this
  }

  get #shared (): number {
    return this.#below.at(-1)?.end ?? 0
  }

  /** @internal The state that it shows, or the log, was cut. */
  shorten (ancestors: number, isOwn: boolean): void {
    this.shown.compat = Math.min(this.shown.compat, ancestors)
    if (isOwn || ancestors < this.#shared) this.shown.intact = Math.min(this.shown.intact, ancestors)
  }

  /** @internal What it shows does not change. */
  override picture (): this {
    return this.ref()
  }

  override ref (): this {
    this.#users++
    return this
  }

  override async unref (): Promise<void> {
    if (--this.#users > 0) return
    const { core, shown: { id } } = this
    core.pictures.delete(this)
    if (!core.closed && id !== null) call((engine) => { engine.coreCloseSnapshot(this.handle, id) })
    for (const { picture } of this.#below) await picture.unref()
    await this.#live.unref()
  }
}
