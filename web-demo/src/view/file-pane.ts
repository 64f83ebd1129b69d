// One file of a drive: its preview, how it arrives, and what can be done with it.

import type { Child, Drive } from '../model/drive.ts'
import type { FileFetch } from '../model/file-fetch.ts'
import { kindOf, SMALL } from '../model/file-kind.ts'
import { bytes, count, share } from '../model/words.ts'
import { copy, make, setText } from './dom.ts'

/** Bytes of a text that are shown. */
const SHOWN_TEXT = 200_000

export class FilePane {
  readonly element: HTMLElement
  readonly #name = make('h2', { testid: 'file-name' })
  readonly #facts = make('p', { className: 'note', testid: 'file-facts' })
  readonly #body = make('div', { className: 'preview', testid: 'preview' })
  readonly #progress = make('progress', { className: 'bar', max: 1, ariaLabel: 'Fetched', testid: 'file-progress' })
  readonly #words = make('p', { className: 'help', testid: 'file-words', role: 'status' })
  readonly #fetch = make('button', { type: 'button', className: 'button small', testid: 'file-fetch' }, 'Fetch and show')
  readonly #save = make('button', { type: 'button', className: 'button small primary', testid: 'file-save' }, 'Download')
  readonly #link = make('button', { type: 'button', className: 'button small', testid: 'file-link' }, 'Copy link')
  readonly #remove = make('button', { type: 'button', className: 'button small quiet danger', testid: 'file-remove' }, 'Remove')
  readonly #onArrived: () => void
  #drive: Drive | null = null
  #file: Child | null = null
  #at: number | null = null
  #running: FileFetch | null = null
  #saveWhenDone = false
  #url = ''
  #shown = ''

  /** `arrived` is called when a file is on this device that was not before. */
  constructor (remove: (path: string) => void, arrived: () => void) {
    this.#onArrived = arrived
    this.element = make('section', { className: 'card file-pane', testid: 'file-pane', ariaLabel: 'File' },
      make('div', { className: 'card-head' }, this.#name, this.#facts),
      this.#body, this.#progress, this.#words,
      make('div', { className: 'pane-actions' }, this.#fetch, this.#save, this.#link, this.#remove))
    this.#fetch.addEventListener('click', () => this.#start())
    this.#save.addEventListener('click', () => {
      this.#saveWhenDone = true
      if (this.#running?.state === 'done') this.#arrived()
      else this.#start()
    })
    this.#link.addEventListener('click', () => { if (this.#drive && this.#file) copy(this.#drive.linkTo(this.#file.path, this.#at), 'Link') })
    this.#remove.addEventListener('click', () => { if (this.#file) remove(this.#file.path) })
  }

  /** Shows a file of a drive or of an older version of it, or none. */
  show (drive: Drive | null, file: Child | null, at: number | null): void {
    const shown = drive && file ? `${drive.entry.id} ${file.path} ${file.version}` : ''
    const isSame = shown === this.#shown
    this.#drive = drive
    this.#file = file
    this.#at = at
    if (!isSame) {
      this.#shown = shown
      this.#stop()
      this.#body.replaceChildren()
      setText(this.#words, '')
      if (drive && file && (file.isHere || file.size <= SMALL) && kindOf(file.name).kind !== 'other' && (file.size <= SMALL || kindOf(file.name).kind !== 'text')) this.#start()
    }
    this.render()
  }

  render (): void {
    const [drive, file, running] = [this.#drive, this.#file, this.#running]
    this.element.hidden = !file
    if (!drive || !file) return
    const { kind } = kindOf(file.name)
    setText(this.#name, file.name)
    setText(this.#facts, `${bytes(file.size)} · version ${count(file.version ?? 0)}`)
    this.#remove.hidden = !drive.canWrite || this.#at !== null
    const isActive = running !== null && ['running', 'stalled', 'waiting'].includes(running.state)
    this.#fetch.hidden = kind === 'other' || isActive || running?.state === 'done'
    this.#progress.hidden = !isActive
    this.element.dataset.state = running?.state ?? 'idle'
    if (!running) {
      setText(this.#words, kind === 'other' ? 'There is no preview for files of this kind.' : '')
      return
    }
    this.#progress.value = running.total === 0 ? 0 : running.received / running.total
    const far = `${bytes(running.received)} of ${bytes(running.total)}, ${share(running.received, running.total)}`
    this.#words.dataset.tone = running.state === 'failed' ? 'bad' : ''
    setText(this.#words, {
      running: `Fetching ${far}, ${bytes(running.speed)}/s`,
      stalled: `Waiting for a peer that has the rest. ${far} so far.`,
      waiting: 'This file is not on this device, and nobody who has it is connected. It is fetched as soon as somebody is.',
      done: kind === 'other' ? 'It is on this device now.' : '',
      failed: `It could not be fetched. ${running.fault}`,
      cancelled: ''
    }[running.state])
  }

  #start (): void {
    const [drive, file] = [this.#drive, this.#file]
    if (!drive || !file) return
    if (this.#running && ['running', 'stalled', 'waiting'].includes(this.#running.state)) return
    const running = this.#running = drive.fetch(file, this.#at)
    let isDone = false
    running.watch(() => {
      if (running !== this.#running) return
      if (running.state === 'done' && !isDone) {
        isDone = true
        if (!this.#file?.isHere) this.#onArrived()
        this.#arrived()
      }
      this.render()
    })
    this.render()
  }

  #arrived (): void {
    const [file, running] = [this.#file, this.#running]
    if (!file || !running) return
    const { kind, type } = kindOf(file.name)
    const blob = running.blob(type)
    if (this.#url === '') this.#url = URL.createObjectURL(blob)
    if (this.#body.childElementCount === 0) void this.#preview(kind, file, blob)
    if (!this.#saveWhenDone) return
    this.#saveWhenDone = false
    make('a', { href: this.#url, download: file.name }).click()
  }

  async #preview (kind: string, file: Child, blob: Blob): Promise<void> {
    const url = this.#url
    if (kind === 'image') this.#body.append(make('img', { src: url, alt: file.name, testid: 'preview-image' }))
    if (kind === 'audio') this.#body.append(make('audio', { src: url, controls: true, ariaLabel: file.name, testid: 'preview-audio' }))
    if (kind === 'video') this.#body.append(make('video', { src: url, controls: true, playsInline: true, ariaLabel: file.name, testid: 'preview-video' }))
    if (kind !== 'text') return
    const text = await blob.slice(0, SHOWN_TEXT).text()
    if (url !== this.#url || this.#body.childElementCount > 0) return
    this.#body.append(make('pre', { tabIndex: 0, testid: 'preview-text', ariaLabel: file.name }, blob.size > SHOWN_TEXT ? `${text}\n… (${bytes(blob.size)} in all)` : text))
  }

  #stop (): void {
    this.#running?.cancel()
    this.#running = null
    this.#saveWhenDone = false
    if (this.#url !== '') URL.revokeObjectURL(this.#url)
    this.#url = ''
  }
}
