// The network: the relay, and everybody we are connected to.

import type { Network, RelayState } from '../model/network.ts'
import { shorten } from '../model/key.ts'
import { host, relayWords } from '../model/status.ts'
import { bytes, count, counted } from '../model/words.ts'
import { byId, make, setChildren, setText } from './dom.ts'
import { InspectorPanel } from './inspector-panel.ts'
import { SpeedChart } from './speed-chart.ts'

export class NetworkView {
  readonly element = byId('network')
  readonly title = make('h1', { tabIndex: -1 }, 'Network')
  readonly #network: Network
  readonly #status = make('div', { className: 'status', testid: 'network-status' })
  readonly #statusTitle = make('strong', { testid: 'network-status-title' })
  readonly #statusDetail = make('span', {})
  readonly #switch = make('button', { type: 'button', className: 'button small', testid: 'relay-switch' })
  readonly #figures: Record<'peers' | 'down' | 'up', HTMLElement> = {
    peers: make('dd', { testid: 'network-peers' }), down: make('dd', { testid: 'network-down' }), up: make('dd', { testid: 'network-up' })
  }

  readonly #list = make('tbody', { testid: 'connections' })
  readonly #table: HTMLElement
  readonly #empty = make('p', { className: 'empty pad' }, 'Nobody is connected. Open a log, a drive or a table: its key is what peers are found by.')
  readonly #peak = make('p', { className: 'note', testid: 'network-peak' })
  readonly #chart: SpeedChart
  readonly #inspector: InspectorPanel

  constructor (network: Network, openSettings: () => void) {
    this.#network = network
    this.#inspector = new InspectorPanel(() => network.inspected)
    this.#switch.addEventListener('click', () => network.relay.state === 'off' ? network.start() : network.switchOff())
    const settings = make('button', { type: 'button', className: 'button small', testid: 'network-settings' }, 'Another relay')
    settings.addEventListener('click', openSettings)
    this.#status.append(
      make('span', { className: 'status-mark', ariaHidden: 'true' }),
      make('div', { className: 'status-words', role: 'status' }, this.#statusTitle, this.#statusDetail),
      make('div', { className: 'status-actions' }, this.#switch, settings))
    const canvas = make('canvas', { className: 'wide-chart', role: 'img', testid: 'network-chart' })
    canvas.setAttribute('aria-label', 'Bytes per second over the last minute')
    // The roles stay where a narrow page shows each row as a list.
    this.#list.role = 'rowgroup'
    const head = make('tr', { role: 'row' }, ...COLUMNS.map((words) => make('th', { scope: 'col', role: 'columnheader' }, words)))
    this.#table = make('div', { className: 'scroll', role: 'region', tabIndex: 0, ariaLabel: 'Connections' },
      make('table', { className: 'grid-table stacks', role: 'table' }, make('thead', { role: 'rowgroup' }, head), this.#list))
    this.element.append(
      make('div', { className: 'lead' }, this.title, make('p', {}, 'A tab has no UDP. A relay passes its packets on until two tabs have found a direct way. Who talks to whom is encrypted from end to end: the relay can neither read nor change anything.')),
      this.#status,
      make('dl', { className: 'figures three' },
        make('div', { className: 'card figure' }, make('dt', {}, 'Peers'), this.#figures.peers),
        make('div', { className: 'card figure' }, make('dt', { className: 'down' }, 'Down'), this.#figures.down),
        make('div', { className: 'card figure' }, make('dt', { className: 'up' }, 'Up'), this.#figures.up)),
      make('section', { className: 'card' }, make('div', { className: 'card-head' }, make('h2', {}, 'The last minute'), this.#peak), canvas),
      make('section', { className: 'card' }, make('div', { className: 'card-head' }, make('h2', {}, 'Connections')), this.#table, this.#empty),
      this.#inspector.element)
    this.#chart = new SpeedChart(canvas)
    this.#chart.show(network.rates)
    network.watch(() => this.render())
  }

  render (): void {
    if (this.element.hidden) return
    const { relay, connections, rates } = this.#network
    const { tone, words } = relayWords(relay, navigator.onLine)
    this.#status.dataset.tone = tone
    this.#status.dataset.state = relay.state
    setText(this.#statusTitle, words)
    setText(this.#statusDetail, detail(relay, this.#network.roundTrip))
    setText(this.#switch, relay.state === 'off' ? 'Switch on' : 'Switch off')
    setText(this.#figures.peers, count(connections.length))
    setText(this.#figures.down, `${bytes(rates.downPerSecond)}/s`)
    setText(this.#figures.up, `${bytes(rates.upPerSecond)}/s`)
    this.#empty.hidden = connections.length > 0
    this.#table.hidden = connections.length === 0
    const way = 'address' in relay ? host(relay.address) : ''
    // The rows are made anew every second; who was on a button stays there.
    const focused = (document.activeElement as HTMLElement | null)?.dataset.cut
    setChildren(this.#list, JSON.stringify(connections.map((connection) => [connection, ago(connection.since)])), () => connections.map(({ id, isCaller, isDirect, why, roundTrip, since, received, sent, down, up }) => make('tr', { testid: 'connection', role: 'row' }, ...cells([
      make('td', {}, make('code', { title: id }, shorten(id))),
      make('td', {}, isCaller ? 'we did' : 'they did'),
      make('td', { testid: 'connection-way' }, make('span', {}, isDirect ? 'direct' : `relay ${way}`), make('span', { className: 'why' }, why),
        ...(isDirect ? [cutButton(id, () => this.#network.cut(id))] : [])),
      make('td', { testid: 'connection-round-trip' }, isDirect ? milliseconds(roundTrip) : '–'),
      make('td', {}, ago(since)),
      make('td', {}, bytes(received)),
      make('td', {}, bytes(sent)),
      make('td', {}, `↓ ${bytes(down)}/s ↑ ${bytes(up)}/s`)
    ]))))
    if (focused && document.activeElement === document.body) this.#list.querySelector<HTMLElement>(`[data-cut="${focused}"]`)?.focus()
    setText(this.#peak, rates.most === 0 ? 'bytes per second' : `at most ${bytes(rates.most)}/s`)
    this.#chart.draw()
    this.#inspector.render()
  }
}

const COLUMNS = ['Peer', 'Who called', 'Way', 'Round trip', 'For', 'Received', 'Sent', 'Now']

/** Cells that say their column themselves where there is no head. */
function cells (list: HTMLElement[]): HTMLElement[] {
  for (const [index, cell] of list.entries()) {
    cell.role = 'cell'
    cell.dataset.column = COLUMNS[index]!
  }
  return list
}

function cutButton (id: string, cut: () => void): HTMLElement {
  const button = make('button', { type: 'button', className: 'button small', testid: 'connection-cut', title: 'Leave the direct way; the connection goes on through the relay and looks for another one' }, 'Cut the direct way')
  button.dataset.cut = id
  button.addEventListener('click', cut)
  return button
}

function milliseconds (time: number | null): string {
  return time === null ? '…' : time < 10 ? `${time.toFixed(1)} ms` : `${Math.round(time)} ms`
}

function detail (relay: RelayState, roundTrip: number | null): string {
  switch (relay.state) {
    case 'unset':
    case 'wrong': return relay.fault
    case 'off': return 'Nobody can be reached. What is stored can be read, and everything goes on when it is switched on.'
    case 'connecting': return relay.address
    case 'open': return `Connected at ${relay.address}${roundTrip === null ? '' : `, ${milliseconds(roundTrip)} there and back`}.`
    case 'lost': return relay.retryIn === null || relay.retryIn === 0 ? 'It is being tried again.' : `It is tried again in ${relay.retryIn} s.`
  }
}

function ago (since: number): string {
  const seconds = Math.floor((Date.now() - since) / 1000)
  return seconds < 60 ? `${seconds} s` : seconds < 3600 ? counted(Math.floor(seconds / 60), 'minute') : counted(Math.floor(seconds / 3600), 'hour')
}
