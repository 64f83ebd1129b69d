// An engine elsewhere: in a worker of this page, or in the tab that has the store.
//
// The border of the engine is what travels, not the classes: calls go there in order, each naming what it makes, so that
// none has to be waited for; what an answer at once needs is kept here, and comes before the events that tell of it.

import type { CoreHandle, EngineEvent, Failure, LinkHandle, RequestHandle, StoreHandle } from '../binding.js'
import { fromFailure, HypertabError } from '../errors.js'
import { deliver, expect, listen, unlisten, withRecord } from '../runtime.js'
import { BlockBits } from './block-bits.js'
import { MOVED, type Call, type Calls, type CoreState, type News, type StorageKind } from './messages.js'
import type { Port } from './port.js'
import { homes } from './router.js'
import { HANDLES, METHODS, RECORDED } from './table.js'

/** Bytes that may be on their way there before writers are told to wait. */
const FULL = 1 << 20

/** What is known of a core before it is open. */
const UNKNOWN: CoreState = {
  place: 0,
  key: new Uint8Array(0),
  discoveryKey: new Uint8Array(0),
  manifest: null,
  keyPair: null,
  isCompat: false,
  group: null,
  length: 0,
  fork: 0,
  byteLength: 0,
  contiguousLength: 0,
  remoteContiguousLength: 0,
  layers: new Float64Array(2),
  recovering: 0,
  isLost: false,
  downloads: false,
  roots: [],
  signature: null,
  peers: [],
  traffic: null,
  detours: [0, 0, 0],
  blocks: [],
  peerBlocks: []
}

/** What is known of a core that is open there. */
interface KnownCore extends CoreState {
  store: StoreHandle
  bits: BlockBits
  peerBits: Map<number, BlockBits>
}

function known (store: StoreHandle): KnownCore {
  const core: KnownCore = { ...UNKNOWN, store, bits: new BlockBits(() => core.contiguousLength), peerBits: new Map() }
  return core
}

interface Link {
  stats: { bytesIn: number, bytesOut: number } | undefined
  /** It takes no more for now: whoever was told so hears when it does. */
  full: boolean
}

/** An engine elsewhere, with the handles of what this realm has there. */
export class Home {
  readonly number: number
  readonly #port: Port
  readonly #base: number
  // Those that come from there are odd.
  #next = 2
  #calls: Call[] = []
  #cores = new Map<CoreHandle, KnownCore>()
  #requests = new Set<RequestHandle>()
  #links = new Map<LinkHandle, Link>()
  #relays = new Set<number>()
  #servers = new Set<number>()
  #questions = new Set<number>()
  /** Stores here, and whether writes to them are recorded. */
  #stores = new Map<StoreHandle, boolean>()
  #unsent = 0
  #sizes: number[] = []
  #inFlight = 0
  #over = false

