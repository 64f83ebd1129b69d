// Drives or tables: their first view, and what can be done with one of them from anywhere on the page.

import { parseDriveLink } from './model/address.ts'
import type { Entry } from './model/catalog.ts'
import { sentence } from './model/problem.ts'
import type { Kind, Work } from './model/work.ts'
import type { Works } from './model/works.ts'
import { confirm } from './view/confirm.ts'
import { toast } from './view/dom.ts'
import { ShelfView, workName } from './view/shelf.ts'
import type { ShelfWords } from './view/shelf.ts'
import type { WorkActions } from './view/work-head.ts'

export interface DeskContext {
  storeName (): string
  openSettings (): void
  /** Tries the relay again. */
  retryRelay (): void
  /** The one that is shown, if one of this kind is. */
  shown (): Work | null
}

export class Desk<T extends Work & { purge (): Promise<void> }> {
  readonly shelf: ShelfView
  readonly actions: WorkActions
  readonly #kind: Kind | 'site'
  readonly #works: Works<T>
  readonly #context: DeskContext

  /** `prepare` puts what a new one begins with. */
  constructor (kind: Kind | 'site', words: ShelfWords, works: Works<T>, context: DeskContext, prepare: (work: T, name: string) => Promise<void> = async () => {}) {
    this.#kind = kind
    this.#works = works
    this.#context = context
    this.shelf = new ShelfView(words, works.catalog, () => context.storeName(), {
      open: (text) => { location.hash = this.#address(text) },
      create: async (name) => {
        const id = await works.create(name)
        await prepare(works.get(id), name)
        location.hash = `#/${this.#kind}/${id}`
      },
      remove: (entry) => { void this.#remove(entry) }
    })
    this.actions = {
      retry: () => {
        const shown = context.shown()
        if (shown?.problem) void works.retry(shown.entry.id)
        else context.retryRelay()
      },
      openSettings: () => context.openSettings(),
      goHome: () => { location.hash = `#/${this.#kind}` },
      asLog: (id) => {
        works.catalog.remove(id)
        location.hash = `#/${id}`
      },
      remove: (entry) => { void this.#remove(entry) }
    }
  }

  #address (text: string): string {
    const { id, version, path } = parseDriveLink(text)
    if (this.#kind === 'table') return `#/table/${id}`
    return `#/${this.#kind}/${id}${version === null ? '' : `+${version}`}${path === '/' ? '' : encodeURI(path)}`
  }

  async #remove (entry: Entry): Promise<void> {
    const name = workName(this.#kind, entry)
    const question = entry.isOwn
      ? 'It is deleted from this browser, for good. With what is deleted here, nobody can write to it again.'
      : 'What was fetched is deleted from this browser. With the key it can be fetched again while somebody holds it.'
    if (!await confirm(`Remove ${name}?`, question)) return
    const isShown = this.#context.shown()?.entry.id === entry.id
    try {
      await this.#works.remove(entry.id)
      toast(`${name} was removed`)
    } catch (error) {
      toast(`Not removed. ${sentence(error)}`)
    }
    if (isShown) location.hash = `#/${this.#kind}`
  }
}
