// The HyperDHT, reached through a relay. Keys stay here: the relay carries what it cannot read.

import { DHTError, HypertabError } from '../errors.js'
import { isReady, ready, Request } from '../runtime.js'
import { isBytes } from '../support/bytes.js'
import { hash, keyPair as createKeyPair } from '../support/crypto.js'
import { EventEmitter } from '../support/emitter.js'
import { decodeId } from '../support/id.js'
import { Connection } from '../links/connection.js'
import { DirectPath, type DirectOptions, type PathReason } from '../links/direct.js'
import type { Mux } from '../links/mux.js'
import { ConnectionPool } from './pool.js'
import { Query } from './query.js'
import { RelayClient } from './relay.js'
import { Server, type ServerKeys, type ServerOptions } from './server.js'

export type DHTEvents = {
  ready: []
  listening: []
  close: []
  suspend: []
  resume: []
  /** The network may have changed: whatever was announced is to be announced again. */
  'network-change': []
  'network-update': []
  /** An attempt to reach a relay begins. */
  'relay-connecting': [url: string]
  'relay-open': [url: string]
  /** The relay is gone; the next attempt begins in `retry` milliseconds. */
  'relay-close': [url: string, error: Error, retry: number]
  'server-error': [error: Error, server: Server]
}

export interface DHTOptions {
  /** Addresses of relays, in the order in which they are tried. */
  relay?: string | string[]
  /** Lets this client in, at relays whose address has no `?token=` of its own. */
  relayToken?: string
  keyPair?: ServerKeys | null
  seed?: Uint8Array | null
  /** Milliseconds between signs of life on a connection that has nothing else to say; 0 for none. */
  connectionKeepAlive?: number | false
  /**
   * How streams find a direct path between two tabs, over a data channel of WebRTC; false for none. Peers learn this
   * tab's network address by it.
   */
  webrtc?: boolean | DirectOptions
  [other: string]: unknown
}

export interface ConnectOptions {
  keyPair?: ServerKeys | Promise<ServerKeys>
  /** Keeps one connection to each key. */
  pool?: ConnectionPool | null
  [other: string]: unknown
}

/** A node of the DHT that stands behind a relay. */
export class DHT extends EventEmitter<DHTEvents> {
  /** Relays to use when none are given. */
  static defaultRelays: string[] = []
  static readonly BOOTSTRAP: string[] = []
  static readonly FIREWALL = { UNKNOWN: 0, OPEN: 1, CONSISTENT: 2, RANDOM: 3 }

  readonly relay: RelayClient
  readonly connectionKeepAlive: number
  /** Who connects and listens unless another key is given; null until the engine is loaded. */
  defaultKeyPair: ServerKeys | null
  destroyed = false
  suspended = false
  bootstrapped = false
  readonly ephemeral = true
  readonly firewalled = true
  readonly randomized = false
  /** The relay knows where topics are announced: an announcement is taken back without naming nodes. */
  readonly keepsNodes = true
  /** @internal */
  readonly servers = new Set<Server>()
  /** @internal How a connection finds a direct path, or why it does not. */
  readonly direct: ((connection: Connection, mux: Mux) => DirectPath) | PathReason
  #loading: Promise<void>
  #keys: Promise<ServerKeys>
  #opened: Promise<void>
  #destroying: Promise<void> | null = null
  #connections = new Set<Connection>()

