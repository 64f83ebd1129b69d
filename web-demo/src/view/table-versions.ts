// The history of a table, and how two versions of it differ.

import { keyText, valueText } from '../model/looks.ts'
import { sentence } from '../model/problem.ts'
import { MOST_DIFFERENCES } from '../model/table.ts'
import type { Difference, Table } from '../model/table.ts'
import { count, counted } from '../model/words.ts'
import { clearChildren, make, setChildren, setText } from './dom.ts'

/** How many changes are listed. */
const LISTED = 30

export class TableVersions {
  readonly elements: HTMLElement[]
  readonly #goTo: (version: number) => void
  readonly #history = make('ol', { className: 'changes', testid: 'table-changes', ariaLabel: 'History' })
  readonly #older = number('Older', 'diff-older')
  readonly #newer = number('Newer', 'diff-newer')
  readonly #differences = make('ul', { className: 'differences', testid: 'differences', ariaLabel: 'Differences' })
  readonly #help = make('p', { className: 'help', testid: 'diff-help', role: 'status' })
  #table: Table | null = null
  #isTyped = false

  constructor (goTo: (version: number) => void) {
    this.#goTo = goTo
    const form = make('form', { className: 'diff-form', noValidate: true },
      make('div', { className: 'labelled' }, make('label', { htmlFor: 'diff-older' }, 'Version'), this.#older),
      make('div', { className: 'labelled' }, make('label', { htmlFor: 'diff-newer' }, 'and'), this.#newer),
      make('button', { type: 'submit', className: 'button small', testid: 'diff-run' }, 'Compare'))
    form.addEventListener('input', () => { this.#isTyped = true })
    form.addEventListener('submit', (event) => { event.preventDefault(); void this.#compare() })
    this.elements = [
      make('section', { className: 'card' }, make('div', { className: 'card-head' }, make('h2', {}, 'History')), this.#history),
      make('section', { className: 'card' }, make('div', { className: 'card-head' }, make('h2', {}, 'Compare')), form, this.#help, this.#differences)
    ]
  }

  show (table: Table | null): void {
    this.#table = table
    clearChildren(this.#history)
    this.#differences.replaceChildren()
    this.#isTyped = false
    this.#older.value = this.#newer.value = ''
    setText(this.#help, '')
  }

  /** Looks up the last changes. */
  load (): void {
    const table = this.#table
    if (!table || table.version < 2) return
    // What somebody typed stays; what nobody did follows the table.
    if (!this.#isTyped) {
      this.#newer.value = String(table.version)
      this.#older.value = String(Math.max(1, table.version - 10))
    }
    table.history(LISTED).catch(() => null).then((changes) => {
      if (table !== this.#table) return
      setChildren(this.#history, `${table.entry.id} ${changes?.[0]?.version}`, () => changes === null
        ? [make('li', { className: 'note' }, 'The history is not on this device.')]
        : changes.map(({ key, value, version, isRemoved }) => {
          const button = make('button', { type: 'button', className: 'change', testid: 'table-change', ariaLabel: `Show version ${version}` },
            make('span', { className: 'change-number' }, count(version)),
            make('span', { className: 'change-path' }, keyText(key)),
            make('span', { className: 'note' }, isRemoved ? 'removed' : valueText(value).slice(0, 40)))
          button.addEventListener('click', () => this.#goTo(version))
          return make('li', {}, button)
        }))
    })
  }

  async #compare (): Promise<void> {
    const table = this.#table
    const [older, newer] = [Number(this.#older.value), Number(this.#newer.value)]
    delete this.#help.dataset.tone
    if (!table) return
    if (![older, newer].every((version) => Number.isInteger(version) && version >= 1 && version <= table.version) || older >= newer) {
      this.#help.dataset.tone = 'bad'
      return setText(this.#help, `Give two versions from 1 to ${count(table.version)}, the older one first.`)
    }
    setText(this.#help, 'Comparing…')
    try {
      const found = await table.compare(older, newer)
      if (table !== this.#table) return
      setText(this.#help, found.length === MOST_DIFFERENCES ? `The first ${count(MOST_DIFFERENCES)} keys that differ.` : `${counted(found.length, 'key')} ${found.length === 1 ? 'differs' : 'differ'}.`)
      this.#differences.replaceChildren(...found.map(differenceItem))
    } catch (error) {
      this.#help.dataset.tone = 'bad'
      setText(this.#help, table.peers.length === 0 ? 'These versions are not on this device, and nobody who has them is connected.' : sentence(error))
    }
  }
}

function differenceItem ({ key, newer, older }: Difference): HTMLElement {
  const sign = older === null ? '+' : newer === null ? '−' : '~'
  const item = make('li', { testid: 'difference' },
    make('span', { className: 'sign', ariaLabel: { '+': 'added', '−': 'removed', '~': 'changed' }[sign] }, sign),
    make('span', { className: 'change-path' }, keyText(key)),
    ...(older === null ? [] : [make('del', {}, valueText(older).slice(0, 120))]),
    ...(newer === null ? [] : [make('ins', {}, valueText(newer).slice(0, 120))]))
  item.dataset.sign = sign
  return item
}

function number (words: string, testid: string): HTMLInputElement {
  return make('input', { className: 'field small mono', id: testid, testid, type: 'number', min: '1', ariaLabel: `${words} version` })
}
