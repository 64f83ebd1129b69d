// The head of a drive's, table's or room's view: its name, key and link, and what it is doing.

import { pageLink } from '../model/address.ts'
import type { Entry } from '../model/catalog.ts'
import type { Action, Status } from '../model/status.ts'
import { copy, make, setChildren, setText } from './dom.ts'
import { icon } from './icons.ts'
import { showQr } from './qr.ts'
import { workName } from './shelf.ts'
import type { ShelfKind } from './shelf.ts'

/** What has a head. */
export interface Headed {
  readonly entry: Entry
  readonly status: Status
  readonly link: string
}

export interface WorkActions {
  retry (): void
  openSettings (): void
  goHome (): void
  asLog (id: string): void
  remove (entry: Entry): void
}

export class WorkHead {
  readonly element: HTMLElement
  readonly title: HTMLElement
  #kind: ShelfKind
  #actions: WorkActions
  #badge: HTMLElement
  #key: HTMLElement
  #status: HTMLElement
  #statusTitle: HTMLElement
  #statusDetail: HTMLElement
  #countdown: HTMLElement
  #buttons: HTMLElement

  constructor (kind: ShelfKind, work: () => Headed | null, actions: WorkActions) {
    this.#kind = kind
    this.#actions = actions
    this.title = make('h1', { tabIndex: -1, testid: `${kind}-title` })
    this.#badge = make('span', { className: 'badge' })
    this.#key = make('code', { testid: `${kind}-key` })
    this.#statusTitle = make('strong', { testid: `${kind}-status-title` })
    this.#statusDetail = make('span', { testid: `${kind}-status-detail` })
    this.#countdown = make('span', { className: 'status-countdown', ariaHidden: 'true' })
    this.#buttons = make('div', { className: 'status-actions' })
    this.#status = make('div', { className: 'status', testid: `${kind}-status` },
      make('span', { className: 'status-mark', ariaHidden: 'true' }),
      make('div', { className: 'status-words', role: 'status' }, this.#statusTitle, this.#statusDetail),
      this.#countdown, this.#buttons)
    const button = (words: string, testid: string, run: (work: Headed) => void, style = '') => {
      const element = make('button', { type: 'button', className: `button small ${style}`, testid }, words)
      element.addEventListener('click', () => { const shown = work(); if (shown) run(shown) })
      return element
    }
    this.element = make('div', { className: 'work-head' },
      make('div', { className: 'log-head' },
        make('a', { className: 'back', href: `#/${kind}` }, icon('back'), `All ${kind}s`),
        make('div', { className: 'log-title' }, this.title, this.#badge),
        make('div', { className: 'log-key' },
          this.#key,
          ...kind === 'room' ? [] : [button('Copy key', `${kind}-copy-key`, (shown) => copy(shown.entry.id, 'Key'))],
          button('Copy link', `${kind}-copy-link`, (shown) => copy(shown.link, 'Link')),
          button('QR code', `${kind}-qr`, (shown) => showQr(workName(kind, shown.entry), kind === 'room' ? shown.link : pageLink(`#/${kind}/${shown.entry.id}`))),
          button('Remove', `${kind}-remove`, (shown) => actions.remove(shown.entry), 'quiet danger'))),
      this.#status)
  }

  render (work: Headed): void {
    const { state, tone, title, detail, countdown = '', actions } = work.status
    setText(this.title, workName(this.#kind, work.entry))
    setText(this.#badge, work.entry.isOwn ? 'yours' : this.#kind === 'room' ? 'joined' : 'read')
    setText(this.#key, work.entry.id)
    this.#status.dataset.tone = tone
    this.#status.dataset.state = state
    setText(this.#statusTitle, title)
    setText(this.#statusDetail, detail)
    setText(this.#countdown, countdown)
    setChildren(this.#buttons, actions.join() + work.entry.id, () => actions.map((action) => this.#action(action, work)))
  }

  #action (action: Action, work: Headed): HTMLElement {
    const words = { retry: 'Try again', settings: 'Settings', home: `All ${this.#kind}s`, 'as-log': 'Open it as a log' }[action]
    const button = make('button', { type: 'button', className: 'button small', testid: `${this.#kind}-action-${action}` }, words)
    button.addEventListener('click', () => {
      if (action === 'retry') this.#actions.retry()
      if (action === 'settings') this.#actions.openSettings()
      if (action === 'home') this.#actions.goHome()
      if (action === 'as-log') this.#actions.asLog(work.entry.id)
    })
    return button
  }
}
