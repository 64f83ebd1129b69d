// Searches of the DHT: what nodes answer, one at a time, and what is written to the closest of them afterwards.

import { Readable } from 'streamx'

import type { Engine, Failure, QuestionHandle, RelayHandle } from '../binding.js'
import { DHTError, fromFailure, HypercoreError, HypertabError } from '../errors.js'
import { nextTurn, userBytes } from '../platform.js'
import { call, listen, Request, unlisten } from '../runtime.js'
import { compare, isBytes, toHex } from '../support/bytes.js'
import { hash } from '../support/crypto.js'
import type { ReadEvents } from '../support/readable.js'
import { type Address, type AnnouncedPeer, COMMANDS, nodeId } from './records.js'
import type { RelayClient } from './relay.js'
import type { RecordSigning } from './signing.js'

export type { AnnouncedPeer } from './records.js'

/** A node of the DHT. */
export interface QueriedNode extends Address {
  /** 32 bytes; null where the node does not say. */
  id: Uint8Array | null
}

/** What one node answered. */
export interface Reply {
  /** The number of the request; 0 behind a relay. */
  tid: number
  /** Milliseconds that the relay waited for it. */
  rtt: number
  /** The node. */
  from: QueriedNode
  /** Where the node sees us, that is the relay. */
  to: Address
  /** What the node takes writes with; null for none. */
  token: Uint8Array | null
  /** Nodes that are closer to the target; null for none. */
  closerNodes: Address[] | null
  /** 0, or the number of an error. */
  error: number
  /** What it answered; null for nothing. */
  value: Uint8Array | null
}

/** What one node knows of a topic. */
export interface QueryResult {
  /** What the node takes writes with. */
  token: Uint8Array | null
  /** The node. */
  from: QueriedNode
  /** Where it sees us, that is the relay. */
  to: Address | null
  /** Who has announced the topic. */
  peers: AnnouncedPeer[]
  /** When somebody asked for attention to the topic last, in milliseconds of Unix time; 0 for never. */
  bump: number
}

/** What becomes of one of the closest replies. */
export type Commit<T = unknown> = (reply: Reply, dht: QueryNode, query: Query<T>) => Promise<unknown>

/** How the DHT is searched. */
export interface QueryOptions<T = unknown> {
  /** What becomes of a reply; nothing of one that this is null for. */
  map?: ((reply: Reply) => T | null) | undefined
  /** Called for each of the closest replies once the search is over. */
  commit?: Commit<T> | true | null | undefined
  /** Kept: the relay decides how nodes are asked. */
  force?: boolean | undefined
  /** Kept; 10 by default. */
  concurrency?: number | undefined
  /** Kept; 5 by default. */
  retries?: number | undefined
  [other: string]: unknown
}

/** What a query needs of its node. */
export interface QueryNode {
  readonly relay: RelayClient
  readonly concurrency: number
  readonly stats: { queries: { active: number, total: number } }
  request (request: { token: Uint8Array | null, target: Uint8Array, command: number, value: Uint8Array | null }, to: Address): Promise<Reply>
  /** @internal Where something can be written, by the token and address of a reply. */
  readonly writable: Map<string, (command: number, value: Uint8Array) => Promise<Reply>>
}

/** A search under way: a stream of results, which begins when somebody reads it. */
abstract class Search<T> extends Readable<ReadEvents<T>> {
  /** What the nodes closest to the target have answered, closest first. */
  closestReplies: Reply[] = []
  #error: Error | null = null

