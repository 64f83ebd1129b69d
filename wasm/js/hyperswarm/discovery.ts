// One topic of a swarm: announced, looked up, and again every ten minutes.
//
// Who announces looks first. Two who join at the same time see nothing of each other, and upstream's swarms wait ten minutes then. Whoever
// was announced for the first time therefore looks once more, soon.

import { unrefTimer } from '../platform.js'
import { equal, toHex } from '../support/bytes.js'
import type { Hyperswarm } from './hyperswarm.js'
import type { SwarmQuery } from './node.js'

const INTERVAL = 10 * 60_000
const JITTER = 2 * 60_000

/** When to look again after the first announcement, in milliseconds: others who joined at the same time have announced themselves by then. */
const SOON = 3000

/** What a topic is joined for. */
export interface JoinOptions {
  /** Lets others find us; true by default. */
  server?: boolean
  /** Finds others; true by default. */
  client?: boolean
  /** Most peers to take from each search. */
  limit?: number
  /** Told why the first search failed. */
  onerror?: (error: Error) => unknown
}

/** A node of the DHT that was asked. */
interface QueriedNode {
  id?: Uint8Array | null
}

/** Everything that one topic needs, for all who joined it. */
export class Discovery {
  readonly swarm: Hyperswarm
  readonly topic: Uint8Array
  limit: number
  isClient = false
  isServer = false
  destroyed = false
  destroying: Promise<void> | null = null
  suspended: boolean
  /** @internal */
  readonly sessions = new Set<PeerDiscovery>()
  #current: Promise<void> | null = null
  #query: SwarmQuery | null = null
  /** @internal */
  _closestNodes: QueriedNode[] | null = null
  #isFirstAnnounce = true
  #needsUnannounce = false
  /** The last search failed, so that nothing is known of the topic. */
  #failed = false
  #turn = 0
  #timer: ReturnType<typeof setTimeout> | undefined
  /** What was joined before under the same topic, until it is gone. */
  #wait: Promise<void> | null

  constructor (swarm: Hyperswarm, topic: Uint8Array, { limit = Infinity, wait = null, suspended = false }: { limit?: number | undefined, wait?: Promise<void> | null, suspended?: boolean }) {
    this.swarm = swarm
    this.topic = topic
    this.limit = limit
    this.suspended = suspended
    this.#wait = wait
  }

  session ({ server = true, client = true, limit = Infinity, onerror = () => {} }: JoinOptions): PeerDiscovery {
    if (this.destroyed) throw new Error('PeerDiscovery is destroyed')
    const session = new PeerDiscovery(this)
    this.sessions.add(session)
    session.refresh({ server, client, limit }).catch(onerror)
    return session
  }

