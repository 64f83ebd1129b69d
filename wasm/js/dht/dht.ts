// The HyperDHT, reached through a relay. Keys stay here: the relay carries what it cannot read.

import { DHTError, HypertabError } from '../errors.js'
import { userBytes } from '../platform.js'
import { isReady, ready } from '../runtime.js'
import { isBytes } from '../support/bytes.js'
import { keyPair as createKeyPair } from '../support/crypto.js'
import { EventEmitter } from '../support/emitter.js'
import { decodeId } from '../support/id.js'
import { Connection } from '../links/connection.js'
import { DirectPath, type DirectOptions, type PathReason } from '../links/direct.js'
import type { Mux } from '../links/mux.js'
import { ConnectionPool } from './pool.js'
import { Announcement, checkTarget, type QueriedNode, Query, type QueryOptions, type QueryResult, type Reply, targetOf, writableKey } from './query.js'
import { type Address, type AnnouncedPeer, COMMANDS, decodeLookup, decodePeer, encodeAddresses } from './records.js'
import { ANY_HOST, RelayClient } from './relay.js'
import { isMessageStream, type MessageStream } from './stream-socket.js'
import { rttStats, type RttStats } from './rtt-stats.js'
import { Server, type ServerKeys, type ServerOptions } from './server.js'
import { needsSecret, ownHandshake, RecordSigning, type SigningOptions } from './signing.js'
import { immutableGet, immutablePut, mutableGet, type MutableGetOptions, mutablePut, type MutablePutOptions, type MutableResult, type ValueResult } from './values.js'

/** What a node tells. */
export type DHTEvents = {
  /** A relay is reached for the first time. */
  ready: []
  /** The same, by upstream's other name. */
  listening: []
  /** It is destroyed. */
  close: []
  /** It is suspended. */
  suspend: []
  /** It goes on. */
  resume: []
  /** The network may have changed: whatever was announced is to be announced again. */
  'network-change': []
  /** Whether a relay is reached has changed, see `online`. */
  'network-update': []
  /** An attempt to reach a relay begins. */
  'relay-connecting': [url: string]
  /** The relay is in use. */
  'relay-open': [url: string]
  /** The relay is gone; the next attempt begins in `retry` milliseconds, or never where it was at the end of a stream. */
  'relay-close': [url: string, error: Error, retry: number]
  /** The connection to the relay broke. It is made again within `grace` milliseconds, and nothing ends, or the relay is gone. */
  'relay-interrupted': [url: string, error: Error, grace: number]
  /** The relay goes on where it was interrupted. */
  'relay-resumed': [url: string]
  /** The relay does not listen on the key of a server any more. */
  'server-error': [error: Error, server: Server]
}

/** How the DHT is reached. */
export interface DHTOptions {
  /** Addresses of relays, in the order in which they are tried. */
  relay?: string | string[]
  /** Lets this client in, at relays whose address has no `?token=` of its own. */
  relayToken?: string
  /** Who connects and listens unless another key is given; by default the keys of `seed`. */
  keyPair?: ServerKeys | null
  /** What those keys are made from, 32 bytes; fresh keys by default. */
  seed?: Uint8Array | null
  /** Milliseconds between signs of life on a connection that has nothing else to say; 5000 by default, false for none. */
  connectionKeepAlive?: number | false
  /**
   * How streams find a direct path between two tabs, over a data channel of WebRTC; false for none. Peers learn this
   * tab's network address by it.
   */
  webrtc?: boolean | DirectOptions
  [other: string]: unknown
}

/** How a connection is made. */
export interface ConnectOptions {
  /** Who dials; the keys of the node by default. */
  keyPair?: ServerKeys | Promise<ServerKeys> | null
  /** Keeps one connection to each key. */
  pool?: ConnectionPool | null
  [other: string]: unknown
}

const KEY_LENGTH = 32

const DEFAULTS = { concurrency: 10, maxWindow: 80, maxPingDelay: 10_000, connectionKeepAlive: 5000, randomPunchInterval: 20_000 }

