// Follows one member's log: every block that is here, in whatever order it comes.

import type { Hypercore } from 'hypertab'

/** Most blocks of one member that are looked at. */
const MOST_BLOCKS = 20_000

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
    core.on('append', () => { void this.#scan() })
    void this.#scan()
    // All blocks, and those still to be written; closing the core ends it.
    if (!core.writable) core.download({ start: 0, end: -1 }).done().catch(() => {})
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
