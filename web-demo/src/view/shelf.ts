// The first view of drives, of tables and of rooms: open one by its key, make one, or go back to one that is here.

import type { Catalog, Entry } from '../model/catalog.ts'
import { KeyError, shorten } from '../model/key.ts'
import { explain } from '../model/problem.ts'
import { counted } from '../model/words.ts'
import type { Kind } from '../model/work.ts'
import { byId, make, setChildren } from './dom.ts'

export interface ShelfActions {
  /** Opens what was pasted. Throws a KeyError that says what is wrong with it. */
  open (text: string): void | Promise<void>
  create (name: string): Promise<void>
  remove (entry: Entry): void
}

/** What is on a shelf. */
export type ShelfKind = Kind | 'site' | 'room'

export interface ShelfWords {
  readonly kind: ShelfKind
  readonly title: string
  readonly lead: string
  readonly openTitle: string
  readonly keyLabel: string
  readonly keyExample: string
  readonly keyHelp: string
  readonly nameExample: string
  readonly nameHelp: string
  /** What makes up the length of one. */
  readonly unit: string
  /** Which of those that are known are listed; all by default. */
  isListed? (entry: Entry): boolean
}

/** The words of a shelf of things that have a key. */
export function wordsOf (kind: Kind | 'site', title: string, lead: string, nameExample: string): ShelfWords {
  return {
    kind,
    title,
    lead,
    nameExample,
    openTitle: `Open a ${kind}`,
    keyLabel: 'Key or link',
    keyExample: 'hyper://… or 52 characters',
    keyHelp: `Whoever publishes the ${kind} gives you its key or a link.`,
    nameHelp: 'Only you see the name. The key to sign with is made here and stays here.',
    unit: 'version'
  }
}

export class ShelfView {
  readonly element: HTMLElement
  readonly title: HTMLElement
  #words: ShelfWords
  #catalog: Catalog
  #storeName: () => string
  #actions: ShelfActions
  #list: HTMLUListElement
  #empty: HTMLElement
  #keyHelp: HTMLElement
  /** The key of an example, where the page came with one. */
  #sample: string | null = null

