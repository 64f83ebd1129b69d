// The part of the keys view about copies at the relay: the button that asks for them, and how each stands.

import type { CopyStatus } from 'hypertab'

import type { KeptView, Mirror } from '../model/mirror.ts'
import { sentence } from '../model/problem.ts'
import { bytes, count, counted } from '../model/words.ts'
import { make, setChildren, setText, toast } from './dom.ts'

const DAY = 86_400

export class CopiesView {
  readonly element: HTMLElement
  readonly #mirror: Mirror
  readonly #words = make('p', { testid: 'copies-words', role: 'status' })
  readonly #button = make('button', { type: 'button', className: 'button primary', testid: 'copies-keep' })
  readonly #list = make('ul', { className: 'copies', testid: 'copies', ariaLabel: 'Copies at the relay' })
  readonly #help = make('p', { className: 'help', testid: 'copies-help', role: 'status', hidden: true })
  #isBusy = false

  constructor (mirror: Mirror) {
    this.#mirror = mirror
    this.#button.addEventListener('click', () => { void this.#press() })
    this.element = make('section', { className: 'card pad', testid: 'copies-card', ariaLabel: 'Copies at the relay' },
      make('h2', {}, 'A copy that outlives this tab'), this.#words, this.#list, this.#help,
      make('div', { className: 'pane-actions flush' }, this.#button))
    mirror.watch(() => this.render())
  }

  render (): void {
    const { state, isOn, copies } = this.#mirror
    this.element.dataset.state = isOn && state.state === 'ready' ? 'on' : state.state
    setText(this.#words, this.#wordsFor())
    this.#button.hidden = state.state !== 'ready' && state.state !== 'unreachable'
    this.#button.disabled = this.#isBusy
    setText(this.#button, state.state === 'unreachable' ? 'Ask the relay again' : isOn ? 'Take the copies back' : 'Keep a copy on the relay')
    this.#button.classList.toggle('primary', !isOn)
    this.#list.hidden = copies.length === 0
    setChildren(this.#list, JSON.stringify(copies), () => copies.map((copy) => item(copy)))
  }

  #wordsFor (): string {
    const { state, isOn, copies } = this.#mirror
    switch (state.state) {
      case 'no-relay': return isOn ? 'Copies are looked after as soon as a relay is connected.' : 'Without a relay there is nobody to ask for a copy.'
      case 'asking': return 'Asking the relay whether it keeps copies…'
      case 'off': return 'This relay keeps no copies: what you publish can be read while this tab, or a reader’s, is open. Whoever runs the relay can switch it on.'
      case 'unreachable': return 'The relay does not say whether it keeps copies.'
    }
    const { retention } = state.info
    const days = retention < 2 * DAY ? counted(Math.round(retention / 3600), 'hour') : counted(Math.round(retention / DAY), 'day')
    if (!isOn) return `The relay can keep what you publish for ${days} after your last visit, so that it can be read while this browser is closed, or has lost it. It gets no key: it can change nothing, and read only what is not encrypted.`
    if (copies.length === 0) return 'There is nothing of your own yet. Whatever you publish from here on gets a copy.'
    const kept = copies.filter(({ status }) => status.state === 'kept').length
    return kept === copies.length
      ? `The relay has everything that you published. It keeps it for ${days} after your last visit.`
      : `The relay has ${count(kept)} of ${counted(copies.length, 'thing')} that you published.`
  }

  async #press (): Promise<void> {
    const { state, isOn } = this.#mirror
    this.#isBusy = true
    this.#help.hidden = true
    this.render()
    try {
      if (state.state === 'unreachable') {
        this.#mirror.retry()
      } else if (isOn) {
        await this.#mirror.stop()
        toast('The relay keeps no copies of yours any more')
      } else {
        await this.#mirror.start()
      }
    } catch (error) {
      this.#help.dataset.tone = 'bad'
      this.#help.hidden = false
      setText(this.#help, `The relay could not be told, and drops the copies when their time is over. ${sentence(error)}`)
    } finally {
      this.#isBusy = false
      this.render()
    }
  }
}

function item ({ name, status }: KeptView): HTMLElement {
  const element = make('li', { className: 'copy', testid: 'copy', tone: toneOf(status) },
    make('span', { className: 'dot', ariaHidden: 'true' }),
    make('strong', {}, name),
    make('span', { testid: 'copy-words' }, wordsOf(status)))
  element.dataset.state = status.state
  return element
}

function toneOf ({ state }: CopyStatus): string {
  return { asking: 'busy', copying: 'busy', kept: 'good', stopped: 'warn', refused: 'bad', closed: 'warn' }[state]
}

function wordsOf ({ state, length, held, bytes: size, until, announced, error }: CopyStatus): string {
  const why = error ? ` ${sentence(error)}` : ''
  if (state === 'kept' && length === 0) return 'Nothing is written yet.'
  switch (state) {
    case 'asking': return error ? `Waiting for the relay.${why}` : 'Asking…'
    case 'copying': return `Copying, ${count(held)} of ${counted(length, 'block')}`
    case 'kept': return `Kept${size === null ? '' : `, ${bytes(size)}`}${until === null ? '' : `, until ${until.toLocaleDateString('en', { day: 'numeric', month: 'long' })} at least`}${announced ? '' : '; not to be found'}`
    case 'stopped': return `${count(held)} of ${counted(length, 'block')}.${why}`
    case 'refused': return `Refused.${why}`
    case 'closed': return ''
  }
}