/** A node of the DHT that stands behind a relay. */
export class DHT extends EventEmitter<DHTEvents> {
  /** Relays to use when none are given. */
  static defaultRelays: string[] = []
  /** None: relays take the place of nodes to start from. */
  static readonly BOOTSTRAP: string[] = []
  /** What a node of upstream's has by default. */
  static readonly DEFAULTS = DEFAULTS
  static readonly OK = 0
  static readonly ERROR_UNKNOWN_COMMAND = 1
  static readonly ERROR_INVALID_TOKEN = 2
  /** Kinds of firewalls, as upstream counts them. */
  static readonly FIREWALL = { UNKNOWN: 0, OPEN: 1, CONSISTENT: 2, RANDOM: 3 }

  /** The connection to the relay. */
  readonly relay: RelayClient
  /** Milliseconds between signs of life on a silent connection; 0 for none. */
  readonly connectionKeepAlive: number
  /** Who connects and listens unless another key is given; null until the engine is loaded. */
  defaultKeyPair: ServerKeys | null
  /** Whether it is destroyed. */
  destroyed = false
  /** Whether it is suspended. */
  suspended = false
  /** Whether a relay was reached once. */
  bootstrapped = false
  readonly ephemeral = true
  readonly firewalled = true
  readonly randomized = false
  readonly adaptive = false
  /** Whether the node could be at other nodes' side: never, behind a relay. */
  readonly id = null
  /** As of upstream's node; the relay decides. */
  readonly concurrency = DEFAULTS.concurrency
  /** As of upstream's node, in milliseconds; the relay decides. */
  readonly maxPingDelay = DEFAULTS.maxPingDelay
  /** None: relays take their place. */
  readonly bootstrapNodes: Address[] = []
  /** The servers that are open. */
  readonly listening = new Set<Server>()
  /** Those of `register()`, by name. */
  readonly plugins = new Map<string, Plugin>()
  /** What was asked of the DHT from here. The relay counts packets and punches. */
  readonly stats = {
    punches: { consistent: 0, random: 0, open: 0, tryLater: 0, tryLaterRelayedHandshakesAtLeastOnce: 0 },
    relaying: { attempts: 0, successes: 0, aborts: 0 },
    socketPool: { socketsAdded: 0, socketsRemoved: 0 },
    queries: { active: 0, total: 0 },
    requests: { active: 0, total: 0, responses: 0, timeouts: 0, retries: 0 },
    commands: { ping: { tx: 0, rx: 0 }, pingNat: { tx: 0, rx: 0 }, findNode: { tx: 0, rx: 0 }, downHint: { tx: 0, rx: 0 } }
  }

  // What a node has with sockets and streams of its own: the relay has them, and counts what goes over them.
  readonly io = { clientSocket: null, serverSocket: null }
  readonly udx = { bytesTransmitted: 0, bytesReceived: 0, packetsTransmitted: 0, packetsReceived: 0, packetsDroppedByKernel: 0 }
  readonly rawStreams = new Set<never>()
  readonly nodes = { length: 0, toArray: (): Address[] => [] }

  /** The relay knows where topics are announced: an announcement is taken back without naming nodes. */
  readonly keepsNodes = true
  /** @internal How a connection finds a direct path, or why it does not. */
  readonly direct: ((connection: Connection, mux: Mux) => DirectPath) | PathReason
  /** @internal */
  readonly writable = new Map<string, (command: number, value: Uint8Array) => Promise<Reply>>()
  #loading: Promise<void>
  #keys: Promise<ServerKeys>
  #opened: Promise<void>
  #destroying: Promise<void> | null = null
  /** Suspending and resuming, one after the other. */
  #turn: Promise<void> = Promise.resolve()
  #connections = new Set<Connection>()
  #isOnline = false

