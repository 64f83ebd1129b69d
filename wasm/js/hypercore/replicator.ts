// What programs reach through `core.replicator`.

import type { Detours } from '../binding.js'
import { setActive, setFindingPeers } from '../remote/wishes.js'
import { call, look } from '../runtime.js'
import { Mux } from '../links/mux.js'
import type { Core } from './core.js'
import type { HypercoreOptions } from './options.js'
import { statsOf, type Peer, type PeerStats } from './peer.js'
import { clearRequests, destroyRequests, type ActiveRequests } from './requests.js'

/** What of a core's options is about its peers. */
export type ReplicatorOptions = Pick<HypercoreOptions, 'inflightRange' | 'allowPush' | 'allowLatestBlock' | 'eagerUpgrade' | 'allowFork'>

/** The replication of one core with all of its peers. */
export class Replicator {
  readonly core: Core
  findingPeers = 0
  /** Called when blocks are wanted that were not wanted before. */
  ondownloading: (() => void) | null = null
  /** Requests that a peer gets at once: at least, and at most. */
  inflightRange: [number, number]
  /** Whether blocks are taken that were not asked for. */
  allowPush: boolean
  /** Whether the last block is fetched along with every longer log. */
  latestBlock: boolean
  /** Whether nothing is asked for: blocks come unasked. */
  pushOnly = false
  /** Whether a longer log is asked for as soon as a peer has one. */
  readonly eagerUpgrade: boolean
  /** Whether another history of the log is followed. */
  readonly allowFork: boolean
  /** @internal */
  readonly failures = { data: 0, requests: 0 }
  #traffic: [number[], number[]] | null = null
  #detours: Detours = [0, 0, 0]
  #active = 0
  /** Streams whose handshake is under way: their peers are to be waited for. */
  #handshakes = 0

  constructor (core: Core, { inflightRange, allowPush, allowLatestBlock, eagerUpgrade, allowFork }: ReplicatorOptions = {}) {
    this.core = core
    this.inflightRange = inflightRange ?? [16, 512]
    this.allowPush = allowPush === true
    this.latestBlock = !!allowLatestBlock
    this.eagerUpgrade = eagerUpgrade !== false
    this.allowFork = allowFork !== false
  }

  get peers (): Peer[] {
    return this.core.peers
  }

  /** Messages of all peers so far. */
  get stats (): PeerStats {
    const { core } = this
    if (core.opened && !core.closed && !core.resuming) {
      this.#traffic = look((engine) => engine.coreTraffic(core.handle))
      this.#detours = look((engine) => engine.coreDetours(core.handle))
    }
    return statsOf(this.#traffic, this.failures, this.#detours)
  }

  /** Whether blocks are wanted, or were until a while ago: peers are kept for who comes back. */
  get downloading (): boolean {
    const { core } = this
    if (!core.opened || core.closed) return false
    return core.resuming ? this.#active > 0 : look((engine) => engine.coreDownloads(core.handle))
  }

  /** Whether no peer is there, and none may come with a stream that is being opened. */
  idle (): boolean {
    return this.core.peers.length === 0 && [...this.core.muxes].every((mux) => mux.open)
  }

  /** Sessions that want blocks. */
  get activeSessions (): number {
    return this.#active
  }

  get destroyed (): boolean {
    return this.core.closed
  }

  /** Whether pushed blocks are taken now. */
  isAllowingPush (): boolean {
    return this.allowPush && this.#active > 0
  }

  /** Gathers what is sent to the peers, until as many {@link uncork}s. */
  cork (): void {
    for (const { protomux } of this.peers) protomux?.cork()
  }

  uncork (): void {
    for (const { protomux } of this.peers) protomux?.uncork()
  }

  /** Whether blocks are wanted. */
  isDownloading (): boolean {
    return this.downloading
  }

  /** Gives up what a list waits for. */
  clearRequests (list: ActiveRequests, error: Error | null = null): void {
    clearRequests(list, error)
  }

  static clearRequests (list: ActiveRequests, error: Error | null = null): void {
    clearRequests(list, error)
  }

  static destroyRequests (list: ActiveRequests, error: Error | null = null): void {
    destroyRequests(list, error)
  }

  attachTo (mux: unknown): void {
    this.core.attach(Mux.from(mux))
  }

  /** Takes no other peer from a stream: the one that is there stays as long as it wants. */
  detachFrom (stream: unknown): void {
    const { core } = this
    if (core.opened && !core.closed) Mux.from(stream).part(core.handle)
  }

  attached (mux: unknown): boolean {
    return this.core.opened && !this.core.closed && Mux.from(mux).attached(this.core.handle)
  }

  /** Sends a block to every peer that takes pushes and lacks it. */
  async push (index: number): Promise<void> {
    if (!Number.isSafeInteger(index) || index < 0) return
    call((engine) => { engine.corePush(this.core.handle, index) })
  }

  setPushOnly (pushOnly: boolean): void {
    this.pushOnly = pushOnly
    call((engine) => { engine.coreSwitch(this.core.handle, 1, pushOnly) })
  }

  /** Sets how many requests a peer gets at once: at least, and at most; both in one, as they were found, is what upstream's mirrors give back. */
  setInflightRange (least: number | [number, number], most?: number): void {
    this.inflightRange = typeof least === 'number' ? [least, most!] : least
    call((engine) => { engine.coreSetInFlight(this.core.handle, ...this.inflightRange) })
  }

  setAllowPush (allowPush: boolean): void {
    this.allowPush = allowPush
    call((engine) => { engine.coreSwitch(this.core.handle, 0, allowPush) })
  }

  /** Fetches the last block along with every longer log from now on, or no longer. */
  setLatestBlock (latestBlock: boolean): void {
    this.latestBlock = latestBlock
    const { core } = this
    if (core.opened && !core.closed && !core.resuming) call((engine) => { engine.coreSwitch(core.handle, 2, latestBlock) })
  }

  /** Tells peers whether blocks are wanted, whatever the sessions want; until one of them begins or ends to want some. */
  setDownloading (downloading: boolean): void {
    const { core } = this
    if (core.opened && !core.closed && !core.resuming) setActive(core.handle, this, downloading)
  }

  /** @internal The engine has the core anew, and is told what it was told before. */
  resumed (): void {
    setActive(this.core.handle, this, this.#active > 0)
    this.#tellFindingPeers()
  }

  /** @internal One more or one less session wants blocks. */
  updateActivity (change: number): void {
    if (change === 0) return
    const was = this.#active > 0
    this.#active += change
    const is = this.#active > 0
    if (was === is) return
    if (!this.core.resuming && !this.core.closed) setActive(this.core.handle, this, is)
    if (is) this.ondownloading?.()
    else this.core.checkIfIdle()
  }

  /** @internal One more or one less search for peers is under way. */
  updateFindingPeers (change: number): void {
    if (change === 0) return
    this.findingPeers += change
    this.#tellFindingPeers()
  }

  /** @internal Waits for the peer of a stream that has not finished its handshake. */
  awaitHandshake (linked: Promise<void>): void {
    this.#handshakes++
    this.#tellFindingPeers()
    linked.then(() => {
      this.#handshakes--
      this.#tellFindingPeers()
    })
  }

  #tellFindingPeers (): void {
    if (!this.core.opened || this.core.closed || this.core.resuming) return
    setFindingPeers(this.core.handle, this, this.findingPeers + this.#handshakes)
  }
}
