// One blind peer: the connection to it, kept up while something is wanted of it, and the two channels on it.

import { HypertabError } from '../errors.js'
import type { DHT } from '../dht/dht.js'
import type { ServerKeys } from '../dht/server.js'
import type { Channel, Message } from '../links/channel.js'
import { Mux } from '../links/mux.js'
import { decodeValue, encodeValue, type CompactEncoding } from '../support/encoding.js'
import { addCores, rpcRequest, rpcResponse, type AddCores, type RpcRequest, type RpcResponse } from './messages.js'

/** Pauses between attempts to connect, in milliseconds; the last one repeats. Upstream's. */
const PAUSES = [1000, 1000, 1000, 2000, 2000, 3000, 3000, 5000, 5000, 15_000, 30_000, 60_000]

/** How long an answer may take, in milliseconds. */
const PATIENCE = 20_000

/** What a blind peer is reached by. */
export interface BlindPeerNetwork {
  dht: Pick<DHT, 'connect'>
  /** Replicates on a stream what is stored here. */
  replicate (stream: unknown): unknown
  /** Who we are to it; the DHT's own key without one. */
  keyPair: ServerKeys | null
  relayThrough: unknown
  /** How long a connection that nobody needs stays, in milliseconds, unless more blocks go over it. */
  linger: number
}

export class BlindPeer {
  readonly remotePublicKey: Uint8Array
  connected = false
  /** Why it is not connected. */
  error: Error | null = null
  /** Resolves when it is connected; null while nothing is wanted of it, or while it is. */
  connecting: Promise<void> | null = null
  #network: BlindPeerNetwork
  #changed: () => void
  #wanted = new Map<object, (isMore: boolean) => AddCores>()
  #users = new Set<object>()
  #requests = new Map<number, { resolve: (value: Uint8Array) => void, reject: (error: Error) => void }>()
  #nextRequest = 1
  #stream: any = null
  #cores: Message<AddCores> | null = null
  #rpc: { channel: Channel, request: Message<RpcRequest> } | null = null
  #pause: { timer: ReturnType<typeof setTimeout>, done: () => void } | null = null
  #failures = 0
  #linger: ReturnType<typeof setTimeout> | undefined
  #suspended
  #destroyed = false

  /** `changed` is called when it connects, and when it is not connected any more. */
  constructor (network: BlindPeerNetwork, remotePublicKey: Uint8Array, suspended: boolean, changed: () => void) {
    this.#network = network
    this.remotePublicKey = remotePublicKey
    this.#suspended = suspended
    this.#changed = changed
  }

  /** The stream to it, also while it is not open yet. */
  get stream (): unknown {
    return this.#stream
  }

  has (what: object): boolean {
    return this.#wanted.has(what)
  }

  /** Whether nothing is wanted of it, and it is let go. */
  get isUnused (): boolean {
    return !this.#stream && this.#wanted.size + this.#users.size === 0
  }

  /** Asks for a core, or the cores of a base, on this connection and all that follow, until {@link forget}. */
  add (what: object, batch: (isMore: boolean) => AddCores): void {
    this.#wanted.set(what, batch)
    this.#ask(batch, false)
    this.#update()
  }

  /** Asks again, only for what has come since where `isMore`. */
  again (what: object, isMore: boolean): void {
    const batch = this.#wanted.get(what)
    if (batch) this.#ask(batch, isMore)
  }

  forget (what: object): void {
    this.#wanted.delete(what)
    this.#update()
  }

  /** Keeps the connection up until the returned function is called. */
  use (): () => void {
    const user = {}
    this.#users.add(user)
    this.#update()
    return () => {
      this.#users.delete(user)
      this.#update()
    }
  }

  /** Asks something. Rejects with the code of the answer, or when there is no connection. */
  async request<A> (method: string, encoding: CompactEncoding<A>, value: A): Promise<Uint8Array> {
    const rpc = this.#rpc
    if (!this.connected || !rpc) throw unreachable(this.error)
    const id = this.#nextRequest++
    return await new Promise((resolve, reject) => {
      const done = () => {
        clearTimeout(timer)
        this.#requests.delete(id)
      }
      const timer = setTimeout(() => {
        done()
        reject(new HypertabError('REQUEST_TIMEOUT', `no answer within ${PATIENCE} ms`))
      }, PATIENCE)
      this.#requests.set(id, { resolve: (value) => { done(); resolve(value) }, reject: (error) => { done(); reject(error) } })
      rpc.request.send({ id, method, value: encodeValue(encoding, value) })
    })
  }

  /** The network changed: what waits to connect does so at once. */
  bump (): void {
    this.#failures = 0
    this.#pause?.done()
    this.#stream?.sendKeepAlive?.()
  }

