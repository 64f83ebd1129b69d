// Keys and storage: who we are, how to take that elsewhere, and how much this browser keeps.

import { storageStatus } from 'hypertab/storage'

import { explain, sentence } from '../model/problem.ts'
import { isKept } from '../model/settings.ts'
import { parseExported } from '../model/vault.ts'
import type { Exported, Vault } from '../model/vault.ts'
import { bytes, count, counted, share } from '../model/words.ts'
import type { BackupView } from './backup.ts'
import type { CopiesView } from './copies.ts'
import { byId, copy, make, setText, toast } from './dom.ts'
import { askWords, showWords } from './words-dialogs.ts'

/** What is known on this device, by what can become of it. */
export interface Known {
  /** Only here, unless somebody else has it. */
  readonly own: number
  /** Can be fetched again with its key, while somebody has it. */
  readonly read: number
}

export interface KeysActions {
  known (): Known
  /** How many other devices with this identity are connected. */
  devices (): number

  /** One's own drives and tables. */
  own (): Exported['works']
  /** Lists what came with an identity that is stored under this name now. */
  adopt (works: Exported['works'], store: string): void
}

export class KeysView {
  readonly element = byId('keys')
  readonly title = make('h1', { tabIndex: -1 }, 'Keys and storage')
  readonly #vault: Vault
  readonly #copies: CopiesView
  readonly #actions: KeysActions
  readonly #key = make('code', { className: 'big-key', testid: 'identity' }, 'Reading…')
  readonly #devices = make('p', { className: 'note', testid: 'devices', role: 'status' })
  readonly #help = make('p', { className: 'help', testid: 'identity-help', role: 'status' })
  readonly #used = make('p', { testid: 'storage-used' })
  readonly #bar = make('progress', { className: 'bar', max: 1, ariaLabel: 'Storage used' })
  readonly #kept = make('p', { className: 'help', testid: 'storage-kept', role: 'status' })
  readonly #lost = make('p', { className: 'note', testid: 'storage-lost' })
  readonly #persist = make('button', { type: 'button', className: 'button', testid: 'keys-persist' }, 'Ask the browser to keep it')

