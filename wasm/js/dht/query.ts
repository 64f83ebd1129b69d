// What nodes of the DHT answer, one at a time.

import { Readable } from 'streamx'

import type { Engine, RelayHandle } from '../binding.js'
import { HypertabError } from '../errors.js'
import { userBytes } from '../platform.js'
import { listen, Request, unlisten } from '../runtime.js'
import type { RelayClient } from './relay.js'

/** Somebody who announced a topic. */
export interface AnnouncedPeer {
  publicKey: Uint8Array
  relayAddresses: Array<{ host: string, port: number }>
}

/** What one node knows. */
export interface QueryResult {
  token: null
  from: { id: null, host: string, port: number } | null
  to: { host: string, port: number } | null
  peers: AnnouncedPeer[]
}

interface Address { host: string, port: number }

/** A query under way: a stream of results. */
export class Query extends Readable {
  /** For upstream's programs; the relay keeps the nodes. */
  readonly closestNodes: never[] = []
  #request: Request<unknown> | null = null
  #finished: Promise<void>
  /** What is done once every node was asked, before the query ends. */
  #commit: (() => Promise<void>) | null

  /** @internal */
  constructor (relays: RelayClient, command: (engine: Engine, relay: RelayHandle) => number, commit: (() => Promise<void>) | null = null) {
    super({ eagerOpen: true })
    this.#commit = commit
    this.#finished = new Promise((resolve, reject) => {
      this.on('close', () => { resolve() })
      this.on('error', reject)
    })
    this.#finished.catch(() => {})
    void this.#run(relays, command)
  }

  /** Resolves when every node was asked. */
  async finished (): Promise<void> {
    this.resume()
    await this.#finished
  }

  override _predestroy (): void {
    if (this.#request) unlisten('query', this.#request.id)
    this.#request?.cancel()
  }

  async #run (relays: RelayClient, command: (engine: Engine, relay: RelayHandle) => number): Promise<void> {
    try {
      const relay = await relays.connected()
      if (this.destroying) return
      const request = new Request((engine) => command(engine, relay))
      this.#request = request
      listen('query', request.id, (kind, [raw]) => {
        const result = toResult(raw)
        relays.address ??= result.to
        this.push(result)
      })
      await request.promise
      unlisten('query', request.id)
      // With its relay a query ends before every node was asked, and nothing may have been announced.
      if (relays.handle !== relay) throw new HypertabError('RELAY_CLOSED', 'the relay was lost during the query')
      await this.#commit?.()
      this.push(null)
    } catch (error) {
      this.destroy(error as Error)
    }
  }
}

function toResult (value: unknown): QueryResult {
  const { from, to, peers } = value as {
    from?: Address | null, to?: Address | null, peers: Array<{ publicKey: Uint8Array, relayAddresses?: Address[] }>
  }
  return {
    token: null,
    from: from ? { id: null, ...from } : null,
    to: to ?? null,
    peers: peers.map(({ publicKey, relayAddresses }) => ({ publicKey: userBytes(publicKey), relayAddresses: relayAddresses ?? [] }))
  }
}
