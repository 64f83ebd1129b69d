// Connections to everybody who is interested in the same topics.

import { userBytes } from '../platform.js'
import { ready } from '../runtime.js'
import { compare, equal, isBytes, toHex } from '../support/bytes.js'
import { keyPair as createKeyPair } from '../support/crypto.js'
import { EventEmitter } from '../support/emitter.js'
import { DHT, type DHTOptions } from '../dht/dht.js'
import type { Server, ServerKeys } from '../dht/server.js'
import type { Connection } from '../links/connection.js'
import { Discovery, PeerDiscovery, topicId, type JoinOptions } from './discovery.js'
import { PeerInfo } from './peer-info.js'
import { Retry } from './retry.js'

export type HyperswarmEvents = {
  connection: [connection: Connection, peer: PeerInfo]
  /** Something changed: connections, attempts. */
  update: []
  ban: [peer: PeerInfo, error: Error]
}

export interface HyperswarmOptions {
  keyPair?: ServerKeys | null
  seed?: Uint8Array | null
  /** A node of the DHT to use; made from `relay` otherwise. */
  dht?: DHT
  /** Addresses of relays. */
  relay?: string | string[]
  /** Lets this client in at those relays. */
  relayToken?: string
  /** As of {@link DHT}. */
  webrtc?: DHTOptions['webrtc']
  maxPeers?: number
  maxClientConnections?: number
  maxServerConnections?: number
  /** Most connections that are being made at a time. */
  maxParallel?: number
  /** Whether to refuse somebody. */
  firewall?: (remotePublicKey: Uint8Array, payload: unknown) => boolean
  backoffs?: number[]
  jitter?: number
  [other: string]: unknown
}

const MAX_PEERS = 64
const MAX_PARALLEL = 3

/** Finds peers by topic, and keeps connections with them. */
export class Hyperswarm extends EventEmitter<HyperswarmEvents> {
  /** Who we are; null until the engine is loaded, unless it was given. */
  keyPair: ServerKeys | null
  readonly dht: DHT
  readonly server: Server
  destroyed = false
  suspended = false
  readonly maxPeers: number
  readonly maxClientConnections: number
  readonly maxServerConnections: number
  readonly maxParallel: number
  readonly relayThrough = null
  connecting = 0
  readonly connections = new Set<Connection>()
  readonly peers = new Map<string, PeerInfo>()
  readonly explicitPeers = new Set<PeerInfo>()
  listening: Promise<unknown> | null = null
  readonly stats = {
    updates: 0,
    connects: { client: { opened: 0, closed: 0, attempted: 0 }, server: { opened: 0, closed: 0 } },
    bannedPeers: 0
  }

  #opening: Promise<void>
  #discoveries = new Map<string, Discovery>()
  #queue = new Set<PeerInfo>()
  #all = new Map<string, Connection>()
  #retry: Retry
  #clients = 0
  #servers = 0
  #draining = false
  #flushes = new Set<{ waitsFor: Set<PeerInfo>, resolve: (flushed: boolean) => void }>()
  #firewall: NonNullable<HyperswarmOptions['firewall']>

