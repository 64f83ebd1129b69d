// Which blocks are marked to be kept, as stored: `hypercore/lib/mark-bitfield`.
//
// Source: hypercore 11.35, `lib/mark-bitfield.js`.

import { Readable } from 'streamx'

import type { CoreStorage } from '../../storage/core-storage.js'
import type { EntryStream } from '../../storage/records.js'
import { BITS_PER_PAGE, BYTES_PER_PAGE, firstBit, getBit, lastBit, setBit } from './bits.js'

export class MarkBitfield {
  static readonly BITS_PER_PAGE = BITS_PER_PAGE
  static readonly BYTES_PER_PAGE = BYTES_PER_PAGE

  readonly storage: CoreStorage
  #pages = new Map<number, Promise<Uint32Array>>()

  constructor (storage: CoreStorage) {
    this.storage = storage
  }

  /** The words of a page, which are read once. */
  loadPage (page: number): Promise<Uint32Array> {
    const loading = this.#read(page)
    this.#pages.set(page, loading)
    return loading
  }

  async get (index: number): Promise<boolean> {
    const page = Math.floor(index / BITS_PER_PAGE)
    return getBit(await (this.#pages.get(page) ?? this.loadPage(page)), index % BITS_PER_PAGE)
  }

  /** Resolves when it is stored. */
  async set (index: number, value: boolean): Promise<void> {
    const page = Math.floor(index / BITS_PER_PAGE)
    const words = await (this.#pages.get(page) ?? (value ? this.loadPage(page) : null))
    if (!words) return
    setBit(words, index % BITS_PER_PAGE, value)
    const tx = this.storage.write()
    tx.putMark(page, new Uint8Array(words.slice().buffer))
    await tx.flush()
  }

  async clear (): Promise<void> {
    const tx = this.storage.write()
    tx.deleteMarkRange(0, -1)
    await tx.flush()
    this.#pages = new Map()
  }

  /** The indexes that are marked, in order or from the last one on. */
  createMarkStream ({ reverse = false }: { reverse?: boolean } = {}): EntryStream<number> {
    return Readable.from(this.#marks(reverse)) as EntryStream<number>
  }

  async * #marks (reverse: boolean): AsyncGenerator<number> {
    for await (const { index, page } of this.storage.createMarkStream({ reverse })) {
      const words = wordsOf(page)
      const next = (from: number) => reverse ? lastBit(words, true, from) : firstBit(words, true, from)
      for (let bit = next(reverse ? BITS_PER_PAGE - 1 : 0); bit !== -1; bit = next(reverse ? bit - 1 : bit + 1)) yield index * BITS_PER_PAGE + bit
    }
  }

  async #read (page: number): Promise<Uint32Array> {
    const reader = this.storage.read()
    const stored = reader.getMark(page)
    reader.tryFlush()
    return wordsOf(await stored)
  }
}

function wordsOf (page: Uint8Array | null): Uint32Array {
  const bytes = new Uint8Array(BYTES_PER_PAGE)
  bytes.set(page ?? [])
  return new Uint32Array(bytes.buffer)
}