  suspend (): void {
    this.#suspended = true
    this.#pause?.done()
    this.#stream?.destroy()
  }

  resume (): void {
    this.#suspended = false
    this.#failures = 0
    this.#update()
  }

  destroy (): void {
    this.#destroyed = true
    clearTimeout(this.#linger)
    this.#pause?.done()
    this.#stream?.destroy()
    this.#over(new HypertabError('CLOSED', 'closed here'))
  }

  get #isWanted (): boolean {
    return !this.#destroyed && !this.#suspended && this.#wanted.size + this.#users.size > 0
  }

  #update (): void {
    clearTimeout(this.#linger)
    if (this.#isWanted && !this.connected) {
      this.connecting ??= this.#connect().finally(() => { this.connecting = null })
    } else if (!this.#isWanted && this.#stream && !this.#destroyed) {
      this.#closeWhenIdle(-1)
    }
  }

  #closeWhenIdle (before: number): void {
    const sent: number = this.#stream?.rawStream?.bytesTransmitted ?? 0
    // What was asked for lately is still on its way.
    if (sent === before) this.#stream?.destroy()
    else this.#linger = setTimeout(() => { this.#closeWhenIdle(sent) }, this.#network.linger)
  }

  async #connect (): Promise<void> {
    while (this.#isWanted && !this.connected) {
      const stream: any = this.#network.dht.connect(this.remotePublicKey, {
        ...(this.#network.keyPair ? { keyPair: this.#network.keyPair } : {}),
        relayThrough: this.#network.relayThrough
      })
      this.#stream = stream
      stream.on('error', (error: Error) => { this.error = error })
      try {
        this.#network.replicate(stream)
        this.#openChannels(stream)
      } catch (error) {
        // A store that is closed replicates nothing.
        stream.destroy(error)
      }
      stream.once('close', () => { if (stream === this.#stream) this.#closed() })
      if (await stream.opened && stream === this.#stream && !stream.destroying) {
        this.connected = true
        this.#failures = 0
        this.error = null
        for (const batch of this.#wanted.values()) this.#ask(batch, false)
        this.#changed()
        this.#update()
        return
      }
      this.#changed()
      if (this.#isWanted) await this.#wait(PAUSES[Math.min(this.#failures++, PAUSES.length - 1)]!)
    }
  }

  #ask (batch: (isMore: boolean) => AddCores, isMore: boolean): void {
    if (!this.connected) return
    const value = batch(isMore)
    if (value.cores.length > 0) this.#cores?.send(value)
  }

  #wait (pause: number): Promise<void> {
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer)
        this.#pause = null
        resolve()
      }
      const timer = setTimeout(done, pause)
      this.#pause = { timer, done }
    })
  }

  #openChannels (stream: unknown): void {
    // Where another engine has the stream it has no mux of ours; Mux.from makes one in any case.
    const mux = Mux.from(stream)
    const cores = mux.createChannel({ protocol: 'blind-peer', messages: [{ encoding: addCores }] })
    this.#cores = (cores?.messages[0] as Message<AddCores> | undefined) ?? null
    cores?.open()
    const rpc = mux.createChannel({
      protocol: 'protomux-rpc',
      id: this.remotePublicKey,
      messages: [{ encoding: rpcRequest }, { encoding: rpcResponse, onmessage: (response: RpcResponse) => { this.#answered(response) } }],
      onclose: () => { if (this.#rpc?.channel === rpc) this.#failRequests(unreachable(null)) }
    })
    this.#rpc = rpc ? { channel: rpc, request: rpc.messages[0] as Message<RpcRequest> } : null
    rpc?.open()
  }

  #answered ({ id, value, error }: RpcResponse): void {
    const request = this.#requests.get(id)
    if (!request) return
    if (error) request.reject(new HypertabError(error.code, error.message))
    else request.resolve(value!)
  }

  #closed (): void {
    const was = this.connected
    this.#over(unreachable(this.error))
    if (was) this.#changed()
    this.#update()
  }

  #over (error: Error): void {
    this.connected = false
    this.#stream = null
    this.#cores = null
    this.#rpc = null
    this.#failRequests(error)
  }

  #failRequests (error: Error): void {
    for (const request of [...this.#requests.values()]) request.reject(error)
  }
}

/** Reads an answer; what cannot be read is an answer of something else. */
export function read<T> (encoding: CompactEncoding<T>, bytes: Uint8Array): T {
  try {
    return decodeValue(encoding, bytes) as T
  } catch (cause) {
    throw new HypertabError('DECODE_ERROR', 'the answer cannot be read', { cause })
  }
}

function unreachable (cause: Error | null): HypertabError {
  return new HypertabError('MIRROR_UNREACHABLE', cause?.message ?? 'there is no connection to the mirror', { cause })
}
