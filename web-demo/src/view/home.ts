// The first view: open a log by its key, make one, or go back to one that is here.

import type { Catalog, Entry } from '../model/catalog.ts'
import { sampleKeys } from '../model/config.ts'
import { formatKey, KeyError, parseKey, shorten } from '../model/key.ts'
import { explain } from '../model/problem.ts'
import { count, counted, share } from '../model/words.ts'
import { byId, make, setChildren } from './dom.ts'

export interface HomeActions {
  open (id: string): void
  create (name: string): Promise<void>
  remove (entry: Entry): void
}

export class HomeView {
  readonly element = byId('home')
  #catalog: Catalog
  #actions: HomeActions
  #sample: string | null = null

  constructor (catalog: Catalog, actions: HomeActions) {
    this.#catalog = catalog
    this.#actions = actions
    this.#setUpReading()
    this.#setUpCreating()
    catalog.watch(() => this.render())
  }

  render (): void {
    const entries = this.#catalog.all()
    byId('known-empty').hidden = entries.length > 0
    setChildren(byId('known-logs'), JSON.stringify(entries), () => entries.map((entry) => this.#item(entry)))
  }

  /** Offers the sample log, where the page came with one. */
  offerSample (): void {
    this.#sample = sampleKeys().log
    this.#sayHelp()
  }

  #setUpReading (): void {
    const input = byId<HTMLInputElement>('key-input')
    const help = byId('key-help')
    byId('read-form').addEventListener('submit', (event) => {
      event.preventDefault()
      try {
        const id = formatKey(parseKey(input.value))
        input.value = ''
        this.#actions.open(id)
      } catch (error) {
        if (!(error instanceof KeyError)) throw error
        input.setAttribute('aria-invalid', 'true')
        help.dataset.tone = 'bad'
        help.textContent = error.message
        input.focus()
      }
    })
    input.addEventListener('input', () => {
      if (!input.hasAttribute('aria-invalid')) return
      input.removeAttribute('aria-invalid')
      this.#sayHelp()
    })
  }

  #setUpCreating (): void {
    const input = byId<HTMLInputElement>('name-input')
    const help = byId('name-help')
    const button = byId('create-form').querySelector('button')!
    byId('create-form').addEventListener('submit', async (event) => {
      event.preventDefault()
      button.disabled = true
      try {
        await this.#actions.create(input.value.trim())
        input.value = ''
      } catch (error) {
        const { title, detail } = explain(error)
        help.dataset.tone = 'bad'
        help.textContent = `${title}. ${detail}`
      } finally {
        button.disabled = false
      }
    })
  }

  #sayHelp (): void {
    const help = byId('key-help')
    delete help.dataset.tone
    help.replaceChildren(...this.#sample === null
      ? ['Whoever publishes the log gives you its key.']
      : ['No key at hand? ', make('a', { href: `#/${this.#sample}`, testid: 'sample-link' }, 'Open the sample log'), '.'])
  }

  #item (entry: Entry): HTMLElement {
    const name = nameOf(entry)
    const counts = entry.length === 0 ? 'empty' : entry.isOwn ? counted(entry.length, 'block') : `${count(entry.held)} of ${counted(entry.length, 'block')} · ${share(entry.held, entry.length)}`
    const remove = make('button', { type: 'button', className: 'button small quiet danger', testid: 'known-remove', ariaLabel: `Remove ${name}` }, 'Remove')
    remove.addEventListener('click', () => this.#actions.remove(entry))
    return make('li', { className: 'known-item', testid: 'known-log' },
      make('a', { className: 'known-link', href: `#/${entry.id}` },
        make('span', { className: 'known-name' }, name, make('code', { className: 'known-key' }, shorten(entry.id))),
        make('span', { className: 'known-count' }, counts),
        make('span', { className: 'badge' }, entry.isOwn ? 'yours' : 'read')),
      remove)
  }
}

/** Returns what a log is called on this device. */
export function nameOf (entry: Entry): string {
  return entry.name || (entry.isOwn ? 'Unnamed log' : `Log ${entry.id.slice(0, 6)}`)
}
