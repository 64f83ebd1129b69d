// Takes files into a drive of one's own: by dropping them, or by choosing files or a folder.

import type { Drive } from '../model/drive.ts'
import { filesOf, filesOfInput } from '../model/dropped.ts'
import type { DroppedFile } from '../model/dropped.ts'
import { sentence } from '../model/problem.ts'
import { bytes, counted } from '../model/words.ts'
import { byId, make, setText } from './dom.ts'

interface Target {
  readonly drive: Drive
  readonly folder: string
}

export class Intake {
  readonly element: HTMLElement
  readonly #target: () => Target | null
  readonly #help: HTMLElement
  readonly #progress = make('progress', { className: 'bar', max: 1, hidden: true, ariaLabel: 'Files stored' })
  /** One drop after the other. */
  #queue: Promise<void> = Promise.resolve()

  /** `page` takes drops; `target` says where files go, or null when none are taken; `prefix` tells test ids apart. */
  constructor (page: HTMLElement, target: () => Target | null, prefix = '') {
    this.#target = target
    this.#help = make('p', { className: 'help', testid: `${prefix}intake-help`, role: 'status' }, 'Or drop files and folders anywhere on this page.')
    const files = make('input', { type: 'file', multiple: true, testid: `${prefix}add-files`, ariaLabel: 'Add files' })
    const folder = make('input', { type: 'file', testid: `${prefix}add-folder`, ariaLabel: 'Add a folder' })
    folder.webkitdirectory = true
    for (const input of [files, folder]) {
      input.addEventListener('change', () => {
        const chosen = filesOfInput(input)
        input.value = ''
        this.#enqueue(Promise.resolve(chosen))
      })
    }
    this.element = make('div', { className: 'intake card', testid: `${prefix}intake` },
      make('div', { className: 'intake-buttons' },
        make('label', { className: 'button primary file' }, 'Add files', files),
        make('label', { className: 'button file' }, 'Add a folder', folder)),
      this.#help, this.#progress)
    this.#listen(page)
  }

  render (): void {
    this.element.hidden = this.#target() === null
  }

  #listen (page: HTMLElement): void {
    const curtain = byId('drop')
    const isWanted = (event: DragEvent) => !page.hidden && this.#target() !== null && event.dataTransfer?.types.includes('Files')
    addEventListener('dragover', (event) => {
      if (!isWanted(event)) return
      event.preventDefault()
      setText(curtain.querySelector('p')!, 'Drop to put it into the drive')
      curtain.hidden = false
    })
    addEventListener('dragleave', (event) => { if (event.relatedTarget === null) curtain.hidden = true })
    addEventListener('drop', (event) => {
      if (!isWanted(event)) return
      event.preventDefault()
      curtain.hidden = true
      this.#enqueue(filesOf(event.dataTransfer!))
    })
  }

  // Into the folder that is shown now, whatever is shown when its turn comes.
  #enqueue (dropped: Promise<DroppedFile[]>): void {
    const target = this.#target()
    dropped.catch(() => {})
    if (target) this.#queue = this.#queue.then(() => this.#take(dropped, target))
  }

  async #take (dropped: Promise<DroppedFile[]>, target: Target): Promise<void> {
    delete this.#help.dataset.tone
    let done = 0
    try {
      const files = await dropped
      const total = files.reduce((sum, { file }) => sum + file.size, 0)
      const base = target.folder === '/' ? '' : target.folder
      let before = 0
      this.#progress.hidden = false
      for (const { path, file } of files) {
        await target.drive.put(`${base}/${path}`, file, (stored) => {
          this.#progress.value = total === 0 ? 0 : (before + stored) / total
          setText(this.#help, `${path}: ${bytes(before + stored)} of ${bytes(total)}`)
        })
        before += file.size
        done++
      }
      setText(this.#help, files.length === 0 ? 'There was no file in that.' : `${counted(done, 'file')} added, ${bytes(total)}.`)
    } catch (error) {
      this.#help.dataset.tone = 'bad'
      setText(this.#help, `${done === 0 ? 'Nothing was added.' : `Not all added; ${counted(done, 'file')} ${done === 1 ? 'is' : 'are'}.`} ${sentence(error)}`)
    } finally {
      this.#progress.hidden = true
    }
  }
}
