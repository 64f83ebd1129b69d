// The view of one table: pages of rows, one row at length, its history, and a comparison of versions.

import { keyText, textOf, valueText } from '../model/looks.ts'
import { sentence } from '../model/problem.ts'
import type { Page, Row, Table } from '../model/table.ts'
import { count, counted } from '../model/words.ts'
import { byId, clearChildren, make, reveal, setChildren, setText, toast } from './dom.ts'
import { TableVersions } from './table-versions.ts'
import { WorkHead } from './work-head.ts'
import type { WorkActions } from './work-head.ts'

/** How long typing has to rest before rows are looked up, in milliseconds. */
const REST_MS = 250

export class TableView {
  readonly element = byId('table')
  readonly #head: WorkHead
  readonly #prefix = field('Begins with', 'table-prefix')
  readonly #from = field('From', 'table-from')
  readonly #to = field('To', 'table-to')
  readonly #reverse = make('input', { type: 'checkbox', testid: 'table-reverse' })
  readonly #rows = make('tbody', { testid: 'rows' })
  readonly #note = make('p', { className: 'empty pad', testid: 'rows-note', role: 'status' })
  readonly #where = make('p', { className: 'note', testid: 'rows-where' })
  readonly #before = button('‹ Before', 'rows-before')
  readonly #next = button('Next ›', 'rows-next')
  readonly #at = make('p', { className: 'old-version', testid: 'table-old', role: 'status', hidden: true })
  readonly #key = make('input', { className: 'field mono', id: 'row-key', testid: 'row-key', type: 'text', autocomplete: 'off', spellcheck: false })
  readonly #value = make('textarea', { className: 'field mono', id: 'row-value', testid: 'row-value', rows: 5, spellcheck: false })
  readonly #save = make('button', { type: 'submit', className: 'button primary', testid: 'row-save' }, 'Save')
  readonly #remove = button('Remove', 'row-remove', 'quiet danger')
  readonly #help = make('p', { className: 'help', testid: 'row-help', role: 'status' })
  readonly #form = make('form', { className: 'card pad row-form', noValidate: true })
  readonly #versions: TableVersions
  #table: Table | null = null
  #unwatch: () => void = () => {}
  #loaded = ''
  #turn = 0
  #version: number | null = null
  /** The version that was the newest when the view was opened: what came later is marked. */
  #seen = 0
  #page: Page = { rows: [], hasMore: false }
  #chosen: Row | null = null
  /** The last key of each page before the one that is shown. */
  #starts: Uint8Array[] = []

