// A key that others can connect to.

import type { Failure, ServerHandle } from '../binding.js'
import { DHTError, fromFailure, HypertabError } from '../errors.js'
import { userBytes } from '../platform.js'
import { call, listen, request, unlisten } from '../runtime.js'
import { equal } from '../support/bytes.js'
import { hash } from '../support/crypto.js'
import { EventEmitter } from '../support/emitter.js'
import { Connection } from '../links/connection.js'
import type { DHT } from './dht.js'
import { decodePayload, type NoisePayload } from './payload.js'
import type { ConnectionPool } from './pool.js'
import type { Address } from './records.js'
import { needsSecret, ownHandshake, RecordSigning, type SigningOptions } from './signing.js'

/** What a server tells. */
export type ServerEvents = {
  /** Others can connect. */
  listening: []
  /** Somebody has connected. */
  connection: [connection: Connection]
  /** It is closed. */
  close: []
}

/** How a server listens. */
export interface ServerOptions {
  /** Whether to refuse somebody. The address is where the relay sees who asks; null at a relay that does not say. */
  firewall?: Firewall
  /** Keeps one connection to each key. */
  pool?: ConnectionPool | null
  /** Kept for programs that look at it: the relay punches holes, and lets through whom the firewall does. */
  holepunch?: ((...nat: unknown[]) => boolean) | false
  /** As `holepunch`: through which peers connections may go is the relay's to say. */
  relayThrough?: unknown
  /** Kept, in milliseconds; 5000 by default. */
  relayKeepAlive?: number
  /** Kept, in milliseconds; 10,000 by default. */
  handshakeClearWait?: number
  /** Called with each connection, as the event `connection`. */
  onconnection?: (connection: Connection) => void
  [other: string]: unknown
}

export type Firewall = (remotePublicKey: Uint8Array, payload: NoisePayload | null, address: Address | null) => boolean | Promise<boolean>

/** A key pair that signs and connects. */
export interface ServerKeys {
  /** 32 bytes. */
  publicKey: Uint8Array
  /** 64 bytes. */
  secretKey: Uint8Array
}

/** Accepts connections to one key, again after each change of the relay. */
export class Server extends EventEmitter<ServerEvents> {
  /** The node that it is of. */
  readonly dht: DHT
  /** The hash of the key, under which the DHT knows it. */
  target: Uint8Array | null = null
  /** Whether it is closed. */
  closed = false
  /** Whether it is suspended. */
  suspended = false
  /** Says of whom to refuse: true does. */
  firewall: Firewall
  holepunch: NonNullable<ServerOptions['holepunch']>
  relayThrough: unknown
  relayKeepAlive: number
  handshakeClearWait: number
  readonly pool: ConnectionPool | null
  /** Nodes through which the key is reached, from a relay that names them. */
  relayAddresses: Address[] = []
  #isListening = false
  #hasListened = false
  /** It goes on after it was suspended, which is nothing new to who has heard that it listens. */
  #goesOn = false
  #keyPair: ServerKeys | null = null
  #signing: RecordSigning | null = null
  #handle: ServerHandle | null = null
  #listening: Promise<void> | null = null
  #closing: Promise<void> | null = null

  /** @internal */
  constructor (dht: DHT, options: ServerOptions) {
    super()
    ownHandshake(options)
    this.dht = dht
    this.firewall = options.firewall ?? letIn
    this.holepunch = options.holepunch || (() => true)
    this.relayThrough = options.relayThrough ?? null
    this.relayKeepAlive = options.relayKeepAlive || 5000
    this.handshakeClearWait = options.handshakeClearWait || 10_000
    this.pool = options.pool ?? null
  }

  /** Whether the key is listened on, or about to be for the first time; false while there is no relay. */
  get listening (): boolean {
    return this.#isListening
  }

  /** The key that is listened on; null before `listen()`. */
  get publicKey (): Uint8Array | null {
    return this.#keyPair?.publicKey ?? null
  }

