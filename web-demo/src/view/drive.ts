// The view of one drive: a folder on one side, a file on the other, and its versions.

import { driveAddress } from '../model/address.ts'
import { MOST_CHILDREN } from '../model/drive.ts'
import type { Child, Drive } from '../model/drive.ts'
import { kindOf } from '../model/file-kind.ts'
import { sentence } from '../model/problem.ts'
import { bytes, count, counted } from '../model/words.ts'
import { byId, clearChildren, make, reveal, setChildren, setText, toast } from './dom.ts'
import { DriveVersions } from './drive-versions.ts'
import { FilePane } from './file-pane.ts'
import { icon } from './icons.ts'
import { Intake } from './intake.ts'
import { WorkHead } from './work-head.ts'
import type { WorkActions } from './work-head.ts'

export class DriveView {
  readonly element = byId('drive')
  readonly #head: WorkHead
  readonly #crumbs = make('nav', { className: 'crumbs', ariaLabel: 'Folder', testid: 'crumbs' })
  readonly #version = make('p', { className: 'old-version', testid: 'old-version', role: 'status' })
  readonly #list = make('ul', { className: 'files', testid: 'files', ariaLabel: 'Files' })
  readonly #note = make('p', { className: 'empty', testid: 'files-note', role: 'status' })
  readonly #count = make('p', { className: 'note', testid: 'drive-version' })
  readonly #versions = new DriveVersions()
  readonly #pane: FilePane
  readonly #intake: Intake
  #drive: Drive | null = null
  #path = '/'
  #at: number | null = null
  #folder = '/'
  #unwatch: () => void = () => {}
  #loaded = ''
  /** Whether somebody has just gone here within the drive. */
  #isChosen = false
  #loading = 0