  /** Looks again, at once. Resolves to whether that worked; to nothing for one that was under way, or while suspended. */
  async refresh (): Promise<boolean | void> {
    if (this.destroyed) throw new Error('PeerDiscovery is destroyed')
    const isServer = this.#some((session) => session.isServer)
    const isClient = this.#some((session) => session.isClient)
    if (this.suspended) return
    if (isServer === this.isServer && isClient === this.isClient) {
      if (this.#current) return await this.#current
    } else {
      this.#query?.destroy()
      this.isServer = isServer
      this.isClient = isClient
    }
    const refresh = this.#current = this.#refresh()
    try {
      await refresh
      this.#failed = false
      return true
    } catch {
      this.#failed = true
      return false
    } finally {
      if (this.#current === refresh) this.#current = null
    }
  }

  /** @internal The DHT can be reached: a search that failed without it is made up for. */
  reachable (): void {
    if (this.#failed && !this.destroyed) this.refresh().catch(() => {})
  }

  /** Resolves when the topic is announced and was looked up, to whether that worked. */
  async flushed (): Promise<boolean> {
    if (this.swarm.listening) await this.swarm.listening
    try {
      await this.#current
      return true
    } catch {
      return false
    }
  }

  /** @internal One session less. */
  async left (session: PeerDiscovery): Promise<void> {
    this.sessions.delete(session)
    if (this.destroyed) return
    try {
      if (this.sessions.size === 0) await this.swarm.leave(this.topic)
      else if (this.#needsUnannounce && !this.#some((session) => session.isServer)) await this.refresh()
    } catch {
      // The network may be gone, and then there is nothing to take back.
    }
  }

  destroy (): Promise<void> {
    this.destroying ??= this.#destroy()
    return this.destroying
  }

  /** Stops until resumed. */
  async suspend ({ log = () => {} }: { log?: (...words: unknown[]) => unknown } = {}): Promise<void> {
    if (this.suspended) return
    this.suspended = true
    try {
      await this.#abort(log)
    } catch {
      // Nobody can be told.
    }
  }

  resume (): void {
    if (!this.suspended) return
    this.suspended = false
    this.refresh().catch(() => {})
  }

  #some (has: (session: PeerDiscovery) => boolean): boolean {
    for (const session of this.sessions) if (has(session)) return true
    return false
  }

  get #isActive (): boolean {
    return !this.destroyed && !this.suspended
  }

  async #destroy (): Promise<void> {
    this.destroyed = true
    await this.#abort(() => {})
  }

  async #refresh (): Promise<void> {
    const turn = ++this.#turn
    const { swarm, topic } = this
    if (this.#wait) {
      await this.#wait
      this.#wait = null
      if (turn !== this.#turn || !this.#isActive) return
    }
    if (!swarm.keyPair) {
      await swarm.opened()
      if (turn !== this.#turn || !this.#isActive) return
    }
    const clear = this.isServer && this.#isFirstAnnounce
    if (clear) this.#isFirstAnnounce = false
    if (this.isServer) {
      await swarm.listen()
      // One that began later does the rest.
      if (turn !== this.#turn || !this.#isActive) return
      this.#needsUnannounce = true
    }
    const announcing = this.isServer
    const options = { clear, closestNodes: this._closestNodes }
    const keyPair = swarm.keyPair!
    const query: SwarmQuery = this.#query = announcing
      ? swarm.node.announce(topic, keyPair, swarm.server.relayAddresses, options)
      : this.#needsUnannounce ? swarm.node.lookupAndUnannounce(topic, keyPair, options) : swarm.node.lookup(topic, options)
    try {
      await this.#take(query)
    } catch (error) {
      if (this.#isActive) throw error
    } finally {
      if (this.#query === query) {
        this.#query = null
        // A limit is for one search.
        const soon = clear && this.isClient && this.limit === Infinity
        if (this.#isActive) this.#later(soon ? SOON : INTERVAL + jitter())
      }
    }
    this._closestNodes = query.closestNodes
    if (turn === this.#turn && !announcing) this.#needsUnannounce = false
  }

  async #take (query: SwarmQuery): Promise<void> {
    let room = this.limit
    for await (const { peers } of query) {
      if (!this.isClient || !this.#isActive) continue
      for (const peer of peers) {
        if (room === 0) break
        room--
        this.swarm.found(peer, this.topic)
      }
    }
  }

  #later (pause: number): void {
    clearTimeout(this.#timer)
    const begun = Date.now()
    this.#timer = setTimeout(() => {
      // A machine that slept wakes with all of its timers due.
      if (Date.now() - begun > pause + SLEEP) this.#later(jitter())
      else this.refresh().catch(() => {})
    }, pause)
    unrefTimer(this.#timer)
  }

  async #abort (log: (...words: unknown[]) => unknown): Promise<void> {
    const id = topicId(this.topic)
    log('Aborting discovery', id)
    if (this.#wait) await this.#wait
    this.#query?.destroy()
    this.#query = null
    clearTimeout(this.#timer)
    let nodes = this._closestNodes
    await this.#current?.catch(() => {})
    log('Aborting discovery (post refresh)', id)
    if (this.#isActive || !this.#needsUnannounce) return
    if (this._closestNodes !== nodes) nodes = union(nodes, this._closestNodes)
    log('Unannouncing discovery', id)
    await this.#unannounce(nodes)
    this.#needsUnannounce = false
    log('Unannouncing discovery (done)', id)
  }

  async #unannounce (nodes: QueriedNode[] | null): Promise<void> {
    const { node, keyPair } = this.swarm
    if (node.keepsNodes) await node.unannounce(this.topic, keyPair!).catch(() => {})
    else if (nodes?.length) await node.unannounce(this.topic, keyPair!, { closestNodes: nodes, onlyClosestNodes: true, force: true })
  }
}

/** One joining of a topic. */
export class PeerDiscovery {
  /** What all who joined the topic share. */
  readonly discovery: Discovery
  /** Whether it looks for others. */
  isClient = false
  /** Whether others find us. */
  isServer = false
  /** Whether it is over. */
  destroyed = false

  /** @internal */
  constructor (discovery: Discovery) {
    this.discovery = discovery
  }

  /** The swarm that it is of. */
  get swarm (): Hyperswarm {
    return this.discovery.swarm
  }

  /** 32 bytes. */
  get topic (): Uint8Array {
    return this.discovery.topic
  }

  /** Looks again, perhaps for something else than before. */
  async refresh ({ client = this.isClient, server = this.isServer, limit = Infinity }: JoinOptions = {}): Promise<boolean | void> {
    if (this.destroyed) throw new Error('PeerDiscovery is destroyed')
    if (!client && !server) throw new Error('Cannot refresh with neither client nor server option')
    this.isClient = client
    this.isServer = server
    this.discovery.limit = limit
    return await this.discovery.refresh()
  }

  /** Resolves when the topic is announced and was looked up. */
  async flushed (): Promise<boolean> {
    return await this.discovery.flushed()
  }

  /** Leaves the topic, as far as nobody else has joined it. */
  async destroy (): Promise<void> {
    if (this.destroyed) return
    this.destroyed = true
    await this.discovery.left(this)
  }
}

/** A topic as the key of a map. */
export function topicId (topic: Uint8Array): string {
  return toHex(topic)
}

function jitter (): number {
  return Math.round(JITTER * Math.random())
}

function union (nodes: QueriedNode[] | null, newer: QueriedNode[] | null): QueriedNode[] | null {
  if (!nodes || !newer) return nodes ?? newer
  const isNew = ({ id }: QueriedNode): boolean => !!id && !nodes.some((node) => node.id && equal(node.id, id))
  return [...nodes, ...newer.filter(isNew)]
}

/** How late a timer may be before the machine must have slept, in milliseconds. */
const SLEEP = 30_000
