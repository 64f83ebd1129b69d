// The view of one log.

import { pageLink } from '../model/address.ts'
import type { Log } from '../model/log.ts'
import { shorten } from '../model/key.ts'
import type { Action } from '../model/status.ts'
import { bytes, count, counted, share } from '../model/words.ts'
import { BlockList } from './block-list.ts'
import { BlockMap } from './block-map.ts'
import { Composer } from './composer.ts'
import { byId, copy, make, setChildren, setText } from './dom.ts'
import { nameOf } from './home.ts'
import { ProofPanel } from './proof-panel.ts'
import { showQr } from './qr.ts'
import { Reader } from './reader.ts'
import { SpeedChart } from './speed-chart.ts'

export interface LogActions {
  retry (): void
  openSettings (): void
  goHome (): void
  remove (log: Log): void
}

/** How many peers are listed; the rest is counted. */
const LISTED_PEERS = 12

const time = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit', second: '2-digit' })

export class LogView {
  readonly element = byId('log')
  #log: Log | null = null
  #unwatch: () => void = () => {}
  #actions: LogActions
  #list: BlockList
  #map: BlockMap
  #chart = new SpeedChart(byId<HTMLCanvasElement>('speed-chart'))
  #reader = new Reader()
  #proof = new ProofPanel()
  #composer = new Composer()

  constructor (actions: LogActions) {
    this.#actions = actions
    const follow = byId<HTMLInputElement>('follow')
    this.#list = new BlockList(byId('block-list'), (index) => { this.#reader.show(this.#log, index); this.#proof.show(this.#log, index) }, (follows) => { follow.checked = follows })
    this.#map = new BlockMap(byId<HTMLCanvasElement>('block-map'), (index) => this.#list.choose(index))
    follow.addEventListener('change', () => { this.#list.follows = follow.checked })
    this.element.append(this.#proof.element)
    this.#setUpJump()
    this.#setUpHead()
  }

  /** Shows a log, or none. */
  show (log: Log | null): void {
    this.#unwatch()
    this.#log = log
    this.#reader.show(null, -1)
    this.#proof.show(null, -1)
    this.#composer.show(log)
    this.#chart.show(log?.rates ?? null)
    this.#list.show(log && { get length () { return log.length }, has: (index) => log.held.has(index), read: (index) => log.read(index) }, log?.entry.isOwn ?? false)
    this.#unwatch = log?.watch(() => this.render()) ?? (() => {})
    if (!log) return
    setText(byId('log-title'), nameOf(log.entry))
    setText(byId('log-kind'), log.entry.isOwn ? 'yours' : 'read')
    setText(byId('log-key'), log.entry.id)
    this.render()
  }

  render (): void {
    const log = this.#log
    if (!log) return
    this.#renderStatus(log)
    this.#renderFigures(log)
    this.#renderPeers(log)
    this.#renderRefusals(log)
    this.#renderHappenings(log)
    this.#list.refresh(log.entry.isOwn ? 'The blocks you append appear here.' : 'The blocks appear here as they arrive.')
    this.#map.show(log.held, log.length)
    const { blocksPerCell } = this.#map
    setText(byId('map-note'), blocksPerCell > 1 ? `one cell is ${count(blocksPerCell)} blocks` : '')
    this.#chart.draw()
    this.#reader.refresh()
    this.#proof.refresh()
    this.#composer.refresh()
  }

  #renderStatus (log: Log): void {
    const { state, tone, title, detail, countdown = '', actions } = log.status
    const status = byId('status')
    status.dataset.tone = tone
    status.dataset.state = state
    setText(byId('status-title'), title)
    setText(byId('status-detail'), detail)
    setText(byId('status-countdown'), countdown)
    setChildren(byId('status-actions'), actions.join(), () => actions.map((action) => this.#actionButton(action)))
  }

  #renderFigures (log: Log): void {
    const { length, held, rates } = log
    const peers = log.peers.length
    setText(byId('figure-length'), count(length))
    setText(byId('note-length'), length === 1 ? 'block' : 'blocks')
    setText(byId('figure-held'), count(held.count))
    setText(byId('note-held'), length === 0 ? 'nothing yet' : held.count >= length ? 'all of them' : share(held.count, length))
    setText(byId('figure-peers'), count(peers))
    setText(byId('note-peers'), peers === 0 ? 'nobody yet' : 'connected')
    setText(byId('figure-down'), `${bytes(rates.downPerSecond)}/s`)
    setText(byId('figure-up'), `${bytes(rates.upPerSecond)}/s`)
  }

  #renderPeers (log: Log): void {
    const peers = log.peers
    byId('peer-empty').hidden = peers.length > 0
    setChildren(byId('peer-list'), JSON.stringify([log.entry.id, peers]), () => {
      const items = peers.slice(0, LISTED_PEERS).map(({ id, length, path }) => make('li', { className: 'peer', testid: 'peer', tone: 'good' },
        make('span', { className: 'dot' }),
        make('code', { title: id }, shorten(id)),
        make('span', { className: 'note' }, `${path} · knows ${counted(length, 'block')}`)))
      if (peers.length > LISTED_PEERS) items.push(make('li', { className: 'peer' }, make('span', { className: 'note' }, `and ${count(peers.length - LISTED_PEERS)} more`)))
      return items
    })
  }

  #renderRefusals (log: Log): void {
    setChildren(byId('refusals'), JSON.stringify([log.entry.id, log.refusals]), () => log.refusals.map((refusal) => {
      const { peer, block, reason, times } = refusal
      const what = block === null ? 'data' : `block ${count(block)}`
      const close = make('button', { type: 'button', className: 'button small quiet', ariaLabel: 'Dismiss' }, 'Dismiss')
      close.addEventListener('click', () => log.forgetRefusal(refusal))
      const element = make('div', { className: 'refusal', testid: 'refusal' },
        make('p', {},
          make('strong', {}, times > 1 ? `Forged data refused, ${count(times)} times` : 'A forged block was refused'),
          `Peer ${shorten(peer)} sent ${what} that does not match what the author signed. It was thrown away; everything stored here is untouched. (${reason})`),
        close)
      element.setAttribute('role', 'alert')
      return element
    }))
  }

  #renderHappenings (log: Log): void {
    const { happenings } = log
    byId('events-empty').hidden = happenings.length > 0
    const fingerprint = `${log.entry.id} ${happenings.length} ${happenings[0]?.time.getTime()} ${happenings[0]?.words}`
    setChildren(byId('events'), fingerprint, () => happenings.map((happening) => make('li', { tone: happening.tone },
      make('time', { dateTime: happening.time.toISOString() }, time.format(happening.time)),
      make('span', {}, happening.words))))
  }

