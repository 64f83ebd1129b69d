// The engine of this realm, for somebody elsewhere.

import type { CoreHandle, Engine, EngineEvent, Failure, LinkHandle, PeerStatus, RequestHandle, StoreHandle } from '../binding.js'
import { call, expect, listen, look, unlisten, type EventHandler } from '../runtime.js'
import type { Storage } from '../storage/storage.js'
import { ToldBits, type BitsSource } from './block-bits.js'
import { asFailure, isTakenOver, MOVED, type Call, type Calls, type CoreState, type News, type StorageKind } from './messages.js'
import type { Port } from './port.js'
import { homeOf, METHODS } from './table.js'
import { setActive, setFindingPeers, withdrawWishes } from './wishes.js'

/** Where the storages come from that are opened for others. */
export interface StorageHost {
  open (kind: StorageKind, name: string): Promise<Storage> | Storage
  destroy? (kind: StorageKind, name: string): Promise<void>
  /** Whether what is written there has to be recorded, because its answer can get lost on the way. */
  isRecorded (storage: Storage): boolean
  openSocket (url: string, protocols?: string[]): unknown
}

/** How often at most it is told how peers of a core are doing, in milliseconds. */
const PEERS_EVERY = 100

/** A snapshot that was never taken: the log had changed. */
const NO_SNAPSHOT = 0xffff_ffff

interface OpenCore {
  real: CoreHandle
  store: number
  told: Partial<CoreState>
  handler: EventHandler
  peersTold: number
  blocksTold: ToldBits
  peerBlocksTold: Map<number, ToldBits>
}

interface OpenStorage {
  storage: Storage
  hasMoved: boolean
  unwatch: () => void
}

type Domain = 'link' | 'relay' | 'server' | 'question'

/** What somebody elsewhere has here. */
export class RemoteSession {
  readonly #port: Port
  readonly #host: StorageHost
  #handles = new Map<number, number>()
  #cores = new Map<number, OpenCore>()
  #storages = new Map<number, OpenStorage>()
  /** Those that moved and were closed there, until they are opened again: who is the next owner is not to change with each. */
  #moving = new Set<Storage>()
  #requests = new Map<number, RequestHandle>()
  /** Links, relays and servers. */
  #others = new Map<number, { domain: Domain, real: number, handler: EventHandler }>()
  #linkNames = new Map<LinkHandle, number>()
  #atoms = new Set<number>()
  /** Names of channels, by the name of their link and what they are here. */
  #channels = new Map<number, Map<number, number>>()
  #dirty = new Set<number>()
  #touched = new Set<number>()
  #events: EngineEvent[] = []
  #transfers: ArrayBuffer[] = []
  #taken = 0
  #scheduled = false
  #next = 1
  #over = false
  #late: ReturnType<typeof setTimeout> | undefined
  /** Runs when the other end says that it is done. */
  onend: () => void = () => {}

