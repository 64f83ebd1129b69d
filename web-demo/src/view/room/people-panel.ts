// Who is in the room, and what one is called oneself.

import { nickname } from '../../model/room/nickname.ts'
import { LONGEST_NAME } from '../../model/room/operations.ts'
import type { Room } from '../../model/room/room.ts'
import { counted } from '../../model/words.ts'
import { make, setChildren, setText } from '../dom.ts'
import { personMark, personName } from './person.ts'

export class PeoplePanel {
  readonly element: HTMLElement
  readonly #name = make('input', { className: 'field small', id: 'nickname', testid: 'nickname', type: 'text', autocomplete: 'off', maxLength: LONGEST_NAME, placeholder: 'Your name' })
  readonly #list = make('ul', { className: 'people', testid: 'people' })
  readonly #count = make('p', { className: 'note' })
  #room: Room | null = null

  constructor (rename: (name: string) => void) {
    const form = make('form', { className: 'nickname', noValidate: true }, make('label', { htmlFor: this.#name.id }, 'You are'), this.#name)
    form.addEventListener('submit', (event) => { event.preventDefault(); this.#name.blur() })
    this.#name.addEventListener('change', () => rename(this.#name.value))
    this.element = make('section', { className: 'card people-card', ariaLabel: 'People' },
      make('div', { className: 'card-head' }, make('h2', {}, 'People'), this.#count), form, this.#list)
  }

  show (room: Room | null): void {
    this.#room = room
    this.#name.value = nickname()
  }

  render (): void {
    const people = this.#room?.people ?? []
    setText(this.#count, people.length === 0 ? '' : `${counted(people.filter(({ isHere }) => isHere).length, 'person', 'people')} here`)
    setChildren(this.#list, JSON.stringify(people), () => people.map(({ id, name, isMe, isHere, isTyping }) => {
      const words = isMe ? 'you' : isTyping ? 'is writing…' : isHere ? 'here' : 'away'
      const item = make('li', { className: 'person', testid: 'person' }, personMark(id, name), make('span', { className: 'person-name' }, personName(id, name)), make('span', { className: 'note' }, words))
      item.dataset.here = String(isHere)
      return item
    }))
  }
}
