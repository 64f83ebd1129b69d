// The tables and figures of the panel.

import { make, Rows, setText } from './dom.js'
import type { ConnectionFacts, CoreFacts, NetworkFacts, PeerFacts } from './facts.js'
import type { StorageStatus } from '../storage/status.js'
import { bytes, count, short } from './words.js'

const SVG = 'http://www.w3.org/2000/svg'

/** A named figure. */
class Figure {
  readonly element: HTMLElement
  readonly #value = make('dd')

  constructor (name: string, part: string) {
    this.#value.setAttribute('part', part)
    this.element = make('div', {}, make('dt', {}, name), this.#value)
  }

  show (value: string): void {
    setText(this.#value, value)
  }
}

function table (caption: string, columns: string[], body: HTMLElement): HTMLElement {
  const head = make('tr', {}, ...columns.map((name) => make('th', { scope: 'col' }, name)))
  const whole = make('table', {}, make('caption', {}, caption), make('thead', {}, head), body)
  // What is wider than the panel is scrolled, with the keyboard, too.
  return make('div', { class: 'scroll', role: 'region', tabindex: '0', 'aria-label': `Inspector: ${caption.toLowerCase()}` }, whole)
}

/** Room on the disk. */
export class StoragePart {
  readonly element = make('section', { 'aria-labelledby': 'storage' }, make('h3', { id: 'storage' }, 'Storage'))
  readonly #figures = { used: new Figure('Used', 'storage-used'), quota: new Figure('Allowed', 'storage-quota'), kept: new Figure('Kept when room gets scarce', 'storage-persisted') }
  readonly #meter = make('meter', { min: '0', max: '1', 'aria-label': 'Part of the allowed room that is used' })

  constructor () {
    this.element.append(make('dl', {}, ...Object.values(this.#figures).map(({ element }) => element)), this.#meter)
  }

  show ({ usage, quota, persisted }: StorageStatus): void {
    this.#figures.used.show(usage === null ? 'unknown' : bytes(usage))
    this.#figures.quota.show(quota === null ? 'unknown' : bytes(quota))
    this.#figures.kept.show(persisted === null ? 'unknown' : persisted ? 'yes' : 'no')
    this.#meter.hidden = usage === null || quota === null
    if (usage !== null && quota) this.#meter.value = usage / quota
  }
}

/** The swarm, its connections and what goes over them. */
export class NetworkPart {
  readonly element = make('section', { 'aria-labelledby': 'network' }, make('h3', { id: 'network' }, 'Network'))
  readonly #figures = {
    state: new Figure('Relay', 'network-state'), topics: new Figure('Topics', 'network-topics'), known: new Figure('Peers known', 'network-known'),
    dialling: new Figure('Dialling', 'network-dialling'), down: new Figure('Down', 'network-down'), up: new Figure('Up', 'network-up')
  }

  readonly #body = make('tbody', { part: 'connections' })
  readonly #rows = new Rows<ConnectionFacts & { down: number, up: number }>(this.#body, () => {
    const cells = Array.from({ length: 5 }, () => make('td'))
    const id = make('code')
    const element = make('tr', {}, make('th', { scope: 'row' }, id), ...cells)
    return {
      element,
      update: ({ id: key, path, reason, isInitiator, received, sent, down, up }) => {
        setText(id, short(key))
        id.title = key
        const texts = [reason ? `${path} (${reason.toLowerCase().replaceAll('_', ' ')})` : path, isInitiator ? 'by us' : 'by them', bytes(received), bytes(sent), `↓ ${bytes(down)}/s ↑ ${bytes(up)}/s`]
        texts.forEach((text, at) => { setText(cells[at]!, text) })
        element.dataset['path'] = path
      }
    }
  })

  readonly #table = table('Connections', ['Peer', 'Path', 'Dialled', 'Received', 'Sent', 'Now'], this.#body)
  readonly #empty = make('p', {}, 'Nobody is connected.')
  /** What went over each connection until the last time. */
  #before = new Map<string, { received: number, sent: number }>()
  #time = 0

  constructor () {
    this.element.append(make('dl', {}, ...Object.values(this.#figures).map(({ element }) => element)), this.#table, this.#empty)
  }

  show (facts: NetworkFacts, now: number): void {
    const seconds = this.#time === 0 ? 0 : (now - this.#time) / 1000
    const rate = (value: number, before: number | undefined): number => before === undefined || seconds <= 0 ? 0 : Math.max(0, value - before) / seconds
    const connections = facts.connections.map((connection) => {
      const before = this.#before.get(connection.id)
      return { ...connection, down: rate(connection.received, before?.received), up: rate(connection.sent, before?.sent) }
    })
    this.#before = new Map(connections.map(({ id, received, sent }) => [id, { received, sent }]))
    this.#time = now
    this.#figures.state.show(facts.relay && facts.state === 'online' ? hostOf(facts.relay) : facts.state)
    this.#figures.topics.show(count(facts.topics))
    this.#figures.known.show(count(facts.known))
    this.#figures.dialling.show(count(facts.dialling))
    this.#figures.down.show(`${bytes(connections.reduce((sum, { down }) => sum + down, 0))}/s`)
    this.#figures.up.show(`${bytes(connections.reduce((sum, { up }) => sum + up, 0))}/s`)
    this.#rows.show(connections, ({ id }) => id)
    this.#table.hidden = connections.length === 0
    this.#empty.hidden = connections.length > 0
  }
}

/** Cores: which blocks are here, which are asked for, and of whom. */
export class CoresPart {
  readonly element = make('section', { 'aria-labelledby': 'cores' }, make('h3', { id: 'cores' }, 'Cores'))
  readonly #list = make('div', { part: 'cores' })
  readonly #rows = new Rows<CoreFacts>(this.#list, () => new CoreRow())
  readonly #empty = make('p', {}, 'No core is open.')

  constructor () {
    this.element.append(this.#list, this.#empty)
  }

  show (cores: CoreFacts[]): void {
    this.#rows.show(cores, ({ id }) => id)
    this.#empty.hidden = cores.length > 0
  }
}

class CoreRow {
  readonly element: HTMLElement
  readonly #id = make('code')
  readonly #summary = make('span')
  readonly #strip = document.createElementNS(SVG, 'svg')
  readonly #figures = {
    held: new Figure('Held', 'held'), missing: new Figure('Missing', 'missing'), asked: new Figure('Asked for', 'asked'),
    waiting: new Figure('Reads that wait', 'waiting'), size: new Figure('Size', 'size'), sessions: new Figure('Sessions', 'sessions'), access: new Figure('Use', 'access')
  }

  readonly #body = make('tbody')
  readonly #peers = new Rows<PeerFacts>(this.#body, () => {
    const cells = Array.from({ length: 3 }, () => make('td'))
    const id = make('code')
    return {
      element: make('tr', {}, make('th', { scope: 'row' }, id), ...cells),
      update: ({ id: key, path, remoteLength, asked }) => {
        setText(id, short(key))
        id.title = key
        ;[path, count(remoteLength), count(asked)].forEach((text, at) => { setText(cells[at]!, text) })
      }
    }
  })

  readonly #table = table('Peers of this core', ['Peer', 'Path', 'Blocks there', 'Asked for'], this.#body)

  constructor () {
    this.#strip.setAttribute('role', 'img')
    this.#strip.setAttribute('preserveAspectRatio', 'none')
    this.element = make('details', { part: 'core' },
      make('summary', {}, this.#id, this.#summary, this.#strip as unknown as HTMLElement),
      make('dl', {}, ...Object.values(this.#figures).map(({ element }) => element)),
      this.#table)
  }

  update (core: CoreFacts): void {
    setText(this.#id, short(core.id))
    this.#id.title = core.id
    setText(this.#summary, `${count(core.held)} of ${count(core.length)} blocks, ${bytes(core.byteLength)}, ${core.peers.length} ${core.peers.length === 1 ? 'peer' : 'peers'}`)
    this.#draw(core)
    this.#figures.held.show(count(core.held))
    this.#figures.missing.show(count(core.length - core.held))
    this.#figures.asked.show(count(core.asked))
    this.#figures.waiting.show(count(core.waiting))
    this.#figures.size.show(bytes(core.byteLength))
    this.#figures.sessions.show(count(core.sessions))
    this.#figures.access.show(core.isWritable ? 'written here' : core.isDownloading ? 'downloading' : 'read')
    this.#peers.show(core.peers, ({ id }) => id)
    this.#table.hidden = core.peers.length === 0
  }

  /** Columns, each as full as what is here of its blocks. */
  #draw ({ map, held, length }: CoreFacts): void {
    this.#strip.setAttribute('aria-label', `${held} of ${length} blocks are here`)
    this.#strip.setAttribute('viewBox', `0 0 ${Math.max(1, map.length)} 1`)
    while (this.#strip.childElementCount > map.length) this.#strip.lastElementChild!.remove()
    while (this.#strip.childElementCount < map.length) {
      const column = document.createElementNS(SVG, 'rect')
      column.setAttribute('x', String(this.#strip.childElementCount))
      column.setAttribute('width', '1')
      this.#strip.append(column)
    }
    map.forEach((part, at) => {
      // What is not empty is seen.
      const height = part === 0 ? 0 : Math.max(0.15, part)
      const column = this.#strip.children[at]!
      column.setAttribute('height', String(height))
      column.setAttribute('y', String(1 - height))
    })
  }
}

function hostOf (address: string): string {
  try {
    return new URL(address).host
  } catch {
    return address
  }
}