  constructor (actions: WorkActions) {
    this.#head = new WorkHead('table', () => this.#table, actions)
    this.#versions = new TableVersions((version) => this.#goTo(version))
    this.element.append(this.#head.element, make('div', { className: 'drive-grid' }, this.#browser(), make('div', { className: 'aside' }, this.#editor(), ...this.#versions.elements)))
    this.#listen()
  }

  get title (): HTMLElement {
    return this.#head.title
  }

  /** Shows a table, or none. */
  show (table: Table | null): void {
    if (table === this.#table) return
    this.#unwatch()
    this.#table = table
    this.#loaded = ''
    this.#version = null
    this.#seen = table?.version ?? 0
    this.#starts = []
    this.#chosen = null
    this.#page = { rows: [], hasMore: false }
    for (const input of [this.#prefix, this.#from, this.#to]) input.value = ''
    this.#reverse.checked = false
    this.#key.value = this.#value.value = ''
    this.#sayHelp()
    clearChildren(this.#rows)
    this.#versions.show(table)
    this.#unwatch = table?.watch(() => this.render()) ?? (() => {})
    this.render()
  }

  render (): void {
    const table = this.#table
    if (!table) return
    this.#head.render(table)
    this.#save.hidden = !table.canWrite
    this.#remove.hidden = !table.canWrite || this.#chosen === null
    this.#key.readOnly = this.#value.readOnly = !table.canWrite
    this.#at.hidden = this.#version === null
    setChildren(this.#at, String(this.#version), () => {
      const back = button('Back to the newest', 'table-newest')
      back.addEventListener('click', () => this.#goTo(null))
      return [`This is version ${count(this.#version ?? 0)}, as it was. `, back]
    })
    if (this.#seen === 0) this.#seen = table.version
    const state = `${table.isOpen} ${table.version} ${table.peers.length > 0}`
    if (!table.isOpen || state === this.#loaded) return
    this.#loaded = state
    void this.#load(table)
    this.#versions.load()
  }

  #goTo (version: number | null): void {
    this.#version = version
    this.#again()
  }

  // From the first page on.
  #again (): void {
    this.#starts = []
    this.#loaded = ''
    this.render()
  }

  async #load (table: Table): Promise<void> {
    const turn = ++this.#turn
    const isCurrent = () => turn === this.#turn && table === this.#table
    if (this.#page.rows.length === 0) setText(this.#note, 'Reading…')
    try {
      if (table.version < 2) {
        this.#page = { rows: [], hasMore: false }
      } else {
        const page = await table.page({ prefix: this.#prefix.value, from: this.#from.value, to: this.#to.value, isReverse: this.#reverse.checked, version: this.#version, after: this.#starts.at(-1) ?? null })
        if (!isCurrent()) return
        this.#page = page
      }
      const { rows } = this.#page
      this.#note.hidden = rows.length > 0
      setText(this.#note, table.version < 2
        ? table.entry.isOwn ? 'Empty. Write a first row on this page.' : 'The rows appear here as soon as somebody who has the table is found.'
        : 'There is no such key.')
      this.#renderRows(table)
    } catch (error) {
      if (!isCurrent()) return
      this.#page = { rows: [], hasMore: false }
      this.#renderRows(table)
      this.#note.hidden = false
      setText(this.#note, table.peers.length === 0 ? 'These rows are not on this device, and nobody who has them is connected. They appear when somebody is.' : `The rows could not be read. ${sentence(error)}`)
    }
  }

  #renderRows (table: Table): void {
    const { rows, hasMore } = this.#page
    this.#before.disabled = this.#starts.length === 0
    this.#next.disabled = !hasMore
    setText(this.#where, rows.length === 0 ? '' : `page ${count(this.#starts.length + 1)}, ${counted(rows.length, 'row')} of version ${count(this.#version ?? table.version)}`)
    const chosen = this.#chosen && keyText(this.#chosen.key)
    setChildren(this.#rows, JSON.stringify([table.entry.id, chosen, this.#seen, rows.map(({ key, version }) => [keyText(key), version])]), () => rows.map((row) => {
      const name = keyText(row.key)
      const choose = make('button', { type: 'button', className: 'row-button' }, name)
      const element = make('tr', { testid: 'row' },
        make('td', {}, choose),
        make('td', { className: 'row-value' }, valueText(row.value)),
        make('td', { className: 'number' }, count(row.version)))
      element.dataset.key = name
      if (row.version > this.#seen) element.dataset.fresh = 'true'
      if (name === chosen) element.setAttribute('aria-selected', 'true')
      element.addEventListener('click', () => this.#choose(row))
      return element
    }))
  }

  #choose (row: Row): void {
    this.#chosen = row
    this.#key.value = keyText(row.key)
    this.#value.value = valueText(row.value, true)
    this.#sayHelp()
    if (this.#table) this.#renderRows(this.#table)
    this.render()
    reveal(this.#form)
  }

  #browser (): HTMLElement {
    const form = make('form', { className: 'table-tools', noValidate: true },
      labelled(this.#prefix), labelled(this.#from), labelled(this.#to),
      make('label', { className: 'switch' }, this.#reverse, make('span', { ariaHidden: 'true' }), 'Last first'))
    form.addEventListener('submit', (event) => { event.preventDefault(); this.#again() })
    const head = make('tr', {}, ...['Key', 'Value', 'Version'].map((words) => make('th', { scope: 'col' }, words)))
    return make('section', { className: 'card', ariaLabel: 'Rows' }, form, this.#at,
      make('div', { className: 'scroll' }, make('table', { className: 'grid-table rows' }, make('thead', {}, head), this.#rows)),
      this.#note,
      make('div', { className: 'pager' }, this.#before, this.#where, this.#next))
  }

  #editor (): HTMLElement {
    const form = this.#form
    form.append(
      make('h2', {}, 'Row'),
      make('label', { htmlFor: 'row-key' }, 'Key'), this.#key,
      make('label', { htmlFor: 'row-value' }, 'Value'), this.#value,
      this.#help,
      make('div', { className: 'pane-actions flush' }, this.#save, this.#remove))
    form.addEventListener('submit', (event) => { event.preventDefault(); void this.#put() })
    return form
  }

  #listen (): void {
    let timer: ReturnType<typeof setTimeout> | undefined
    for (const input of [this.#prefix, this.#from, this.#to]) {
      input.addEventListener('input', () => {
        clearTimeout(timer)
        timer = setTimeout(() => this.#again(), REST_MS)
      })
    }
    this.#reverse.addEventListener('change', () => this.#again())
    this.#next.addEventListener('click', () => {
      const last = this.#page.rows.at(-1)
      if (last && this.#table) { this.#starts.push(last.key); void this.#load(this.#table) }
    })
    this.#before.addEventListener('click', () => {
      if (this.#table) { this.#starts.pop(); void this.#load(this.#table) }
    })
    this.#remove.addEventListener('click', async () => {
      const [table, row] = [this.#table, this.#chosen]
      if (!table || !row) return
      try {
        await table.remove(row.key)
        this.#chosen = null
        this.#key.value = this.#value.value = ''
        this.#sayHelp()
        toast('The row was removed; older versions still have it')
        this.render()
      } catch (error) {
        this.#fault(error)
      }
    })
  }

  async #put (): Promise<void> {
    const table = this.#table
    const key = this.#key.value
    delete this.#help.dataset.tone
    if (!table?.canWrite) return
    if (key === '') return this.#fault(new Error('A row needs a key.'))
    try {
      // A key that was chosen and not changed is written as the bytes it is, when they are text.
      const chosen = this.#chosen && keyText(this.#chosen.key) === key ? textOf(this.#chosen.key) : null
      await table.put(chosen ?? key, this.#value.value)
      setText(this.#help, `Saved as version ${count(table.version)}.`)
    } catch (error) {
      this.#fault(error)
    }
  }

  #sayHelp (): void {
    delete this.#help.dataset.tone
    setText(this.#help, this.#chosen
      ? `Written as version ${count(this.#chosen.version)}.`
      : this.#table?.canWrite ? 'Choose a row to change it, or write a new one.' : 'Choose a row to see all of it.')
  }

  #fault (error: unknown): void {
    this.#help.dataset.tone = 'bad'
    setText(this.#help, `Not saved. ${sentence(error)}`)
  }
}

function field (words: string, testid: string): HTMLInputElement {
  const input = make('input', { className: 'field small mono', id: testid, testid, type: 'text', autocomplete: 'off', autocapitalize: 'off', spellcheck: false })
  input.dataset.label = words
  return input
}

function labelled (input: HTMLInputElement): HTMLElement {
  return make('div', { className: 'labelled' }, make('label', { htmlFor: input.id }, input.dataset.label ?? ''), input)
}

function button (words: string, testid: string, style = ''): HTMLButtonElement {
  return make('button', { type: 'button', className: `button small ${style}`, testid }, words)
}
