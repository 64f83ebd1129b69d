// A range of blocks that is being fetched.

import type { Hypercore } from './hypercore.js'
import { toBound, type DownloadRange } from './options.js'
import { trackWish, type ActiveRequest } from './requests.js'

/** A range of blocks that is being fetched. */
export class Download {
  /** The session that asked for it. */
  readonly session: Hypercore
  /** What was asked for; null for all. */
  readonly range: DownloadRange | null
  /** What is under way; null before it was asked for. */
  request: ActiveRequest<boolean> | null = null
  /** Whether it was asked for. */
  opened = false
  /** Resolves when it was asked for. */
  readonly opening: Promise<void>

  /** @internal */
  constructor (session: Hypercore, range: DownloadRange | null = null) {
    this.session = session
    this.range = range
    this.opening = this.#open()
    this.opening.catch(() => {})
  }

  /** Resolves when it was asked for. */
  ready (): Promise<void> {
    return this.opening
  }

  /** Resolves when every block of the range is here; to false when it was stopped before. */
  async done (): Promise<boolean> {
    await this.ready()
    return await this.request!.promise
  }

  /** @deprecated use `done()` */
  downloaded (): Promise<boolean> {
    return this.done()
  }

  /** Stops it. */
  destroy (_error?: Error | null): void {
    if (this.opened) this.request!.cancel()
    else this.opening.then(() => { this.request!.cancel() }, () => {})
  }

  async #open (): Promise<void> {
    if (!this.session.opened) await this.session.opening
    const { start = 0, end = -1, blocks = null, linear = false, activeRequests = this.session.activeRequests } = this.range ?? {}
    const { length = end === -1 ? -1 : Math.max(end - start, 0) } = this.range ?? {}
    this.request = trackWish(activeRequests || this.session.activeRequests, this.session.core!.request<boolean | undefined>((core, engine) => engine.coreDownload(core, {
      start: blocks ? 0 : toBound(start),
      end: blocks ? blocks.length : length === -1 ? -1 : toBound(start + length),
      ...(blocks ? { blocks: [...blocks] } : {}),
      linear
    })))
    this.opened = true
  }
}
