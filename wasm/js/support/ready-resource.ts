// Things that open by themselves and are closed once.

import { EventEmitter, type EventMap } from './emitter.js'

export type ReadyEvents = {
  ready: []
  close: []
}

/** Opens at the first `ready()`, and closes once. */
export class ReadyResource<M extends EventMap = {}> extends EventEmitter<M & ReadyEvents> {
  opening: Promise<void> | null = null
  closing: Promise<void> | null = null
  opened = false
  closed = false

  ready (): Promise<void> {
    this.opening ??= this.#open()
    return this.opening
  }

  close (): Promise<void> {
    this.closing ??= this.#close()
    return this.closing
  }

  /** @internal */
  protected async _open (): Promise<void> {}
  /** @internal */
  protected async _close (): Promise<void> {}

  async #open (): Promise<void> {
    if (this.closing !== null) return
    try {
      await this._open()
    } catch (error) {
      this.close().catch(() => {})
      throw error
    }
    this.opened = true
    this.#tell('ready')
  }

  async #close (): Promise<void> {
    if (!this.opened && this.opening !== null) await this.opening.catch(() => {})
    if (this.opened || this.opening === null) await this._close()
    this.closed = true
    this.#tell('close')
  }

  #tell (name: keyof ReadyEvents): void {
    (this as unknown as { emit (name: string): boolean }).emit(name)
  }
}