  constructor (vault: Vault, copies: CopiesView, backup: BackupView, actions: KeysActions) {
    this.#vault = vault
    this.#copies = copies
    this.#actions = actions
    const copyKey = make('button', { type: 'button', className: 'button small', testid: 'copy-identity' }, 'Copy')
    copyKey.addEventListener('click', () => copy(this.#key.textContent ?? '', 'Public key'))
    const exportKey = make('button', { type: 'button', className: 'button primary', testid: 'export-identity' }, 'Export to a file')
    exportKey.addEventListener('click', () => { void this.#export() })
    const file = make('input', { type: 'file', accept: '.json,application/json', testid: 'import-identity', ariaLabel: 'Import from a file' })
    file.addEventListener('change', () => { void this.#import(file) })
    const words = make('button', { type: 'button', className: 'button', testid: 'show-words' }, 'Show as words')
    words.addEventListener('click', () => { void this.#showWords() })
    const fromWords = make('button', { type: 'button', className: 'button', testid: 'import-words' }, 'Import from words')
    fromWords.addEventListener('click', () => { void this.#importWords() })
    this.#persist.addEventListener('click', async () => {
      toast(await navigator.storage.persist() ? 'The browser will keep what is stored' : 'The browser does not promise it; use the page more, or install it')
      await this.#describeStorage()
    })
    this.element.append(
      make('div', { className: 'lead' }, this.title, make('p', {}, 'One secret, made in this browser, signs your drives, your tables and what you write in rooms. Nobody else has it, and nobody can give it back to you. Each log has a key of its own, which stays with it in this browser.')),
      make('section', { className: 'card pad' },
        make('h2', {}, 'Identity'),
        make('p', { className: 'note' }, 'Public key; it can be shown to anybody.'),
        make('div', { className: 'log-key' }, this.#key, copyKey),
        make('div', { className: 'pane-actions flush' }, exportKey, words),
        make('div', { className: 'pane-actions flush' }, make('label', { className: 'button file' }, 'Import from a file', file), fromWords),
        this.#devices, this.#help),
      make('section', { className: 'card pad' },
        make('h2', {}, 'Storage'), this.#used, this.#bar, this.#kept, this.#lost, this.#persist),
      backup.element,
      copies.element)
    this.#sayHelp()
  }

  async render (): Promise<void> {
    if (this.element.hidden) return
    this.renderDevices()
    this.#copies.render()
    await Promise.all([this.#describeStorage(), this.#describeIdentity()])
  }

  /** Says whether other devices of one's own are there. */
  renderDevices (): void {
    const devices = this.#actions.devices()
    setText(this.#devices, devices === 0
      ? 'No other device with this key is connected. When one is, both list the drives and tables that are yours.'
      : `${counted(devices, 'other device')} with this key ${devices === 1 ? 'is' : 'are'} connected; the lists of your drives and tables are the same.`)
  }

  async #describeIdentity (): Promise<void> {
    try {
      setText(this.#key, await this.#vault.publicKey())
    } catch (error) {
      setText(this.#key, 'not readable now')
      this.#fault(error)
    }
  }

  async #export (): Promise<void> {
    try {
      const url = URL.createObjectURL(await this.#vault.export(this.#actions.own()))
      make('a', { href: url, download: 'hypertab-identity.json' }).click()
      setTimeout(() => URL.revokeObjectURL(url), 60_000)
      delete this.#help.dataset.tone
      setText(this.#help, 'Exported. Keep the file as you would keep a password.')
    } catch (error) {
      this.#fault(error)
    }
  }

  async #showWords (): Promise<void> {
    try {
      await showWords(await this.#vault.primaryKey())
    } catch (error) {
      this.#fault(error)
    }
  }

  async #importWords (): Promise<void> {
    try {
      const primaryKey = await askWords()
      if (!primaryKey) return
      await this.#vault.import({ primaryKey })
      location.reload()
    } catch (error) {
      this.#fault(error)
    }
  }

  async #import (input: HTMLInputElement): Promise<void> {
    const file = input.files?.[0]
    input.value = ''
    if (!file) return
    try {
      const exported = parseExported(await file.text())
      const store = await this.#vault.import(exported)
      this.#actions.adopt(exported.works, store)
      // Everything that is open belongs to the identity of before.
      location.reload()
    } catch (error) {
      this.#fault(error)
    }
  }

  #fault (error: unknown): void {
    const { state, title, detail } = explain(error, 'store')
    this.#help.dataset.tone = 'bad'
    setText(this.#help, state === 'broken' ? sentence(error) : `${title}. ${detail}`)
  }

  #sayHelp (): void {
    setText(this.#help, `Whoever has the file can write as you. Write on one device at a time: two that write the same thing at once give it two histories, and readers trust neither.`)
  }

  async #describeStorage (): Promise<void> {
    this.#persist.hidden = this.#bar.hidden = true
    if (!isKept) return setText(this.#used, 'This browser keeps nothing for this page: write the words or the file of your identity down elsewhere to have it again.')
    const { persisted, usage, quota, deletedAfterDays } = await storageStatus()
    const rule = deletedAfterDays === null ? '' : `This browser deletes whatever a page has stored after ${counted(deletedAfterDays, 'day')} without a visit, unless the page is on the home screen.`
    if (usage === null || quota === null) {
      setText(this.#kept, rule)
      return setText(this.#used, 'This browser does not tell how much is stored.')
    }
    const { own, read } = this.#actions.known()
    setText(this.#used, `${bytes(usage)} used of ${bytes(quota)} (${share(usage, quota)}).`)
    setText(this.#lost, own + read === 0 ? '' : `Your own: ${count(own)}. If they are deleted here, only readers have a copy, and nobody can write on. Copies of what others write: ${count(read)}. Remove them from the lists to make room; with their keys they can be fetched again.`)
    this.#bar.hidden = false
    this.#bar.value = quota === 0 ? 0 : usage / quota
    setText(this.#kept, rule || (persisted ? 'The browser keeps it until you remove it.' : 'The browser may delete it when the disk runs full.'))
    this.#persist.hidden = persisted === true || !navigator.storage.persist
  }
}