  constructor (options: HyperswarmOptions = {}) {
    super()
    const { keyPair = null, seed = null, maxPeers, maxClientConnections, maxServerConnections, maxParallel, firewall } = options
    this.keyPair = keyPair
    this.maxPeers = maxPeers ?? MAX_PEERS
    this.maxClientConnections = maxClientConnections ?? Infinity
    this.maxServerConnections = maxServerConnections ?? Infinity
    this.maxParallel = maxParallel ?? MAX_PARALLEL
    this.#firewall = firewall ?? (() => false)
    this.#retry = new Retry((peer) => { this.#requeue(peer) }, { backoffs: options.backoffs, jitter: options.jitter })
    this.dht = options.dht ?? new DHT({
      ...(options.relay === undefined ? {} : { relay: options.relay }),
      ...(options.relayToken === undefined ? {} : { relayToken: options.relayToken }),
      ...(options.webrtc === undefined ? {} : { webrtc: options.webrtc })
    })
    this.server = this.dht.createServer(
      { firewall: (remotePublicKey, payload) => this.#isFirewalled(remotePublicKey, payload) },
      (connection) => { this.#onserver(connection) }
    )
    this.#opening = this.#open(seed)
    this.#opening.catch(() => {})
    this.dht.on('network-change', () => { this.#refreshAll() })
    this.dht.on('ready', () => { for (const discovery of this.#discoveries.values()) discovery.reachable() })
    this.on('update', () => { this.stats.updates++ })
  }

  /** Announces and looks up a topic of 32 bytes, until left. */
  join (topic: Uint8Array, options: JoinOptions = {}): PeerDiscovery {
    if (this.destroyed) throw new Error('Swarm destroyed')
    if (!isBytes(topic) || topic.byteLength !== 32) throw new Error('Topic is required and must be a 32-byte buffer')
    const id = topicId(topic)
    let discovery = this.#discoveries.get(id)
    if (!discovery || discovery.destroyed) {
      discovery = new Discovery(this, userBytes(topic.slice()))
      this.#discoveries.set(id, discovery)
    }
    return discovery.session(options)
  }

  /** Looks for nobody else, and is found by nobody else. Connections stay. */
  async leave (topic: Uint8Array): Promise<void> {
    if (!topic) throw new Error('Topic is required and must be a 32-byte buffer')
    const id = topicId(topic)
    const discovery = this.#discoveries.get(id)
    if (!discovery) return
    await discovery.destroy()
    if (this.#discoveries.get(id) === discovery) this.#discoveries.delete(id)
  }

  /** Keeps a connection with a peer, whatever it is interested in. */
  joinPeer (publicKey: Uint8Array): void {
    const peer = this.#upsert(publicKey, null)
    if (!peer) return
    peer.explicit = true
    this.explicitPeers.add(peer)
    if (!this.isConnected(publicKey) && peer.updatePriority()) this.#enqueue(peer)
  }

  leavePeer (publicKey: Uint8Array): void {
    const peer = this.peers.get(toHex(publicKey))
    if (!peer) return
    peer.explicit = false
    this.explicitPeers.delete(peer)
    this.#maybeForget(peer)
  }

  /** Lets others connect, also without a topic. */
  listen (): Promise<unknown> {
    if (this.destroyed) throw new Error('Swarm destroyed')
    if (this.listening === null) {
      const listening = this.#opening.then(() => this.server.listen(this.keyPair))
      this.listening = listening
      listening.catch(() => { if (this.listening === listening) this.listening = null })
    }
    return this.listening
  }

  /** Resolves when everything joined is announced and looked up, and everybody found was tried. */
  async flush (): Promise<boolean> {
    await Promise.all([...this.#discoveries.values()].map((discovery) => discovery.flushed()))
    const waitsFor = new Set(this.#queue)
    for (const peer of this.peers.values()) {
      const connection = this.#all.get(toHex(peer.publicKey))
      if (connection && !this.connections.has(connection)) waitsFor.add(peer)
    }
    if (waitsFor.size === 0 || this.destroyed) return true
    return await new Promise((resolve) => {
      this.#flushes.add({ waitsFor, resolve })
      this.#attempt()
    })
  }

  /** What joins a topic, or null. */
  status (topic: Uint8Array): Discovery | null {
    return this.#discoveries.get(topicId(topic)) ?? null
  }

  topics (): IterableIterator<Discovery> {
    return this.#discoveries.values()
  }

  /** Leaves every topic. */
  async clear (): Promise<void> {
    const discoveries = [...this.#discoveries.values()]
    this.#discoveries.clear()
    await Promise.allSettled(discoveries.map((discovery) => discovery.destroy()))
  }

  async destroy ({ force = false } = {}): Promise<void> {
    if (this.destroyed && !force) return
    this.destroyed = true
    this.#retry.clear()
    const cleared = this.clear()
    if (!force) await cleared
    await this.server.close()
    for (const flush of this.#flushes) flush.resolve(false)
    this.#flushes.clear()
    await this.dht.destroy({ force })
  }

  async suspend (_options?: unknown): Promise<void> {
    if (this.suspended) return
    this.suspended = true
    this.#retry.clear()
    for (const peer of this.#queue) peer.queued = false
    this.#queue.clear()
    const closing = [...this.#all.values()].map((connection) => new Promise<void>((resolve) => { connection.on('close', () => { resolve() }) }))
    for (const connection of this.#all.values()) connection.destroy()
    await Promise.allSettled([this.server.suspend(), ...[...this.#discoveries.values()].map((discovery) => discovery.suspend())])
    await this.dht.suspend()
    await Promise.all(closing)
  }

  async resume (_options?: unknown): Promise<void> {
    if (!this.suspended) return
    this.suspended = false
    await this.dht.resume()
    await this.server.resume()
    this.#refreshAll()
    this.#attempt()
  }

  /** @internal Resolves when the keys are there. */
  opened (): Promise<void> {
    return this.#opening
  }

  /** @internal */
  isConnected (publicKey: Uint8Array): boolean {
    return this.#all.has(toHex(publicKey))
  }

  /** @internal A lookup found somebody. */
  found (found: { publicKey: Uint8Array, relayAddresses?: unknown[] }, topic: Uint8Array): void {
    const peer = this.#upsert(found.publicKey, found.relayAddresses ?? null)
    if (!peer) return
    peer.addTopic(topic)
    if (this.isConnected(peer.publicKey)) return
    if (!peer.prioritized || peer.server) peer.reset()
    if (peer.updatePriority()) this.#enqueue(peer)
  }

  async #open (seed: Uint8Array | null): Promise<void> {
    await ready()
    this.keyPair ??= createKeyPair(seed)
  }

  #refreshAll (): void {
    if (this.suspended || this.destroyed) return
    for (const discovery of this.#discoveries.values()) discovery.refresh().catch(() => {})
  }

  #enqueue (peer: PeerInfo): void {
    if (peer.queued) return
    peer.queued = true
    this.#queue.add(peer)
    this.#attempt()
  }

  #requeue (peer: PeerInfo): void {
    peer.waiting = false
    if (this.suspended || this.destroyed) return
    if (!this.isConnected(peer.publicKey) && peer.updatePriority()) this.#enqueue(peer)
    else this.#attempt()
  }

  // The highest priority first, and among equals whichever: a swarm that dials in order would crowd its first peers.
  #next (): PeerInfo {
    const queued = [...this.#queue]
    const highest = Math.max(...queued.map((peer) => peer.priority))
    const candidates = queued.filter((peer) => peer.priority === highest)
    return candidates[Math.floor(Math.random() * candidates.length)]!
  }

  #attempt (): void {
    if (this.#draining || this.suspended || this.destroyed) return
    this.#draining = true
    while (this.#queue.size > 0 && this.#hasRoom()) {
      const peer = this.#next()
      this.#queue.delete(peer)
      peer.queued = false
      this.#connect(peer)
    }
    this.#draining = false
    if (this.connecting === 0 && this.#queue.size > 0 && !this.#hasRoom()) {
      for (const flush of this.#flushes) flush.resolve(true)
      this.#flushes.clear()
    }
  }

  #hasRoom (): boolean {
    const share = this.explicitPeers.size === 0 ? 1 : this.explicitPeers.size < 2 ? 2 : this.explicitPeers.size < 4 ? 3 : 4
    return this.connecting < this.maxParallel && share * this.#all.size < this.maxPeers && this.#clients < this.maxClientConnections
  }

  #connect (peer: PeerInfo): void {
    if (peer.banned || this.isConnected(peer.publicKey) || this.#isFirewalled(peer.publicKey, null)) {
      this.#tried(peer)
      return
    }
    const connection = this.dht.connect(peer.publicKey, { relayAddresses: peer.relayAddresses, keyPair: this.keyPair! })
    const id = toHex(peer.publicKey)
    this.#all.set(id, connection)
    this.stats.connects.client.attempted++
    this.connecting++
    this.#clients++
    let opened = false
    const onerror = () => {}
    connection.on('error', onerror)
    connection.on('connect', () => {
      opened = true
      this.stats.connects.client.opened++
      this.#connected()
      this.connections.add(connection)
      connection.off('error', onerror)
      peer.connected()
      peer.client = true
      this.emit('connection', connection, peer)
      this.#tried(peer)
      this.emit('update')
    })
    connection.on('close', () => {
      this.stats.connects.client.closed++
      if (!opened) this.#connected()
      this.#clients--
      this.#forget(id, connection)
      peer.disconnected()
      peer.waiting = this.#wants(peer) && this.#retry.add(peer)
      this.#maybeForget(peer)
      if (!opened) this.#tried(peer)
      this.#attempt()
      this.emit('update')
    })
    this.emit('update')
  }

  #connected (): void {
    this.connecting--
    queueMicrotask(() => { this.#attempt() })
  }

  #tried (peer: PeerInfo): void {
    for (const flush of this.#flushes) {
      if (!flush.waitsFor.delete(peer) || flush.waitsFor.size > 0) continue
      this.#flushes.delete(flush)
      flush.resolve(true)
    }
  }

  #onserver (connection: Connection): void {
    if (this.destroyed || this.suspended) {
      connection.on('error', () => {})
      connection.destroy(new Error('Swarm has been destroyed'))
      return
    }
    if (this.#servers >= this.maxServerConnections) {
      connection.on('error', () => {})
      connection.destroy(new Error('Too many connections'))
      return
    }
    const id = toHex(connection.remotePublicKey!)
    const existing = this.#all.get(id)
    if (existing) this.#choose(existing, connection)
    else this.#accept(id, connection)
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
    let gone = false
    const onerror = () => {}
    const onclose = () => { gone = true }
    connection.on('error', onerror)
    connection.on('close', onclose)
    existing.on('error', () => {})
    existing.on('close', () => {
      if (gone) return
      connection.off('error', onerror)
      connection.off('close', onclose)
      this.#onserver(connection)
    })
    existing.destroy(new Error('Duplicate connection'))
  }

  #accept (id: string, connection: Connection): void {
    this.stats.connects.server.opened++
    const peer = this.#upsert(connection.remotePublicKey!, null)!
    this.connections.add(connection)
    this.#all.set(id, connection)
    this.#servers++
    connection.on('close', () => {
      this.stats.connects.server.closed++
      this.#servers--
      this.#forget(id, connection)
      this.#maybeForget(peer)
      this.#attempt()
      this.emit('update')
    })
    peer.client = false
    this.emit('connection', connection, peer)
    this.emit('update')
  }

  #forget (id: string, connection: Connection): void {
    this.connections.delete(connection)
    if (this.#all.get(id) === connection) this.#all.delete(id)
  }

  #wants (peer: PeerInfo): boolean {
    if (this.suspended || this.destroyed) return false
    return peer.explicit || peer.topics.some((topic) => this.#discoveries.has(topicId(topic)))
  }

  #upsert (publicKey: Uint8Array, relayAddresses: unknown[] | null): PeerInfo | null {
    if (this.keyPair && equal(publicKey, this.keyPair.publicKey)) return null
    const id = toHex(publicKey)
    let peer = this.peers.get(id)
    if (peer) {
      if (relayAddresses) peer.relayAddresses = relayAddresses
      return peer
    }
    peer = new PeerInfo({ publicKey, relayAddresses })
    this.peers.set(id, peer)
    return peer
  }

  #maybeForget (peer: PeerInfo): void {
    if (peer.disposable && !this.isConnected(peer.publicKey)) this.peers.delete(toHex(peer.publicKey))
  }

  #isFirewalled (remotePublicKey: Uint8Array, payload: unknown): boolean {
    if (this.keyPair && equal(remotePublicKey, this.keyPair.publicKey)) return true
    if (this.peers.get(toHex(remotePublicKey))?.banned) return true
    if (!this.#firewall(remotePublicKey, payload)) return false
    const peer = this.#upsert(remotePublicKey, null)
    if (peer) {
      peer.ban(true)
      this.stats.bannedPeers++
      this.emit('ban', peer, new Error('Peer is firewalled'))
    }
    return true
  }
}
