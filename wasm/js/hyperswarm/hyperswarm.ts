// Connections to everybody who is interested in the same topics.

import { ready, isReady } from '../runtime.js'
import { compare, equal, toHex } from '../support/bytes.js'
import { keyPair as createKeyPair } from '../support/crypto.js'
import { EventEmitter } from '../support/emitter.js'
import { DHT, type DHTOptions } from '../dht/dht.js'
import type { ServerKeys } from '../dht/server.js'
import type { Connection } from '../links/connection.js'
import { ConnectionSet } from './connection-set.js'
import { Discovery, PeerDiscovery, topicId, type JoinOptions } from './discovery.js'
import { swarmNode, type FoundPeer, type SwarmNode, type SwarmServer } from './node.js'
import { ownBytes, PeerInfo } from './peer-info.js'
import { PeerQueue } from './peer-queue.js'
import { Retry } from './retry.js'

/** What a swarm tells. */
export type HyperswarmEvents = {
  /** A connection with a peer, encrypted and ready to replicate on. */
  connection: [connection: Connection, peer: PeerInfo]
  /** Something changed: connections, attempts. */
  update: []
  /** A peer was refused by `firewall`, and is not connected to any more. */
  ban: [peer: PeerInfo, error: Error]
}

/** How long a swarm that is destroyed by force waits for its announcements to be taken back, in milliseconds. */
const FORCED_CLOSE_MS = 1000

/** Says through which peer a connection may go. */
export type RelayThrough = (force: boolean, swarm: Hyperswarm) => Uint8Array | null

/** How a swarm finds and keeps its peers. */
export interface HyperswarmOptions {
  /** Who we are to peers; by default the keys of `seed`. */
  keyPair?: ServerKeys
  /** What those keys are made from, 32 bytes; fresh keys by default. */
  seed?: Uint8Array | null
  /** A node of the DHT to use: ours, or one of upstream's. Made from `relay` otherwise. */
  dht?: DHT | SwarmNode
  /** Addresses of relays. */
  relay?: string | string[]
  /** Lets this client in at those relays. */
  relayToken?: string
  /** As of {@link DHT}. */
  webrtc?: DHTOptions['webrtc']
  /** Most connections; 64 by default. */
  maxPeers?: number
  /** Most connections that are made from here; no limit by default. */
  maxClientConnections?: number
  /** Kept, and as upstream's not looked at. */
  maxServerConnections?: number
  /** Most connections that are being made at a time; 3 by default. */
  maxParallel?: number
  /** Whether to refuse somebody. */
  firewall?: (remotePublicKey: Uint8Array, payload: unknown) => boolean
  /** For a node of upstream's: a peer through which connections go that cannot be made directly. */
  relayThrough?: Uint8Array | RelayThrough | null
  /** Milliseconds until a peer is tried again: first, then longer, and for peers of `joinPeer()`; 1000, 5000, 15,000 and 600,000 by default. */
  backoffs?: number[]
  /** Milliseconds, at most, that chance adds to them; 500 by default. */
  jitter?: number
  [other: string]: unknown
}

type Log = (...words: unknown[]) => unknown

interface Flush {
  missing: number
  tick: number
  resolve: (flushed: boolean) => void
}

const MAX_PEERS = 64
const MAX_PARALLEL = 3

/** Attempts after which a peer that was asked for by name waits for its timer. */
const MAX_EXPLICIT_ATTEMPTS = 5

/** Finds peers by topic, and keeps connections with them. */
export class Hyperswarm extends EventEmitter<HyperswarmEvents> {
  /** Who we are; in a browser null until the engine is loaded, unless it was given. */
  keyPair: ServerKeys | null
  /** The node that it uses. */
  readonly dht: DHT
  /** What peers connect to. */
  readonly server: SwarmServer
  /** Whether it is destroyed. */
  destroyed = false
  /** Whether it is suspended. */
  suspended = false
  /** Most connections. */
  maxPeers: number
  /** Most connections that are made from here. */
  maxClientConnections: number
  maxServerConnections: number
  /** Most connections that are being made at a time. */
  maxParallel: number
  /** Says through which peer a connection may go, with a node of upstream's. */
  readonly relayThrough: RelayThrough | null
  /** Connections that are being made. */
  connecting = 0
  /** The open ones. */
  readonly connections = new Set<Connection>()
  /** Everybody who was found, by the hexadecimal key. */
  readonly peers = new Map<string, PeerInfo>()
  /** Those of `joinPeer()`. */
  readonly explicitPeers = new Set<PeerInfo>()
  /** Resolves when peers can connect; null before somebody joins as a server. */
  listening: Promise<unknown> | null = null
  /** Counts of connections, attempts, bans and events `update`. */
  readonly stats = {
    updates: 0,
    connects: { client: { opened: 0, closed: 0, attempted: 0 }, server: { opened: 0, closed: 0 } },
    bannedPeers: 0
  }