  constructor (port: Port, host: StorageHost) {
    this.#port = port
    this.#host = host
    port.onmessage = (message: Calls | { calls: null }) => {
      if (this.#over) return
      if (message.calls === null) return this.end()
      for (const call of message.calls) this.#perform(call)
      this.#taken++
      this.#schedule()
    }
  }

  /** Closes whatever is open here. */
  end (): void {
    if (this.#over) return
    this.#over = true
    clearTimeout(this.#late)
    this.#port.close()
    const quietly = (step: () => void) => {
      try {
        step()
      } catch {
        // It was gone already.
      }
    }
    for (const request of this.#requests.values()) quietly(() => { call((engine) => { engine.cancel(request) }) })
    for (const name of [...this.#others.keys()]) quietly(() => { this.#closeOther(name) })
    for (const name of [...this.#cores.keys()]) quietly(() => { expect(this.#closeCore(name), () => {}) })
    for (const name of this.#atoms) quietly(() => { call((engine) => { engine.closeAtom(this.#real(name)) }) })
    for (const { storage, unwatch } of this.#storages.values()) {
      unwatch()
      storage.release().catch(() => {})
    }
    this.#storages.clear()
    this.#letMovedGo()
    this.onend()
  }

  /** Gives up at once: the store is somebody else's. */
  abandon (): void {
    this.end()
  }

  #perform ([name, args, makes]: Call): void {
    const request = makes.at(-1)
    try {
      if (name === 'openStorage') this.#openStorage(args[0] as StorageKind, args[1] as string, makes[0]!, makes[1]!)
      else if (name === 'destroyStorage') this.#destroyStorage(args[0] as StorageKind, args[1] as string, makes[0]!)
      else this.#carryOut(name, args, makes)
    } catch (error) {
      if (request !== undefined) this.#done(request, { code: 'BAD_ARGUMENT', message: (error as Error).message }, undefined, args[0])
    }
  }

  #carryOut (name: string, args: unknown[], makes: number[]): void {
    const method = METHODS.get(name)
    if (!method) throw new Error(`there is no ${name}`)
    const target = args[0] as number
    // The link closed while this was on its way.
    if (name === 'openChannel' && !this.#handles.has(target)) return this.#tell(['channel-closed', target, makes[0]!])
    // What is closed may be closed here already.
    if (name === 'closeStore') return this.#closeStorage(target, makes[0]!)
    if (name === 'closeCore') {
      if (!this.#cores.has(target)) return this.#done(makes[0]!, null, undefined)
      return this.#expect(makes[0]!, this.#closeCore(target), undefined)
    }
    const real = args.map((arg, at) => method.handles.includes(at) ? this.#real(arg as number) : arg)
    switch (name) {
      case 'cancel': {
        const request = this.#requests.get(target)
        if (request !== undefined) call((engine) => { engine.cancel(request, args[1] as string | undefined) })
        return
      }
      case 'coreSetActive': return setActive(real[0] as number, this, args[1] as boolean)
      case 'coreSetFindingPeers': return setFindingPeers(real[0] as number, this, args[1] as number)
      case 'coreSnapshot': return this.#snapshot(real[0] as number, args[1] as { length: number, fork: number }, makes[0]!)
      case 'coreCloseSnapshot':
        this.#handles.delete(args[1] as number)
        if (real[1] !== NO_SNAPSHOT) call((engine) => { engine.coreCloseSnapshot(real[0] as number, real[1] as number) })
        return
      case 'coreGet': {
        const options = args[2] as { wait: boolean, snapshot?: number }
        if (options.snapshot !== undefined) real[2] = { ...options, snapshot: this.#real(options.snapshot) }
        break
      }
      case 'openLink': {
        const options = args[0] as { near?: number }
        if (options.near !== undefined) real[0] = { ...options, near: this.#real(options.near) }
        break
      }
      case 'openRelay': {
        const { url, protocols } = args[0] as { url: string, protocols?: string[] }
        real[0] = this.#host.openSocket(url, protocols)
        break
      }
      case 'resumeRelay': {
        const { url, protocols } = args[1] as { url: string, protocols?: string[] }
        real[1] = this.#host.openSocket(url, protocols)
        break
      }
      case 'openChannel': return this.#openChannel(target, real[0] as number, args[1], makes[0]!)
    }
    const answer = call((engine) => (engine as unknown as Record<string, (...args: unknown[]) => unknown>)[name]!(...real))
    switch (method.makes) {
      case 'request':
        this.#expect(makes[0]!, answer as number, target)
        if (name.startsWith('relay')) this.#followQuery(makes[0]!, answer as number)
        break
      case 'core':
        this.#opened(name, target, answer as [CoreHandle, RequestHandle], makes as [number, number])
        break
      case 'handle':
        this.#made(name, answer as number, makes[0]!)
        break
      case 'nothing':
        if (name === 'closeChannel') this.#forgetChannel(target, args[1] as number)
        if (name === 'closeAtom') this.#atoms.delete(target)
        if (name === 'acceptConnection' || name === 'denyConnection' || name === 'closeAtom') this.#handles.delete(target)
        this.#told(name, target)
        break
      case 'answer':
        if (answer === false) this.#tell(['link-full', target])
    }
  }

  #real (name: number): number {
    const real = this.#handles.get(name)
    if (real === undefined) throw new Error('there is no such thing, or it is closed')
    return real
  }

  #name (real: number): number {
    const name = this.#next
    this.#next += 2
    this.#handles.set(name, real)
    return name
  }

  #expect (name: number, request: RequestHandle, about: unknown): void {
    this.#requests.set(name, request)
    expect(request, (failure, value) => {
      this.#requests.delete(name)
      this.#done(name, failure, value, about)
    })
  }

  #done (request: number, failure: Failure | null, value: unknown, about?: unknown): void {
    if (typeof about === 'number' && this.#cores.has(about)) this.#dirty.add(about)
    this.#tell(['done', request, failure, value], value)
  }

  #followQuery (name: number, request: RequestHandle): void {
    const handler: EventHandler = (kind, rest) => { this.#tell([kind, name, ...rest]) }
    listen('query', request, handler)
    const settled = setInterval(() => {
      if (this.#requests.has(name) && !this.#over) return
      clearInterval(settled)
      unlisten('query', request, handler)
    }, 1000)
  }

  #opened (name: string, from: number, [real, request]: [CoreHandle, RequestHandle], [core, opening]: [number, number]): void {
    this.#handles.set(core, real)
    const handler: EventHandler = (kind, rest) => { this.#ofCore(core, kind, rest) }
    const store = name === 'openCore' ? from : this.#cores.get(from)?.store ?? 0
    this.#cores.set(core, { real, store, told: {}, handler, peersTold: 0, blocksTold: new ToldBits(), peerBlocksTold: new Map() })
    listen('core', real, handler)
    this.#expect(opening, request, core)
  }

  #ofCore (name: number, kind: string, rest: unknown[]): void {
    const core = this.#cores.get(name)
    if (!core) return
    this.#dirty.add(name)
    // Blocks come too often to tell each time how their peers are doing.
    if (kind !== 'download' && kind !== 'upload') core.peersTold = 0
    if (kind === 'peer-add') rest = [rest[0], this.#linkName((rest[1] ?? rest[0]) as number)]
    this.#tell([kind, name, ...rest])
  }

  #closeCore (name: number): RequestHandle {
    const { real, handler } = this.#cores.get(name)!
    this.#cores.delete(name)
    this.#handles.delete(name)
    this.#dirty.delete(name)
    unlisten('core', real, handler)
    withdrawWishes(real, this)
    return call((engine) => engine.closeCore(real))
  }

  #made (method: string, real: number, name: number): void {
    this.#handles.set(name, real)
    if (method === 'openLink' || method === 'relayConnect') this.#follow('link', real, name)
    if (method === 'openRelay') this.#follow('relay', real, name)
    if (method === 'relayListen') this.#follow('server', real, name)
    if (method === 'relayAsk') this.#follow('question', real, name)
    if (method === 'createAtom') this.#atoms.add(name)
  }

  #follow (domain: Domain, real: number, name: number): void {
    const handler: EventHandler = (kind, rest) => { this.#ofOther(name, domain, kind, rest) }
    this.#others.set(name, { domain, real, handler })
    if (domain === 'link') this.#linkNames.set(real, name)
    listen(domain, real, handler)
  }

  #ofOther (name: number, domain: Domain, kind: string, rest: unknown[]): void {
    if (domain === 'link') this.#touched.add(name)
    switch (kind) {
      case 'connection': {
        const link = rest[0] as number
        const known = this.#name(link)
        this.#follow('link', link, known)
        rest = [known, ...rest.slice(1)]
        break
      }
      case 'firewall':
        return this.#tell(['firewall', this.#name(rest[0] as number), name, ...rest.slice(1)])
      case 'channel-opened':
      case 'channel-message':
      case 'channel-closed':
        rest = [this.#channels.get(name)?.get(rest[0] as number) ?? 0, ...rest.slice(1)]
        if (kind === 'channel-closed') this.#forgetChannel(name, rest[0] as number)
        break
      case 'link-closed':
      case 'relay-closed':
      case 'server-closed':
      case 'question-failed':
        this.#forgetOther(name)
    }
    this.#tell([kind, name, ...rest], kind === 'transmit' ? rest[0] : undefined)
  }

  #forgetOther (name: number): void {
    const other = this.#others.get(name)
    if (!other) return
    this.#others.delete(name)
    this.#handles.delete(name)
    if (other.domain === 'link') {
      this.#linkNames.delete(other.real)
      for (const channel of this.#channels.get(name)?.values() ?? []) this.#handles.delete(channel)
      this.#channels.delete(name)
    }
    this.#touched.delete(name)
    unlisten(other.domain, other.real, other.handler)
  }

  #closeOther (name: number): void {
    const { domain, real } = this.#others.get(name)!
    this.#forgetOther(name)
    if (domain === 'link') call((engine) => { engine.closeLink(real) })
    if (domain === 'relay') call((engine) => { engine.closeRelay(real) })
    if (domain === 'question') call((engine) => { engine.closeQuestion(real) })
    if (domain === 'server') expect(call((engine) => engine.closeServer(real)), () => {})
  }

  #openChannel (link: number, real: LinkHandle, options: unknown, name: number): void {
    const channel = call((engine) => engine.openChannel(real, options as never))
    if (channel === undefined) return this.#tell(['channel-closed', link, name])
    this.#handles.set(name, channel)
    const channels = this.#channels.get(link) ?? new Map<number, number>()
    this.#channels.set(link, channels.set(channel, name))
  }

  #forgetChannel (link: number, name: number): void {
    const channels = this.#channels.get(link)
    const channel = this.#handles.get(name)
    this.#handles.delete(name)
    if (channel !== undefined && channels?.get(channel) === name) channels.delete(channel)
  }

  #snapshot (real: CoreHandle, { length, fork }: { length: number, fork: number }, name: number): void {
    const isSame = look((engine) => engine.coreFork(real) === fork && engine.coreLength(real) >= length)
    this.#handles.set(name, isSame ? call((engine) => engine.coreSnapshot(real)).snapshot : NO_SNAPSHOT)
  }

  #told (name: string, target: number): void {
    if (name === 'closeRelay' || name === 'closeQuestion') this.#forgetOther(target)
    if (name.startsWith('link')) this.#touched.add(target)
    if (this.#cores.has(target)) {
      this.#dirty.add(target)
      this.#schedule()
    }
  }

  #openStorage (kind: StorageKind, name: string, store: number, request: number): void {
    const open = async () => {
      const storage = await this.#host.open(kind, name)
      const handle = await storage.acquire()
      if (this.#over || this.#moving.delete(storage)) await storage.release()
      if (this.#over) return
      this.#handles.set(store, handle)
      const unwatch = storage.watch({
        letGo: async (failure, isMoving) => { await this.#lostStorage(store, isMoving ? MOVED : failure, isMoving) },
        resume: async () => {},
        close: async () => { await this.#lostStorage(store, MOVED) },
        lost: (failure) => { void this.#lostStorage(store, failure) }
      })
      this.#storages.set(store, { storage, unwatch, hasMoved: false })
      this.#done(request, null, this.#host.isRecorded(storage))
    }
    open().catch((error: Error) => {
      this.#done(request, isTakenOver(error) ? MOVED : asFailure(error, 'STORAGE_NOT_AVAILABLE'), undefined)
    })
  }

  #destroyStorage (kind: StorageKind, name: string, request: number): void {
    const { destroy } = this.#host
    if (!destroy) throw new Error('only who has a store can delete it')
    this.#letMovedGo()
    destroy(kind, name).then(
      () => { this.#done(request, null, undefined) },
      (error: Error) => { this.#done(request, asFailure(error, 'STORAGE_NOT_AVAILABLE'), undefined) }
    )
  }

  async #lostStorage (store: StoreHandle, failure: Failure, hasMoved = false): Promise<void> {
    const open = this.#storages.get(store)
    if (!open || this.#over) return
    open.unwatch()
    open.hasMoved = hasMoved
    this.#tell(['store-failed', store, failure])
    const closing: Array<Promise<void>> = []
    for (const [name, core] of [...this.#cores]) {
      if (core.store !== store) continue
      closing.push(new Promise((resolve) => {
        try {
          expect(this.#closeCore(name), () => { resolve() })
        } catch {
          resolve()
        }
      }))
    }
    await Promise.all(closing)
  }

  #letMovedGo (): void {
    for (const storage of this.#moving) storage.release().catch(() => {})
    this.#moving.clear()
  }

  #closeStorage (store: number, request: number): void {
    const open = this.#storages.get(store)
    const real = this.#handles.get(store)
    this.#storages.delete(store)
    this.#handles.delete(store)
    if (!open) {
      // One in memory.
      if (real === undefined) return this.#done(request, null, undefined)
      return this.#expect(request, call((engine) => engine.closeStore(real)), undefined)
    }
    open.unwatch()
    if (open.hasMoved && !this.#moving.has(open.storage)) {
      this.#moving.add(open.storage)
      return this.#done(request, null, undefined)
    }
    open.storage.release().then(() => { this.#done(request, null, undefined) }, (error: Error) => { this.#done(request, asFailure(error), undefined) })
  }

  #linkName (link: LinkHandle): number {
    return this.#linkNames.get(link) ?? (link < 0 ? link : -link - 1)
  }

  #tell (event: EngineEvent, bytes?: unknown): void {
    if (this.#over) return
    this.#events.push(event)
    // Bytes that nobody else has are handed over.
    if (this.#port.transfers && bytes instanceof Uint8Array && bytes.buffer instanceof ArrayBuffer &&
      bytes.byteLength === bytes.buffer.byteLength && bytes.byteLength > 0) this.#transfers.push(bytes.buffer)
    this.#schedule()
  }

  // After the drain: what changed is told before what happened.
  #schedule (): void {
    if (this.#scheduled) return
    this.#scheduled = true
    queueMicrotask(() => {
      this.#scheduled = false
      this.#flush()
    })
  }

  #flush (): void {
    if (this.#over) return
    const news: News = { cores: [], links: [], events: this.#events, taken: this.#taken }
    const transfers = [...new Set(this.#transfers)]
    this.#events = []
    this.#transfers = []
    this.#taken = 0
    for (const name of this.#dirty) {
      const change = this.#change(this.#cores.get(name)!)
      if (change) news.cores.push([name, change])
    }
    this.#dirty.clear()
    for (const name of this.#touched) {
      const stats = look((engine) => engine.linkStats(this.#handles.get(name)!))
      if (stats) news.links.push([name, stats])
    }
    this.#touched.clear()
    if (news.events.length > 0 || news.cores.length > 0 || news.links.length > 0 || news.taken > 0) this.#port.post(news, transfers)
  }

  /** What changed in a core since it was told last; null when it is not open yet. */
  #change (core: OpenCore): Partial<CoreState> | null {
    const { real, told } = core
    let state: Partial<CoreState>
    try {
      state = look((engine) => stateOf(engine, real))
    } catch {
      return null
    }
    const change: Partial<CoreState> = {}
    for (const [name, value] of Object.entries(state)) {
      if (!isSame(told[name as keyof CoreState], value)) Object.assign(change, { [name]: value })
    }
    if ('length' in change || 'fork' in change) {
      look((engine) => {
        change.roots = engine.coreRoots(real)
        change.signature = engine.coreSignature(real) ?? null
      })
    }
    if (!('key' in told)) {
      look((engine) => {
        change.place = homeOf(real)
        change.key = engine.coreKey(real)
        change.discoveryKey = engine.coreDiscoveryKey(real)
        change.keyPair = engine.coreKeyPair(real) ?? null
      })
    }
    this.#addPeers(core, change)
    const blocks = look((engine) => core.blocksTold.changes(bitsOf(engine, real, undefined), state.contiguousLength!))
    if (blocks.length > 0) change.blocks = blocks
    const { blocks: _blocks, peerBlocks: _peerBlocks, ...kept } = change
    Object.assign(told, kept)
    return Object.keys(change).length > 0 ? change : null
  }

  #addPeers (core: OpenCore, change: Partial<CoreState>): void {
    const { real, told } = core
    const now = performance.now()
    const peers = look((engine) => engine.corePeers(real))
    const isOther = peers.length !== (told.peers?.length ?? 0) || peers.some(({ peer }, at) => told.peers![at]!.peer !== peer)
    if (!isOther && peers.length === 0) return
    if (!isOther && now - core.peersTold < PEERS_EVERY) {
      this.#late ??= setTimeout(() => {
        this.#late = undefined
        for (const [name, { told }] of this.#cores) if (told.peers?.length) this.#dirty.add(name)
        this.#schedule()
      }, PEERS_EVERY)
      return
    }
    core.peersTold = now
    change.peers = peers.map((peer): PeerStatus => ({ ...peer, link: this.#linkName(peer.link) }))
    change.traffic = look((engine) => engine.coreTraffic(real)) ?? null
    change.detours = look((engine) => engine.coreDetours(real))
    this.#addPeerBlocks(core, peers, change)
  }

  #addPeerBlocks ({ real, peerBlocksTold }: OpenCore, peers: PeerStatus[], change: Partial<CoreState>): void {
    const left = new Set(peerBlocksTold.keys())
    const changes: CoreState['peerBlocks'] = []
    for (const { peer } of peers) {
      left.delete(peer)
      let told = peerBlocksTold.get(peer)
      if (!told) peerBlocksTold.set(peer, told = new ToldBits())
      const pages = look((engine) => told.changes(bitsOf(engine, real, peer), 0))
      if (pages.length > 0) changes.push([peer, pages])
    }
    for (const peer of left) peerBlocksTold.delete(peer)
    if (changes.length > 0) change.peerBlocks = changes
  }
}

function bitsOf (engine: Engine, core: CoreHandle, peer: number | undefined): BitsSource {
  return {
    changed: (revision, first) => engine.coreChangedPages(core, peer, revision, first),
    page: (page) => engine.coreBlocksPage(core, peer, page),
    firstSet: (from) => engine.coreFindBlock(core, peer, true, from, false)
  }
}

function stateOf (engine: Engine, core: CoreHandle): Partial<CoreState> {
  return {
    manifest: engine.coreManifest(core) ?? null,
    isCompat: engine.coreIsCompat(core),
    group: engine.coreGroup(core) ?? null,
    length: engine.coreLength(core),
    fork: engine.coreFork(core),
    byteLength: engine.coreByteLength(core),
    contiguousLength: engine.coreContiguousLength(core),
    remoteContiguousLength: engine.coreRemoteContiguousLength(core),
    layers: engine.coreLayers(core),
    recovering: engine.coreRecovering(core),
    isLost: engine.coreIsLost(core),
    downloads: engine.coreDownloads(core)
  }
}

function isSame (a: unknown, b: unknown): boolean {
  if (isNumbers(a) && isNumbers(b)) return a.length === b.length && a.every((number: number, at: number) => number === b[at])
  return a === b
}

function isNumbers (value: unknown): value is Uint8Array {
  return value instanceof Uint8Array || value instanceof Float64Array
}
