// Follows one member's log: every block that is here, in whatever order it comes.

import type { Hypercore } from 'hypertab'

/** Most blocks of one member that are looked at. */
const MOST_BLOCKS = 20_000

/** Bytes of one member that are fetched: whoever writes more does not talk. */
const MOST_BYTES = 256 << 20

export class MemberLog {
  readonly core: Hypercore
  readonly id: string
  readonly #onBlock: (block: Uint8Array, index: number) => void
  readonly #read = new Set<number>()
  #isClosed = false

  /** `core` is ready. */
  constructor (id: string, core: Hypercore, onBlock: (block: Uint8Array, index: number) => void) {
    this.id = id
    this.core = core
    this.#onBlock = onBlock
    core.on('download', (index) => { void this.#take(index) })
    // All blocks, and those still to be written; closing the core ends it.
    const download = core.writable ? null : core.download({ start: 0, end: MOST_BLOCKS })
    download?.done().catch(() => {})
    const look = () => {
      if (core.byteLength > MOST_BYTES) download?.destroy()
      void this.#scan()
    }
    core.on('append', look)
    look()
  }

  /** Whether blocks are still to come. */
  get isBehind (): boolean {
    return this.#read.size < Math.min(this.core.length, MOST_BLOCKS)
  }

  async close (): Promise<void> {
    this.#isClosed = true
    await this.core.close()
  }

  async #scan (): Promise<void> {
    for (let index = 0; index < Math.min(this.core.length, MOST_BLOCKS); index++) await this.#take(index)
  }

  async #take (index: number): Promise<void> {
    if (this.#isClosed || index >= MOST_BLOCKS || this.#read.has(index)) return
    const block = await this.core.get(index, { wait: false }).catch(() => null)
    if (block === null || this.#isClosed || this.#read.has(index)) return
    this.#read.add(index)
    this.#onBlock(block, index)
  }
}