  constructor (actions: WorkActions) {
    this.#head = new WorkHead('drive', () => this.#drive, actions)
    this.#pane = new FilePane((path) => this.#remove(path), () => { this.#loaded = ''; this.render() })
    this.#intake = new Intake(this.element, () => this.#drive?.canWrite && this.#at === null ? { drive: this.#drive, folder: this.#folder } : null)
    this.element.append(
      this.#head.element,
      this.#intake.element,
      make('div', { className: 'drive-grid' },
        make('section', { className: 'card', ariaLabel: 'Folder' },
          make('div', { className: 'card-head' }, this.#crumbs, this.#count),
          this.#version, this.#list, this.#note),
        make('div', { className: 'aside' },
          this.#pane.element,
          this.#versions.element)))
  }

  get title (): HTMLElement {
    return this.#head.title
  }

  /** Shows a place in a drive, or none. */
  show (drive: Drive | null, path = '/', version: number | null = null): void {
    const isOther = drive !== this.#drive
    this.#isChosen = !isOther && path !== this.#path
    if (isOther) this.#unwatch()
    this.#drive = drive
    this.#path = path
    this.#at = version
    this.#loaded = ''
    if (!drive) {
      this.#pane.show(null, null, null)
      this.#unwatch = () => {}
      return
    }
    if (isOther) {
      this.#folder = ''
      clearChildren(this.#list)
      this.#versions.clear()
      this.#pane.show(null, null, null)
      this.#unwatch = drive.watch(() => this.render())
    }
    this.render()
  }

  render (): void {
    const drive = this.#drive
    if (!drive) return
    this.#head.render(drive)
    this.#intake.render()
    this.#pane.render()
    setText(this.#count, drive.version > 0 ? `version ${count(drive.version)}` : '')
    this.#version.hidden = this.#at === null
    setChildren(this.#version, `${drive.entry.id} ${this.#at} ${this.#path}`, () => this.#at === null ? [] : [
      `This is version ${count(this.#at)}, as it was. `,
      make('a', { href: driveAddress(drive.entry.id, this.#path, null), testid: 'to-newest' }, 'Back to the newest')])
    // What is on the page is looked up again when the author changed it, or somebody came who has what was missing.
    const state = `${drive.entry.id} ${drive.isOpen} ${drive.version} ${drive.peers.length > 0} ${this.#path} ${this.#at}`
    if (!drive.isOpen || state === this.#loaded) return
    this.#loaded = state
    void this.#load(drive, ++this.#loading)
  }

  async #load (drive: Drive, turn: number): Promise<void> {
    const [path, at] = [this.#path, this.#at]
    const isCurrent = () => turn === this.#loading && drive === this.#drive
    if (this.#list.childElementCount === 0) setText(this.#note, drive.version === 0 && !drive.entry.isOwn ? 'The files appear here as soon as somebody who has the drive is found.' : 'Reading the folder…')
    try {
      const file = path === '/' ? null : await drive.file(path, at)
      const folder = file ? path.slice(0, path.lastIndexOf('/')) || '/' : path
      const children = await drive.list(folder, at)
      if (!isCurrent()) return
      this.#folder = folder
      this.#renderCrumbs(drive, folder)
      this.#renderFolder(drive, children, file?.path ?? null)
      const isMissing = path !== '/' && !file && children.length === 0
      this.#note.hidden = children.length > 0 && children.length < MOST_CHILDREN
      setText(this.#note, isMissing
        ? 'There is nothing at this path in this version.'
        : children.length === MOST_CHILDREN
          ? `The first ${count(MOST_CHILDREN)} are listed.`
          : drive.version === 0 && !drive.entry.isOwn
            ? 'The files appear here as soon as somebody who has the drive is found.'
            : drive.entry.isOwn ? 'Empty. Drop files or a folder anywhere on this page.' : 'The folder is empty.')
      this.#pane.show(drive, file, at)
      if (this.#isChosen && file) reveal(this.#pane.element)
      this.#isChosen = false
      await this.#versions.load(drive, folder, file?.path ?? null, at, isCurrent)
    } catch (error) {
      if (!isCurrent()) return
      this.#note.hidden = false
      setText(this.#note, drive.peers.length === 0 ? 'This folder is not on this device, and nobody who has it is connected. It appears when somebody is.' : `The folder could not be read. ${sentence(error)}`)
    }
  }

  #renderCrumbs (drive: Drive, folder: string): void {
    setChildren(this.#crumbs, `${drive.entry.id} ${folder} ${this.#at}`, () => {
      const names = folder.split('/').filter(Boolean)
      const link = (words: string, path: string) => make('a', { href: driveAddress(drive.entry.id, path, this.#at) }, words)
      return [link('All files', '/'), ...names.flatMap((name, index) => [
        make('span', { ariaHidden: 'true' }, '/'),
        link(name, `/${names.slice(0, index + 1).join('/')}`)])]
    })
  }

  #renderFolder (drive: Drive, children: Child[], chosen: string | null): void {
    setChildren(this.#list, JSON.stringify([drive.entry.id, this.#at, chosen, children]), () => children.map((child) => {
      const kind = child.isFolder ? 'folder' : kindOf(child.name).kind
      const link = make('a', { className: 'file-row', href: driveAddress(drive.entry.id, child.path, this.#at), testid: child.isFolder ? 'folder' : 'file' },
        make('span', { className: `file-icon ${kind}` }, icon(kind)),
        make('span', { className: 'file-name' }, child.name),
        make('span', { className: 'note' }, child.isFolder ? 'folder' : child.link ? `→ ${child.link}` : bytes(child.size)),
        make('span', { className: 'file-here', title: child.isFolder ? '' : child.isHere ? 'On this device' : 'Not on this device yet' }, child.isFolder ? '' : child.isHere ? '●' : '○'))
      link.dataset.name = child.name
      link.dataset.here = String(child.isHere)
      if (child.path === chosen) link.setAttribute('aria-current', 'true')
      link.ariaLabel = child.isFolder ? `${child.name}, folder` : `${child.name}, ${bytes(child.size)}, ${child.isHere ? 'on this device' : 'not on this device yet'}`
      return make('li', {}, link)
    }))
    this.#list.ariaLabel = counted(children.length, 'entry', 'entries')
  }

  async #remove (path: string): Promise<void> {
    try {
      await this.#drive?.remove(path)
      toast(`${path.slice(path.lastIndexOf('/') + 1)} was removed; older versions still have it`)
      location.hash = driveAddress(this.#drive!.entry.id, this.#folder, null)
    } catch (error) {
      toast(`Not removed. ${sentence(error)}`)
    }
  }
}
