// Groups of cores: who is told when one of them changes.

import { Readable } from 'streamx'

import { toHex } from '../support/bytes.js'
import { EventEmitter } from '../support/emitter.js'
import type { EntryStream, GroupUpdateOptions } from '../storage/records.js'
import type { Storage } from '../storage/storage.js'

/** What a core of a group has become. */
export interface GroupUpdate {
  key: Uint8Array
  length: number
  fork: number
}

/** Tells of the cores of one group. */
export class GroupNotifyHandle extends EventEmitter<{ update: [update: GroupUpdate] }> {
  readonly #storage: Storage
  readonly #topic: Uint8Array
  readonly #forget: (handle: GroupNotifyHandle) => void

  /** @internal */
  constructor (storage: Storage, topic: Uint8Array, forget: (handle: GroupNotifyHandle) => void) {
    super()
    this.#storage = storage
    this.#topic = topic
    this.#forget = forget
  }

  /** The keys of the cores that changed, newest first unless told otherwise. */
  updates (options?: GroupUpdateOptions): EntryStream<Uint8Array> {
    const updates = (async function * (storage: Storage, topic: Uint8Array) {
      const group = await storage.getGroup(topic)
      if (group !== null) yield * storage.createGroupUpdateStream(group, options)
    })(this.#storage, this.#topic)
    return Readable.from(updates) as EntryStream<Uint8Array>
  }

  /** Tells of nothing more. */
  destroy (): void {
    this.#forget(this)
  }
}

/** The handles of one store, by topic. */
export class GroupNotifiers {
  readonly #handles = new Map<string, Set<GroupNotifyHandle>>()

  create (storage: Storage, topic: Uint8Array): GroupNotifyHandle {
    const id = toHex(topic)
    let handles = this.#handles.get(id)
    if (!handles) this.#handles.set(id, handles = new Set())
    const handle = new GroupNotifyHandle(storage, topic, (handle) => { this.#forget(id, handle) })
    handles.add(handle)
    return handle
  }

  tell (topic: Uint8Array, update: GroupUpdate): void {
    for (const handle of this.#handles.get(toHex(topic)) ?? []) handle.emit('update', update)
  }

  #forget (id: string, handle: GroupNotifyHandle): void {
    const handles = this.#handles.get(id)
    if (handles?.delete(handle) && handles.size === 0) this.#handles.delete(id)
  }
}
