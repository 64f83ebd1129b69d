// What programs reach through `core.replicator`.

import { call, look } from '../runtime.js'
import { Mux } from '../links/mux.js'
import type { Core } from './core.js'
import { statsOf, type Peer, type PeerStats } from './peer.js'
import { clearRequests, destroyRequests, type ActiveRequests } from './requests.js'

/** The replication of one core with all of its peers. */
export class Replicator {
  readonly core: Core
  findingPeers = 0
  /** Called when blocks are wanted that were not wanted before. */
  ondownloading: (() => void) | null = null
  /** Requests that a peer gets at once: at least, and at most. */
  inflightRange: [number, number]
  /** @internal */
  readonly failures = { data: 0, requests: 0 }
  #traffic: [number[], number[]] | null = null
  #active = 0
  /** Streams whose handshake is under way: their peers are to be waited for. */
  #handshakes = 0

  constructor (core: Core, inflightRange: [number, number] = [16, 512]) {
    this.core = core
    this.inflightRange = inflightRange
  }

  get peers (): Peer[] {
    return this.core.peers
  }

  /** Messages of all peers so far. */
  get stats (): PeerStats {
    const { core } = this
    if (core.opened && !core.closed) this.#traffic = look((engine) => engine.coreTraffic?.(core.handle)) ?? null
    return statsOf(this.#traffic, this.failures)
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

  detachFrom (stream: unknown): void {
    const mux = Mux.from(stream)
    this.core.muxes.delete(mux)
    mux.detach(this.core.handle)
  }

  attached (mux: unknown): boolean {
    return this.core.opened && !this.core.closed && Mux.from(mux).attached(this.core.handle)
  }

  /** Sends a block to every peer that takes pushes and lacks it. */
  async push (index: number): Promise<void> {
    call((engine) => { engine.corePush?.(this.core.handle, index) })
  }

  setPushOnly (pushOnly: boolean): void {
    call((engine) => { engine.coreSetPushOnly?.(this.core.handle, pushOnly) })
  }

  /** Sets how many requests a peer gets at once: at least, and at most. */
  setInflightRange (least: number, most: number): void {
    this.inflightRange = [least, most]
    call((engine) => { engine.coreSetInFlight(this.core.handle, least, most) })
  }

  setAllowPush (allowPush: boolean): void {
    call((engine) => { engine.coreSetAllowPush?.(this.core.handle, allowPush) })
  }

  /** @internal The engine has the core anew, and is told what it was told before. */
  resumed (): void {
    call((engine) => { engine.coreSetActive(this.core.handle, this.#active > 0) })
    this.#tellFindingPeers()
  }

  /** @internal One more or one less session wants blocks. */
  updateActivity (change: number): void {
    if (change === 0) return
    const was = this.#active > 0
    this.#active += change
    const is = this.#active > 0
    if (was === is) return
    call((engine) => { engine.coreSetActive(this.core.handle, is) })
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
    call((engine) => { engine.coreSetFindingPeers(this.core.handle, this.findingPeers + this.#handshakes) })
  }
}
