// One topic of a swarm: announced, looked up, and again every ten minutes.

import { unrefTimer } from '../platform.js'
import { toHex } from '../support/bytes.js'
import type { Query } from '../dht/query.js'
import type { Hyperswarm } from './hyperswarm.js'

const INTERVAL = 10 * 60_000
const JITTER = 2 * 60_000

export interface JoinOptions {
  /** Lets others find us. */
  server?: boolean
  /** Finds others. */
  client?: boolean
  /** Most peers to connect to. */
  limit?: number
}

/** Everything that one topic needs, for all who joined it. */
export class Discovery {
  readonly swarm: Hyperswarm
  readonly topic: Uint8Array
  limit = Infinity
  isClient = false
  isServer = false
  destroyed = false
  readonly sessions = new Set<PeerDiscovery>()
  #refreshing: Promise<void> | null = null
  #query: Query | null = null
  #announced = false
  /** The last search failed, so that nothing is known of the topic. */
  #failed = false
  #turn = 0
  #timer: ReturnType<typeof setTimeout> | undefined
  #destroying: Promise<void> | null = null

  constructor (swarm: Hyperswarm, topic: Uint8Array) {
    this.swarm = swarm
    this.topic = topic
  }

  session (options: JoinOptions): PeerDiscovery {
    const session = new PeerDiscovery(this)
    this.sessions.add(session)
    session.refresh({ server: true, client: true, ...options }).catch(() => {})
    return session
  }

  /** Looks again, at once. Resolves to whether that worked. */
  async refresh (): Promise<boolean> {
    if (this.destroyed) throw new Error('PeerDiscovery is destroyed')
    if (this.swarm.suspended) return false
    const sessions = [...this.sessions]
    const isServer = sessions.some((session) => session.isServer)
    const isClient = sessions.some((session) => session.isClient)
    const changed = isServer !== this.isServer || isClient !== this.isClient
    if (changed || this.#refreshing === null) {
      if (changed) this.#query?.destroy()
      this.isServer = isServer
      this.isClient = isClient
      this.#refreshing = this.#refresh()
    }
    const refreshing = this.#refreshing
    try {
      await refreshing
      this.#failed = false
      return true
    } catch {
      this.#failed = true
      return false
    } finally {
      if (this.#refreshing === refreshing) this.#refreshing = null
    }
  }

  /** @internal The DHT can be reached: a search that failed without it is made up for. */
  reachable (): void {
    if (this.#failed && !this.destroyed) this.refresh().catch(() => {})
  }

  async flushed (): Promise<boolean> {
    try {
      await this.swarm.listening
      await this.#refreshing
      return true
    } catch {
      return false
    }
  }

  /** @internal One session less. */
  async leave (session: PeerDiscovery): Promise<void> {
    this.sessions.delete(session)
    if (this.destroyed) return
    if (this.sessions.size === 0) await this.swarm.leave(this.topic)
    else if (this.isServer && ![...this.sessions].some((session) => session.isServer)) await this.refresh()
  }

  destroy (): Promise<void> {
    this.#destroying ??= this.#destroy()
    return this.#destroying
  }

  /** @internal Stops until the swarm resumes. */
  async suspend (): Promise<void> {
    clearTimeout(this.#timer)
    this.#query?.destroy()
    await this.#refreshing?.catch(() => {})
    await this.#unannounce()
  }

  async #destroy (): Promise<void> {
    this.destroyed = true
    await this.suspend()
  }

  async #refresh (): Promise<void> {
    const turn = ++this.#turn
    const { swarm, topic } = this
    await swarm.opened()
    if (this.isServer) await swarm.listen()
    if (turn !== this.#turn || this.destroyed) return
    const announcing = this.isServer
    const keyPair = swarm.keyPair!
    const query = announcing
      ? swarm.dht.announce(topic, keyPair, swarm.server.relayAddresses)
      : this.#announced ? swarm.dht.lookupAndUnannounce(topic, keyPair) : swarm.dht.lookup(topic)
    this.#query = query as Query
    if (announcing) this.#announced = true
    try {
      await this.#take(query)
      if (!announcing && turn === this.#turn) this.#announced = false
    } catch (error) {
      if (!this.destroyed && !swarm.suspended) throw error
    } finally {
      if (this.#query === query) {
        this.#query = null
        this.#later()
      }
    }
  }

  async #take (query: AsyncIterable<unknown>): Promise<void> {
    let room = this.limit
    for await (const { peers } of query as AsyncIterable<{ peers: Array<{ publicKey: Uint8Array, relayAddresses?: unknown[] }> }>) {
      if (!this.isClient || this.destroyed) continue
      for (const peer of peers) {
        if (room <= 0) break
        if (!this.swarm.isConnected(peer.publicKey)) room--
        this.swarm.found(peer, this.topic)
      }
    }
  }

  #later (): void {
    clearTimeout(this.#timer)
    if (this.destroyed || this.swarm.suspended) return
    this.#timer = setTimeout(() => { this.refresh().catch(() => {}) }, INTERVAL + Math.round(JITTER * Math.random()))
    unrefTimer(this.#timer)
  }

  async #unannounce (): Promise<void> {
    if (!this.#announced) return
    this.#announced = false
    try {
      await this.swarm.dht.unannounce(this.topic, this.swarm.keyPair!)
    } catch {
      // Announcements that cannot be withdrawn expire.
    }
  }
}

/** One joining of a topic. */
export class PeerDiscovery {
  readonly discovery: Discovery
  isClient = false
  isServer = false
  destroyed = false

  /** @internal */
  constructor (discovery: Discovery) {
    this.discovery = discovery
  }

  get swarm (): Hyperswarm {
    return this.discovery.swarm
  }

  get topic (): Uint8Array {
    return this.discovery.topic
  }

  /** Looks again, perhaps for something else than before. */
  async refresh ({ client = this.isClient, server = this.isServer, limit = Infinity }: JoinOptions = {}): Promise<boolean> {
    if (this.destroyed) throw new Error('PeerDiscovery is destroyed')
    if (!client && !server) throw new Error('Cannot refresh with neither client nor server option')
    this.isClient = client
    this.isServer = server
    this.discovery.limit = limit
    return await this.discovery.refresh()
  }

  /** Resolves when the topic is announced and was looked up. */
  flushed (): Promise<boolean> {
    return this.discovery.flushed()
  }

  async destroy (): Promise<void> {
    if (this.destroyed) return
    this.destroyed = true
    await this.discovery.leave(this)
  }
}

/** A topic as the key of a map. */
export function topicId (topic: Uint8Array): string {
  return toHex(topic)
}
