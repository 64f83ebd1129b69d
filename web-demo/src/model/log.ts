// One log that is open in this tab: its core, its peers, and what happened.

import { Hypercore } from 'hypertab'
import type { Connection } from 'hypertab'

import type { Catalog, Entry } from './catalog.ts'
import { Observable } from './emitter.ts'
import { Held } from './held.ts'
import { formatKey, parseKey, shorten } from './key.ts'
import { memberOf } from './network.ts'
import type { Network } from './network.ts'
import { explain, sentence } from './problem.ts'
import type { Problem } from './problem.ts'
import type { BlockProof } from './proof.ts'
import { Rates } from './rates.ts'
import { host, statusOf } from './status.ts'
import type { Status, Tone } from './status.ts'
import { openStore } from './store.ts'
import { counted } from './words.ts'

/** Something that happened, for the list of what happened. */
export interface Happening {
  readonly time: Date
  readonly tone: Tone
  readonly words: string
}

/** A peer whose data was refused, and how often. */
export interface Refusal {
  readonly peer: string
  readonly block: number | null
  readonly reason: string
  times: number
}

export interface PeerView {
  readonly id: string
  readonly length: number
  readonly path: string
}

/** How many happenings are remembered. */
const REMEMBERED = 100

/** How many peers are named for refused data; from there on the oldest is forgotten. */
const REFUSALS = 5

/** Bytes of a file in one block, and how many such blocks one append carries. */
const FILE_BLOCK = 65_536
const FILE_BATCH = 16

/** After how long without a block a log counts as stalled, in milliseconds. */
const STALLED_MS = 3_000

/** How often the list of logs learns of new counts, in milliseconds. */
const NOTE_MS = 1_000

export class Log extends Observable {
  readonly entry: Entry
  readonly rates = new Rates()
  readonly held = new Held()
  readonly happenings: Happening[] = []
  readonly refusals: Refusal[] = []
  #core: Hypercore | null = null
  /** Whether it is read from the page's store, which replicates it. */
  #isInStore = false
  #catalog: Catalog
  #network: Network
  #problem: Problem | null = null
  #gainedAt = 0
  #appends: { happening: Happening, blocks: number } | null = null
  /** What each transport had carried a second ago. */
  readonly #counted = new WeakMap<object, { bytesReceived: number, bytesTransmitted: number }>()
  #hasSearched = false
  #hasRefused = false
  #wasComplete = false
  #leaving: (() => void)[] = []
  #relayState = ''
  #noteTimer: ReturnType<typeof setTimeout> | null = null
  #isClosed = false

  constructor (entry: Entry, catalog: Catalog, network: Network) {
    super()
    this.entry = entry
    this.#catalog = catalog
    this.#network = network
  }

  /** Makes a log of one's own, with a key pair that stays in this browser. */
  static async create (name: string, catalog: Catalog, network: Network): Promise<Log> {
    const store = `log-${crypto.randomUUID()}`
    const core = new Hypercore(openStore(store))
    await core.ready()
    const entry = { id: formatKey(core.key!), store, isOwn: true, name, length: 0, held: 0, seen: Date.now() }
    catalog.put(entry)
    const log = new Log(entry, catalog, network)
    await log.#use(core)
    log.#happened('good', 'The log was created and its key made here')
    return log
  }

  get status (): Status {
    return statusOf({
      isOpen: this.#core !== null,
      problem: this.#problem,
      isOwn: this.entry.isOwn,
      isOnline: navigator.onLine,
      relay: this.#network.relay,
      hasSearched: this.#hasSearched,
      peers: this.#core?.peers.length ?? 0,
      length: this.length,
      held: this.held.count,
      isStalled: this.#hasRefused && Date.now() - this.#gainedAt > STALLED_MS
    })
  }

  /** Whether the log failed to open, or to store. */
  get hasProblem (): boolean {
    return this.#problem !== null
  }

  /** The log itself, for whoever is to keep a copy of it; null unless it is open. */
  get core (): Hypercore | null {
    return this.#core
  }

  get length (): number {
    return this.#core?.length ?? this.entry.length
  }

