// The view of one room: the talk on one side, people and the list on the other.

import { setNickname } from '../../model/room/nickname.ts'
import type { Room } from '../../model/room/room.ts'
import { byId, make } from '../dom.ts'
import { WorkHead } from '../work-head.ts'
import type { WorkActions } from '../work-head.ts'
import { ListPanel } from './list-panel.ts'
import { PeoplePanel } from './people-panel.ts'
import { TalkPanel } from './talk-panel.ts'

export class RoomView {
  readonly element = byId('room')
  readonly #head: WorkHead
  readonly #talk = new TalkPanel()
  readonly #list = new ListPanel()
  readonly #people: PeoplePanel
  #room: Room | null = null
  #unwatch: () => void = () => {}

  constructor (actions: WorkActions) {
    this.#head = new WorkHead('room', () => this.#room, actions)
    this.#people = new PeoplePanel((name) => {
      setNickname(name)
      this.#room?.introduce()
    })
    this.element.append(this.#head.element, make('div', { className: 'room-grid' }, this.#talk.element, this.#list.element, this.#people.element))
  }

  get title (): HTMLElement {
    return this.#head.title
  }

  /** Shows a room, or none. */
  show (room: Room | null): void {
    if (room === this.#room) return
    this.#unwatch()
    this.#room = room
    this.#talk.show(room)
    this.#list.show(room)
    this.#people.show(room)
    this.#unwatch = room?.watch(() => this.render()) ?? (() => {})
    this.render()
  }

  render (): void {
    const room = this.#room
    if (!room) return
    this.#head.render(room)
    this.#talk.render()
    this.#list.render()
    this.#people.render()
  }
}
