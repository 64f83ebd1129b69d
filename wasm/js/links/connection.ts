// An encrypted stream, as upstream's NoiseSecretStream: messages on this side, bytes on its raw stream.

import { Duplex, getStreamError, Writable, type DuplexEvents } from 'streamx'

import type { Engine, Failure, LinkHandle } from '../binding.js'
import { HypercoreError, HypertabError, streamError } from '../errors.js'
import { bytesFrom, unrefTimer, userBytes } from '../platform.js'
import { call, isReady, listen, look, ready, unlisten } from '../runtime.js'
import { isBytes, toHex } from '../support/bytes.js'
import { keyPair as createKeyPair, namespaces } from '../support/crypto.js'
import { Bridge } from './bridge.js'
import type { DirectPath, PathReason } from './direct.js'
import { Mux } from './mux.js'
import { CarriedTransport } from './transport.js'
import { joinTransport, type Transport } from './raw-stream.js'

/** Who one end is. */
export interface ConnectionKeys {
  /** 32 bytes. */
  publicKey: Uint8Array
  /** 64 bytes. */
  secretKey?: Uint8Array | null
}

/** How an encrypted stream is made. */
export interface ConnectionOptions {
  /** Who we are; fresh keys by default. */
  keyPair?: ConnectionKeys | Promise<ConnectionKeys> | null
  /** Milliseconds without a message after which an empty one is sent; 0 for never. */
  keepAlive?: number
  /** Drops messages without bytes, as is done from when the stream is kept alive: they are how the other end does that. */
  filterZeroByteMessages?: boolean
  /** What `publicKey` says until the handshake is done. */
  publicKey?: Uint8Array | null
  /** What `remotePublicKey` says until the handshake is done. Anybody is let in: compare afterwards. */
  remotePublicKey?: Uint8Array | null
  /** False to begin with {@link Connection.start}. */
  autoStart?: boolean
  /** What a handshake left behind that was made elsewhere, in place of one here. */
  handshake?: HandshakeKeys | null
  /** What came of the transport before the stream was there. */
  data?: Uint8Array | null
  /** Nothing more comes of it. */
  ended?: boolean
  /** Handshakes here are of the pattern XX. */
  pattern?: string | null
  [other: string]: unknown
}

/** What a handshake leaves behind. */
export interface HandshakeKeys {
  /** What this side encrypts with: 32 bytes, of which there may be more. */
  tx: Uint8Array
  /** What the other side encrypts with. */
  rx: Uint8Array
  /** Of what was said, 64 bytes. */
  hash: Uint8Array
  /** Who we are, 32 bytes. */
  publicKey: Uint8Array
  /** Who the other end is, 32 bytes. */
  remotePublicKey: Uint8Array
  [other: string]: unknown
}

/** How a link comes to be that has no raw stream here: the engine carries its bytes. */
export interface CarriedLink {
  /** What has to be there before. */
  prepare? (): Promise<void>
  open (engine: Engine): LinkHandle
  /** Hands it to whoever accepts it, who knows the handshake before it is connected. */
  announce?: () => void
  /** Looks for a shorter way once there are channels; why not, where there is none. */
  direct? : ((connection: Connection, mux: Mux) => DirectPath) | PathReason
}

/** What an encrypted stream tells, besides what every stream does. */
export interface ConnectionEvents extends DuplexEvents {
  /** A message of the other end. None comes here while cores or a Protomux run on the stream. */
  data: [message: Uint8Array]
  /** Sent beside the stream; never here. */
  message: [message: Uint8Array]
  /** The handshake is done. */
  connect: []
  /** The handshake is done: `remotePublicKey` and `handshakeHash` are there. */
  handshake: []
  /** The stream is open; comes after `connect`. */
  open: []
  /** A handler of a channel failed after the channel was closed: the stream goes on. */
  warning: [error: Error]
  /** Of a stream that runs through a relay: it goes another way, or the reason has changed. */
  path: [path: 'relay' | 'direct', reason: PathReason]
}

/** What carries the bytes of a stream. */
export interface RawStream extends Transport {
  /** Not of one that a relay carries, and of a transport where that has it. */
  pipe<S> (to: S): S
}

export interface Connection {
  end (message?: unknown): this
  [Symbol.asyncIterator] (): AsyncIterator<Uint8Array>
}