  get peers (): PeerView[] {
    return (this.#core?.peers ?? []).map((peer) => ({
      id: formatKey(peer.remotePublicKey),
      length: peer.remoteLength,
      path: (peer.stream as Connection | null)?.path === 'direct' ? 'directly' : 'through the relay'
    }))
  }

  /** Opens what is stored and joins the network. A failure becomes the log's status. */
  async open (): Promise<void> {
    if (this.#isClosed || (this.#core && this.#problem?.state !== 'full')) return
    // A core whose store was full goes on reading only: with room, it takes a new one to go on storing.
    const full = this.#core
    this.#core = null
    for (const leave of this.#leaving.splice(0)) leave()
    this.#problem = null
    await full?.close()
    this.changed()
    const core = await this.#coreInStore() ?? new Hypercore(openStore(this.entry.store), parseKey(this.entry.id))
    try {
      await core.ready()
      await this.#use(core)
    } catch (error) {
      this.#fail(error)
      await core.close().catch(() => {})
    }
  }

  /** Returns a block that is here, or null. */
  async read (index: number): Promise<Uint8Array | null> {
    return await this.#core?.get(index, { wait: false }) ?? null
  }

  /** Proves a block that is here; with `isForged`, of the block with one bit changed. */
  async prove (index: number, isForged: boolean): Promise<BlockProof> {
    if (!this.#core) throw new Error('the log is not open')
    const { proveBlock } = await import('./proof.ts')
    return await proveBlock(this.#core, index, isForged)
  }

  /** Returns which of these nodes of the tree over the blocks are stored. */
  async storedNodes (indexes: readonly number[]): Promise<Set<number>> {
    if (!this.#core) return new Set()
    const { storedNodes } = await import('./proof.ts')
    return await storedNodes(this.#core, indexes)
  }

  /** Appends blocks to a log of one's own. */
  async append (blocks: Uint8Array[]): Promise<void> {
    if (!this.#core) throw new Error('the log is not open')
    try {
      await this.#core.append(blocks)
    } catch (error) {
      this.#storageFailed(error)
      throw error
    }
  }

  /** Appends a file in blocks of equal size, telling the share that is done. */
  async appendFile (file: Blob, progress: (done: number) => void): Promise<void> {
    for (let start = 0; start < file.size; start += FILE_BLOCK * FILE_BATCH) {
      const piece = new Uint8Array(await file.slice(start, start + FILE_BLOCK * FILE_BATCH).arrayBuffer())
      const blocks = []
      for (let offset = 0; offset < piece.length; offset += FILE_BLOCK) blocks.push(piece.slice(offset, offset + FILE_BLOCK))
      await this.append(blocks)
      progress(Math.min(1, (start + piece.length) / file.size))
    }
  }

  forgetRefusal (refusal: Refusal): void {
    this.refusals.splice(this.refusals.indexOf(refusal), 1)
    this.changed()
  }

  /** Ends a second: rates are per second. Tells the listeners when a figure of theirs moved. */
  tick (): void {
    const wasStill = this.rates.isStill
    this.#measure()
    this.rates.tick()
    if (!wasStill || this.#network.relay.state === 'lost') this.changed()
  }

  /** Leaves the network and closes what is stored. */
  async close (): Promise<void> {
    this.#isClosed = true
    for (const leave of this.#leaving.splice(0)) leave()
    this.#note()
    const core = this.#core
    this.#core = null
    await core?.close()
  }

  // What was opened as a drive or table before: a core has one channel on a connection, and that is the store's.
  async #coreInStore (): Promise<Hypercore | null> {
    const { store } = this.#network.inspected
    if (this.entry.isOwn || !store) return null
    const key = parseKey(this.entry.id)
    if (await store.getAuth(Hypercore.discoveryKey(key)).catch(() => null) === null) return null
    this.#isInStore = true
    return store.get({ key })
  }

  async #use (core: Hypercore): Promise<void> {
    this.#listen(core)
    this.held.scan(core.core!.bitfield, 0, core.length)
    if (this.#isClosed) return await core.close()
    this.#core = core
    if (core.length > 0) this.#happened('good', `${counted(this.held.count, 'block')} found on this device`)
    this.#wasComplete = core.length > 0 && this.held.count === core.length
    this.#leaving.push(
      this.#network.watch(() => this.#noteRelay()),
      this.#network.join(memberOf(core, this.#isInStore, () => { this.#hasSearched = true; this.changed() }))
    )
    this.#noteRelay()
    if (!this.entry.isOwn) this.#download(core)
    this.#noteSoon()
    this.changed()
  }

  #listen (core: Hypercore): void {
    core.on('append', () => this.#grew(core))
    core.on('truncate', (length) => {
      this.held.truncate(length)
      this.#happened('warn', `The author shortened the log to ${counted(length, 'block')}`)
      this.#grew(core)
    })
    core.on('download', (index) => {
      this.#gainedAt = Date.now()
      this.held.add(index)
      this.#noteProgress(core)
    })
    core.on('upload', () => this.changed())
    core.on('peer-add', (peer) => {
      this.#measure()
      this.#happened('good', `Connected to ${shorten(formatKey(peer.remotePublicKey))}`)
    })
    core.on('peer-remove', (peer) => this.#happened('warn', `${shorten(formatKey(peer.remotePublicKey))} left`))
    core.on('verification-error', (error, request, _, peer) => this.#refuse(error, blockOf(request), peer ? formatKey(peer.remotePublicKey) : 'unknown'))
    core.on('conflict', (length) => this.#happened('bad', `The author signed two different logs of ${counted(length, 'block')}; neither is trusted further`))
    core.on('storage-full', (error) => { if (core === this.#core) this.#storageFailed(error) })
    core.on('close', () => { if (core === this.#core) this.#closedByItself() })
  }

  // All blocks, and those that are still to be written: until the log is closed.
  #download (core: Hypercore): void {
    core.download({ start: 0, end: -1 }).done().catch((error: unknown) => {
      if (!this.#isClosed) this.#storageFailed(error)
    })
  }

  #grew (core: Hypercore): void {
    const start = this.held.length
    const end = core.length
    if (end > start && this.entry.isOwn) this.#appended(end - start)
    else if (end > start) this.#happened('good', `The author’s signature proves a length of ${counted(end, 'block')}`)
    this.held.scan(core.core!.bitfield, start, end)
    this.#noteProgress(core)
  }

  // Appends that follow each other are one line of the list, with their sum.
  #appended (blocks: number): void {
    if (this.#appends && this.happenings[0] === this.#appends.happening) {
      this.happenings.shift()
      blocks += this.#appends.blocks
    }
    this.#appends = { happening: this.#happened('good', `${counted(blocks, 'block')} appended and signed`), blocks }
  }

  #noteProgress (core: Hypercore): void {
    const isComplete = core.length > 0 && this.held.count >= core.length
    if (isComplete && !this.#wasComplete && !this.entry.isOwn) this.#happened('good', `All ${counted(core.length, 'block')} verified and stored`)
    this.#wasComplete = isComplete
    this.#noteSoon()
    this.changed()
  }

  #refuse (error: Error, block: number | null, peer: string): void {
    this.#hasRefused = true
    const known = this.refusals.find((refusal) => refusal.peer === peer)
    if (known) known.times++
    else this.refusals.push({ peer, block, reason: sentence(error), times: 1 })
    if (this.refusals.length > REFUSALS) this.refusals.shift()
    this.#happened('bad', `Refused ${block === null ? 'data' : `block ${block}`} from ${shorten(peer)}: it is forged`)
  }

  // What travels on the connections with this log's peers, whatever it is for.
  #measure (): void {
    for (const { stream } of this.#core?.peers ?? []) {
      const transport = (stream as Connection | null)?.rawStream
      if (!transport) continue
      const { bytesReceived = 0, bytesTransmitted = 0 } = transport
      const before = this.#counted.get(transport) ?? { bytesReceived, bytesTransmitted }
      this.rates.received(bytesReceived - before.bytesReceived)
      this.rates.sent(bytesTransmitted - before.bytesTransmitted)
      this.#counted.set(transport, { bytesReceived, bytesTransmitted })
    }
  }

  #noteRelay (): void {
    const { relay } = this.#network
    if (relay.state === this.#relayState) return
    const isBack = relay.state === 'open' && this.#relayState === 'lost'
    this.#relayState = relay.state
    if (relay.state === 'open') this.#happened('good', isBack ? 'The relay is back' : `Connected to the relay ${host(relay.address)}`)
    if (relay.state === 'lost') this.#happened('bad', relay.wasOpen ? 'The relay is gone' : 'The relay does not answer')
  }

  #fail (error: unknown): void {
    this.#problem = explain(error, 'log', this.entry.isOwn)
    this.#happened('bad', this.#problem.title)
  }

  // The core closes with its store.
  #closedByItself (): void {
    this.entry.length = this.held.length
    this.#core = null
    for (const leave of this.#leaving.splice(0)) leave()
    this.#storageFailed(new Error('the store closed by itself'))
  }

  // The first failure says most; those that follow come of it.
  #storageFailed (error: unknown): void {
    if (this.#problem) return
    const problem = explain(error, 'log', this.entry.isOwn)
    this.#problem = problem.state === 'broken' ? { ...problem, title: 'Storing failed' } : problem
    this.#happened('bad', this.#problem.title)
  }

  #happened (tone: Tone, words: string): Happening {
    const happening = { time: new Date(), tone, words }
    if (this.happenings[0]?.words === words) this.happenings.shift()
    this.happenings.unshift(happening)
    if (this.happenings.length > REMEMBERED) this.happenings.pop()
    this.changed()
    return happening
  }

  #noteSoon (): void {
    this.#noteTimer ??= setTimeout(() => this.#note(), NOTE_MS)
  }

  #note (): void {
    if (this.#noteTimer) clearTimeout(this.#noteTimer)
    this.#noteTimer = null
    if (this.#core) this.#catalog.update(this.entry.id, { length: this.#core.length, held: this.held.count })
  }
}

// Upstream's request of a peer, of which only the block it asks for is of interest.
function blockOf (request: unknown): number | null {
  return (request as { block?: { index: number } | null } | null)?.block?.index ?? null
}
