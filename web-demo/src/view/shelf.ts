// The first view of drives and of tables: open one by its key, make one, or go back to one that is here.

import type { Catalog, Entry } from '../model/catalog.ts'
import { KeyError, shorten } from '../model/key.ts'
import { explain } from '../model/problem.ts'
import { counted } from '../model/words.ts'
import type { Kind } from '../model/work.ts'
import { byId, make, setChildren } from './dom.ts'

export interface ShelfActions {
  /** Opens what was pasted. Throws a KeyError that says what is wrong with it. */
  open (text: string): void
  create (name: string): Promise<void>
  remove (entry: Entry): void
}

export interface ShelfWords {
  readonly kind: Kind
  readonly title: string
  readonly lead: string
  readonly nameExample: string
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
    const entries = this.#catalog.all().filter(({ store }) => store === this.#storeName())
    this.#empty.hidden = entries.length > 0
    setChildren(this.#list, JSON.stringify(entries), () => entries.map((entry) => this.#item(entry)))
  }

  /** Offers an example, where the page came with one. */
  offer (key: string | null): void {
    if (key === null) return
    this.#sayHelp()
    this.#keyHelp.replaceChildren('No key at hand? ', make('a', { href: `#/${this.#words.kind}/${key}`, testid: `sample-${this.#words.kind}` }, `Open the sample ${this.#words.kind}`), '.')
  }

  #reading (): HTMLElement {
    const { kind } = this.#words
    const input = make('input', { className: 'field mono', id: `${kind}-key-input`, testid: `${kind}-key-input`, type: 'text', autocomplete: 'off', autocapitalize: 'off', spellcheck: false, placeholder: '52 characters, 64 hex digits, or hyper://…' })
    input.setAttribute('aria-describedby', `${kind}-key-help`)
    const form = make('form', { className: 'card door', noValidate: true },
      make('h2', {}, `Open a ${kind}`),
      make('label', { htmlFor: input.id }, 'Key or link'),
      input,
      this.#keyHelp,
      make('button', { className: 'button primary', type: 'submit', testid: `open-${kind}` }, 'Open'))
    form.addEventListener('submit', (event) => {
      event.preventDefault()
      try {
        this.#actions.open(input.value)
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
    const { kind, nameExample } = this.#words
    const help = make('p', { className: 'help', id: `${kind}-name-help`, testid: `${kind}-name-help`, role: 'status' }, 'Only you see the name. The key to sign with is made here and stays here.')
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
        make('span', { className: 'known-count' }, entry.length === 0 ? 'nothing yet' : counted(entry.length, 'version')),
        make('span', { className: 'badge' }, entry.isOwn ? 'yours' : 'read')),
      remove)
  }

  #sayHelp (): void {
    delete this.#keyHelp.dataset.tone
    this.#keyHelp.textContent = `Whoever publishes the ${this.#words.kind} gives you its key or a link.`
  }
}

/** Returns what a drive or table is called on this device. */
export function workName (kind: Kind, entry: Entry): string {
  return entry.name || (entry.isOwn ? `Unnamed ${kind}` : `${kind === 'drive' ? 'Drive' : 'Table'} ${entry.id.slice(0, 6)}`)
}
