// One file of a drive: its preview, how it arrives, and what can be done with it.

import { driveAddress, pageLink } from '../model/address.ts'
import type { Child, Drive } from '../model/drive.ts'
import type { FileFetch, Sink } from '../model/file-fetch.ts'
import { kindOf, SMALL } from '../model/file-kind.ts'
import { parseMarkdown } from '../model/markdown.ts'
import { servedAddress } from '../model/served.ts'
import { sentence } from '../model/problem.ts'
import { canStream, chooseTarget } from '../model/save-target.ts'
import { bytes, count, duration, share } from '../model/words.ts'
import { copy, make, setText } from './dom.ts'
import { markdown } from './markdown.ts'
import { showQr } from './qr.ts'

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
  readonly #source = make('button', { type: 'button', className: 'button small', testid: 'file-source' })
  readonly #link = make('button', { type: 'button', className: 'button small', testid: 'file-link' }, 'Copy link')
  readonly #qr = make('button', { type: 'button', className: 'button small', testid: 'file-qr' }, 'QR code')
  readonly #stopButton = make('button', { type: 'button', className: 'button small quiet', testid: 'file-stop' }, 'Stop')
  readonly #remove = make('button', { type: 'button', className: 'button small quiet danger', testid: 'file-remove' }, 'Remove')
  readonly #onArrived: () => void
  #drive: Drive | null = null
  #file: Child | null = null
  #at: number | null = null
  #running: FileFetch | null = null
  #saveWhenDone = false
  /** Whether what runs goes to the disk. */
  #isSaving = false
  #url = ''
  #shown = ''

  /** `arrived` is called when a file is on this device that was not before. */
  constructor (remove: (path: string) => void, arrived: () => void) {
    this.#onArrived = arrived
    this.element = make('section', { className: 'card file-pane', testid: 'file-pane', ariaLabel: 'File' },
      make('div', { className: 'card-head' }, this.#name, this.#facts),
      this.#body, this.#progress, this.#words,
      make('div', { className: 'pane-actions' }, this.#fetch, this.#save, this.#stopButton, this.#source, this.#link, this.#qr, this.#remove))
    this.#fetch.addEventListener('click', () => this.#start())
    this.#source.addEventListener('click', () => this.#toggleSource())
    this.#save.addEventListener('click', () => { void this.#saveFile() })
    this.#stopButton.addEventListener('click', () => { this.#stop(); this.render() })
    this.#qr.addEventListener('click', () => {
      if (this.#drive && this.#file) showQr(this.#file.name, pageLink(driveAddress(this.#drive.entry.id, this.#file.path, this.#at)))
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
      if (drive && file && this.#playable()) this.#play()
      else if (drive && file && (file.isHere || file.size <= SMALL) && kindOf(file.name).kind !== 'other' && !isUnseen(file.name) && (file.size <= SMALL || kindOf(file.name).kind !== 'text')) this.#start()
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
    this.#fetch.hidden = kind === 'other' || this.#playable() !== null || isUnseen(file.name) || isActive || (running?.state === 'done' && !this.#isSaving)
    this.#stopButton.hidden = !isActive
    const source = this.#body.querySelector('pre[data-testid=preview-text]') as HTMLElement | null
    this.#source.hidden = !source || this.#body.childElementCount < 2
    setText(this.#source, source?.hidden ? 'Show the source' : 'Show it as a page')
    this.#progress.hidden = !isActive
    this.element.dataset.state = running?.state ?? 'idle'
    if (!running) {
      setText(this.#words, this.#playable() !== null ? 'It plays as it comes: only what you hear or see is fetched.' : kind === 'other' ? 'There is no preview for files of this kind.' : isUnseen(file.name) ? 'This browser shows no PDF files in a page. Download it to read it.' : '')
      return
    }
    this.#progress.value = running.total === 0 ? 0 : running.received / running.total
    const far = `${bytes(running.received)} of ${bytes(running.total)}, ${share(running.received, running.total)}`
    this.#words.dataset.tone = running.state === 'failed' ? 'bad' : ''
    setText(this.#words, {
      running: `${this.#isSaving ? 'Saving' : 'Fetching'} ${far}, ${bytes(running.speed)}/s${running.secondsLeft === null ? '' : `, about ${duration(running.secondsLeft)} left`}`,
      stalled: `Waiting for a peer that has the rest. ${far} so far.`,
      waiting: 'This file is not on this device, and nobody who has it is connected. It is fetched as soon as somebody is.',
      done: this.#isSaving ? `Saved, ${bytes(running.total)}.` : kind === 'other' || this.#playable() !== null ? 'It is on this device now.' : '',
      failed: `It could not be fetched. ${running.fault}`,
      cancelled: ''
    }[running.state])
  }

  // A large file goes to the disk as it comes, where the browser can do that; a small one, or one that is here, at once.
  async #saveFile (): Promise<void> {
    const file = this.#file
    if (!file) return
    if (this.#running?.state === 'done' && !this.#isSaving) {
      this.#saveWhenDone = true
      return this.#arrived()
    }
    if (file.size <= SMALL || !canStream()) {
      this.#saveWhenDone = true
      return this.#start()
    }
    try {
      const sink = await chooseTarget(file.name)
      if (!sink) return
      if (file.path !== this.#file?.path) return void await sink.abort()
      this.#stop()
      this.#start(sink)
    } catch (error) {
      this.#words.dataset.tone = 'bad'
      setText(this.#words, `Not saved. ${sentence(error)}`)
    }
  }

  #start (sink: Sink | null = null): void {
    const [drive, file] = [this.#drive, this.#file]
    if (!drive || !file) return
    if (this.#running && ['running', 'stalled', 'waiting'].includes(this.#running.state)) return
    this.#isSaving = sink !== null
    const running = this.#running = drive.fetch(file, this.#at, sink)
    let isDone = false
    running.watch(() => {
      if (running !== this.#running) return
      if (running.state === 'done' && !isDone) {
        isDone = true
        if (!this.#file?.isHere) this.#onArrived()
        if (!sink) this.#arrived()
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
    if (this.#body.childElementCount === 0 && this.#playable() === null) void this.#preview(kind, file, blob)
    if (!this.#saveWhenDone) return
    this.#saveWhenDone = false
    make('a', { href: this.#url, download: file.name }).click()
  }

  // Where sound or a film is served, so that it plays and can be wound on before all of it is here.
  #playable (): string | null {
    const [drive, file] = [this.#drive, this.#file]
    if (!drive || !file || !['audio', 'video'].includes(kindOf(file.name).kind)) return null
    return servedAddress(drive.entry.id, file.path, this.#at ?? drive.version)
  }

  #play (): void {
    const src = this.#playable()!
    const { name } = this.#file!
    const player = kindOf(name).kind === 'audio'
      ? make('audio', { src, controls: true, preload: 'metadata', ariaLabel: name, testid: 'preview-audio' })
      : make('video', { src, controls: true, preload: 'metadata', playsInline: true, ariaLabel: name, testid: 'preview-video' })
    this.#body.append(player)
  }

  async #preview (kind: string, file: Child, blob: Blob): Promise<void> {
    const url = this.#url
    if (kind === 'image') this.#body.append(make('img', { src: url, alt: file.name, testid: 'preview-image' }))
    if (kind === 'audio') this.#body.append(make('audio', { src: url, controls: true, ariaLabel: file.name, testid: 'preview-audio' }))
    if (kind === 'video') this.#body.append(make('video', { src: url, controls: true, playsInline: true, ariaLabel: file.name, testid: 'preview-video' }))
    if (kind === 'pdf') this.#body.append(make('iframe', { src: url, title: file.name, className: 'pdf', testid: 'preview-pdf' }))
    if (kind !== 'text') return
    const text = await blob.slice(0, SHOWN_TEXT).text()
    if (url !== this.#url || this.#body.childElementCount > 0) return
    const source = make('pre', { tabIndex: 0, testid: 'preview-text', ariaLabel: file.name }, blob.size > SHOWN_TEXT ? `${text}\n… (${bytes(blob.size)} in all)` : text)
    this.#body.append(source)
    if (!isMarkdown(file.name)) return
    this.#body.prepend(this.#rendered(file, text))
    source.hidden = true
    this.render()
  }

  #rendered (file: Child, text: string): HTMLElement {
    const [{ entry: { id }, version }, at] = [this.#drive!, this.#at]
    return make('article', { className: 'markdown', testid: 'preview-markdown', tabIndex: 0, ariaLabel: file.name }, ...markdown(parseMarkdown(text), {
      folder: file.path.slice(0, file.path.lastIndexOf('/')),
      address: (path) => driveAddress(id, path, at),
      picture: (path) => kindOf(path).kind === 'image' ? servedAddress(id, path, at ?? version) : null
    }))
  }

  #toggleSource (): void {
    for (const child of this.#body.children) (child as HTMLElement).hidden = !(child as HTMLElement).hidden
    this.render()
  }

  #stop (): void {
    this.#running?.cancel()
    this.#running = null
    this.#saveWhenDone = this.#isSaving = false
    if (this.#url !== '') URL.revokeObjectURL(this.#url)
    this.#url = ''
  }
}

function isMarkdown (name: string): boolean {
  return /\.(md|markdown)$/i.test(name)
}

// What a page could show, but this browser cannot.
function isUnseen (name: string): boolean {
  return kindOf(name).kind === 'pdf' && !navigator.pdfViewerEnabled
}
