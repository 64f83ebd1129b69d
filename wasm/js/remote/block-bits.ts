// The blocks of a log, or those that a peer announced, as they are known where the engine is not: so many from the start, and
// pages of bits beyond.

/** Blocks of a page. */
export const PAGE = 32_768
const PAGE_BYTES = PAGE / 8

/** Pages of one list that are told: a MiB. What lies on others is not known. */
const MOST_PAGES = 256

/** A page that changed; null when nothing on it is of interest any more. */
export type PageChange = [page: number, bits: Uint8Array | null]

export class BlockBits {
  #pages = new Map<number, Uint8Array>()
  /** When each page changed, as counted by the revision. */
  #changes = new Map<number, number>()
  #revision = 0
  #prefix

  /** @param prefix how many blocks from the start are certainly there */
  constructor (prefix: () => number) {
    this.#prefix = prefix
  }

  take (changes: PageChange[]): void {
    for (const [page, bits] of changes) {
      this.#changes.set(page, ++this.#revision)
      if (bits === null) this.#pages.delete(page)
      else this.#pages.set(page, bits)
    }
    const first = Math.floor(this.#prefix() / PAGE)
    for (const page of this.#pages.keys()) if (page < first) this.#pages.delete(page)
  }

  /** The revision now, and the pages from one on that have changed after another. */
  changed (revision: number, first: number): number[] {
    return [this.#revision, ...[...this.#changes].flatMap(([page, at]) => page >= first && at > revision ? [page] : [])]
  }

  /** The first block from a place on, or the last one up to there, that is in the list or not; -1 for none. */
  find (isSet: boolean, from: number, backwards: boolean): number {
    if (backwards) return isSet ? this.#lastSet(from) : this.#lastUnset(from)
    return isSet ? this.#firstSet(from) : this.#firstUnset(from)
  }

  count (start: number, end: number): number {
    const prefix = this.#prefix()
    let count = Math.max(0, Math.min(end, prefix) - start)
    for (const [page, bits] of this.#pages) {
      const first = page * PAGE
      for (let at = Math.max(start, prefix, first); at < Math.min(end, first + PAGE); at++) if (isBit(bits, at - first)) count++
    }
    return count
  }

  /** The bits of a page. */
  page (page: number): Uint8Array {
    const first = page * PAGE
    const bits = this.#pages.get(page)?.slice() ?? new Uint8Array(PAGE_BYTES)
    const within = Math.max(0, Math.min(PAGE, this.#prefix() - first))
    bits.fill(0xff, 0, within >> 3)
    if ((within & 7) !== 0) bits[within >> 3]! |= (1 << (within & 7)) - 1
    return bits
  }

  #get (index: number): boolean {
    if (index < this.#prefix()) return true
    const bits = this.#pages.get(Math.floor(index / PAGE))
    return bits !== undefined && isBit(bits, index % PAGE)
  }

  #firstSet (from: number): number {
    if (from < this.#prefix()) return from
    const start = Math.floor(from / PAGE)
    for (const page of this.#known().filter((page) => page >= start)) {
      for (let at = Math.max(from, page * PAGE); at < (page + 1) * PAGE; at++) if (this.#get(at)) return at
    }
    return -1
  }

  #firstUnset (from: number): number {
    let at = Math.max(from, this.#prefix())
    while (this.#get(at)) at++
    return at
  }

  #lastSet (from: number): number {
    const prefix = this.#prefix()
    const last = Math.floor(from / PAGE)
    for (const page of this.#known().filter((page) => page <= last).reverse()) {
      for (let at = Math.min(from, (page + 1) * PAGE - 1); at >= Math.max(prefix, page * PAGE); at--) if (this.#get(at)) return at
    }
    return Math.min(from, prefix - 1)
  }

  #lastUnset (from: number): number {
    let at = from
    while (at >= 0 && this.#get(at)) at = at < this.#prefix() ? -1 : at - 1
    return at
  }

  #known (): number[] {
    return [...this.#pages.keys()].sort((a, b) => a - b)
  }
}

function isBit (bits: Uint8Array, at: number): boolean {
  return (bits[at >> 3]! >> (at & 7) & 1) === 1
}

/** Where the engine looks: the list of a core or of a peer. */
export interface BitsSource {
  /** The revision now, and the pages from one on that have changed after another. */
  changed (revision: number, first: number): number[] | undefined
  page (page: number): Uint8Array | undefined
  firstSet (from: number): number
}

/** What was told of a list, and what has to be told. */
export class ToldBits {
  #revision = 0
  #prefix = 0
  readonly #pages = new Set<number>()

  /** The pages to tell, beyond a prefix that is told anyway. */
  changes (source: BitsSource, prefix: number): PageChange[] {
    const first = Math.floor(prefix / PAGE)
    // What lay inside of the prefix was not told.
    if (prefix < this.#prefix) this.#revision = 0
    this.#prefix = prefix
    const [revision, ...pages] = source.changed(this.#revision, first) ?? []
    if (revision === undefined || revision === this.#revision) return []
    this.#revision = revision
    for (const page of this.#pages) if (page < first) this.#pages.delete(page)
    return pages.flatMap((page): PageChange[] => {
      const set = source.firstSet(Math.max(prefix, page * PAGE))
      const isKnown = this.#pages.has(page)
      if (set < 0 || set >= (page + 1) * PAGE) {
        this.#pages.delete(page)
        return isKnown ? [[page, null]] : []
      }
      if (!isKnown && this.#pages.size >= MOST_PAGES) return []
      this.#pages.add(page)
      return [[page, source.page(page)!]]
    })
  }
}