  constructor (options: DHTOptions = {}) {
    super()
    const relays = options.relay ? [options.relay].flat() : DHT.defaultRelays
    if (relays.length === 0) {
      throw new HypertabError('RELAY_MISSING', 'a browser reaches the DHT through a relay: give { relay: \'wss://…\' }, or set DHT.defaultRelays')
    }
    this.connectionKeepAlive = options.connectionKeepAlive === false ? 0 : options.connectionKeepAlive || 5000
    this.direct = this.#chooseDirect(options.webrtc ?? true)
    this.#loading = ready()
    this.defaultKeyPair = options.keyPair ?? (isReady() ? createKeyPair(options.seed) : null)
    this.#keys = this.#createKeys(options.seed)
    this.#keys.catch(() => {})
    let open!: () => void
    this.#opened = new Promise((resolve) => { open = resolve })
    this.relay = new RelayClient(relays, () => this.#keys, {
      connecting: (url) => { this.emit('relay-connecting', url) },
      open: (url) => {
        open()
        this.#onopen(url)
      },
      close: (url, error, retry) => {
        for (const server of this.servers) server.relayClosed()
        this.emit('relay-close', url, error, retry)
      }
    }, options.relayToken)
    this.relay.start()
  }

  /** Fresh keys, or those of a seed. */
  static keyPair (seed?: Uint8Array | null): ServerKeys {
    return createKeyPair(seed)
  }

  static hash (data: Uint8Array): Uint8Array {
    return hash(data)
  }

  /** Whether a relay is connected. */
  get online (): boolean {
    return this.relay.handle !== null
  }

  get listening (): Set<Server> {
    return new Set([...this.servers].filter((server) => server.listening))
  }

  /** Resolves when a relay is connected. */
  ready (): Promise<void> {
    return this.#opened
  }

  /** How long an answer of the relay takes at the moment, in milliseconds; null without one. */
  roundTrip (): Promise<number | null> {
    return this.relay.roundTrip()
  }

  fullyBootstrapped (): Promise<void> {
    return this.#opened
  }

  /** @internal The default keys, once they are there. */
  keys (): Promise<ServerKeys> {
    return this.#keys
  }

  /** Connects to a key: bytes, hexadecimal, z-base-32, or an object with one. */
  connect (remote: Uint8Array | string | { publicKey: Uint8Array }, options: ConnectOptions = {}): Connection {
    const target = isBytes(remote) || typeof remote === 'string' ? remote : remote.publicKey
    const remotePublicKey = decodeId(target)
    const { pool = null, keyPair = this.#keys } = options
    const existing = pool?.get(remotePublicKey)
    if (existing) return existing
    let relay = -1
    let keys: ServerKeys | null = null
    const connection = new Connection(true, {
      prepare: async () => {
        keys = await keyPair
        relay = await this.relay.connected()
      },
      direct: this.direct,
      open: (engine) => engine.relayConnect(relay, remotePublicKey, keys!.publicKey, keys!.secretKey)
    }, {
      remotePublicKey,
      publicKey: 'publicKey' in keyPair ? keyPair.publicKey : this.defaultKeyPair?.publicKey ?? null,
      keepAlive: this.connectionKeepAlive
    })
    if (this.suspended) {
      connection.destroy(DHTError.SUSPENDED())
      return connection
    }
    pool?.attach(connection, false)
    this.#connections.add(connection)
    connection.on('close', () => { this.#connections.delete(connection) })
    return connection
  }

  createServer (options?: ServerOptions | ((connection: Connection) => void), onconnection?: (connection: Connection) => void): Server {
    if (typeof options === 'function') return this.createServer({}, options)
    onconnection ??= options?.onconnection
    const server = new Server(this, options ?? {})
    server.on('connection', (connection) => {
      this.#connections.add(connection)
      connection.on('close', () => { this.#connections.delete(connection) })
    })
    if (onconnection) server.on('connection', onconnection)
    return server
  }

  /** Who announced a topic. */
  lookup (topic: Uint8Array, _options?: unknown): Query {
    return new Query(this.relay, (engine, relay) => engine.relayLookup(relay, topic))
  }

  /** Says that a key serves a topic; also looks it up. */
  announce (topic: Uint8Array, keyPair: ServerKeys, _relayAddresses?: unknown, _options?: unknown): Query {
    return new Query(this.relay, (engine, relay) => engine.relayAnnounce(relay, topic, keyPair.publicKey, keyPair.secretKey))
  }

  async unannounce (topic: Uint8Array, keyPair: ServerKeys, _options?: unknown): Promise<void> {
    const relay = this.relay.handle
    // Without a relay nothing can be withdrawn; announcements expire.
    if (relay === null) return
    await new Request((engine) => engine.relayUnannounce(relay, topic, keyPair.publicKey, keyPair.secretKey)).promise
  }

  /** Looks a topic up, and ends once what was announced there is taken back. */
  lookupAndUnannounce (topic: Uint8Array, keyPair: ServerKeys, _options?: unknown): Query {
    return new Query(this.relay, (engine, relay) => engine.relayLookup(relay, topic), () => this.unannounce(topic, keyPair).catch(() => {}))
  }

  /** Keeps one connection to each key, for who is given it. */
  pool (): ConnectionPool {
    return new ConnectionPool()
  }

  // What follows is there for programs that ask: each says why it cannot be.

  findPeer (_publicKey: Uint8Array, _options?: unknown): Query { throw DHTError.NOT_SUPPORTED('findPeer') }
  findNode (_target: Uint8Array, _options?: unknown): Query { throw DHTError.NOT_SUPPORTED('findNode') }
  query (_query: unknown, _options?: unknown): Query { throw DHTError.NOT_SUPPORTED('query') }
  createRawStream (_options?: unknown): never { throw DHTError.NOT_SUPPORTED('createRawStream') }
  connectRawStream (_encrypted: unknown, _rawStream: unknown, _remoteId: unknown): never { throw DHTError.NOT_SUPPORTED('connectRawStream') }
  async immutablePut (_value: Uint8Array, _options?: unknown): Promise<never> { throw DHTError.NOT_SUPPORTED('immutablePut') }
  async immutableGet (_hash: Uint8Array, _options?: unknown): Promise<never> { throw DHTError.NOT_SUPPORTED('immutableGet') }
  async mutablePut (_keyPair: ServerKeys, _value: Uint8Array, _options?: unknown): Promise<never> { throw DHTError.NOT_SUPPORTED('mutablePut') }
  async mutableGet (_publicKey: Uint8Array, _options?: unknown): Promise<never> { throw DHTError.NOT_SUPPORTED('mutableGet') }
  async request (_request: unknown, _to: unknown, _options?: unknown): Promise<never> { throw DHTError.NOT_SUPPORTED('request') }
  async ping (_to: unknown, _options?: unknown): Promise<never> { throw DHTError.NOT_SUPPORTED('ping') }

  /** Closes every connection, then the relay. */
  destroy ({ force = false } = {}): Promise<void> {
    this.#destroying ??= this.#destroy(force)
    return this.#destroying
  }

  async suspend (_options?: unknown): Promise<void> {
    if (this.suspended) return
    this.suspended = true
    await Promise.allSettled([...this.servers].map((server) => server.suspend()))
    await this.#hangUp()
    this.relay.stop()
    this.emit('suspend')
  }

  async resume (_options?: unknown): Promise<void> {
    if (!this.suspended || this.destroyed) return
    this.suspended = false
    for (const server of this.servers) await server.resume()
    this.relay.start()
    this.emit('resume')
  }

  #chooseDirect (option: boolean | DirectOptions): DHT['direct'] {
    if (option === false) return 'OFF'
    const { RTCPeerConnection: Class = globalThis.RTCPeerConnection, iceServers, ...policy } = option === true ? {} : option
    if (Class === undefined) return 'NO_WEBRTC'
    return (connection, mux) => new DirectPath(connection, mux, Class, () => {
      const { address } = this.relay
      const own = address && address.port > 0 ? [{ urls: `stun:${address.host}:${address.port}` }] : []
      return { ...policy, iceServers: iceServers ?? own }
    })
  }

  async #createKeys (seed: Uint8Array | null | undefined): Promise<ServerKeys> {
    await this.#loading
    this.defaultKeyPair ??= createKeyPair(seed)
    return this.defaultKeyPair
  }

  async #destroy (force: boolean): Promise<void> {
    const servers = [...this.servers]
    if (!force) await Promise.allSettled(servers.map((server) => server.close()))
    this.destroyed = true
    await this.#hangUp()
    this.relay.stop(new HypertabError('DHT_DESTROYED', 'the DHT node was destroyed'))
    this.emit('close')
  }

  /** Resolves when every connection has closed, and whoever listens for that was told. */
  async #hangUp (): Promise<void> {
    await Promise.all([...this.#connections].map((connection) => new Promise((resolve) => {
      connection.on('close', () => { resolve(null) })
      connection.destroy()
    })))
  }

  #onopen (url: string): void {
    const again = this.bootstrapped
    this.bootstrapped = true
    this.emit('relay-open', url)
    for (const server of this.servers) server.relayOpened()
    if (again) {
      this.emit('network-change')
    } else {
      this.emit('listening')
      this.emit('ready')
    }
    this.emit('network-update')
  }
}
