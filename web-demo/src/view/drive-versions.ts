// The versions of a drive or of one file in it: a slider over them, the list, and how two of them differ.

import { driveAddress } from '../model/address.ts'
import type { Change, Drive } from '../model/drive.ts'
import { bytes, count } from '../model/words.ts'
import { clearChildren, make, setChildren, setText } from './dom.ts'
import { DriveCompare } from './drive-compare.ts'

/** How many changes the slider goes over, and how many are listed. */
const KNOWN_CHANGES = 200
const LISTED_CHANGES = 30

export class DriveVersions {
  readonly element: HTMLElement
  readonly #note = make('p', { className: 'note' })
  readonly #slider = make('input', { type: 'range', id: 'version-slider', testid: 'version-slider', min: '0', step: '1' })
  readonly #output = make('output', { className: 'note', testid: 'version-output' })
  readonly #sliding = make('div', { className: 'sliding', hidden: true })
  readonly #list = make('ol', { className: 'changes', testid: 'changes', ariaLabel: 'Versions' })
  readonly #compare = new DriveCompare()
  /** The last one first. */
  #changes: Change[] = []
  #address: (change: Change, isNewest: boolean) => string = () => ''

  constructor () {
    this.#sliding.append(make('label', { htmlFor: this.#slider.id }, 'Version'), this.#slider, this.#output)
    this.#slider.addEventListener('input', () => this.#sayVersion())
    this.#slider.addEventListener('change', () => {
      const change = this.#slid()
      if (change) location.hash = this.#address(change, change === this.#changes[0])
    })
    this.element = make('section', { className: 'card versions' },
      make('div', { className: 'card-head' }, make('h2', {}, 'Versions'), this.#note),
      this.#sliding, this.#list, this.#compare.element)
  }

  clear (): void {
    clearChildren(this.#list)
    this.#changes = []
    this.#sliding.hidden = true
    this.#compare.show(null, '/', null, [])
  }

  /** Looks up the versions of a file, or of all in a folder when there is no file; `at` is the one that is shown. */
  async load (drive: Drive, folder: string, file: string | null, at: number | null, isCurrent: () => boolean): Promise<void> {
    setText(this.#note, file === null ? 'of the drive' : 'of this file')
    const changes = await drive.history(file, KNOWN_CHANGES).catch(() => null)
    if (!isCurrent()) return
    this.#changes = changes ?? []
    this.#address = ({ version }, isNewest) => driveAddress(drive.entry.id, file ?? folder, isNewest ? null : version)
    this.#sliding.hidden = this.#changes.length < 2
    this.#slider.max = String(this.#changes.length - 1)
    const shown = at === null ? 0 : this.#changes.findIndex(({ version }) => version <= at)
    if (document.activeElement !== this.#slider || Number(this.#slider.value) !== this.#changes.length - 1 - shown) this.#slider.value = String(this.#changes.length - 1 - Math.max(0, shown))
    this.#sayVersion()
    this.#compare.show(drive, folder, file, this.#changes)
    setChildren(this.#list, JSON.stringify([drive.entry.id, file, folder, at, changes]), () => changes === null
      ? [make('li', { className: 'note' }, 'The history is not on this device.')]
      : changes.length === 0
        ? [make('li', { className: 'note' }, drive.version === 0 && !drive.entry.isOwn ? 'The versions appear here with the files.' : 'No changes yet.')]
        : changes.slice(0, LISTED_CHANGES).map((change, place) => this.#item(change, place === 0, file, place === shown)))
  }

  #item (change: Change, isNewest: boolean, file: string | null, isShown: boolean): HTMLElement {
    const { version, path, isRemoved, size } = change
    const link = make('a', { href: this.#address(change, isNewest), testid: 'change', className: 'change' },
      make('span', { className: 'change-number' }, count(version)),
      make('span', { className: 'change-path' }, file ? (isRemoved ? 'removed' : 'written') : `${isRemoved ? '− ' : ''}${path}`),
      make('span', { className: 'note' }, isRemoved ? 'removed' : bytes(size)))
    if (isShown) link.setAttribute('aria-current', 'true')
    return make('li', {}, link)
  }

  #slid (): Change | undefined {
    return this.#changes[this.#changes.length - 1 - Number(this.#slider.value)]
  }

  #sayVersion (): void {
    const change = this.#slid()
    const words = change ? `${count(change.version)}${change === this.#changes[0] ? ', newest' : ''}` : ''
    setText(this.#output, words)
    this.#slider.setAttribute('aria-valuetext', `Version ${words}`)
  }
}
