// Hints between peers: which blocks a sparse reader will need.

import { look } from '../runtime.js'
import { equal } from '../support/bytes.js'
import type { Download } from '../hypercore/download.js'
import type { Extension } from '../hypercore/extension.js'
import type { Peer } from '../hypercore/peer.js'
import { takeLocal } from './blocks.js'
import type { Hyperbee } from './hyperbee.js'
import type { RangeIterator, RangeSnapshot } from './iterators.js'

/** Questions that are answered at once; more are left unanswered, as a hint may be. */
const MAX_ANSWERS = 32

/** Blocks of one message that are downloaded; upstream names 128 in each. */
const MAX_NAMED = 256

/** Messages whose blocks are downloaded at once: a walk's question has 17 answers. */
const MAX_DOWNLOADS = 64

/** Milliseconds that a lookup waits for hints at least, once its first block came. */
const MIN_PATIENCE = 30

/** Entries that a walk gives before it asks again. */
export const ENTRIES_PER_QUESTION = 1792

/** A lookup that waits for hints. */
export class Lookup {
  readonly version: number
  readonly key: Uint8Array
  /** What a peer said, until the walk has it. */
  message: Uint8Array | null = null
  #begun = Date.now()
  #wake: (() => void) | null = null
  #extension: HyperbeeExtension

  constructor (extension: HyperbeeExtension, version: number, key: Uint8Array) {
    this.#extension = extension
    this.version = version
    this.key = key
  }

  hint (message: Uint8Array): void {
    this.message ??= message
    this.#wake?.()
  }

  /** Waits for hints as long again as the first block took, unless peers are known to give none. */
  async patience (): Promise<void> {
    if (this.message !== null || !this.#extension.isAnswered) return
    const patience = Math.max(MIN_PATIENCE, Date.now() - this.#begun)
    let timer: ReturnType<typeof setTimeout> | undefined
    await new Promise<void>((resolve) => {
      this.#wake = resolve
      timer = setTimeout(resolve, patience)
    })
    clearTimeout(timer)
    if (this.message === null) this.#extension.isAnswered = false
  }

  end (): void {
    this.#extension.lookups.delete(this)
  }
}

/** Asks peers for hints; one of a program's own takes the place of ours. */
export interface BeeExtension {
  /** Asks for the blocks that a key is found by. */
  get (version: number, key: Uint8Array): void
  /** Asks for the blocks that a walk goes on with. */
  iterator (place: RangeSnapshot): void
}

/** The extension "hyperbee" of a core, shared by all views of a bee. */
export class HyperbeeExtension {
  outgoing!: Extension
  readonly db: Hyperbee
  /** Questions that are being answered. */
  active = 0
  /** Whether peers are expected to answer. */
  isAnswered = true
  readonly lookups = new Set<Lookup>()
  /** What peers named, the oldest first. */
  readonly #downloads = new Set<Download>()

  constructor (db: Hyperbee) {
    this.db = db
  }

  static register (db: Hyperbee): HyperbeeExtension {
    const extension = new this(db)
    extension.outgoing = db.core.registerExtension('hyperbee', extension)
    return extension
  }

  /** Asks all peers which blocks a lookup reads. */
  get (version: number, key: Uint8Array): void {
    this.outgoing.broadcast(look((engine) => engine.BeeWalk.askGet(version, key, false)))
  }

  /** As {@link get}, for a lookup that uses the answer itself. */
  lookup (version: number, key: Uint8Array): Lookup {
    const lookup = new Lookup(this, version, key)
    this.lookups.add(lookup)
    this.outgoing.broadcast(look((engine) => engine.BeeWalk.askGet(version, key, true)))
    return lookup
  }

  /** Asks all peers which blocks the rest of a walk reads. */
  iterator (iterator: RangeIterator, version: number): void {
    const question = iterator.question(version)
    if (question) this.outgoing.broadcast(question)
  }

  onmessage (message: Uint8Array | null, from: Peer): void {
    if (message === null) return
    const hints = look((engine) => engine.beeHints(message))
    if (hints) this.#onhints(message, ...hints)
    this.#onquestion(message, from).catch(() => {})
  }

  #onhints (message: Uint8Array, version: number, key: Uint8Array | null, blocks: number[]): void {
    this.isAnswered = true
    const waiting = [...this.lookups].filter((lookup) => lookup.version === version && lookup.message === null)
    const meant = key ? waiting.filter((lookup) => equal(lookup.key, key)) : waiting
    // One that may be meant for another lookup is of use as upstream uses it.
    if (meant.length === 1) meant[0]!.hint(message)
    else if (!key && !this.db.core.closing) this.#download(blocks)
  }

  // A peer may name anything, and never have it.
  #download (named: number[]): void {
    const { core } = this.db
    const blocks = named.slice(0, MAX_NAMED).filter((seq) => seq < core.length)
    if (blocks.length === 0) return
    const download = core.download({ blocks })
    this.#downloads.add(download)
    download.done().catch(() => {}).finally(() => { this.#downloads.delete(download) })
    if (this.#downloads.size <= MAX_DOWNLOADS) return
    const [oldest] = this.#downloads
    this.#downloads.delete(oldest!)
    oldest!.destroy()
  }

  async #onquestion (message: Uint8Array, from: Peer): Promise<void> {
    const { db } = this
    if (this.active >= MAX_ANSWERS || db.core.closing || !db.opened) return
    const session = db.core.snapshot()
    this.active++
    try {
      await session.ready()
      const walk = look((engine) => engine.BeeWalk.answer(db.blocks.of(session), db.version, message))
      if (!walk) return
      const answers = await takeLocal(walk, session, () => walk.next() as Uint8Array[] | undefined | false).catch(() => null)
      for (const answer of answers ?? walk.finish()) this.outgoing.send(answer, from)
    } finally {
      this.active--
      await session.close()
    }
  }
}
