// The block that is chosen, all of it.

import type { Log } from '../model/log.ts'
import { bytes, count } from '../model/words.ts'
import { pageOf } from './block-text.ts'
import { byId, copy, make, setText } from './dom.ts'

const NONE = 'Choose a block in the list, or on the map, to read all of it.'

export class Reader {
  #log: Log | null = null
  #index = -1
  #block: Uint8Array | null = null
  #isReading = false
  #title = byId('reader-title')
  #body = byId('reader-body')
  #copy = byId<HTMLButtonElement>('reader-copy')
  #save = byId<HTMLButtonElement>('reader-save')

  constructor () {
    this.#copy.addEventListener('click', () => { if (this.#block) copy(pageOf(this.#block).text, 'Block') })
    this.#save.addEventListener('click', () => this.#saveBlock())
  }

  /** Shows a block of a log; none for a negative index. */
  show (log: Log | null, index: number): void {
    this.#log = log
    this.#index = index
    this.#block = null
    this.#isReading = false
    this.#render()
    this.refresh()
  }

  /** Reads the block when it has arrived since. */
  async refresh (): Promise<void> {
    const log = this.#log
    const index = this.#index
    if (!log || index < 0 || this.#block || this.#isReading || !log.held.has(index)) return
    this.#isReading = true
    const block = await log.read(index).catch(() => null)
    if (log !== this.#log || index !== this.#index) return
    this.#isReading = false
    this.#block = block
    this.#render()
  }

  #render (): void {
    const block = this.#block
    this.#copy.disabled = this.#save.disabled = block === null
    this.#body.scrollTop = 0
    this.#body.classList.toggle('words', block === null)
    if (block) {
      const { isText, text } = pageOf(block)
      setText(this.#title, `Block ${count(this.#index)} · ${bytes(block.length)}${isText ? '' : ' · not text'}`)
      this.#body.classList.toggle('hex', !isText)
      this.#body.textContent = text
    } else {
      const isChosen = this.#log !== null && this.#index >= 0
      setText(this.#title, isChosen ? `Block ${count(this.#index)}` : 'No block chosen')
      this.#body.classList.remove('hex')
      const isComing = isChosen && this.#log!.held.has(this.#index)
      setText(this.#body, isComing ? '' : isChosen ? 'This block is not on this device yet.' : NONE)
    }
  }

  #saveBlock (): void {
    if (!this.#block || !this.#log) return
    const url = URL.createObjectURL(new Blob([this.#block as BlobPart]))
    make('a', { href: url, download: `${this.#log.entry.id.slice(0, 8)}-${this.#index}` }).click()
    setTimeout(() => URL.revokeObjectURL(url), 10_000)
  }
}