  #actionButton (action: Action): HTMLElement {
    const words = { retry: 'Try again', settings: 'Settings', home: 'All logs', 'as-log': 'Open it as a log' }[action]
    const run = { retry: this.#actions.retry, settings: this.#actions.openSettings, home: this.#actions.goHome, 'as-log': this.#actions.goHome }[action]
    const button = make('button', { type: 'button', className: 'button small', testid: `action-${action}` }, words)
    button.addEventListener('click', () => run())
    return button
  }

  #setUpJump (): void {
    const input = byId<HTMLInputElement>('jump-input')
    const jump = () => {
      const index = Number(input.value.replace(/[\s,.]/g, ''))
      const isBlock = input.value.trim() !== '' && Number.isInteger(index) && index >= 0 && index < (this.#log?.length ?? 0)
      input.toggleAttribute('aria-invalid', false)
      if (isBlock) this.#list.choose(index)
      else input.setAttribute('aria-invalid', 'true')
    }
    byId('jump-form').addEventListener('submit', (event) => { event.preventDefault(); jump() })
    input.addEventListener('input', () => input.removeAttribute('aria-invalid'))
  }

  #setUpHead (): void {
    byId('copy-key').addEventListener('click', () => { if (this.#log) copy(this.#log.entry.id, 'Key') })
    byId('copy-link').addEventListener('click', () => { if (this.#log) copy(pageLink(`#/${this.#log.entry.id}`), 'Link') })
    byId('show-qr').addEventListener('click', () => { if (this.#log) showQr(nameOf(this.#log.entry), pageLink(`#/${this.#log.entry.id}`)) })
    byId('remove-log').addEventListener('click', () => { if (this.#log) this.#actions.remove(this.#log) })
  }
}
