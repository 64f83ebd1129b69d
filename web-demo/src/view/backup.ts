// The part of the keys view that puts everything into one file, and takes it out again.

import { explain, sentence } from '../model/problem.ts'
import { canStream, chooseTarget } from '../model/save-target.ts'
import { bytes } from '../model/words.ts'
import { make, setText } from './dom.ts'

export interface BackupActions {
  /** The bytes of a backup; tells how many there were. */
  make (signal: AbortSignal, onbytes: (bytes: number) => void): Promise<AsyncIterable<Uint8Array<ArrayBuffer>>>
  restore (file: Blob, signal: AbortSignal, onbytes: (bytes: number) => void): Promise<void>
}

/** What the file is called. */
const NAME = 'hypertab-backup.hypertab'

export class BackupView {
  readonly element: HTMLElement
  readonly #actions: BackupActions
  readonly #save = make('button', { type: 'button', className: 'button', testid: 'backup-save' }, 'Back up to a file')
  readonly #file = make('input', { type: 'file', testid: 'backup-file', ariaLabel: 'Restore from a backup' })
  readonly #buttons: HTMLElement
  readonly #bar = make('progress', { className: 'bar', max: 1, ariaLabel: 'Backup', hidden: true })
  readonly #stop = make('button', { type: 'button', className: 'button', testid: 'backup-stop', hidden: true }, 'Stop')
  readonly #help = make('p', { className: 'help', testid: 'backup-help', role: 'status' })
  #running: AbortController | null = null

  constructor (actions: BackupActions) {
    this.#actions = actions
    this.#save.addEventListener('click', () => { void this.#backUp() })
    this.#file.addEventListener('change', () => { void this.#restore() })
    this.#stop.addEventListener('click', () => this.#running?.abort(new DOMException('stopped', 'AbortError')))
    this.#buttons = make('div', { className: 'pane-actions flush' }, this.#save, make('label', { className: 'button file' }, 'Restore from a backup', this.#file))
    this.element = make('section', { className: 'card pad', ariaLabel: 'Backup' },
      make('h2', {}, 'Backup'),
      make('p', { className: 'note' }, 'One file with the key, and with everything that is stored of drives, tables and rooms; logs are not in it. A restored backup becomes the identity of this browser.'),
      this.#bar, this.#buttons, make('div', { className: 'pane-actions flush' }, this.#stop), this.#help)
  }

  async #backUp (): Promise<void> {
    const streams = canStream()
    const sink = streams ? await chooseTarget(NAME) : null
    if (streams && sink === null) return
    const parts: Blob[] = []
    let written = 0
    await this.#run('Backed up', async (signal) => {
      try {
        for await (const piece of await this.#actions.make(signal, (count) => setText(this.#help, `${bytes(count)} so far…`))) {
          written += piece.byteLength
          if (sink) await sink.write(piece)
          // Browsers keep blobs on the disk when there are many.
          else parts.push(new Blob([piece]))
        }
      } catch (error) {
        await sink?.abort().catch(() => {})
        throw error
      }
      await sink?.close()
      if (!sink) {
        const url = URL.createObjectURL(new Blob(parts, { type: 'application/octet-stream' }))
        make('a', { href: url, download: NAME }).click()
        setTimeout(() => URL.revokeObjectURL(url), 60_000)
      }
      return `${bytes(written)}. Keep the file as you would keep a password: whoever has it can read everything, and write as you.`
    })
  }

  async #restore (): Promise<void> {
    const file = this.#file.files?.[0]
    this.#file.value = ''
    if (!file) return
    const isDone = await this.#run('Restored', async (signal) => {
      await this.#actions.restore(file, signal, (count) => {
        this.#bar.hidden = false
        this.#bar.value = file.size === 0 ? 0 : count / file.size
        setText(this.#help, `${bytes(count)} of ${bytes(file.size)}…`)
      })
      return bytes(file.size)
    })
    // Everything that is open belongs to the identity of before.
    if (isDone) location.reload()
  }

  async #run (done: string, work: (signal: AbortSignal) => Promise<string>): Promise<boolean> {
    const running = this.#running = new AbortController()
    this.#buttons.hidden = true
    this.#stop.hidden = false
    delete this.#help.dataset.tone
    setText(this.#help, 'Starting…')
    try {
      setText(this.#help, `${done}: ${await work(running.signal)}`)
      return true
    } catch (error) {
      if (running.signal.aborted) setText(this.#help, 'Stopped. Nothing has changed.')
      else this.#fault(error)
      return false
    } finally {
      this.#running = null
      this.#buttons.hidden = false
      this.#bar.hidden = this.#stop.hidden = true
    }
  }

  #fault (error: unknown): void {
    this.#help.dataset.tone = 'bad'
    if (['NOT_A_STORE', 'FILE_DAMAGED'].includes((error as { code?: string }).code ?? '')) return setText(this.#help, 'The file is damaged, or not all of it is there. Nothing has changed.')
    const { state, title, detail } = explain(error, 'store')
    setText(this.#help, state === 'broken' ? sentence(error) : `${title}. ${detail}`)
  }
}