/**
 * A stream of messages between two keys, end to end encrypted.
 *
 * Each write is one message and each `data` event is one. A core that replicates on it takes all of its messages.
 */
export class Connection extends Duplex<ConnectionEvents> {
  /** Itself, where upstream's programs look for the encrypted side. */
  readonly noiseStream: this
  /** Whether this end speaks first. */
  readonly isInitiator: boolean
  /** What carries the bytes: the transport that was given, or what is to be piped into one. Null until it is started. */
  rawStream: RawStream = null!
  /** Who we are, 32 bytes; null before that is known. */
  publicKey: Uint8Array | null
  /** Who the other end is, 32 bytes; proven once the handshake is done. */
  remotePublicKey: Uint8Array | null
  /** What both ends know of the handshake and nobody else, 64 bytes; null before. */
  handshakeHash: Uint8Array | null = null
  /** Whether the handshake is done. */
  connected = false
  /** Milliseconds without a message after which an empty one is sent; 0 for never. */
  keepAlive: number
  /** Milliseconds without anything of the other end after which the stream breaks; 0 for never. */
  timeout = 0
  readonly enableSend = false
  /** For whoever uses the stream. A core that replicates on it puts its mux here. */
  userData: unknown = null
  /** Nothing: upstream has its relay there. */
  readonly relay = null
  /** Nothing: upstream has its puncher there. */
  readonly puncher = null
  /** Which way a stream goes that was opened through a relay; null for one with a raw stream. */
  path: 'relay' | 'direct' | null
  /** Why it goes that way. */
  pathReason: PathReason | null
  /** Resolves to true after the handshake, or to false when there will be none. */
  readonly opened: Promise<boolean>

  #resolveOpened!: (opened: boolean) => void
  #bridge: Bridge | null = null
  #link: LinkHandle | null = null
  #over = false
  /** The engine keeps what comes, because nobody here takes it. */
  #stopped = false
  /** The other end writes nothing more, or this end does not. */
  #ended = false
  #finished = false
  #finalDone: ((error: Error | null) => void) | null = null
  #mux: Mux | null = null
  #findDirect: ((connection: Connection, mux: Mux) => DirectPath) | null
  #direct: DirectPath | null = null
  #reading = false
  /** Empty messages are what keeps the stream alive, also where that has ended on this side. */
  #dropsEmpty: boolean
  #keyPair: ConnectionKeys | null = null
  #handshake: HandshakeKeys | null = null
  /** Bytes that are no messages. */
  #setUp = { bytesIn: HEADER, bytesOut: HEADER }
  #openDone: ((error: Error | null) => void) | null = null
  #drainDone: ((error: Error | null) => void) | null = null
  #timer: ReturnType<typeof setTimeout> | undefined
  #bytesRead = 0
  #bytesWritten = 0
  /** What the engine counted last; it forgets a link that is over. */
  #counted: { bytesIn: number, bytesOut: number } | null = null

