// One connection to each key, for programs that connect to the same keys in several places.

import { DHTError } from '../errors.js'
import type { Connection } from '../links/connection.js'
import { compare, toHex } from '../support/bytes.js'
import { EventEmitter } from '../support/emitter.js'
import type { Server } from './server.js'

/** A user's hold on a connection of a pool. */
export class ConnectionRef {
  readonly #stream: Connection
  #users = 0

  /** @internal */
  constructor (stream: Connection) {
    this.#stream = stream
  }

  /** @internal */
  get stream (): Connection {
    return this.#stream
  }

  /** Says that somebody needs the connection. */
  active (): void {
    this.#users++
  }

  /** Says that nobody does. */
  inactive (): void {
    this.#users--
  }

  /** Ends the connection. */
  release (): void {
    this.#stream.destroy()
  }
}

/** One connection to each key. */
export class ConnectionPool extends EventEmitter<{ connection: [connection: Connection, ref: ConnectionRef] }> {
  #connecting = new Map<string, ConnectionRef>()
  #connections = new Map<string, ConnectionRef>()

  /** How many connections are being made. */
  get connecting (): number {
    return this.#connecting.size
  }

  get connections (): IterableIterator<ConnectionRef> {
    return this.#connections.values()
  }

  has (publicKey: Uint8Array): boolean {
    return this.get(publicKey) !== null
  }

  /** The connection to a key, made or being made; null when there is none. */
  get (publicKey: Uint8Array): Connection | null {
    const id = toHex(publicKey)
    return (this.#connections.get(id) ?? this.#connecting.get(id))?.stream ?? null
  }

  /** @internal Takes what a server accepts. */
  attachServer (server: Server): void {
    server.on('connection', (connection) => { this.attach(connection, true) })
  }

  /** @internal Of two connections to one key, both ends keep the same. */
  attach (stream: Connection, opened: boolean): void {
    const existing = this.get(stream.remotePublicKey!)
    if (!existing) return this.#add(stream, opened)
    const keepNew = stream.isInitiator === existing.isInitiator || compare(stream.publicKey!, stream.remotePublicKey!) > 0
    stream.on('error', ignore)
    if (!keepNew) {
      stream.destroy(DHTError.DUPLICATE_CONNECTION())
      return
    }
    let gone = false
    const onclose = (): void => { gone = true }
    stream.on('close', onclose)
    existing.on('error', ignore)
    existing.on('close', () => {
      if (gone) return
      stream.off('error', ignore)
      stream.off('close', onclose)
      this.attach(stream, opened)
    })
    existing.destroy(DHTError.DUPLICATE_CONNECTION())
  }

  #add (stream: Connection, opened: boolean): void {
    const ref = new ConnectionRef(stream)
    const id = toHex(stream.remotePublicKey!)
    const open = (): void => {
      this.#connecting.delete(id)
      this.#connections.set(id, ref)
      this.emit('connection', stream, ref)
    }
    stream.on('close', () => {
      for (const map of [this.#connections, this.#connecting]) if (map.get(id) === ref) map.delete(id)
    })
    if (opened) return open()
    this.#connecting.set(id, ref)
    stream.on('error', ignore)
    stream.on('open', () => {
      stream.off('error', ignore)
      open()
    })
  }
}

function ignore (): void {}