  /** `storeName` tells which store is in use: what is in another one is not listed. */
  constructor (words: ShelfWords, catalog: Catalog, storeName: () => string, actions: ShelfActions) {
    const { kind } = words
    this.#words = words
    this.#catalog = catalog
    this.#storeName = storeName
    this.#actions = actions
    this.element = byId(`${kind}s`)
    this.title = make('h1', { tabIndex: -1 }, words.title)
    this.#keyHelp = make('p', { className: 'help', id: `${kind}-key-help`, testid: `${kind}-key-help`, role: 'status' })
    this.#list = make('ul', { className: 'known-list', testid: `known-${kind}s` })
    this.#empty = make('p', { className: 'empty', testid: `known-${kind}s-empty` }, `Nothing yet. What you open or create is kept in this browser and listed here.`)
    this.element.append(
      make('div', { className: 'lead' }, this.title, make('p', {}, words.lead)),
      make('div', { className: 'doors' }, this.#reading(), this.#creating()),
      make('section', { className: 'known' }, make('h2', {}, 'On this device'), this.#list, this.#empty))
    this.#sayHelp()
    catalog.watch(() => this.render())
  }

  render (): void {
    const entries = this.#catalog.all().filter((entry) => entry.store === this.#storeName() && (this.#words.isListed?.(entry) ?? true))
    this.#empty.hidden = entries.length > 0
    setChildren(this.#list, JSON.stringify(entries), () => entries.map((entry) => this.#item(entry)))
  }

  /** Offers an example, where the page came with one. */
  offer (key: string | null): void {
    this.#sample = key
    this.#sayHelp()
  }

  #reading (): HTMLElement {
    const { kind } = this.#words
    const input = make('input', { className: 'field mono', id: `${kind}-key-input`, testid: `${kind}-key-input`, type: 'text', autocomplete: 'off', autocapitalize: 'off', spellcheck: false, placeholder: this.#words.keyExample })
    input.setAttribute('aria-describedby', `${kind}-key-help`)
    const form = make('form', { className: 'card door', noValidate: true },
      make('h2', {}, this.#words.openTitle),
      make('label', { htmlFor: input.id }, this.#words.keyLabel),
      input,
      this.#keyHelp,
      make('button', { className: 'button primary', type: 'submit', testid: `open-${kind}` }, 'Open'))
    form.addEventListener('submit', async (event) => {
      event.preventDefault()
      try {
        await this.#actions.open(input.value)
        input.value = ''
      } catch (error) {
        if (!(error instanceof KeyError)) throw error
        input.setAttribute('aria-invalid', 'true')
        this.#keyHelp.dataset.tone = 'bad'
        this.#keyHelp.textContent = error.message
        input.focus()
      }
    })
    input.addEventListener('input', () => {
      if (!input.hasAttribute('aria-invalid')) return
      input.removeAttribute('aria-invalid')
      this.#sayHelp()
    })
    return form
  }

  #creating (): HTMLElement {
    const { kind, nameExample, nameHelp } = this.#words
    const help = make('p', { className: 'help', id: `${kind}-name-help`, testid: `${kind}-name-help`, role: 'status' }, nameHelp)
    const input = make('input', { className: 'field', id: `${kind}-name-input`, testid: `${kind}-name-input`, type: 'text', autocomplete: 'off', maxLength: 60, placeholder: nameExample })
    input.setAttribute('aria-describedby', help.id)
    const button = make('button', { className: 'button primary', type: 'submit', testid: `create-${kind}` }, `Create a ${kind}`)
    const form = make('form', { className: 'card door', noValidate: true },
      make('h2', {}, `Make a ${kind}`),
      make('label', { htmlFor: input.id }, 'Name'),
      input, help, button)
    form.addEventListener('submit', async (event) => {
      event.preventDefault()
      button.disabled = true
      try {
        await this.#actions.create(input.value.trim())
        input.value = ''
      } catch (error) {
        const { title, detail } = explain(error, kind)
        help.dataset.tone = 'bad'
        help.textContent = `${title}. ${detail}`
      } finally {
        button.disabled = false
      }
    })
    return form
  }

  #item (entry: Entry): HTMLElement {
    const { kind } = this.#words
    const name = workName(kind, entry)
    const remove = make('button', { type: 'button', className: 'button small quiet danger', testid: `known-${kind}-remove`, ariaLabel: `Remove ${name}` }, 'Remove')
    remove.addEventListener('click', () => this.#actions.remove(entry))
    return make('li', { className: 'known-item', testid: `known-${kind}` },
      make('a', { className: 'known-link', href: `#/${kind}/${entry.id}` },
        make('span', { className: 'known-name' }, name, make('code', { className: 'known-key' }, shorten(entry.id))),
        make('span', { className: 'known-count' }, entry.length === 0 ? 'nothing yet' : counted(entry.length, this.#words.unit)),
        make('span', { className: 'badge' }, entry.isOwn ? 'yours' : kind === 'room' ? 'joined' : 'read')),
      remove)
  }

  #sayHelp (): void {
    const { kind, keyHelp } = this.#words
    delete this.#keyHelp.dataset.tone
    this.#keyHelp.replaceChildren(...this.#sample === null
      ? [keyHelp]
      : ['No key at hand? ', make('a', { href: `#/${kind}/${this.#sample}`, testid: `sample-${kind}` }, `Open the sample ${kind}`), '.'])
  }
}

/** Returns what a drive, table or room is called on this device. */
export function workName (kind: ShelfKind, entry: Entry): string {
  return entry.name || (entry.isOwn ? `Unnamed ${kind}` : `${kind[0]!.toUpperCase()}${kind.slice(1)} ${entry.id.slice(0, 6)}`)
}