  /** Where the relay is, as the DHT sees it. */
  address (): { publicKey: Uint8Array, host: string | null, port: number } | null {
    if (!this.#isListening || !this.#keyPair) return null
    return { publicKey: this.#keyPair.publicKey, host: this.dht.host, port: this.dht.port }
  }

  /** Resolves when the key can be found. */
  async listen (keyPair?: ServerKeys | null, options: SigningOptions = {}): Promise<this> {
    if (this.#listening !== null) throw DHTError.ALREADY_LISTENING()
    if (this.dht.destroyed) throw DHTError.NODE_DESTROYED()
    if (this.#closing) return this
    if (keyPair) needsSecret(keyPair)
    this.dht.listening.add(this)
    this.#isListening = true
    this.#listening = this.#listen(keyPair ?? null, options)
    try {
      await this.#listening
    } catch (error) {
      this.#listening = null
      this.#isListening = false
      this.#keyPair = null
      this.dht.listening.delete(this)
      throw error
    }
    return this
  }

  /** Takes back that it listens. Its connections stay. */
  close (): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  /** The relay announces again by itself. */
  refresh (): void {}

  /** Does nothing: the relay knows. */
  notifyOnline (): void {}

  /** Stops to listen until `resume()`. */
  async suspend ({ log = () => {} }: { log?: (...words: unknown[]) => unknown } = {}): Promise<void> {
    log('Suspending hyperdht server')
    this.suspended = true
    await this.#stop()
  }

  /** Listens again. */
  async resume (): Promise<void> {
    if (!this.suspended) return
    this.suspended = false
    this.#goesOn = this.#hasListened
    this.relayOpened()
  }

  /** @internal The relay is there, perhaps another one than before. */
  relayOpened (): void {
    const relay = this.dht.relay.handle
    if (relay === null || this.#keyPair === null || this.closed || this.suspended || this.#handle !== null) return
    const { publicKey, secretKey } = this.#keyPair
    const handle = call((engine) => engine.relayListen(relay, publicKey, secretKey, this.firewall !== letIn, this.#signing !== null))
    this.#handle = handle
    listen('server', handle, (kind, rest) => {
      if (kind === 'server-sign') void this.#signing?.answer(relay, rest)
      else this.#onevent(handle, kind, rest)
    })
  }

  /** @internal The relay is gone, and with it what listened there. */
  relayClosed (): void {
    if (this.#handle !== null) unlisten('server', this.#handle)
    this.#handle = null
    this.#isListening = false
  }

  async #listen (keyPair: ServerKeys | null, options: SigningOptions): Promise<void> {
    const keys = keyPair ?? await this.dht.keys()
    for (const { publicKey } of this.dht.listening) {
      if (publicKey && equal(publicKey, keys.publicKey)) throw DHTError.KEYPAIR_ALREADY_USED()
    }
    this.#keyPair = keys
    this.target = hash(keys.publicKey)
    this.#signing = RecordSigning.of(this.target, keys, options)
    this.pool?.attachServer(this)
    const listening = new Promise<void>((resolve, reject) => {
      const done = () => {
        this.off('listening', done)
        this.off('close', done)
        this.dht.off('server-error', refused)
        resolve()
      }
      const refused = (error: Error, server: Server) => {
        if (server !== this) return
        done()
        reject(error)
      }
      this.on('listening', done)
      this.on('close', done)
      this.dht.on('server-error', refused)
    })
    this.relayOpened()
    await listening
  }

  async #close (): Promise<void> {
    this.dht.listening.delete(this)
    await this.#stop()
    this.closed = true
    this.#listening = null
    this.#isListening = false
    this.relayAddresses = []
    this.#keyPair = null
    this.emit('close')
  }

  async #stop (): Promise<void> {
    const handle = this.#handle
    this.#handle = null
    if (handle === null) return
    try {
      await this.dht.relay.told(request((engine) => engine.closeServer(handle)))
    } catch {
      // The relay forgets it with the connection.
    }
    unlisten('server', handle)
  }

  #onevent (handle: ServerHandle, kind: string, rest: unknown[]): void {
    switch (kind) {
      case 'listening':
        this.dht.relay.address = rest[0] as Address | null
        this.relayAddresses = rest[1] as Address[]
        this.#isListening = this.#hasListened = true
        if (!this.#goesOn) this.emit('listening')
        this.#goesOn = false
        break
      case 'connection':
        this.#onconnection(...rest as [number, Uint8Array])
        break
      case 'firewall':
        void this.#judge(rest[0] as number, userBytes(rest[1] as Uint8Array), rest[2] as Uint8Array, rest[3] as Address | null)
        break
      case 'server-closed':
        unlisten('server', handle)
        if (this.#handle !== handle) return
        this.#handle = null
        this.#isListening = false
        this.dht.emit('server-error', rest[0] ? fromFailure(rest[0] as Failure) : takenOver(), this)
    }
  }

  #onconnection (link: number, remotePublicKey: Uint8Array): void {
    const connection: Connection = new Connection(false, null, {
      keepAlive: this.dht.connectionKeepAlive,
      publicKey: this.#keyPair!.publicKey,
      remotePublicKey: userBytes(remotePublicKey)
    }, {
      open: () => link,
      direct: this.dht.direct,
      announce: () => {
        connection.off('error', ignore)
        if (!this.emit('connection', connection)) connection.destroy()
      }
    })
    connection.on('error', ignore)
  }

  async #judge (handshake: number, remotePublicKey: Uint8Array, payload: Uint8Array, address: Address | null): Promise<void> {
    let denied = true
    try {
      denied = !!(await this.firewall(remotePublicKey, decodePayload(payload), address))
    } catch {
      // Who cannot be judged is not let in.
    }
    try {
      call((engine) => {
        if (denied) engine.denyConnection(handshake)
        else engine.acceptConnection(handshake)
      })
    } catch {
      // The engine stopped meanwhile, and tells everybody.
    }
  }
}

function ignore (): void {}

function letIn (): boolean {
  return false
}

// A relay closes what it was not asked to close when somebody else has proven to own the key, or when it is full.
function takenOver (): Error {
  return new HypertabError('SERVER_CLOSED', 'the relay does not listen for us any more: the key is listened on elsewhere, or the relay is full')
}