  /** @internal */
  constructor (dht: QueryNode) {
    super()
    const { queries } = dht.stats
    queries.total++
    queries.active++
    this.once('close', () => { queries.active-- })
    this.on('error', (error: Error) => { this.#error = error })
  }

  get closestNodes (): QueriedNode[] {
    return this.closestReplies.map(({ from }) => from)
  }

  /** Resolves when every node was asked, and whatever is written is written. */
  async finished (): Promise<void> {
    if (!this.destroyed) {
      await new Promise<void>((resolve) => {
        this.resume()
        this.on('close', resolve)
      })
    }
    if (this.#error) throw this.#error
  }

  override _open (done: (error: Error | null) => void): void {
    this.run().catch((error: Error) => { this.destroy(error) })
    done(null)
  }

  protected abstract run (): Promise<void>

  /** A node is to get something signed. */
  protected sign (_relay: RelayHandle, _rest: unknown[]): void {}

  /** Asks in the words of upstream's relay protocol, in which the relay searches and tells what it finds of a topic. */
  protected async askOfTopic (relays: RelayClient, relay: RelayHandle, command: (engine: Engine) => number): Promise<void> {
    const request = new Request(command)
    const found = new Map<string, Reply>()
    const stop = (): void => {
      unlisten('query', request.id)
      request.cancel()
    }
    this.once('close', stop)
    listen('query', request.id, (kind, rest) => {
      const [raw] = rest
      if (kind === 'query-sign') {
        this.sign(relay, rest)
        return
      }
      if (kind === 'query-closest') {
        this.closestReplies = (raw as Address[]).map((node) => found.get(`${node.host}:${node.port}`) ?? unheard(node))
        return
      }
      const { from, id, to, token, peers } = raw as { from: Address, id: Uint8Array | null, to: Address, token: Uint8Array, peers: AnnouncedPeer[] }
      relays.seen(to)
      const reply = { ...unheard(from), from: { id: id && userBytes(id), ...from }, to, token: userBytes(token) }
      found.set(`${from.host}:${from.port}`, reply)
      const result: QueryResult = {
        token: reply.token,
        from: reply.from,
        to,
        peers: peers.map(({ publicKey, relayAddresses }) => ({ publicKey: userBytes(publicKey), relayAddresses })),
        bump: 0
      }
      this.push(result)
    })
    // What is done is answered with nothing.
    if (await request.promise === false) throw new DHTError('the relay did not take it', 'RELAY_BUSY')
    unlisten('query', request.id)
    // With its relay a query ends before every node was asked, and nothing may have been announced.
    if (relays.handle !== relay) throw lost()
  }
}

export interface Query<T = unknown> {
  read (): T | null
  [Symbol.asyncIterator] (): AsyncIterator<T>
}

/** A search in which the nodes answer one command. */
export class Query<T = unknown> extends Search<T> {
  /** The node that it is of. */
  readonly dht: QueryNode
  /** The place in the DHT, 32 bytes. */
  readonly target: Uint8Array
  /** Whether the command is one of every DHT, and not of HyperDHT. */
  readonly internal: boolean
  /** The number of the command. */
  readonly command: number
  /** What is asked with it; null for nothing. */
  readonly value: Uint8Array | null
  /** What becomes of a reply. */
  readonly map: (reply: Reply) => T | null
  /** Nodes that are kept; the relay decides how many are asked at once, how often, and where it begins. */
  readonly k = 20
  readonly force: boolean
  readonly concurrency: number
  readonly retries: number
  /** Nodes that did not answer. */
  errors = 0
  /** Nodes that answered. */
  successes = 0
  /** Nodes that are asked at the moment. */
  inflight = 0
  #name: string
  #commit: Commit<T> | null
  #question: QuestionHandle | null = null
  #replies: Reply[] = []
  #writes = new Map<number, { resolve: (reply: Reply) => void, reject: (error: Error) => void }>()
  #keys: string[] = []
  #isOver!: () => void
  #fail!: (error: Error) => void

  /** @internal */
  constructor (dht: QueryNode, target: Uint8Array, internal: boolean, command: number, value: Uint8Array | null, options: QueryOptions<T> = {}, name = 'query') {
    super(dht)
    this.dht = dht
    this.force = !!options.force
    this.concurrency = options.concurrency || dht.concurrency
    this.retries = options.retries === 0 ? 0 : options.retries || 5
    this.target = target
    this.internal = internal
    this.command = command
    this.value = value
    this.map = options.map ?? whole as (reply: Reply) => T
    this.#commit = (options.commit === true ? autoCommit : options.commit) || null
    this.#name = name
  }

  override _predestroy (): void {
    this.#letGo(lost())
  }

  protected async run (): Promise<void> {
    const { target, internal, command, value } = this
    const relays = this.dht.relay
    const relay = await relays.connected()
    if (this.destroying) return
    const writes = !!this.#commit && !internal && (command === COMMANDS.MUTABLE_GET || command === COMMANDS.IMMUTABLE_GET)
    const search = new Promise<void>((resolve, reject) => {
      this.#isOver = resolve
      this.#fail = reject
    })
    search.catch(() => {})
    const question = call((engine) => engine.relayAsk(relay, internal, writes, command, target, value ?? undefined))
    this.#question = question
    listen('question', question, (kind, rest) => { this.#onevent(kind, rest) })
    try {
      await search
    } catch (error) {
      if ((error as HypertabError).code !== 'NOT_SUPPORTED' || this.destroying) throw error
      this.#letGo(error as Error)
      if (internal || command !== COMMANDS.LOOKUP) throw DHTError.RELAY_NOT_ABLE(this.#name)
      await this.askOfTopic(relays, relay, (engine) => engine.relayLookup(relay, target))
    }
    if (this.#commit) await this.#write(this.#commit)
    this.#letGo(lost())
    this.push(null)
  }

  async #write (commit: Commit<T>): Promise<void> {
    if (this.closestReplies.length === 0) throw new Error('Too few nodes responded')
    // All answers may have come at once: whoever reads them has seen them before anything is written.
    await new Promise<void>((resolve) => { nextTurn(resolve) })
    if (this.destroying) return
    for (const reply of this.closestReplies) {
      const number = this.#replies.indexOf(reply)
      if (!reply.token || number < 0) continue
      const key = writableKey(reply.token, reply.from)
      this.#keys.push(key)
      this.dht.writable.set(key, (command, value) => this.#writeTo(number, command, value))
    }
    const results = await Promise.allSettled(this.closestReplies.map(async (reply) => await commit(reply, this.dht, this)))
    const failed = results.filter((result) => result.status === 'rejected')
    if (failed.length === results.length) throw failed.at(-1)!.reason
  }

  #writeTo (number: number, command: number, value: Uint8Array): Promise<Reply> {
    return new Promise((resolve, reject) => {
      if (this.#question === null) return reject(lost())
      if (this.#writes.has(number)) return reject(new DHTError('something was written there already', 'RELAY_REFUSED'))
      this.#writes.set(number, { resolve, reject })
      call((engine) => { engine.writeToReply(this.#question!, number, command, value) })
    })
  }

  #onevent (kind: string, rest: unknown[]): void {
    switch (kind) {
      case 'question-reply': {
        const reply = toReply(rest[0] as RawReply, this.map === whole)
        this.dht.relay.seen(reply.to)
        this.successes++
        this.#replies.push(reply)
        if (reply.from.id) this.#keep(reply)
        const data = this.map(reply)
        if (data) this.push(data)
        break
      }
      case 'question-closest':
        this.closestReplies = (rest[0] as number[]).map((number) => this.#replies[number]!).filter(Boolean)
        this.#isOver()
        break
      case 'question-written': {
        const [number, status, error] = rest as [number, string, number]
        const write = this.#writes.get(number)
        if (status === 'answered') write?.resolve({ ...this.#replies[number]!, token: null, closerNodes: null, error, value: null })
        else write?.reject(status === 'silent' ? DHTError.REQUEST_TIMEOUT() : new DHTError('the relay did not write the value', 'RELAY_REFUSED'))
        break
      }
      case 'question-failed': {
        const failure = rest[0] as Failure
        const error = failure.code === 'RELAY_CLOSED' ? lost() : fromFailure(failure)
        this.#question = null
        this.#letGo(error)
        this.#fail(error)
      }
    }
  }

  /** Keeps a reply among the closest. */
  #keep (reply: Reply): void {
    const distance = ({ from }: Reply) => from.id!.map((byte, at) => byte ^ this.target[at]!)
    const own = distance(reply)
    const place = this.closestReplies.findIndex((other) => compare(own, distance(other)) < 0)
    this.closestReplies.splice(place < 0 ? this.closestReplies.length : place, 0, reply)
    if (this.closestReplies.length > this.k) this.closestReplies.pop()
  }

  #letGo (error: Error): void {
    for (const key of this.#keys.splice(0)) this.dht.writable.delete(key)
    for (const { reject } of this.#writes.values()) reject(error)
    const question = this.#question
    this.#question = null
    if (question === null) return
    unlisten('question', question)
    call((engine) => { engine.closeQuestion(question) })
  }
}

/** An announcement, or its opposite, which the relay makes and this side, or whoever has the key, signs. */
export class Announcement extends Search<QueryResult> {
  #relays
  #command
  #signing

  /** @internal */
  constructor (dht: QueryNode, command: (engine: Engine, relay: RelayHandle) => number, signing: RecordSigning | null = null) {
    super(dht)
    this.#relays = dht.relay
    this.#command = command
    this.#signing = signing
  }

  protected override sign (relay: RelayHandle, rest: unknown[]): void {
    void this.#signing?.answer(relay, rest)
  }

  protected async run (): Promise<void> {
    const relay = await this.#relays.connected()
    if (this.destroying) return
    await this.askOfTopic(this.#relays, relay, (engine) => this.#command(engine, relay))
    this.#signing?.check()
    this.push(null)
  }
}

/** Whether something is a place of the DHT. */
export function checkTarget (target: Uint8Array): Uint8Array {
  if (!isBytes(target) || target.byteLength !== 32) throw HypercoreError.BAD_ARGUMENT('what the DHT is searched for has 32 bytes')
  return target
}

/** The hash of a program's bytes, under which the DHT keeps what belongs to them. */
export function targetOf (data: Uint8Array): Uint8Array {
  if (!isBytes(data)) throw HypercoreError.BAD_ARGUMENT('what is hashed is bytes')
  return hash(data)
}

/** What a write is found by. */
export function writableKey (token: Uint8Array, { host, port }: Address): string {
  return `${host}:${port}/${toHex(token)}`
}

interface RawReply {
  from: Address
  to: Address
  id: Uint8Array | null
  token: Uint8Array | null
  value: Uint8Array | null
  closerNodes: Address[]
  rtt: number
}

function toReply ({ from, to, id, token, value, closerNodes, rtt }: RawReply, withIds: boolean): Reply {
  const closer = withIds ? closerNodes.map((node) => ({ id: nodeId(node), ...node })) : closerNodes
  return {
    tid: 0,
    rtt,
    from: { id: id && userBytes(id), ...from },
    to,
    token: token && userBytes(token),
    closerNodes: closer.length > 0 ? closer : null,
    error: 0,
    value: value && userBytes(value)
  }
}

/** A node that is known to be close, and whose answer is not. */
function unheard (node: Address): Reply {
  return { tid: 0, rtt: 0, from: { id: nodeId(node), ...node }, to: { host: '', port: 0 }, token: null, closerNodes: null, error: 0, value: null }
}

/** Asks once more, with the token: what nodes do with commands of a program's own. */
async function autoCommit<T> (reply: Reply, dht: QueryNode, { target, command, value }: Query<T>): Promise<unknown> {
  if (!reply.token) throw new Error('No token received for closest node')
  return await dht.request({ token: reply.token, target, command, value }, reply.from)
}

function whole (reply: Reply): Reply {
  return reply
}

function lost (): HypertabError {
  return new HypertabError('RELAY_CLOSED', 'the relay was lost during the query')
}
