// A panel for people who build: cores, blocks, peers, paths, traffic and storage, live.

import type { Corestore } from '../corestore/corestore.js'
import type { Hypercore } from '../hypercore/hypercore.js'
import type { Hyperswarm } from '../hyperswarm/hyperswarm.js'
import { storageStatus } from '../storage/status.js'
import { coresOf, networkOf } from './facts.js'
import { make } from './dom.js'
import { CoresPart, NetworkPart, StoragePart } from './parts.js'
import { STYLE } from './style.js'

/** How often it looks, in milliseconds, when the attribute `interval` does not say. */
const INTERVAL = 1000

/** The least that `interval` can be. */
const MIN_INTERVAL = 100

// Where there are no elements, as in Node, the module can be imported all the same.
const Base: typeof HTMLElement = globalThis.HTMLElement ?? class {}

/**
 * `<hypertab-inspector>`. Give it a `store`, a `swarm`, `cores` of no store, or all of them. It looks once a second while it is
 * on a page that is seen, and changes nothing.
 */
export class HypertabInspector extends Base {
  static readonly observedAttributes = ['interval']

  #store: Corestore | null = null
  #swarm: Hyperswarm | null = null
  #cores: Hypercore[] = []
  #timer: ReturnType<typeof setInterval> | undefined
  #parts: { storage: StoragePart, network: NetworkPart, cores: CoresPart } | null = null
  #onvisible = (): void => { this.#run() }

  /** The store whose open cores are shown. */
  get store (): Corestore | null { return this.#store }
  set store (store: Corestore | null) {
    this.#store = store
    this.refresh()
  }

  /** The swarm whose connections are shown. */
  get swarm (): Hyperswarm | null { return this.#swarm }
  set swarm (swarm: Hyperswarm | null) {
    this.#swarm = swarm
    this.refresh()
  }

  /** Cores that are shown beside those of the store. */
  get cores (): Hypercore[] { return this.#cores }
  set cores (cores: Hypercore[]) {
    this.#cores = [...cores]
    this.refresh()
  }

  /** Begins to look. */
  connectedCallback (): void {
    if (this.#parts === null) {
      const parts = this.#parts = { storage: new StoragePart(), network: new NetworkPart(), cores: new CoresPart() }
      const root = this.attachShadow({ mode: 'open' })
      const sheet = new CSSStyleSheet()
      sheet.replaceSync(STYLE)
      root.adoptedStyleSheets = [sheet]
      root.append(make('div', { role: 'group', 'aria-label': 'hypertab inspector' }, parts.cores.element, parts.network.element, parts.storage.element))
      // What was set before the element was known stands in the way of its members.
      for (const name of ['store', 'swarm', 'cores'] as const) {
        const { value } = Object.getOwnPropertyDescriptor(this, name) ?? {}
        if (value !== undefined && delete this[name]) Object.assign(this, { [name]: value })
      }
    }
    document.addEventListener('visibilitychange', this.#onvisible)
    this.#run()
  }

  /** Looks no longer. */
  disconnectedCallback (): void {
    document.removeEventListener('visibilitychange', this.#onvisible)
    clearInterval(this.#timer)
  }

  /** Takes another `interval`. */
  attributeChangedCallback (): void {
    if (this.isConnected) this.#run()
  }

  /** Looks now. */
  refresh (): void {
    const parts = this.#parts
    if (parts === null || !this.isConnected) return
    parts.cores.show(coresOf(this.#store, this.#cores))
    parts.network.element.hidden = this.#swarm === null
    if (this.#swarm) parts.network.show(networkOf(this.#swarm), performance.now())
    storageStatus().then((status) => { parts.storage.show(status) }, () => {})
  }

  #run (): void {
    clearInterval(this.#timer)
    if (document.visibilityState === 'hidden') return
    const given = Number(this.getAttribute('interval') ?? NaN)
    this.#timer = setInterval(() => { this.refresh() }, Number.isFinite(given) ? Math.max(MIN_INTERVAL, given) : INTERVAL)
    this.refresh()
  }
}

/** Makes the element known by its name, or by another. */
export function defineInspector (name = 'hypertab-inspector'): void {
  if (globalThis.customElements && !customElements.get(name)) customElements.define(name, HypertabInspector)
}
