// The view of a drive as a web site: its pages as they are, below its own address, anew whenever the author publishes.

import { driveAddress, siteAddress } from '../model/address.ts'
import type { Drive } from '../model/drive.ts'
import { servedAddress } from '../model/served.ts'
import { byId, make, setText } from './dom.ts'
import { Intake } from './intake.ts'
import { WorkHead } from './work-head.ts'
import type { WorkActions } from './work-head.ts'

export class SiteView {
  readonly element = byId('site')
  readonly #head: WorkHead
  readonly #intake: Intake
  readonly #address = make('code', { className: 'site-address', testid: 'site-address' })
  readonly #files = make('a', { className: 'button small', testid: 'site-files' }, 'Files')
  readonly #frame = make('iframe', { className: 'site-frame', title: 'The site', testid: 'site-frame' })
  readonly #note = make('p', { className: 'empty pad', testid: 'site-note', role: 'status' })
  #drive: Drive | null = null
  #path = '/'
  #version: number | null = null
  #shown = ''
  #unwatch: () => void = () => {}

  constructor (actions: WorkActions) {
    this.#head = new WorkHead('site', () => this.#drive, actions)
    this.#intake = new Intake(this.element, () => this.#drive?.canWrite && this.#version === null ? { drive: this.#drive, folder: '/' } : null, 'site-')
    const home = make('button', { type: 'button', className: 'button small', testid: 'site-home' }, 'Start')
    home.addEventListener('click', () => this.#load('/'))
    const again = make('button', { type: 'button', className: 'button small', testid: 'site-reload' }, 'Reload')
    again.addEventListener('click', () => this.#reload())
    this.#frame.addEventListener('load', () => this.#sayAddress())
    this.element.append(this.#head.element, this.#intake.element,
      make('section', { className: 'card site-card', ariaLabel: 'Site' },
        make('div', { className: 'site-bar' }, home, again, this.#address, this.#files), this.#note, this.#frame))
  }

  get title (): HTMLElement {
    return this.#head.title
  }

  /** Shows a page of a site, or none. */
  show (drive: Drive | null, path = '/', version: number | null = null): void {
    if (drive !== this.#drive) this.#unwatch()
    const isOther = drive !== this.#drive
    this.#drive = drive
    this.#path = path
    this.#version = version
    this.#shown = ''
    if (isOther || !drive) {
      this.#frame.removeAttribute('src')
      this.#frame.hidden = true
      this.#unwatch = drive?.watch(() => this.render()) ?? (() => {})
    }
    this.render()
  }

  render (): void {
    const drive = this.#drive
    if (!drive) return
    this.#head.render(drive)
    this.#intake.render()
    this.#files.href = driveAddress(drive.entry.id, '/', this.#version)
    this.#sayAddress()
    const shown = `${drive.entry.id} ${drive.isOpen} ${drive.version} ${this.#version} ${this.#path} ${drive.peers.length > 0}`
    if (shown === this.#shown) return
    this.#shown = shown
    void this.#look(drive, shown)
  }

  // Shows the site as it is now, if there is one.
  async #look (drive: Drive, shown: string): Promise<void> {
    const fault = await this.#faultOf(drive)
    if (shown !== this.#shown) return
    this.#note.hidden = fault === ''
    setText(this.#note, fault)
    if (fault !== '') {
      this.#frame.hidden = true
      return
    }
    if (this.#frame.hidden || !this.#frame.hasAttribute('src')) this.#load(this.#path)
    else this.#reload()
  }

  async #faultOf (drive: Drive): Promise<string> {
    if (!drive.isOpen) return 'Opening…'
    if (drive.version === 0 && !drive.entry.isOwn) return 'The site appears here as soon as somebody who has it is found.'
    if (!navigator.serviceWorker) return 'This browser has no service worker here, and so it cannot show a drive as a site. Its files can be looked at one by one.'
    await navigator.serviceWorker.ready
    if (servedAddress(drive.entry.id, '/', null) === null) return 'The page has just been installed. Load it again to show sites.'
    try {
      if (await drive.file('/index.html', this.#version)) return ''
    } catch {
      return 'The site is not on this device, and nobody who has it is connected. It appears when somebody is.'
    }
    return drive.entry.isOwn ? 'There is no index.html yet. Drop the folder’s files anywhere on this page.' : 'This drive has no index.html, and so it is no site. Its files can be looked at one by one.'
  }

  #load (path: string): void {
    const drive = this.#drive
    const address = drive && servedAddress(drive.entry.id, path, this.#version)
    if (!address) return
    this.#frame.hidden = false
    this.#frame.src = address
  }

  #reload (): void {
    if (this.#href().startsWith('http')) this.#frame.contentWindow!.location.reload()
    else this.#load(this.#path)
  }

  // Where the reader went within the site. The page itself stays at the address that the history has.
  #sayAddress (): void {
    const drive = this.#drive
    if (!drive) return
    const base = servedAddress(drive.entry.id, '', this.#version)
    const href = this.#href()
    const path = base && href.startsWith(`${base}/`) ? href.slice(base.length) : this.#path
    setText(this.#address, `hyper://${drive.entry.id}${this.#version === null ? '' : `+${this.#version}`}${path}`)
    const place = siteAddress(drive.entry.id, readable(path), this.#version)
    if (base && href.startsWith(`${base}/`) && location.hash !== place) history.replaceState(null, '', place)
  }

  // Where the frame is; a page with an origin of its own does not tell.
  #href (): string {
    try {
      return this.#frame.contentWindow?.location.href ?? ''
    } catch {
      return ''
    }
  }
}

// A link of a site may be escaped in a way that nobody can read.
function readable (path: string): string {
  try {
    return decodeURI(path)
  } catch {
    return path
  }
}
