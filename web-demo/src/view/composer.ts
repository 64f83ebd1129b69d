// Appending to a log of one's own: lines, and files.

import type { Log } from '../model/log.ts'
import { explain } from '../model/problem.ts'
import { bytes } from '../model/words.ts'
import { byId, setText } from './dom.ts'

const HINT = 'Or drop a file anywhere on the page.'

export class Composer {
  #log: Log | null = null
  #isBusy = false
  #form = byId('append-form')
  #input = byId<HTMLTextAreaElement>('append-input')
  #file = byId<HTMLInputElement>('append-file')
  #help = byId('append-help')
  #drop = byId('drop')

  constructor () {
    this.#form.addEventListener('submit', (event) => { event.preventDefault(); this.#appendLine() })
    this.#input.addEventListener('keydown', (event) => {
      if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return
      event.preventDefault()
      this.#appendLine()
    })
    this.#file.addEventListener('change', () => {
      this.#appendFiles([...this.#file.files ?? []])
      this.#file.value = ''
    })
    this.#setUpDrop()
  }

  show (log: Log | null): void {
    this.#log = log?.entry.isOwn ? log : null
    this.#form.hidden = this.#log === null
    this.#say(HINT)
  }

  refresh (): void {
    this.#form.classList.toggle('busy', this.#isBusy)
  }

  async #appendLine (): Promise<void> {
    const text = this.#input.value
    if (text === '') return
    this.#input.value = ''
    const isDone = await this.#run(async (log) => await log.append([new TextEncoder().encode(text)]))
    if (!isDone && this.#input.value === '') this.#input.value = text
  }

  async #appendFiles (files: File[]): Promise<void> {
    for (const file of files) {
      await this.#run(async (log) => {
        await log.appendFile(file, (done) => this.#say(`${file.name}: ${Math.floor(done * 100)} % of ${bytes(file.size)}`))
        this.#say(`${file.name} was appended, ${bytes(file.size)}.`)
      })
    }
  }

  async #run (body: (log: Log) => Promise<void>): Promise<boolean> {
    if (!this.#log) return false
    this.#isBusy = true
    delete this.#help.dataset.tone
    try {
      await body(this.#log)
      return true
    } catch (error) {
      const { title, detail } = explain(error)
      this.#say(`Not appended. ${title === 'This log could not be opened' ? '' : `${title}. `}${detail}`, 'bad')
      return false
    } finally {
      this.#isBusy = false
    }
  }

  #say (words: string, tone = ''): void {
    if (tone) this.#help.dataset.tone = tone
    else delete this.#help.dataset.tone
    setText(this.#help, words)
  }

  #setUpDrop (): void {
    let depth = 0
    const isFile = (event: DragEvent) => this.#log !== null && event.dataTransfer?.types.includes('Files') === true
    addEventListener('dragenter', (event) => {
      if (!isFile(event)) return
      depth++
      this.#drop.hidden = false
    })
    addEventListener('dragleave', () => {
      depth = Math.max(0, depth - 1)
      if (depth === 0) this.#drop.hidden = true
    })
    addEventListener('dragover', (event) => { if (isFile(event)) event.preventDefault() })
    addEventListener('drop', (event) => {
      depth = 0
      this.#drop.hidden = true
      if (!isFile(event)) return
      event.preventDefault()
      this.#appendFiles([...event.dataTransfer!.files])
    })
  }
}