  /** A node behind the relays of its options, or behind the one at the other end of a stream, as upstream's `@hyperswarm/dht-relay`. */
  constructor (source: DHTOptions | MessageStream = {}, more: DHTOptions = {}) {
    super()
    const options = isMessageStream(source) ? more : source
    const relays = isMessageStream(source) ? source : options.relay ? [options.relay].flat() : DHT.defaultRelays
    if (Array.isArray(relays) && relays.length === 0) {
      throw new HypertabError('RELAY_MISSING', 'a browser reaches the DHT through a relay: give { relay: \'wss://…\' }, or set DHT.defaultRelays')
    }
    this.connectionKeepAlive = options.connectionKeepAlive === false ? 0 : options.connectionKeepAlive || DEFAULTS.connectionKeepAlive
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
      interrupted: (url, error, grace) => {
        this.emit('relay-interrupted', url, error, grace)
        this.emit('network-update')
      },
      resumed: (url) => {
        this.emit('relay-resumed', url)
        this.emit('network-update')
      },
      close: (url, error, retry) => {
        const wasOnline = this.#isOnline
        this.#isOnline = false
        for (const server of this.listening) server.relayClosed()
        this.emit('relay-close', url, error, retry)
        if (wasOnline) this.emit('network-update')
        // There is no other way: a stream is not made again.
        if (retry === Infinity) void this.destroy({ force: true })
      }
    }, options.relayToken)
    this.relay.start()
  }

  /** Fresh keys, or those of a seed. */
  static keyPair (seed?: Uint8Array | null): ServerKeys {
    return createKeyPair(seed)
  }

  /** BLAKE2b-256, 32 bytes. */
  static hash (data: Uint8Array): Uint8Array {
    return targetOf(data)
  }

  /** What only a node with a socket can be: the arguments are checked as upstream checks them. */
  static bootstrapper (port: number, host: string, _options?: unknown): never {
    if (!port) throw new Error('Port is required')
    if (!host) throw new Error('Host is required')
    if (host === '0.0.0.0' || host === '::') throw new Error('Invalid host')
    if (!/^\d+(\.\d+){3}$/.test(host)) throw new Error('Host must be a IPv4 address')
    throw DHTError.NOT_SUPPORTED('bootstrapper')
  }

  /** Fails with `NOT_SUPPORTED`: there is no UDP. */
  static connectRawStream (_encrypted: unknown, _rawStream: unknown, _remoteId: unknown): never {
    throw DHTError.NOT_SUPPORTED('connectRawStream')
  }

  /** Whether a relay is connected. */
  get online (): boolean {
    return this.relay.handle !== null && !this.relay.interrupted
  }

  /** Whether the connection to the relay broke, and is being made again. */
  get degraded (): boolean {
    return this.relay.interrupted
  }

  /** Where the relay is, as the DHT sees it; null before that is known. */
  get host (): string | null {
    const host = this.relay.address?.host ?? ANY_HOST
    return host === ANY_HOST ? null : host
  }

  /** Where the relay is; 0 before that is known. */
  get port (): number {
    return this.host === null ? 0 : this.relay.address!.port
  }

  /** A node of its own would have a socket. */
  get socket (): null {
    return null
  }

  /** What a node of upstream's tells of its settings. */
  get config (): Record<string, unknown> {
    return {
      concurrency: this.concurrency,
      maxWindow: DEFAULTS.maxWindow,
      randomPunchInterval: DEFAULTS.randomPunchInterval,
      connectionKeepAlive: this.connectionKeepAlive,
      sendDownHints: false,
      downHintsRateLimit: 0
    }
  }

  /** Where the relay is, as the DHT sees it; null before that is known. */
  address (): { host: string, family: 4, port: number } | null {
    const { address } = this.relay
    return address && { host: address.host, family: 4, port: address.port }
  }

  /** Nobody reaches this node but through the relay. */
  localAddress (): Address | null {
    return null
  }

  /** Nobody reaches this node but through the relay. */
  remoteAddress (): Address | null {
    return null
  }

  /** None: there is no UDP. */
  async validateLocalAddresses (_addresses: Address[]): Promise<Address[]> {
    return []
  }

  /** The nodes that are known: the relay has them. */
  toArray (_options?: unknown): Address[] {
    return []
  }

  /** Does nothing: the relay has the nodes. */
  addNode (_node: Address): void {}

  /** Does nothing: the relay has the nodes. */
  refresh (): void {}

  /** Resolves when there is a way to the DHT. */
  bind (): Promise<void> {
    return this.#opened
  }

  /** Keeps a plugin, whose part begins on a node that keeps things for others. */
  register (name: string, plugin: Plugin): void {
    this.plugins.set(name, plugin)
    plugin.onregister(this)
  }

  /** Resolves when a relay is connected. */
  ready (): Promise<void> {
    return this.#opened
  }

  /** How long an answer of the relay takes at the moment, in milliseconds; null without one. */
  roundTrip (): Promise<number | null> {
    return this.relay.roundTrip()
  }

  /** Resolves when a relay is connected. */
  fullyBootstrapped (): Promise<void> {
    return this.#opened
  }

  /** @internal The default keys, once they are there. */
  keys (): Promise<ServerKeys> {
    return this.#keys
  }

  /** Connects to a key: bytes, hexadecimal, z-base-32, an object with one, or an address of `hyperdht-address`, whose nodes the relay does without. */
  connect (remote: Uint8Array | string | { publicKey: Uint8Array }, options: ConnectOptions = {}): Connection {
    ownHandshake(options)
    const target = isBytes(remote) || typeof remote === 'string' ? remote : remote?.publicKey
    // An address begins with its key.
    const isAddress = isBytes(target) && target.byteLength > KEY_LENGTH
    const remotePublicKey = isAddress ? userBytes(target.slice(0, KEY_LENGTH)) : decodeId(target)
    const { pool = null } = options
    const keyPair = options.keyPair ?? this.#keys
    if (!(keyPair instanceof Promise)) needsSecret(keyPair)
    const existing = pool?.get(remotePublicKey)
    if (existing) return existing
    let relay = -1
    let keys: ServerKeys | null = null
    const connection = new Connection(true, null, {
      remotePublicKey,
      publicKey: 'publicKey' in keyPair ? keyPair.publicKey : this.defaultKeyPair?.publicKey ?? null,
      keepAlive: this.connectionKeepAlive
    }, {
      prepare: async () => {
        keys = await keyPair
        needsSecret(keys)
        relay = await this.relay.connected()
      },
      direct: this.direct,
      open: (engine) => engine.relayConnect(relay, remotePublicKey, keys!.publicKey, keys!.secretKey)
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

  /** Makes a server, which listens with `listen(keyPair)`. */
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

  /** Nodes that know a key that is listened on: where its record is, and what it says. */
  findPeer (publicKey: Uint8Array, options: QueryOptions & { hash?: boolean } = {}): Query<PeerResult> {
    const target = options.hash === false ? publicKey : targetOf(publicKey)
    return this.#query(target, COMMANDS.FIND_PEER, null, { ...options, map: mapFindPeer } as QueryOptions<PeerResult>, 'findPeer')
  }

  /** Who announced a topic. */
  lookup (topic: Uint8Array, options: QueryOptions = {}): Query<QueryResult> {
    return this.#query(topic, COMMANDS.LOOKUP, null, { ...options, map: mapLookup } as QueryOptions<QueryResult>, 'lookup')
  }

  /** Says that a key serves a topic; also looks it up. Without addresses, a key that is listened on is reached through those of its server. */
  announce (topic: Uint8Array, keyPair: ServerKeys, relayAddresses?: Address[] | null, options: AnnounceOptions = {}): Announcement {
    if (this.destroyed) throw new Error('Node destroyed')
    const { clear = false, bump = 0 } = options
    const signing = RecordSigning.of(topic, keyPair, options, bump)
    // The relay knows those of a server, and when they change.
    const isOwn = [...this.listening].some((server) => server.relayAddresses === relayAddresses)
    const addresses = encodeAddresses(isOwn ? [] : relayAddresses ?? [])
    return new Announcement(this, (engine, relay) => {
      return engine.relayAnnounce(relay, topic, keyPair.publicKey, signing ? ELSEWHERE : keyPair.secretKey, clear, bump || 0, addresses)
    }, signing)
  }

  /** Takes an announcement of a topic back. */
  async unannounce (topic: Uint8Array, keyPair: ServerKeys, options: SigningOptions = {}): Promise<void> {
    if (this.destroyed) throw new Error('Node destroyed')
    const signing = RecordSigning.of(topic, keyPair, options)
    // Without a relay nothing can be withdrawn; announcements expire.
    if (this.relay.handle !== null) await this.relay.told(this.#unannounce(topic, keyPair, signing).finished())
  }

  /** Looks a topic up, and ends once what was announced there is taken back. */
  lookupAndUnannounce (topic: Uint8Array, keyPair: ServerKeys, options: SigningOptions = {}): Announcement {
    if (this.destroyed) throw new Error('Node destroyed')
    return this.#unannounce(topic, keyPair, RecordSigning.of(topic, keyPair, options))
  }

  /** The value with this hash, from the first node that has it; null when none has. */
  immutableGet (target: Uint8Array, options: QueryOptions<ValueResult> = {}): Promise<ValueResult | null> {
    return this.#alive(() => immutableGet(this, target, options))
  }

  /** Stores a value under its hash. */
  immutablePut (value: Uint8Array, options: QueryOptions<ValueResult> = {}): ReturnType<typeof immutablePut> {
    return this.#alive(() => immutablePut(this, value, options))
  }

  /** The newest value of a key, whose owner has signed it; null when no node has one. */
  mutableGet (publicKey: Uint8Array, options: MutableGetOptions = {}): Promise<MutableResult | null> {
    return this.#alive(() => mutableGet(this, publicKey, options))
  }

  /** Stores a value under a key. It is signed here. */
  mutablePut (keyPair: ServerKeys, value: Uint8Array, options: MutablePutOptions = {}): ReturnType<typeof mutablePut> {
    return this.#alive(() => mutablePut(this, keyPair, value, options))
  }

  /** The nodes closest to a target. */
  findNode (target: Uint8Array, options: QueryOptions<Reply> = {}): Query<Reply> {
    if (this.destroyed) throw new Error('Node destroyed')
    return new Query(this, checkTarget(target), true, COMMANDS.FIND_NODE, null, options, 'findNode')
  }

  /** How fast the DHT answers the relay, by a lookup of something random. */
  async rttStats (): Promise<RttStats> {
    return await rttStats(this.findNode(crypto.getRandomValues(new Uint8Array(32))))
  }

  /** Asks the nodes closest to a target. Relays carry what only reads: `findPeer`, `lookup`, `immutableGet` and `mutableGet`. */
  query<T = Reply> ({ target, command, value = null }: { target: Uint8Array, command: number, value?: Uint8Array | null }, options: QueryOptions<T> = {}): Query<T> {
    return this.#query(target, command, value, options, `the command ${command}`)
  }

  /** Writes a value to a node, while a query that it answered commits. Nothing else can be sent to a node of one's choice. */
  async request ({ token = null, command, value = null }: { token?: Uint8Array | null, target?: Uint8Array | null, command: number, value?: Uint8Array | null }, to: { host: string, port: number }, _options?: unknown): Promise<Reply> {
    const write = token && value && this.writable.get(writableKey(token, to))
    if (!write) throw DHTError.NOT_SUPPORTED('request')
    return await write(command, value)
  }

  /** Keeps one connection to each key, for who is given it. */
  pool (): ConnectionPool {
    return new ConnectionPool()
  }

  // What follows is there for programs that ask: each says why it cannot be.

  /** Fails with `NOT_SUPPORTED`: there is no UDP. */
  createRawStream (_options?: unknown): never { throw DHTError.NOT_SUPPORTED('createRawStream') }
  /** Fails with `NOT_SUPPORTED`: there is no UDP. */
  async ping (_to: unknown, _options?: unknown): Promise<never> { throw DHTError.NOT_SUPPORTED('ping') }

  /** Fails with `NOT_SUPPORTED`: there is no UDP. */
  async delayedPing (_to: unknown, delay: number, _options?: unknown): Promise<never> {
    if (delay > this.maxPingDelay) throw new Error(`Delay exceeds max delay: ${this.maxPingDelay}ms`)
    throw DHTError.NOT_SUPPORTED('delayedPing')
  }

  /** Closes every connection, then the relay. */
  destroy ({ force = false } = {}): Promise<void> {
    this.#destroying ??= this.#destroy(force)
    return this.#destroying
  }

  /** Leaves the relay until `resume()`. */
  async suspend ({ log = () => {} }: { log?: Log } = {}): Promise<void> {
    if (this.suspended || this.destroyed) return
    this.suspended = true
    await this.#inTurn(async () => {
      log('Suspending all hyperdht servers')
      await Promise.allSettled([...this.listening].map((server) => server.suspend()))
      log('Done, clearing all raw streams')
      await this.#hangUp()
      log('Done, suspending dht-rpc')
      this.relay.stop()
      log('Done, dht suspended')
      this.emit('suspend')
      log('Done, hyperdht fully suspended')
    })
  }

  /** Goes on after `suspend()`. */
  async resume ({ log = () => {} }: { log?: Log } = {}): Promise<void> {
    if (!this.suspended || this.destroyed) return
    this.suspended = false
    await this.#inTurn(async () => {
      log('Resuming hyperdht servers')
      for (const server of this.listening) await server.resume()
      if (this.destroyed) return
      this.relay.start()
      this.emit('resume')
      log('Done, hyperdht fully resumed')
    })
  }

  /** Whoever comes back before it has left ends as it said last. */
  async #inTurn (work: () => Promise<void>): Promise<void> {
    const turn = this.#turn.then(work)
    this.#turn = turn.catch(() => {})
    await turn
  }

  async #alive<T> (run: () => Promise<T>): Promise<T> {
    if (this.destroyed) throw new Error('Node destroyed')
    return await run()
  }

  #unannounce (topic: Uint8Array, keyPair: ServerKeys, signing: RecordSigning | null): Announcement {
    return new Announcement(this, (engine, relay) => {
      return engine.relayUnannounce(relay, topic, keyPair.publicKey, signing ? ELSEWHERE : keyPair.secretKey)
    }, signing)
  }

  #query<T> (target: Uint8Array, command: number, value: Uint8Array | null, options: QueryOptions<T>, name: string): Query<T> {
    if (this.destroyed) throw new Error('Node destroyed')
    return new Query(this, checkTarget(target), false, command, value, options, name)
  }

  #chooseDirect (option: boolean | DirectOptions): DHT['direct'] {
    if (option === false) return 'OFF'
    const { RTCPeerConnection: Class = globalThis.RTCPeerConnection, iceServers, ...policy } = option === true ? {} : option
    if (Class === undefined) return 'NO_WEBRTC'
    return (connection, mux) => new DirectPath(connection, mux, Class, () => {
      const own = this.port > 0 ? [{ urls: `stun:${this.host}:${this.port}` }] : []
      return { ...policy, iceServers: iceServers ?? own }
    })
  }

  async #createKeys (seed: Uint8Array | null | undefined): Promise<ServerKeys> {
    await this.#loading
    this.defaultKeyPair ??= createKeyPair(seed)
    return this.defaultKeyPair
  }

  async #destroy (force: boolean): Promise<void> {
    const servers = [...this.listening]
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
    this.#isOnline = true
    const again = this.bootstrapped
    this.bootstrapped = true
    this.emit('relay-open', url)
    for (const server of this.listening) server.relayOpened()
    if (again) {
      this.emit('network-change')
    } else {
      this.emit('listening')
      this.emit('ready')
    }
    this.emit('network-update')
  }
}

