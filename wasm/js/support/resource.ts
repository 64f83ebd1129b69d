// What opens once and closes once, as upstream's `ready-resource`.

import { EventEmitter, type Emitter, type EventMap } from './emitter.js'

export type ResourceEvents = {
  ready: []
  close: []
}

/** Something with `ready()` and `close()`; a class of it says what these do. */
export class ReadyResource<M extends EventMap = ResourceEvents> extends EventEmitter<M & ResourceEvents> {
  opening: Promise<void> | null = null
  closing: Promise<void> | null = null
  opened = false
  closed = false

  /** Opens it, once. */
  ready (): Promise<void> {
    this.opening ??= this.#open()
    return this.opening
  }

  /** Closes it, once, also when it is still opening. */
  close (): Promise<void> {
    this.closing ??= this.#close()
    return this.closing
  }

  /** @internal */
  async _open (): Promise<void> {}

  /** @internal */
  async _close (): Promise<void> {}

  async #open (): Promise<void> {
    if (this.closing !== null) return
    try {
      await this._open()
    } catch (error) {
      this.close().catch(() => {})
      throw error
    }
    this.opened = true
    this.#emit('ready')
  }

  async #close (): Promise<void> {
    try {
      if (!this.opened && this.opening !== null) await this.opening
    } catch {
      // Whoever opened it knows.
    }
    if (this.opened || this.opening === null) await this._close()
    this.closed = true
    this.#emit('close')
  }

  #emit (name: 'ready' | 'close'): void {
    (this as unknown as Emitter<ResourceEvents>).emit(name)
  }
}
