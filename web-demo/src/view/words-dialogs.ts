// The key as words: to be written down, and to be typed in on another device.

import { sentence } from '../model/problem.ts'
import { copy, make, setText } from './dom.ts'

let showing: { element: HTMLDialogElement, list: HTMLElement } | null = null
let asking: { element: HTMLDialogElement, input: HTMLTextAreaElement, help: HTMLElement, done: (key: Uint8Array | null) => void } | null = null

/** Shows the words of a key until the person closes them. */
export async function showWords (key: Uint8Array): Promise<void> {
  const { toWords } = await import('../model/words-key.ts')
  const words = toWords(key)
  showing ??= makeShowing()
  showing.list.replaceChildren(...words.map((word) => make('li', { testid: 'word' }, word)))
  showing.element.showModal()
}

/** Asks for the words of a key. Null when the person does not want to. */
export async function askWords (): Promise<Uint8Array | null> {
  asking ??= makeAsking()
  const { element, input, help } = asking
  input.value = ''
  delete help.dataset.tone
  setText(help, 'In their order. Capitals, numbers and commas do not matter.')
  element.returnValue = ''
  element.showModal()
  return await new Promise((resolve) => { asking!.done = resolve })
}

function makeShowing () {
  const list = make('ol', { className: 'key-words', testid: 'words' })
  const copyWords = make('button', { type: 'button', className: 'button', testid: 'words-copy' }, 'Copy')
  copyWords.addEventListener('click', () => copy([...list.children].map(({ textContent }) => textContent).join(' '), 'Words'))
  const element = make('dialog', { className: 'dialog', testid: 'words-dialog' },
    make('form', { method: 'dialog' },
      make('h2', { id: 'words-title' }, 'Your key as words'),
      make('p', { className: 'help' }, 'Write them on paper, in this order. Whoever reads them can write as you. They are the key alone: the list of your drives and tables comes from another device of yours that is connected, or from the exported file.'),
      list,
      make('div', { className: 'dialog-actions' }, copyWords, make('button', { className: 'button primary', testid: 'words-close' }, 'Close'))))
  element.setAttribute('aria-labelledby', 'words-title')
  // Not left on the page for whoever comes next.
  element.addEventListener('close', () => list.replaceChildren())
  document.body.append(element)
  return { element, list }
}

function makeAsking () {
  const input = make('textarea', { className: 'field', id: 'words-input', testid: 'words-input', rows: 4, autocomplete: 'off', autocapitalize: 'off', spellcheck: false })
  const help = make('p', { className: 'help', id: 'words-help', testid: 'words-help', role: 'status' })
  input.setAttribute('aria-describedby', help.id)
  const cancel = make('button', { type: 'button', className: 'button', testid: 'words-cancel' }, 'Cancel')
  const form = make('form', { method: 'dialog', noValidate: true },
    make('h2', { id: 'ask-words-title' }, 'Import from words'),
    make('label', { htmlFor: input.id }, 'The 24 words'), input, help,
    make('div', { className: 'dialog-actions' }, cancel, make('button', { type: 'submit', className: 'button primary', testid: 'words-import' }, 'Import')))
  const element = make('dialog', { className: 'dialog', testid: 'ask-words' }, form)
  element.setAttribute('aria-labelledby', 'ask-words-title')
  const dialog = { element, input, help, done: (_key: Uint8Array | null) => {} }
  cancel.addEventListener('click', () => element.close())
  element.addEventListener('close', () => {
    input.value = ''
    dialog.done(null)
  })
  form.addEventListener('submit', async (event) => {
    event.preventDefault()
    const { fromWords } = await import('../model/words-key.ts')
    try {
      dialog.done(fromWords(input.value))
      element.close()
    } catch (error) {
      help.dataset.tone = 'bad'
      setText(help, sentence(error))
      input.focus()
    }
  })
  document.body.append(element)
  return dialog
}
