// The blocks of a log as a list that may be millions long: only the rows in sight exist.

import { bytes } from '../model/words.ts'
import { lineOf } from './block-text.ts'
import type { BlockLine } from './block-text.ts'
import { make } from './dom.ts'

/** What the list shows. */
export interface BlockSource {
  readonly length: number
  has (index: number): boolean
  /** Returns a block that is here, or null. */
  read (index: number): Promise<Uint8Array | null>
}

/** Height of a row in CSS pixels; `.row-block` has the same. */
const ROW = 34

/** Browsers lose precision in taller elements; a longer list scrolls by a scale. */
const TALLEST = 8_000_000

/** How many lines are kept after they went out of sight. */
const KEPT = 2_000

/** Rows made above and below those in sight. */
const MARGIN = 4

interface Row {
  readonly element: HTMLElement
  readonly index: HTMLElement
  readonly text: HTMLElement
  readonly size: HTMLElement
  shown: number
  isFilled: boolean
}

export class BlockList {
  #scroller: HTMLElement
  #room = make('div', { className: 'list-room' })
  #empty = make('p', { className: 'list-empty' })
  #rows: Row[] = []
  #lines = new Map<number, BlockLine & { size: number }>()
  #reading = new Set<number>()
  #source: BlockSource | null = null
  #selected = -1
  #follows = false
  #length = 0
  #ownScroll = -1
  #onSelect: (index: number) => void
  #onFollow: (follows: boolean) => void

