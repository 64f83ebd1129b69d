// A key that others can connect to.

import type { Failure, ServerHandle } from '../binding.js'
import { DHTError, fromFailure, HypertabError } from '../errors.js'
import { userBytes } from '../platform.js'
import { call, listen, request, unlisten } from '../runtime.js'
import { equal } from '../support/bytes.js'
import { EventEmitter } from '../support/emitter.js'
import { Connection } from '../links/connection.js'
import type { DHT } from './dht.js'
import type { ConnectionPool } from './pool.js'

export type ServerEvents = {
  listening: []
  connection: [connection: Connection]
  close: []
}

export interface ServerOptions {
  /** Whether to refuse somebody. */
  firewall?: (remotePublicKey: Uint8Array, payload: unknown, address: unknown) => boolean | Promise<boolean>
  /** Keeps one connection to each key. */
  pool?: ConnectionPool | null
  onconnection?: (connection: Connection) => void
  [other: string]: unknown
}

export interface ServerKeys {
  publicKey: Uint8Array
  secretKey: Uint8Array
}

/** Accepts connections to one key, again after each change of the relay. */
export class Server extends EventEmitter<ServerEvents> {
  readonly dht: DHT
  listening = false
  closed = false
  suspended = false
  readonly relayAddresses: never[] = []
  #options
  #keyPair: ServerKeys | null = null
  #handle: ServerHandle | null = null
  #address: { host: string, port: number } | null = null
  #listening: Promise<void> | null = null
  #closing: Promise<void> | null = null

  /** @internal */
  constructor (dht: DHT, options: ServerOptions) {
    super()
    this.dht = dht
    this.#options = options
  }

  get publicKey (): Uint8Array | null {
    return this.#keyPair?.publicKey ?? null
  }

  address (): { publicKey: Uint8Array, host: string, port: number } | null {
    if (!this.listening || !this.#keyPair) return null
    return { publicKey: this.#keyPair.publicKey, host: this.#address?.host ?? '', port: this.#address?.port ?? 0 }
  }

  /** Resolves when the key can be found. */
  async listen (keyPair?: ServerKeys | null): Promise<this> {
    if (this.#listening !== null) throw DHTError.ALREADY_LISTENING()
    if (this.dht.destroyed) throw DHTError.NODE_DESTROYED()
    if (this.#closing) throw new Error('Server is closed')
    this.#listening = this.#listen(keyPair ?? null)
    try {
      await this.#listening
    } catch (error) {
      this.#listening = null
      this.#keyPair = null
      this.dht.servers.delete(this)
      throw error
    }
    return this
  }

  close (): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  /** The relay announces again by itself. */
  refresh (): void {}

  async suspend (_options?: unknown): Promise<void> {
    this.suspended = true
    await this.#stop()
  }

  async resume (): Promise<void> {
    if (!this.suspended) return
    this.suspended = false
    this.relayOpened()
  }

  /** @internal The relay is there, perhaps another one than before. */
  relayOpened (): void {
    const relay = this.dht.relay.handle
    if (relay === null || this.#keyPair === null || this.closed || this.suspended || this.#handle !== null) return
    const { publicKey, secretKey } = this.#keyPair
    const handle = call((engine) => engine.relayListen(relay, publicKey, secretKey, !!this.#options.firewall))
    this.#handle = handle
    listen('server', handle, (kind, rest) => { this.#onevent(handle, kind, rest) })
  }

  /** @internal The relay is gone, and with it what listened there. */
  relayClosed (): void {
    if (this.#handle !== null) unlisten('server', this.#handle)
    this.#handle = null
    this.listening = false
  }

  async #listen (keyPair: ServerKeys | null): Promise<void> {
    const keys = keyPair ?? await this.dht.keys()
    for (const { publicKey } of this.dht.servers) {
      if (publicKey && equal(publicKey, keys.publicKey)) throw DHTError.KEYPAIR_ALREADY_USED()
    }
    this.#keyPair = keys
    this.dht.servers.add(this)
    this.#options.pool?.attachServer(this)
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
    this.dht.servers.delete(this)
    await this.#stop()
    this.closed = true
    this.listening = false
    this.#keyPair = null
    this.emit('close')
  }

  async #stop (): Promise<void> {
    const handle = this.#handle
    this.#handle = null
    if (handle === null) return
    try {
      await request((engine) => engine.closeServer(handle))
    } catch {
      // The relay forgets it with the connection.
    }
    unlisten('server', handle)
  }

  #onevent (handle: ServerHandle, kind: string, rest: unknown[]): void {
    switch (kind) {
      case 'listening':
        this.#address = rest[0] as { host: string, port: number } | null
        this.dht.relay.address = this.#address
        this.listening = true
        this.emit('listening')
        break
      case 'connection':
        this.#onconnection(...rest as [number, Uint8Array, Uint8Array | null | undefined])
        break
      case 'firewall':
        void this.#judge(rest[0] as number, userBytes(rest[1] as Uint8Array))
        break
      case 'server-closed':
        unlisten('server', handle)
        if (this.#handle !== handle) return
        this.#handle = null
        this.listening = false
        this.dht.emit('server-error', rest[0] ? fromFailure(rest[0] as Failure) : takenOver(), this)
    }
  }

  #onconnection (link: number, remotePublicKey: Uint8Array, handshakeHash: Uint8Array | null | undefined): void {
    const connection = new Connection(false, {
      open: () => link,
      direct: this.dht.direct,
      opened: { publicKey: this.#keyPair!.publicKey, remotePublicKey, handshakeHash: handshakeHash ?? null }
    }, { keepAlive: this.dht.connectionKeepAlive })
    if (!this.emit('connection', connection)) connection.destroy()
  }

  async #judge (handshake: number, remotePublicKey: Uint8Array): Promise<void> {
    let denied = true
    try {
      denied = !!(await this.#options.firewall!(remotePublicKey, null, null))
    } finally {
      call((engine) => {
        if (denied) engine.denyConnection(handshake)
        else engine.acceptConnection(handshake)
      })
    }
  }
}

// A relay closes what it was not asked to close when somebody else has proven to own the key, or when it is full.
function takenOver (): Error {
  return new HypertabError('SERVER_CLOSED', 'the relay does not listen for us any more: the key is listened on elsewhere, or the relay is full')
}