  constructor (port: Port) {
    this.#port = port
    this.number = homes.length
    this.#base = this.number * HANDLES
    homes.push(this)
    port.onmessage = (news: News) => { if (!this.#over) this.#take(news) }
  }

  /** Whether it is gone. */
  get over (): boolean {
    return this.#over
  }

  /** Opens a store there, and resolves to its handle. */
  async openStorage (kind: StorageKind, name: string): Promise<StoreHandle> {
    const store = this.#handle()
    this.#stores.set(store, true)
    // It may be told with the answer already that the store is gone.
    let failure: Failure | null = null
    const failed = (_kind: string, rest: unknown[]) => { failure = rest[0] as Failure }
    listen('store', store, failed)
    try {
      const isRecorded = await this.ask<boolean>('openStorage', [kind, name], store)
      if (failure === null && this.#over) failure = MOVED
      if (failure !== null) {
        expect(this.perform('closeStore', [store]) as RequestHandle, () => {})
        throw fromFailure(failure, null)
      }
      this.#stores.set(store, isRecorded)
      return store
    } catch (error) {
      this.#stores.delete(store)
      throw error
    } finally {
      unlisten('store', store, failed)
    }
  }

  /** Asks for something that is no export of the engine. */
  async ask<T> (name: string, args: unknown[], ...makes: number[]): Promise<T> {
    return await new Promise<T>((resolve, reject) => {
      const request = this.#request()
      expect(request, (failure, value) => {
        if (failure) reject(new HypertabError(failure.code, failure.message, { cause: failure.cause }))
        else resolve(value as T)
      })
      this.#call(name, args, [...makes, request])
    })
  }

  /** Carries out a call of an export. */
  perform (name: string, args: unknown[]): unknown {
    const method = METHODS.get(name)!
    const target = args[0] as number
    switch (method.makes) {
      case 'answer':
        return this.#answer(name, args)
      case 'nothing':
        this.#noted(name, args)
        this.#call(name, this.#relative(args, method.handles), [])
        return undefined
      case 'request': {
        const request = this.#request()
        this.#call(name, this.#relative(this.#recorded(name, args), method.handles), [request])
        if (name === 'closeCore') this.#cores.delete(target)
        if (name === 'closeStore') this.#stores.delete(target)
        return request
      }
      case 'core': {
        const core = this.#handle()
        const request = this.#request()
        this.#cores.set(core, known(name === 'openCore' ? target : this.#cores.get(target)?.store ?? 0))
        this.#call(name, this.#relative(args, method.handles), [core, request])
        return [core, request]
      }
      case 'handle': {
        const handle = this.#handle()
        if (name === 'openLink' || name === 'relayConnect') this.#links.set(handle, { stats: undefined, full: false })
        if (name === 'openRelay') this.#relays.add(handle)
        if (name === 'relayListen') this.#servers.add(handle)
        if (name === 'relayAsk') this.#questions.add(handle)
        if (name === 'openLink') args = [this.#withNear(args[0] as { near?: CoreHandle })]
        this.#call(name, this.#relative(args, method.handles), [handle])
        return handle
      }
    }
  }

  /** Where a core is: 0 for the engine there, else the number of the one that it works through. */
  placeOf (core: CoreHandle): number {
    return this.#cores.get(core)?.place ?? 0
  }

  /** It is gone: whatever is here moves, and what was asked there is asked again. */
  die (): void {
    if (this.#over) return
    this.#over = true
    this.#port.close()
    const events: EngineEvent[] = []
    for (const store of this.#stores.keys()) events.push(['store-failed', store, MOVED])
    for (const link of this.#links.keys()) events.push(['link-closed', link, null])
    for (const question of this.#questions) events.push(['question-failed', question, MOVED])
    for (const server of this.#servers) events.push(['server-closed', server, MOVED])
    for (const relay of this.#relays) events.push(['relay-closed', relay, MOVED])
    for (const request of this.#requests) events.push(['done', request, MOVED, undefined])
    this.#requests.clear()
    this.#links.clear()
    this.#calls = []
    deliver(events)
  }

  /** Says that nothing more will be asked. */
  leave (): void {
    if (this.#over) return
    this.#over = true
    this.#flush()
    this.#port.post({ calls: null })
    this.#port.close()
    const events: EngineEvent[] = [...this.#requests].map((request) => ['done', request, MOVED, undefined])
    this.#requests.clear()
    deliver(events)
  }

  #handle (): number {
    const handle = this.#base + this.#next
    this.#next += 2
    return handle
  }

  #request (): RequestHandle {
    const request = this.#handle()
    this.#requests.add(request)
    if (this.#over) {
      queueMicrotask(() => {
        if (this.#requests.delete(request)) deliver([['done', request, MOVED, undefined]])
      })
    }
    return request
  }

  // Handles are told without saying where they are.
  #relative (args: unknown[], positions: readonly number[]): unknown[] {
    return args.map((arg, at) => positions.includes(at) ? this.#rel(arg as number) : arg)
  }

  // Also what is near a core of the realm there: it may make everything else in a worker.
  #withNear ({ near, ...options }: { near?: CoreHandle }): object {
    return near === undefined ? options : { ...options, near: this.#rel(near) }
  }

  #rel (handle: number): number {
    return handle - this.#base
  }

  #call (name: string, args: unknown[], makes: number[]): void {
    if (this.#over) return
    this.#unsent += sizeOf(args)
    if (this.#calls.push([name, args, makes.map((handle) => this.#rel(handle))]) === 1) queueMicrotask(() => { this.#flush() })
  }

  #flush (): void {
    if (this.#calls.length === 0) return
    const calls: Calls = { calls: this.#calls }
    this.#calls = []
    this.#sizes.push(this.#unsent)
    this.#inFlight += this.#unsent
    this.#unsent = 0
    this.#port.post(calls)
  }

  #recorded (name: string, args: unknown[]): unknown[] {
    const at = RECORDED.get(name)
    const core = args[0] as CoreHandle
    if (name === 'coreGet') {
      const options = args[2] as { snapshot?: number }
      return options.snapshot === undefined ? args : [args[0], args[1], { ...options, snapshot: this.#rel(options.snapshot) }]
    }
    if (at === undefined || !this.#stores.get(this.#cores.get(core)?.store ?? 0)) return args
    return withRecord(name, at, args)
  }

  // What is told there is true here at once.
  #noted (name: string, args: unknown[]): void {
    const core = this.#cores.get(args[0] as number)
    if (name === 'coreSetRecovering' && core) core.recovering = args[1] as number
    if (name === 'coreSetActive' && core && args[1]) core.downloads = true
    if (name === 'cancel') this.#requests.delete(args[0] as number)
    if (name === 'closeRelay') this.#relays.delete(args[0] as number)
    if (name === 'closeQuestion') this.#questions.delete(args[0] as number)
  }

  #answer (name: string, args: unknown[]): unknown {
    const handle = args[0] as number
    switch (name) {
      case 'linkStats': return this.#links.get(handle)?.stats
      case 'linkSend': return this.#send(handle, name, [args[0], args[1]], [0])
      case 'channelSend': return this.#send(handle, name, args, [0, 1])
      case 'openChannel': {
        const channel = this.#handle()
        this.#call(name, this.#relative(args, [0]), [channel])
        return channel
      }
    }
    const core = this.#cores.get(handle) ?? known(0)
    switch (name) {
      case 'coreKey': return core.key
      case 'coreDiscoveryKey': return core.discoveryKey
      case 'coreManifest': return core.manifest
      case 'corePublicKey': return core.keyPair?.publicKey
      case 'coreHasSecretKey': return !!core.keyPair?.secretKey
      case 'coreKeyPair': return core.keyPair
      case 'coreIsCompat': return core.isCompat
      case 'coreLength': return core.length
      case 'coreFork': return core.fork
      case 'coreByteLength': return core.byteLength
      case 'coreContiguousLength': return core.contiguousLength
      case 'coreRemoteContiguousLength': return core.remoteContiguousLength
      case 'corePeers': return core.peers
      case 'coreTraffic': return core.traffic ?? [[], []]
      case 'coreDetours': return core.detours
      case 'coreFindBlock': return this.#bits(core, args[1])?.find(args[2] as boolean, args[3] as number, args[4] as boolean) ?? -1
      case 'coreCountBlocks': return this.#bits(core, args[1])?.count(args[2] as number, args[3] as number) ?? 0
      case 'coreBlocksPage': return this.#bits(core, args[1])?.page(args[2] as number)
      case 'coreChangedPages': return this.#bits(core, args[1])?.changed(args[2] as number, args[3] as number)
      case 'coreDownloads': return core.downloads
      case 'coreRoots': return core.roots
      case 'coreSignature': return core.signature
      case 'coreIsLost': return core.isLost
      case 'coreGroup': return core.group
      case 'coreRecovering': return core.recovering
      case 'coreLayers': return core.layers
      case 'coreSnapshot': {
        const snapshot = this.#handle()
        const { length, byteLength, fork } = core
        this.#call(name, [this.#rel(handle), { length, fork }], [snapshot])
        return { snapshot, length, byteLength, fork }
      }
      default:
        throw new HypertabError('NOT_SUPPORTED', `${name} works only where the store is open`)
    }
  }

  /** The blocks that are there, or those that a peer announced beside its prefix. */
  #bits (core: KnownCore, peer: unknown): BlockBits | undefined {
    return peer === undefined ? core.bits : core.peerBits.get(peer as number)
  }

  #send (link: LinkHandle, name: string, args: unknown[], positions: number[]): boolean {
    this.#call(name, this.#relative(args, positions), [])
    const state = this.#links.get(link)
    if (state && this.#inFlight + this.#unsent > FULL) state.full = true
    return !state?.full
  }

  #take ({ cores, links, events, taken }: News): void {
    for (const [core, change] of cores) {
      const known = this.#cores.get(this.#base + core)
      if (known) this.#changed(known, change)
    }
    for (const [link, stats] of links) {
      const known = this.#links.get(this.#base + link)
      if (known) known.stats = stats
    }
    for (let i = 0; i < taken; i++) this.#inFlight -= this.#sizes.shift() ?? 0
    for (const event of events) this.#localize(event)
    if (taken > 0 && this.#inFlight <= FULL / 2) {
      for (const [link, state] of this.#links) {
        if (!state.full) continue
        state.full = false
        events.push(['link-drain', link])
      }
    }
    deliver(events)
  }

  #changed (core: KnownCore, { blocks, peerBlocks, ...change }: Partial<CoreState>): void {
    for (const peer of change.peers ?? []) if (peer.link >= 0) peer.link += this.#base
    Object.assign(core, change)
    if (blocks || change.contiguousLength !== undefined) core.bits.take(blocks ?? [])
    if (change.peers) {
      for (const peer of core.peerBits.keys()) if (!change.peers.some((known) => known.peer === peer)) core.peerBits.delete(peer)
      for (const { peer } of change.peers) if (!core.peerBits.has(peer)) core.peerBits.set(peer, new BlockBits(() => 0))
    }
    for (const [peer, pages] of peerBlocks ?? []) core.peerBits.get(peer)?.take(pages)
  }

  // Gives the handles of an event the names that they have here.
  #localize (event: EngineEvent): void {
    const [kind] = event
    event[1] = (event[1] as number) + this.#base
    switch (kind) {
      case 'done':
        this.#requests.delete(event[1] as number)
        break
      case 'peer-add':
        if ((event[3] as number) >= 0) event[3] = (event[3] as number) + this.#base
        break
      case 'connection':
        event[2] = (event[2] as number) + this.#base
        this.#links.set(event[2] as number, { stats: undefined, full: false })
        break
      case 'firewall':
        event[2] = (event[2] as number) + this.#base
        break
      case 'channel-opened':
      case 'channel-message':
      case 'channel-closed':
        event[2] = (event[2] as number) + this.#base
        break
      case 'link-full': {
        const link = this.#links.get(event[1] as number)
        if (link) link.full = true
        break
      }
      case 'link-drain': {
        const link = this.#links.get(event[1] as number)
        if (link) link.full = false
        break
      }
      case 'link-closed':
        this.#links.delete(event[1] as number)
        break
      case 'relay-closed':
        this.#relays.delete(event[1] as number)
        break
      case 'server-closed':
        this.#servers.delete(event[1] as number)
        break
      case 'question-failed':
        this.#questions.delete(event[1] as number)
        break
    }
  }
}

function sizeOf (args: unknown[]): number {
  let size = 64
  for (const arg of args) {
    if (arg instanceof Uint8Array) size += arg.byteLength
    else if (Array.isArray(arg)) for (const part of arg) if (part instanceof Uint8Array) size += part.byteLength
  }
  return size
}
