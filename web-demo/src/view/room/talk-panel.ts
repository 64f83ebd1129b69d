// The conversation of a room.

import type { Written } from '../../model/room/operations.ts'
import { LONGEST_TEXT } from '../../model/room/operations.ts'
import type { Room } from '../../model/room/room.ts'
import { sentence } from '../../model/problem.ts'
import { count } from '../../model/words.ts'
import { make, setChildren, setText } from '../dom.ts'
import { personMark, personName } from './person.ts'

/** Messages that are shown at first, and how many more each time. */
const SHOWN = 100

/** How near to the end counts as being there, in pixels. */
const NEAR = 60

const time = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit' })
const day = new Intl.DateTimeFormat('en-GB', { weekday: 'short', day: 'numeric', month: 'short' })

export class TalkPanel {
  readonly element: HTMLElement
  readonly #list = make('ol', { testid: 'messages', ariaLabel: 'Messages' })
  /** Scrolls, and tells what is new. */
  readonly #scroller = make('div', { className: 'messages', role: 'log', tabIndex: 0, ariaLabel: 'Conversation' }, this.#list)
  readonly #earlier = make('button', { type: 'button', className: 'button small earlier', testid: 'earlier', hidden: true })
  readonly #empty = make('p', { className: 'empty pad', testid: 'messages-empty' }, 'Nothing was said yet. Enter sends what you write; Shift and Enter begin a new line.')
  readonly #typing = make('p', { className: 'note typing', testid: 'typing', role: 'status' })
  readonly #input = make('textarea', { className: 'field', id: 'message', testid: 'message', rows: 1, maxLength: LONGEST_TEXT, placeholder: 'Write a message', enterKeyHint: 'send' })
  readonly #send = make('button', { type: 'submit', className: 'button primary', testid: 'send' }, 'Send')
  #room: Room | null = null
  #shown = SHOWN

  constructor () {
    const form = make('form', { className: 'composer', noValidate: true }, make('label', { className: 'unseen', htmlFor: 'message' }, 'Message'), this.#input, this.#send)
    form.addEventListener('submit', (event) => { event.preventDefault(); void this.#say() })
    this.#input.addEventListener('input', () => this.#room?.typing(this.#input.value.trim() !== ''))
    this.#input.addEventListener('keydown', (event) => {
      if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return
      event.preventDefault()
      void this.#say()
    })
    this.#earlier.addEventListener('click', () => { this.#shown += SHOWN; this.render() })
    this.element = make('section', { className: 'card talk', ariaLabel: 'Conversation' },
      make('div', { className: 'card-head' }, make('h2', {}, 'Conversation'), this.#earlier), this.#scroller, this.#empty, this.#typing, form)
  }

  show (room: Room | null): void {
    this.#room = room
    this.#shown = SHOWN
    this.#input.value = ''
  }

  render (): void {
    const room = this.#room
    if (!room) return
    this.#input.disabled = this.#send.disabled = !room.isOpen
    const { messages } = room
    const shown = messages.slice(-this.#shown)
    this.#empty.hidden = messages.length > 0
    this.#scroller.hidden = messages.length === 0
    this.#earlier.hidden = shown.length === messages.length
    setText(this.#earlier, `Earlier (${count(messages.length - shown.length)})`)
    const names = new Map(room.people.map(({ id, name }) => [id, name]))
    const isAtEnd = this.#scroller.scrollHeight - this.#scroller.scrollTop - this.#scroller.clientHeight < NEAR
    const before = this.#list.dataset.fingerprint
    setChildren(this.#list, JSON.stringify([room.entry.id, room.me, shown.map(({ author, index }) => [author, index, names.get(author)])]), () =>
      shown.map((written, place) => this.#message(written, shown[place - 1] ?? null, names.get(written.author) || written.name, written.author === room.me)))
    if (this.#list.dataset.fingerprint !== before && isAtEnd) this.#scroller.scrollTop = this.#scroller.scrollHeight
    const typing = room.people.filter(({ isTyping, isMe }) => isTyping && !isMe).map(({ id, name }) => personName(id, name))
    setText(this.#typing, typing.length === 0 ? '' : typing.length > 2 ? 'Several are writing…' : `${typing.join(' and ')} ${typing.length === 1 ? 'is' : 'are'} writing…`)
  }

  #message ({ author, time: at, operation }: Written, before: Written | null, name: string, isMine: boolean): HTMLElement {
    const isSameDay = before !== null && day.format(before.time) === day.format(at)
    const isNext = before?.author === author && isSameDay
    const item = make('li', { className: `message${isMine ? ' mine' : ''}${isNext ? ' next' : ''}`, testid: 'message-item' },
      ...isSameDay ? [] : [make('p', { className: 'day' }, day.format(at))],
      ...isNext ? [] : [make('p', { className: 'message-head' }, personMark(author, name), make('strong', {}, isMine ? 'You' : personName(author, name)), make('time', { className: 'note', dateTime: new Date(at).toISOString() }, time.format(at)))],
      make('p', { className: 'message-text', testid: 'message-text' }, operation.op === 'say' ? operation.text : ''))
    return item
  }

  async #say (): Promise<void> {
    const text = this.#input.value.trim()
    if (text === '' || !this.#room) return
    this.#input.value = ''
    try {
      await this.#room.write({ op: 'say', text })
      this.#scroller.scrollTop = this.#scroller.scrollHeight
    } catch (error) {
      this.#input.value = text
      setText(this.#typing, `Not sent. ${sentence(error)}`)
    }
  }
}
