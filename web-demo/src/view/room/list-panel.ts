// The list of a room: everybody can add, tick off, change and remove.

import { LONGEST_TEXT } from '../../model/room/operations.ts'
import type { Item } from '../../model/room/merged.ts'
import { MOST_ITEMS } from '../../model/room/merged.ts'
import type { Operation } from '../../model/room/operations.ts'
import type { Room } from '../../model/room/room.ts'
import { sentence } from '../../model/problem.ts'
import { make, setChildren, setText, toast } from '../dom.ts'

export class ListPanel {
  readonly element: HTMLElement
  readonly #items = make('ul', { className: 'items', testid: 'items' })
  readonly #count = make('p', { className: 'note' })
  readonly #empty = make('p', { className: 'empty pad', testid: 'items-empty' }, 'The list is empty.')
  readonly #input = make('input', { className: 'field', id: 'new-item', testid: 'new-item', type: 'text', maxLength: LONGEST_TEXT, autocomplete: 'off', placeholder: 'Add to the list' })
  readonly #add = make('button', { type: 'submit', className: 'button', testid: 'add-item' }, 'Add')
  #room: Room | null = null
  /** The item that is being changed: the list stands still meanwhile. */
  #changing: string | null = null

  constructor () {
    const form = make('form', { className: 'add-item', noValidate: true }, make('label', { className: 'unseen', htmlFor: 'new-item' }, 'New item'), this.#input, this.#add)
    form.addEventListener('submit', (event) => {
      event.preventDefault()
      const text = this.#input.value.trim()
      if (text === '') return
      this.#input.value = ''
      void this.#write({ op: 'add', text })
    })
    this.element = make('section', { className: 'card list-card', ariaLabel: 'List' },
      make('div', { className: 'card-head' }, make('h2', {}, 'List'), this.#count), this.#items, this.#empty, form)
  }

  show (room: Room | null): void {
    this.#room = room
    this.#changing = null
    this.#input.value = ''
  }

  render (): void {
    const room = this.#room
    if (!room) return
    this.#input.disabled = this.#add.disabled = !room.isOpen
    if (this.#changing !== null) return
    const items = room.merged.items.slice(0, MOST_ITEMS)
    const done = items.filter(({ isDone }) => isDone).length
    setText(this.#count, items.length === 0 ? '' : `${done} of ${items.length} done`)
    this.#empty.hidden = items.length > 0
    const focused = (document.activeElement as HTMLElement | null)?.id ?? ''
    setChildren(this.#items, JSON.stringify([room.entry.id, items]), () => items.map((item) => this.#item(item)))
    if (focused.startsWith('item-') && document.activeElement === document.body) document.getElementById(focused)?.focus()
  }

  #item (item: Item): HTMLElement {
    const id = `item-${item.id.replace(':', '-')}`
    const box = make('input', { type: 'checkbox', id, checked: item.isDone, testid: 'item-done' })
    box.addEventListener('change', () => { void this.#write({ op: 'check', item: item.id, isDone: box.checked }) })
    const change = make('button', { type: 'button', className: 'button small quiet', testid: 'item-edit', ariaLabel: `Change ${item.text}` }, 'Change')
    const remove = make('button', { type: 'button', className: 'button small quiet danger', testid: 'item-remove', ariaLabel: `Remove ${item.text}` }, 'Remove')
    remove.addEventListener('click', () => { void this.#write({ op: 'remove', item: item.id }) })
    const element = make('li', { className: 'item', testid: 'item' }, make('label', { htmlFor: id }, box, make('span', { className: 'item-text' }, item.text)), change, remove)
    element.dataset.done = String(item.isDone)
    change.addEventListener('click', () => this.#change(item, element))
    return element
  }

  #change (item: Item, element: HTMLElement): void {
    this.#changing = item.id
    const input = make('input', { className: 'field small', type: 'text', value: item.text, maxLength: LONGEST_TEXT, testid: 'item-text', ariaLabel: 'Text of the item' })
    const form = make('form', { className: 'change-item', noValidate: true }, input, make('button', { type: 'submit', className: 'button small primary', testid: 'item-save' }, 'Save'))
    const end = () => {
      if (this.#changing !== item.id) return
      this.#changing = null
      delete this.#items.dataset.fingerprint
      this.render()
      document.getElementById(`item-${item.id.replace(':', '-')}`)?.focus()
    }
    form.addEventListener('submit', (event) => {
      event.preventDefault()
      const text = input.value.trim()
      if (text !== '' && text !== item.text) void this.#write({ op: 'edit', item: item.id, text })
      end()
    })
    input.addEventListener('keydown', (event) => { if (event.key === 'Escape') end() })
    form.addEventListener('focusout', (event) => { if (!form.contains(event.relatedTarget as Node | null)) end() })
    element.replaceChildren(form)
    input.focus()
    input.select()
  }

  async #write (operation: Operation): Promise<void> {
    try {
      await this.#room?.write(operation)
    } catch (error) {
      toast(`Not written. ${sentence(error)}`)
      delete this.#items.dataset.fingerprint
      this.render()
    }
  }
}