/** A part of a program that nodes carry which keep things for others. */
export interface Plugin {
  onregister (dht: DHT): void
}

/** In place of a secret that is not here. */
const ELSEWHERE = new Uint8Array(0)

/** How something is announced. */
export interface AnnounceOptions extends SigningOptions {
  /** Whether what the key announced before is taken back first. */
  clear?: boolean
  /** Asks for attention to the topic: milliseconds of the epoch. */
  bump?: number
  [other: string]: unknown
}

type Log = (...words: unknown[]) => unknown

/** Where a key that is listened on is known. */
export interface PeerResult {
  token: Uint8Array | null
  from: QueriedNode
  to: { host: string, port: number }
  peer: AnnouncedPeer
}

function mapFindPeer ({ token, from, to, value }: Reply): PeerResult | null {
  const peer = value && decoded(decodePeer, value)
  return peer && { token, from, to, peer }
}

function mapLookup ({ token, from, to, value }: Reply): QueryResult | null {
  const found = value && decoded(decodeLookup, value)
  return found && { token, from, to, ...found }
}

/** What a node answered, unless it is nonsense. */
function decoded<T> (decode: (bytes: Uint8Array) => T, bytes: Uint8Array): T | null {
  try {
    return decode(bytes)
  } catch {
    return null
  }
}