  constructor (scroller: HTMLElement, onSelect: (index: number) => void, onFollow: (follows: boolean) => void) {
    this.#scroller = scroller
    this.#onSelect = onSelect
    this.#onFollow = onFollow
    this.#room.setAttribute('role', 'presentation')
    scroller.append(this.#room, this.#empty)
    scroller.addEventListener('scroll', () => this.#scrolled())
    scroller.addEventListener('keydown', (event) => this.#pressed(event))
    scroller.addEventListener('click', (event) => this.#clicked(event))
    new ResizeObserver(() => this.refresh()).observe(scroller)
  }

  /** Shows another log: from its beginning, or its end when it follows. */
  show (source: BlockSource | null, follows: boolean): void {
    this.#source = source
    this.#follows = follows
    this.#onFollow(follows)
    this.#lines.clear()
    this.#reading.clear()
    this.#select(-1)
    this.#length = 0
    this.#scroller.scrollTop = 0
    for (const row of this.#rows) row.shown = -1
    this.refresh()
  }

  get follows (): boolean {
    return this.#follows
  }

  set follows (follows: boolean) {
    this.#follows = follows
    if (follows) this.#scrollToEnd()
    this.#render()
  }

  /** Shows what is new: more blocks, or blocks that have arrived. */
  refresh (emptyWords = this.#empty.textContent ?? ''): void {
    const length = this.#source?.length ?? 0
    if (length < this.#length) this.#lines.clear()
    if (length !== this.#length) {
      this.#length = length
      this.#room.style.height = `${Math.min(length * ROW, TALLEST)}px`
      if (this.#selected >= length) this.#select(-1)
      if (this.#follows) this.#scrollToEnd()
    }
    this.#empty.hidden = length > 0
    // A list box without an entry is none.
    this.#scroller.role = length > 0 ? 'listbox' : 'group'
    if (this.#empty.textContent !== emptyWords) this.#empty.textContent = emptyWords
    this.#render()
  }

  /** Selects a block and brings it into sight. */
  choose (index: number): void {
    if (index < 0 || index >= this.#length) return
    if (index < this.#length - 1) this.#stopFollowing()
    this.#select(index)
    const { top, height } = this.#view()
    const rowTop = index * ROW
    if (rowTop < top || rowTop + ROW > top + height) this.#scrollTo(rowTop - (height - ROW) / 2)
    this.#render()
  }

  // The part in sight, in pixels of the whole list, however tall its element is.
  #view (): { top: number, height: number } {
    const height = this.#scroller.clientHeight
    return { top: this.#scroller.scrollTop * this.#scale(), height }
  }

  #scale (): number {
    const whole = this.#length * ROW
    const height = this.#scroller.clientHeight
    if (whole <= TALLEST) return 1
    return (whole - height) / (TALLEST - height)
  }

  #scrollTo (top: number): void {
    this.#scroller.scrollTop = Math.max(0, top) / this.#scale()
    this.#ownScroll = this.#scroller.scrollTop
  }

  #scrollToEnd (): void {
    this.#scrollTo(this.#length * ROW - this.#scroller.clientHeight)
  }

  #render (): void {
    const { top, height } = this.#view()
    const first = Math.max(0, Math.floor(top / ROW) - MARGIN)
    const last = Math.min(this.#length, Math.ceil((top + height) / ROW) + MARGIN)
    const needed = Math.max(0, last - first)
    while (this.#rows.length < needed) this.#rows.push(this.#makeRow())
    const { scrollTop } = this.#scroller
    for (const [place, row] of this.#rows.entries()) {
      const index = first + ((place - first) % this.#rows.length + this.#rows.length) % this.#rows.length
      const isNeeded = index < last
      row.element.hidden = !isNeeded
      if (!isNeeded) continue
      row.element.style.transform = `translateY(${Math.round(index * ROW - top + scrollTop)}px)`
      this.#fill(row, index)
    }
    this.#scroller.setAttribute('aria-activedescendant', this.#selected >= first && this.#selected < last ? `block-${this.#selected}` : '')
  }

  #fill (row: Row, index: number): void {
    const isSelected = index === this.#selected
    if (row.element.ariaSelected !== String(isSelected)) row.element.ariaSelected = String(isSelected)
    row.element.setAttribute('aria-setsize', String(this.#length))
    const line = this.#lines.get(index)
    const isFilled = line !== undefined
    if (row.shown === index && row.isFilled === isFilled && (isFilled || row.text.dataset.has === String(this.#source!.has(index)))) {
      if (!isFilled && this.#source!.has(index)) this.#read(index)
      return
    }
    row.shown = index
    row.isFilled = isFilled
    row.element.id = `block-${index}`
    row.element.dataset.index = String(index)
    row.element.setAttribute('aria-posinset', String(index + 1))
    row.index.textContent = String(index)
    const has = this.#source!.has(index)
    row.text.dataset.has = String(has)
    row.text.classList.toggle('binary', isFilled && !line.isText)
    row.text.classList.toggle('absent', !has)
    row.text.textContent = line?.line ?? (has ? '' : 'not here yet')
    row.size.textContent = line ? bytes(line.size) : ''
    if (!isFilled && has) this.#read(index)
  }

  async #read (index: number): Promise<void> {
    const source = this.#source
    if (!source || this.#reading.has(index)) return
    this.#reading.add(index)
    const block = await source.read(index).catch(() => null)
    if (source !== this.#source) return
    this.#reading.delete(index)
    if (!block) return
    if (this.#lines.size >= KEPT) this.#lines.delete(this.#lines.keys().next().value!)
    this.#lines.set(index, { ...lineOf(block), size: block.length })
    this.#render()
  }

  #makeRow (): Row {
    const index = make('span', { className: 'row-index' })
    const text = make('span', { className: 'row-text' })
    const size = make('span', { className: 'row-size' })
    const element = make('div', { className: 'row-block', role: 'option', testid: 'block-row' }, index, text, size)
    this.#room.append(element)
    return { element, index, text, size, shown: -1, isFilled: false }
  }

  #select (index: number): void {
    if (index === this.#selected) return
    this.#selected = index
    this.#onSelect(index)
  }

  #scrolled (): void {
    const { scrollTop, scrollHeight, clientHeight } = this.#scroller
    const isOwn = Math.abs(scrollTop - this.#ownScroll) < 1
    const isAtEnd = scrollHeight - scrollTop - clientHeight < ROW
    if (!isOwn && !isAtEnd) this.#stopFollowing()
    this.#ownScroll = -1
    this.#render()
  }

  #stopFollowing (): void {
    if (!this.#follows) return
    this.#follows = false
    this.#onFollow(false)
  }

  #clicked (event: MouseEvent): void {
    const row = (event.target as Element).closest<HTMLElement>('.row-block')
    if (row) this.choose(Number(row.dataset.index))
  }

  #pressed (event: KeyboardEvent): void {
    const page = Math.max(1, Math.floor(this.#scroller.clientHeight / ROW) - 1)
    const { top } = this.#view()
    const from = this.#selected === -1 ? Math.ceil(top / ROW) - 1 : this.#selected
    const wanted = {
      ArrowDown: from + 1,
      ArrowUp: from - 1,
      PageDown: from + page,
      PageUp: from - page,
      Home: 0,
      End: this.#length - 1
    }[event.key]
    if (wanted === undefined || event.ctrlKey || event.altKey || event.metaKey) return
    event.preventDefault()
    this.choose(Math.min(Math.max(wanted, 0), this.#length - 1))
  }
}