  /** @internal */
  readonly node: SwarmNode
  /** @internal */
  readonly _queue = new PeerQueue()
  /** @internal */
  readonly _discovery = new Map<string, Discovery>()
  /** @internal Those that are being made, too. */
  readonly _allConnections = new ConnectionSet()
  #opening: Promise<void>
  #retry: Retry
  #clients = 0
  #draining = false
  #isOnline = true
  #flushes: Flush[] = []
  #flushTick = 0
  #firewall: NonNullable<HyperswarmOptions['firewall']>

  constructor (options: HyperswarmOptions = {}) {
    super()
    const { keyPair, seed = null, maxPeers = MAX_PEERS, maxParallel = MAX_PARALLEL, relayThrough, firewall = () => false } = options
    const opening = ready()
    this.keyPair = keyPair ?? (isReady() ? createKeyPair(seed) : null)
    this.#opening = opening.then(() => { this.keyPair ??= createKeyPair(seed) })
    this.#opening.catch(() => {})
    this.maxPeers = maxPeers
    this.maxClientConnections = options.maxClientConnections ?? Infinity
    this.maxServerConnections = options.maxServerConnections ?? Infinity
    this.maxParallel = maxParallel
    this.relayThrough = relayThrough ? toRelayFunction(relayThrough) : null
    this.#firewall = firewall
    this.#retry = new Retry((peers) => { this.#requeue(peers) }, { backoffs: options.backoffs, jitter: options.jitter })
    this.dht = options.dht as DHT | undefined ?? new DHT({
      ...(options.relay === undefined ? {} : { relay: options.relay }),
      ...(options.relayToken === undefined ? {} : { relayToken: options.relayToken }),
      ...(options.webrtc === undefined ? {} : { webrtc: options.webrtc })
    })
    this.node = swarmNode(this.dht)
    this.server = this.node.createServer({
      firewall: (remotePublicKey: Uint8Array, payload: unknown) => this.#isFirewalled(remotePublicKey, payload),
      relayThrough: (force: boolean) => this.#maybeRelay(force),
      handshakeClearWait: options['handshakeClearWait']
    }, (connection) => { this.#onserver(connection) })
    this.node.on('network-change', () => { this.#onnetwork() })
    // A relay has kept what was announced through it, and says so otherwise when it has not.
    if (!this.node.keepsNodes) this.node.on('network-update', () => { this.#onupdate() })
    this.node.on('ready', () => { for (const discovery of this._discovery.values()) discovery.reachable() })
    this.on('update', () => { this.stats.updates++ })
  }

  /** Announces and looks up a topic of 32 bytes, until left. */
  join (topic: Uint8Array, options: JoinOptions = {}): PeerDiscovery {
    if (this.destroyed) throw new Error('Swarm destroyed')
    if (topic?.byteLength !== 32) throw new Error(MISSING_TOPIC)
    const own = ownBytes(topic)
    const id = topicId(own)
    const before = this._discovery.get(id)
    if (before && !before.destroyed) return before.session(options)
    const discovery = new Discovery(this, own, {
      limit: options.limit,
      wait: before ? before.destroy() : null,
      suspended: this.suspended
    })
    this._discovery.set(id, discovery)
    return discovery.session(options)
  }

  /** Looks for nobody else, and is found by nobody else. Connections stay. */
  async leave (topic: Uint8Array): Promise<void> {
    if (topic?.byteLength !== 32) throw new Error(MISSING_TOPIC)
    const id = topicId(topic)
    const discovery = this._discovery.get(id)
    if (!discovery) return
    try {
      await discovery.destroy()
    } catch {
      // Announcements that cannot be withdrawn expire.
    }
    if (this._discovery.get(id) === discovery) this._discovery.delete(id)
  }

  /** Keeps a connection with a peer, whatever it is interested in. */
  joinPeer (publicKey: Uint8Array): void {
    const peer = this.#upsert(publicKey, null)
    if (!peer) return
    peer.explicit = true
    this.explicitPeers.add(peer)
    if (this.isConnected(publicKey)) return
    if (peer.updatePriority()) this.#enqueue(peer)
  }

  /** Takes back a `joinPeer()`. A connection stays. */
  leavePeer (publicKey: Uint8Array): void {
    const peer = this.peers.get(toHex(publicKey))
    if (!peer) return
    peer.explicit = false
    this.explicitPeers.delete(peer)
    this.#maybeForget(peer)
  }

  /** Lets others connect, also without a topic. */
  listen (): Promise<unknown> {
    if (this.listening === null) {
      if (this.destroyed) throw new Error('Swarm destroyed')
      const listening = this.keyPair ? this.server.listen(this.keyPair) : this.#opening.then(() => this.server.listen(this.keyPair))
      this.listening = listening
      // What failed for want of a relay can be tried again.
      listening.catch(() => { if (this.listening === listening) this.listening = null })
    }
    return this.listening
  }

  /** Resolves when everything joined is announced and looked up, and everybody found was tried. */
  async flush (): Promise<boolean> {
    await Promise.all([...this._discovery.values()].map((discovery) => discovery.flushed()))
    if (this.#flushAllMaybe()) return true
    const missing = this._queue.length + this._allConnections.size - this.connections.size
    if (missing === 0) return true
    return await new Promise((resolve) => {
      this.#flushes.push({ missing, tick: this.#flushTick++, resolve })
    })
  }

  /** What joins a topic, or null. */
  status (topic: Uint8Array): Discovery | null {
    return this._discovery.get(topicId(topic)) ?? null
  }

  /** The topics that are joined. */
  topics (): IterableIterator<Discovery> {
    return this._discovery.values()
  }

  /** Leaves every topic. */
  async clear (): Promise<Array<PromiseSettledResult<void>>> {
    const cleared = Promise.allSettled([...this._discovery.values()].map((discovery) => discovery.destroy()))
    this._discovery.clear()
    return await cleared
  }

  /** Leaves everything and closes all connections; with `force`, without waiting for announcements to be taken back longer than a second. */
  async destroy ({ force }: { force?: boolean } = {}): Promise<void> {
    if (this.destroyed && !force) return
    this.destroyed = true
    this.#retry.clear()
    if (!force) await this.clear()
    await (force ? soon(this.server.close()) : this.server.close())
    for (const flush of this.#flushes.splice(0)) flush.resolve(false)
    await this.node.destroy({ force })
  }

  /** Closes all connections and stops to look, until `resume()`. */
  async suspend ({ log = () => {} }: { log?: Log } = {}): Promise<void> {
    if (this.suspended) return
    const stopping = [this.server.suspend?.({ log })]
    for (const discovery of this._discovery.values()) stopping.push(discovery.suspend({ log }))
    const closing: Array<Promise<unknown>> = []
    for (const connection of this._allConnections) {
      connection.destroy()
      closing.push(new Promise((resolve) => connection.on('close', () => { resolve(null) })))
    }
    this.suspended = true
    log('Suspending server and discovery... (' + stopping.length + ')')
    await Promise.allSettled(stopping)
    log('Done, suspending the dht...')
    await this.node.suspend?.({ log })
    log('Done, swarm fully suspended')
    await Promise.all(closing)
    this.#retry.clear()
    this._queue.clear()
  }

  /** Goes on after `suspend()`. */
  async resume ({ log = () => {} }: { log?: Log } = {}): Promise<void> {
    if (!this.suspended) return
    log('Resuming the dht')
    await this.node.resume?.({ log })
    log('Done, resuming the server')
    await this.server.resume?.()
    log('Done, all discovery')
    for (const discovery of this._discovery.values()) discovery.resume()
    this.suspended = false
    this.#attempt()
  }

  /** @internal Resolves when the keys are there. */
  opened (): Promise<void> {
    return this.#opening
  }

  /** @internal */
  isConnected (publicKey: Uint8Array): boolean {
    return this._allConnections.has(publicKey)
  }

  /** @internal A lookup found somebody. */
  found (found: FoundPeer, topic: Uint8Array): void {
    const peer = this.#upsert(found.publicKey, found.relayAddresses)
    peer?.addTopic(topic)
    if (!peer || this.isConnected(peer.publicKey)) return
    if (!peer.prioritized || peer.server) peer.reset()
    if (peer.updatePriority()) this.#enqueue(peer)
  }

  #onupdate (): void {
    const isBack = !this.#isOnline && this.node.online === true
    this.#isOnline = this.node.online !== false
    if (isBack) this.#onnetwork()
  }

  // Which connections are dead is found out before anything else.
  #onnetwork (): void {
    if (this.suspended) return
    for (const connection of this._allConnections) connection.sendKeepAlive()
    for (const discovery of this._discovery.values()) discovery.refresh().catch(() => {})
  }

  #maybeRelay (force: boolean): Uint8Array | null {
    return this.relayThrough ? this.relayThrough(force, this) : null
  }

  #enqueue (peer: PeerInfo): void {
    if (peer.queued) return
    this.#queue(peer)
    this.#attempt()
  }

  #queue (peer: PeerInfo): void {
    peer.queued = true
    peer.flushTick = this.#flushTick
    this._queue.add(peer)
  }

  #requeue (peers: PeerInfo[]): void {
    if (this.suspended) return
    for (const peer of peers) {
      peer.waiting = false
      if (peer.updatePriority() && !this.isConnected(peer.publicKey) && !peer.queued) this.#queue(peer)
    }
    this.#attempt()
  }

  #flushMaybe (peer: PeerInfo): void {
    this.#flushes = this.#flushes.filter((flush) => {
      if (peer.flushTick > flush.tick || --flush.missing > 0) return true
      flush.resolve(true)
      return false
    })
  }

  // Nobody else will be tried soon.
  #flushAllMaybe (): boolean {
    if (this.connecting > 0 || (this.#isWithinMaxPeers && this.#clients < this.maxClientConnections)) return false
    for (const flush of this.#flushes.splice(0).reverse()) flush.resolve(true)
    return true
  }

  get #isWithinMaxPeers (): boolean {
    const explicit = this.explicitPeers.size
    const factor = explicit === 0 ? 1 : explicit < 2 ? 2 : explicit < 4 ? 3 : 4
    return factor * this._allConnections.size < this.maxPeers
  }

  get #mayDial (): boolean {
    return !this.destroyed && !this.suspended && this.connecting < this.maxParallel
  }

  #attempt (): void {
    if (this.#draining || this.suspended) return
    this.#draining = true
    for (const peer of this.explicitPeers) {
      if (!this.#mayDial) break
      const isEarly = Date.now() - peer.disconnectedTime < peer.attempts * 1000
      if (peer.attempts < MAX_EXPLICIT_ATTEMPTS && !isEarly) this.#connect(peer, false)
    }
    while (this._queue.length > 0 && this.#mayDial && this.#isWithinMaxPeers && this.#clients < this.maxClientConnections) {
      const peer = this._queue.shift()!
      peer.queued = false
      this.#connect(peer, true)
    }
    this.#draining = false
    if (this.connecting === 0) this.#flushAllMaybe()
  }

  #connect (peer: PeerInfo, queued: boolean): void {
    if (peer.banned || this.isConnected(peer.publicKey) || this.#isFirewalled(peer.publicKey, null)) {
      if (queued) this.#flushMaybe(peer)
      return
    }
    const connection = this.node.connect(peer.publicKey, {
      relayAddresses: peer.relayAddresses,
      keyPair: this.keyPair ?? this.#opening.then(() => this.keyPair),
      relayThrough: this.#maybeRelay(peer.forceRelaying)
    })
    this._allConnections.add(connection)
    this.stats.connects.client.attempted++
    this.connecting++
    this.#clients++
    let opened = false
    const onerror = (error: Error): void => {
      if (!this.relayThrough || !NEEDS_RELAY.has((error as { code?: string }).code ?? '')) return
      peer.forceRelaying = true
      peer.attempts = 0
    }
    connection.on('error', onerror)
    connection.on('open', () => {
      opened = true
      this.stats.connects.client.opened++
      this.#dialled()
      this.connections.add(connection)
      connection.off('error', onerror)
      peer.connected()
      peer.client = true
      this.emit('connection', connection, peer)
      if (queued) this.#flushMaybe(peer)
      this.emit('update')
    })
    connection.on('close', () => {
      if (!opened) this.#dialled()
      this.stats.connects.client.closed++
      this.#forget(connection)
      this.#clients--
      peer.disconnected()
      peer.waiting = this.#wants(peer) && this.#retry.add(peer)
      this.#maybeForget(peer)
      if (!opened && queued) this.#flushMaybe(peer)
      this.#attempt()
      this.emit('update')
    })
    this.emit('update')
  }

  #dialled (): void {
    this.connecting--
    if (this.connecting < this.maxParallel) this.#attempt()
    if (this.connecting === 0) this.#flushAllMaybe()
  }

  #onserver (connection: Connection): void {
    if (this.destroyed || this.suspended) {
      connection.on('error', () => {})
      connection.destroy(new Error('Swarm has been destroyed'))
      return
    }
    const existing = this._allConnections.get(connection.remotePublicKey!)
    if (existing) this.#choose(existing, connection)
    else this.#accept(connection)
  }

  // Both ends dialled each other, or one of them lost the connection and dials again.
  #choose (existing: Connection, connection: Connection): void {
    const outdated = existing.rawBytesRead > 0 && existing.rawBytesWritten > 0
    const initiates = compare(connection.publicKey!, connection.remotePublicKey!) > 0
    if (!outdated && initiates !== connection.isInitiator) {
      existing.sendKeepAlive()
      connection.on('error', () => {})
      connection.destroy(new Error('Duplicate connection'))
      return
    }
    existing.on('error', () => {})
    existing.destroy(new Error('Duplicate connection'))
    let gone = false
    const onerror = (): void => {}
    const onclose = (): void => { gone = true }
    existing.on('close', () => {
      if (gone) return
      connection.off('error', onerror)
      connection.off('close', onclose)
      this.#onserver(connection)
    })
    connection.on('error', onerror)
    connection.on('close', onclose)
  }

  #accept (connection: Connection): void {
    this.stats.connects.server.opened++
    const peer = this.#upsert(connection.remotePublicKey!, null)!
    this.connections.add(connection)
    this._allConnections.add(connection)
    connection.on('close', () => {
      this.#forget(connection)
      this.stats.connects.server.closed++
      this.#maybeForget(peer)
      this.#attempt()
      this.emit('update')
    })
    peer.client = false
    this.emit('connection', connection, peer)
    this.emit('update')
  }

  #forget (connection: Connection): void {
    this.connections.delete(connection)
    this._allConnections.delete(connection)
  }

  #wants (peer: PeerInfo): boolean {
    if (this.suspended) return false
    if (peer.explicit) return true
    return !this.destroyed && peer.topics.some((topic) => this._discovery.has(topicId(topic)))
  }

  #upsert (publicKey: Uint8Array, relayAddresses: unknown[] | null | undefined): PeerInfo | null {
    if (this.#isOwn(publicKey)) return null
    const id = toHex(publicKey)
    let peer = this.peers.get(id)
    if (peer) {
      peer.relayAddresses = relayAddresses
      return peer
    }
    peer = new PeerInfo({ publicKey, relayAddresses: relayAddresses ?? null })
    this.peers.set(id, peer)
    return peer
  }

  #maybeForget (peer: PeerInfo): void {
    if (peer.shouldGC() && !this.isConnected(peer.publicKey)) this.peers.delete(toHex(peer.publicKey))
  }

  #isOwn (publicKey: Uint8Array): boolean {
    return this.keyPair !== null && equal(publicKey, this.keyPair.publicKey)
  }

  #isFirewalled (remotePublicKey: Uint8Array, payload: unknown): boolean {
    if (this.#isOwn(remotePublicKey)) return true
    if (this.peers.get(toHex(remotePublicKey))?.banned) return true
    const firewalled = this.#firewall(remotePublicKey, payload)
    if (firewalled) this.#ban(this.peers.get(toHex(remotePublicKey)) ?? this.#upsert(remotePublicKey, undefined)!)
    return firewalled
  }

  #ban (peer: PeerInfo): void {
    peer.ban(true)
    this.stats.bannedPeers++
    this.emit('ban', peer, new Error('Peer is firewalled'))
  }
}

function toRelayFunction (relayThrough: Uint8Array | RelayThrough): RelayThrough {
  if (typeof relayThrough === 'function') return relayThrough
  return (force, swarm) => force || swarm.node.randomized ? relayThrough : null
}

const MISSING_TOPIC = 'Topic is required and must be a 32-byte buffer'

/** Errors after which only a relay helps. */
const NEEDS_RELAY = new Set(['HOLEPUNCH_ABORTED', 'HOLEPUNCH_DOUBLE_RANDOMIZED_NATS', 'CANNOT_HOLEPUNCH', 'REMOTE_NOT_HOLEPUNCHABLE'])

/** Waits for what takes long where the network is gone, and then no longer; what connections there are would stay as long. */
async function soon (closing: Promise<unknown>): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined
  const patience = new Promise((resolve) => { timer = setTimeout(resolve, FORCED_CLOSE_MS) })
  try {
    await Promise.race([closing, patience])
  } finally {
    clearTimeout(timer)
  }
}
