// Connections by the key of who is at the other end, one for each.

import { toHex } from '../support/bytes.js'
import type { Connection } from '../links/connection.js'

export class ConnectionSet {
  #byKey = new Map<string, Connection>()

  get size (): number {
    return this.#byKey.size
  }

  [Symbol.iterator] (): IterableIterator<Connection> {
    return this.#byKey.values()
  }

  has (publicKey: Uint8Array | string): boolean {
    return this.#byKey.has(idOf(publicKey))
  }

  get (publicKey: Uint8Array | string): Connection | undefined {
    return this.#byKey.get(idOf(publicKey))
  }

  add (connection: Connection): void {
    this.#byKey.set(idOf(connection.remotePublicKey!), connection)
  }

  /** Takes a connection out, unless another one has taken its place. */
  delete (connection: Connection): void {
    const id = idOf(connection.remotePublicKey!)
    if (this.#byKey.get(id) === connection) this.#byKey.delete(id)
  }
}

function idOf (publicKey: Uint8Array | string): string {
  return typeof publicKey === 'string' ? publicKey : toHex(publicKey)
}