  /**
   * @param isInitiator whether this side speaks first
   * @param rawStream the transport, a duplex of bytes; without one, `rawStream` is to be piped into it
   * @param carried for other parts of the package: a link whose bytes the engine carries
   */
  constructor (isInitiator: boolean, rawStream: Transport | null = null, options: ConnectionOptions = {}, carried: CarriedLink | null = null) {
    super({ mapWritable: toMessage, eagerOpen: true })
    if (typeof isInitiator !== 'boolean') throw new Error('isInitiator should be a boolean')
    this.noiseStream = this
    this.isInitiator = isInitiator
    this.publicKey = options.publicKey ?? null
    this.remotePublicKey = options.remotePublicKey ?? null
    this.keepAlive = options.keepAlive ?? 0
    this.#dropsEmpty = !!options.filterZeroByteMessages || this.keepAlive > 0
    this.opened = new Promise((resolve) => { this.#resolveOpened = resolve })
    const direct = carried?.direct ?? 'DIALLED'
    this.#findDirect = typeof direct === 'function' ? direct : null
    this.path = carried ? 'relay' : null
    this.pathReason = !carried ? null : typeof direct === 'function' ? 'DIALLED' : direct
    if (carried) {
      this.rawStream = new CarriedTransport(this) as unknown as RawStream
      void this.#start(carried, null)
    } else if (options.autoStart !== false) {
      this.start(rawStream, options)
    }
  }

  /** Begins, where the stream was made to wait for it. */
  start (rawStream: Transport | null = null, { keyPair = null, handshake = null, data = null, ended = false, pattern = null }: ConnectionOptions = {}): void {
    if (this.rawStream) throw new Error('Stream is started already')
    if (pattern && pattern !== 'XX') throw new HypertabError('NOT_SUPPORTED', `handshakes here are of the pattern XX, not ${pattern}`)
    if (handshake) this.#take(handshake)
    const bridge = this.#bridge = new Bridge(this)
    this.rawStream = (rawStream ?? bridge) as RawStream
    if (rawStream) joinTransport(rawStream, bridge)
    if (data) bridge.write(data)
    if (ended) bridge.end(null)
    void this.#start(null, keyPair)
  }

  /** Fresh keys, or those of a seed. */
  static keyPair (seed?: Uint8Array): { publicKey: Uint8Array, secretKey: Uint8Array } {
    return createKeyPair(seed)
  }

  /** What names one direction of a stream on the wire. */
  static id (handshakeHash: Uint8Array, isInitiator: boolean): Uint8Array {
    const [initiator, responder] = namespaces('hyperswarm/secret-stream', 2)
    return userBytes(look((engine) => engine.keyedHash(handshakeHash, [isInitiator ? initiator! : responder!])))
  }

  /** Bytes of messages that came, sealed: 0 until one has, by which swarms know whether a connection is in use. */
  get rawBytesRead (): number {
    const stats = this.#stats()
    return stats ? Math.max(0, stats.bytesIn - this.#setUp.bytesIn) : this.#bytesRead
  }

  /** Bytes of messages that went. */
  get rawBytesWritten (): number {
    const stats = this.#stats()
    return stats ? Math.max(0, stats.bytesOut - this.#setUp.bytesOut) : this.#bytesWritten
  }

  /** The engine's link, once there is one. */
  get link (): LinkHandle | null {
    return this.#link
  }

  /** Ends the stream when nothing arrives for that long. */
  setTimeout (milliseconds: number): void {
    clearTimeout(this.#timer)
    this.timeout = milliseconds || 0
    if (!milliseconds) return
    this.#watchSilence(this.rawBytesRead)
  }

  /** Sends an empty message whenever nothing was sent for that long. */
  setKeepAlive (milliseconds: number): void {
    this.keepAlive = milliseconds || 0
    if (this.keepAlive > 0) this.#dropsEmpty = true
    const link = this.#link
    if (link !== null && !this.#over) call((engine) => { engine.linkSetKeepAlive(link, this.keepAlive) })
  }

  /** How long bytes take there and back, in milliseconds; null where nothing measures it: on the way through relays. */
  async roundTrip (): Promise<number | null> {
    return await this.#direct?.roundTrip() ?? null
  }

  /**
   * Leaves the direct path for the relay, as if it had broken: the stream goes on, and after a while another direct path is
   * looked for. False when there is none.
   */
  dropDirect (): boolean {
    return this.#direct?.drop() ?? false
  }

  /** Sends an empty message, which the other end ignores. */
  sendKeepAlive (): void {
    const link = this.#link
    if (link !== null && !this.#over) call((engine) => { engine.linkSendKeepAlive(link) })
  }

  /** Resolves once everything written has been taken. */
  async flush (): Promise<boolean> {
    if (!(await this.opened)) return false
    if (this.destroying) return false
    if (!(await Writable.drained(this as unknown as Writable)) || this.destroying) return false
    // A transport of ours brings nothing any more; whether another one does is its own to say.
    if (this.#over && this.path !== null) return false
    return await (this.rawStream as Transport).flush?.() ?? true
  }

  /** Room for a message of that length. */
  alloc (length: number): Uint8Array {
    return userBytes(new Uint8Array(length))
  }

  /** Unordered messages need UDX beneath: they are dropped, as upstream drops them on other transports. */
  send (message: Uint8Array): undefined {}

  /** Sends nothing: messages beside the stream take UDP. */
  trySend (message: Uint8Array): undefined {}

  /** What is shown of it. */
  toJSON (): object {
    return {
      isInitiator: this.isInitiator,
      publicKey: this.publicKey && toHex(this.publicKey),
      remotePublicKey: this.remotePublicKey && toHex(this.remotePublicKey),
      connected: this.connected,
      destroying: this.destroying,
      destroyed: this.destroyed,
      rawStream: (this.rawStream as { toJSON?: () => object } | null)?.toJSON?.() ?? null
    }
  }

  /** @internal What takes every message, if there is something. */
  get mux (): Mux | null {
    return this.#mux
  }

  /** @internal The mux that takes every message from now on. */
  muxed (mux: Mux): void {
    this.#mux = mux
    // Whoever holds the outer side hears of it there.
    this.on('error', () => {})
    this.userData ??= mux
    if (this.#link !== null) mux.linked(this.#link)
    if (this.connected) mux.ready()
    this.#lookForDirect()
  }

  /** @internal */
  pathChanged (path: 'relay' | 'direct' | null, reason: PathReason): void {
    if (path === null || this.#over || this.destroying || (path === this.path && reason === this.pathReason)) return
    this.path = path
    this.pathReason = reason
    this.emit('path', path, reason)
  }

  /** @internal The raw stream is gone. */
  rawClosed (raw: Bridge): void {
    if (!this.#over) this.destroy(getStreamError(raw as never) ?? null)
  }

  override _open (done: (error: Error | null) => void): void {
    if (this.connected) done(null)
    else this.#openDone = done
  }

  // Messages come once somebody listens. Until then, a core may still take them for itself.
  override on<E extends keyof ConnectionEvents, R> (name: E, listener: (...args: ConnectionEvents[E]) => R): this {
    if (name === 'data' || name === 'readable') this.#read()
    return super.on(name, listener)
  }

  override pipe<S> (destination: S, done?: (error: Error | null) => void): S {
    this.#read()
    return super.pipe(destination, done)
  }

  override resume (): this {
    this.#read()
    return super.resume()
  }

  override _read (done: (error: Error | null) => void): void {
    this.#stop(false)
    done(null)
  }

  /** Has the engine keep further messages, so that a reader that falls behind slows the peer down, or hand them out again. */
  #stop (stopped: boolean): void {
    if (this.#stopped === stopped || this.#link === null || this.#over) return
    this.#stopped = stopped
    const link = this.#link
    call((engine) => { engine.linkStopMessages(link, stopped) })
  }

  override _write (data: unknown, done: (error: Error | null) => void): void {
    const message = data as Uint8Array
    if (this.#link === null || this.#over) return done(new Error('Stream is closed'))
    if (this.#mux !== null) return done(new Error('Messages of this stream are those of its mux'))
    this.#bytesWritten += message.byteLength
    const link = this.#link
    let hasRoom = false
    try {
      hasRoom = call((engine) => engine.linkSend(link, message)) !== false
    } catch {
      // The engine has given the link up, and says why next.
    }
    if (hasRoom) done(null)
    else this.#drainDone = done
  }

  // The other end may go on writing.
  override _final (done: (error: Error | null) => void): void {
    this.#finished = true
    this.keepAlive = 0
    const link = this.#link
    if (link === null || this.#over) return done(null)
    // Once both have ended, the stream is over, and what was written is to have left by then.
    if (this.#ended) this.#finalDone = done
    call((engine) => { engine.finishLink(link) })
    if (!this.#ended) done(null)
  }

  override _predestroy (): void {
    const error = getStreamError(this as never) ?? null
    this.#settleOpen(error ?? new Error('Stream destroyed'))
    this.#continue(new Error('Stream destroyed'))
    this.#settleFinal()
    this.#close()
    if (this.#bridge && !this.#over) this.#bridge.destroy(error)
  }

  override _destroy (done: (error: Error | null) => void): void {
    clearTimeout(this.#timer)
    this.timeout = this.keepAlive = 0
    this.#resolveOpened(false)
    done(null)
  }

  async #start (carried: CarriedLink | null, keyPair: ConnectionKeys | Promise<ConnectionKeys> | null): Promise<void> {
    try {
      const loading = ready()
      if (!isReady()) await loading
      this.#keyPair = keyPair instanceof Promise ? await keyPair : keyPair
      if (carried?.prepare) await carried.prepare()
      if (this.destroying) return
      this.#openLink(carried)
    } catch (error) {
      this.destroy(error as Error)
    }
  }

  #openLink (carried: CarriedLink | null): void {
    const link = carried ? call((engine) => carried.open(engine)) : this.#openNoise()
    this.#link = link
    listen('link', link, (kind, rest) => { this.#handle(carried, kind, rest) })
    this.#bridge?.linked(link)
    this.#mux?.linked(link)
    if (this.connected) this.#mux?.ready()
    this.#lookForDirect()
    if (this.keepAlive !== 0) this.setKeepAlive(this.keepAlive)
    if (this.#reading) this.#askForMessages()
  }

  #take (handshake: HandshakeKeys): void {
    const { tx, rx, hash, publicKey, remotePublicKey } = handshake
    const isWhole = [publicKey, remotePublicKey].every((key) => key?.byteLength === KEY_LENGTH) && hash?.byteLength === HASH_LENGTH
    if (!isWhole || !(tx?.byteLength >= KEY_LENGTH) || !(rx?.byteLength >= KEY_LENGTH)) {
      throw HypercoreError.BAD_ARGUMENT('a handshake has the keys tx, rx, publicKey and remotePublicKey of 32 bytes, and a hash of 64')
    }
    this.#handshake = handshake
    this.publicKey = publicKey
    this.remotePublicKey = remotePublicKey
    this.handshakeHash = hash
  }

  #openNoise (): LinkHandle {
    if (this.#handshake) {
      const { tx, rx, hash, publicKey, remotePublicKey } = this.#handshake
      this.#handshake = null
      return call((engine) => engine.openLink({
        isInitiator: this.isInitiator,
        transport: 'stream',
        security: 'established',
        sendKey: tx.subarray(0, KEY_LENGTH),
        receiveKey: rx.subarray(0, KEY_LENGTH),
        handshakeHash: hash,
        publicKey,
        remotePublicKey,
        keepAlive: this.keepAlive
      }))
    }
    const { publicKey, secretKey } = this.#keyPair?.secretKey ? this.#keyPair : createKeyPair()
    this.publicKey = publicKey
    const [fromInitiator, fromOther] = this.isInitiator ? ['bytesOut', 'bytesIn'] as const : ['bytesIn', 'bytesOut'] as const
    this.#setUp[fromInitiator] += FROM_INITIATOR
    this.#setUp[fromOther] += FROM_OTHER
    return call((engine) => engine.openLink({
      isInitiator: this.isInitiator,
      transport: 'stream',
      security: 'noise',
      publicKey,
      secretKey: secretKey!,
      keepAlive: this.keepAlive
    }))
  }

  #handle (carried: CarriedLink | null, kind: string, rest: unknown[]): void {
    switch (kind) {
      case 'transmit':
        this.#bridge?.transmit(rest[0] as Uint8Array)
        break
      case 'link-opened':
        this.#onopened(carried, ...rest as [Uint8Array, Uint8Array, Uint8Array])
        break
      case 'link-message':
        this.#onmessage(rest[0] as Uint8Array)
        break
      case 'link-drain':
        this.#continue(null)
        this.#mux?.handle(kind, rest)
        break
      case 'direct-transmit':
        this.#direct?.transmit(rest[0] as Uint8Array)
        break
      case 'path':
        this.#direct?.moved(...rest as ['relay' | 'direct', string | undefined])
        break
      case 'link-ended':
        this.#ended = true
        this.push(null)
        break
      case 'link-finish':
        this.#bridge?.finished()
        break
      case 'link-close':
      case 'link-closed':
        this.#onclosed(rest[0] as Failure | null)
        break
      default:
        this.#onchannel(kind, rest)
    }
  }

  #onchannel (kind: string, rest: unknown[]): void {
    if (this.#mux?.handle(kind, rest) || this.#link === null) return
    if (kind === 'discovery-key') rejectDiscoveryKey(this.#link, rest[0] as Uint8Array)
    if (kind === 'remote-channel') call((engine) => { engine.rejectChannel(this.#link!, rest[0] as number) })
  }

  #onopened (carried: CarriedLink | null, publicKey: Uint8Array, remotePublicKey: Uint8Array, handshakeHash: Uint8Array): void {
    if (this.destroying) return
    this.publicKey = userBytes(publicKey)
    this.remotePublicKey = userBytes(remotePublicKey)
    this.handshakeHash = userBytes(handshakeHash)
    this.emit('handshake')
    this.#bridge?.emit('handshake' as never)
    carried?.announce?.()
    if (this.destroying) return
    this.connected = true
    this.#resolveOpened(true)
    // Before, there was no link to ask, where it is this side that dialled.
    if (this.#reading) this.#askForMessages()
    this.#mux?.ready()
    this.emit('connect')
    this.#settleOpen(null)
    this.#lookForDirect()
  }

  #lookForDirect (): void {
    if (this.#findDirect === null || this.#direct !== null || this.#mux === null || this.#link === null || !this.connected) return
    this.#direct = this.#findDirect(this, this.#mux)
  }

  #onmessage (message: Uint8Array): void {
    this.#bytesRead += message.byteLength
    if (message.byteLength === 0 && this.#dropsEmpty) return
    if (!this.push(userBytes(message))) this.#stop(true)
  }

  #onclosed (failure: Failure | null): void {
    if (this.#over) return
    this.#over = true
    if (this.#link !== null) unlisten('link', this.#link)
    this.#direct?.destroy()
    this.#mux?.unlinked()
    this.#continue(null)
    this.#settleFinal()
    if (failure && !this.destroying) {
      const error = streamError(failure)
      // Whoever reads gets what came before.
      queueMicrotask(() => {
        this.#bridge?.destroy(error)
        this.destroy(error)
      })
      return
    }
    this.#bridge?.unlinked()
    if (this.destroying) return
    if (!this.connected) return this.destroy()
    if (!this.#ended) this.push(null)
    // A mux takes every message: nobody else reads to the end.
    if (this.#mux !== null) super.resume()
    this.end(null)
  }

  #close (): void {
    if (this.#link === null || this.#over) return
    const link = this.#link
    // What is destroyed is over at the other end, too, even if nobody reads there.
    const isBroken = this.destroying && this.#bridge === null && !(this.#ended && this.#finished)
    call((engine) => {
      if (isBroken) engine.breakLink(link)
      else engine.closeLink(link)
    })
    if (!this.destroying) return
    this.#over = true
    unlisten('link', link)
    this.#direct?.destroy()
    this.#mux?.unlinked()
    this.#bridge?.destroy(getStreamError(this as never) ?? null)
  }

  #read (): void {
    if (this.#reading) return
    this.#reading = true
    if (this.#link !== null) this.#askForMessages()
  }

  #askForMessages (): void {
    if (this.#mux !== null || this.#over) return
    const link = this.#link!
    call((engine) => { engine.linkReadMessages(link) })
  }

  #settleFinal (): void {
    const done = this.#finalDone
    this.#finalDone = null
    done?.(null)
  }

  #settleOpen (error: Error | null): void {
    const done = this.#openDone
    this.#openDone = null
    done?.(error)
  }

  #continue (error: Error | null): void {
    const done = this.#drainDone
    this.#drainDone = null
    done?.(error)
  }

  #watchSilence (seen: number): void {
    this.#timer = setTimeout(() => {
      const bytes = this.rawBytesRead
      if (bytes === seen && this.connected) this.destroy(new Error('Stream timed out'))
      else if (!this.destroying) this.#watchSilence(bytes)
    }, this.timeout)
    unrefTimer(this.#timer)
  }

  #stats (): { bytesIn: number, bytesOut: number } | null {
    const link = this.#link
    if (link !== null && !this.#over) this.#counted = look((engine) => engine.linkStats(link)) ?? this.#counted
    return this.#counted
  }
}

/** Bytes of a handshake XX, with the lengths of its frames. */
const FROM_INITIATOR = 3 + 32 + 3 + 64
const FROM_OTHER = 3 + 96

/** Bytes of the frame that each side begins with: the id of its direction, and 24 of the cipher's. */
const HEADER = 3 + 32 + 24

const KEY_LENGTH = 32
const HASH_LENGTH = 64

/** Tells a peer that nobody here wants a core. */
export function rejectDiscoveryKey (link: LinkHandle, discoveryKey: Uint8Array): void {
  call((engine) => { engine.rejectDiscoveryKey(link, discoveryKey) })
}

function toMessage (data: unknown): Uint8Array {
  return isBytes(data) ? data : bytesFrom(data)
}
