// A channel of a program's own beside those of cores, as a Protomux of upstream has them.

import { userBytes } from '../platform.js'
import type { CompactEncoding, EncodingState } from '../support/encoding.js'
import { raw } from '../support/encoding.js'

/** One kind of message of a protocol. */
export interface MessageOptions<T = any> {
  /** How messages become bytes; bytes as they are by default. */
  encoding?: CompactEncoding<T>
  /** Kept for programs that look at it; true by default. */
  autoBatch?: boolean
  /** Called with each message of the other end. */
  onmessage? (message: T, channel: Channel): unknown
}

/** A protocol that both ends speak. */
export interface ChannelOptions {
  /** The name that both ends give. */
  protocol: string
  /** Other names of it that the other end may use. */
  aliases?: string[]
  /** Tells channels of one protocol apart. */
  id?: Uint8Array | null
  /** False allows several channels of one protocol and id; true by default. */
  unique?: boolean
  /** Anything of the program's own. */
  userData?: unknown
  /** How the value is encoded that each end gives to `open`. */
  handshake?: CompactEncoding | null
  /** The kinds of messages, in the same order at both ends; null leaves a place. */
  messages?: Array<MessageOptions | null>
  /** Called when the other end has opened it, too, with what that gave to `open()`. */
  onopen? (handshake: any, channel: Channel): unknown
  /** Called when it is over; `isRemote` says whether the other end began with that. */
  onclose? (isRemote: boolean, channel: Channel): unknown
  /** Called last, when nothing more of it is under way. */
  ondestroy? (channel: Channel): unknown
  /** Called when there is room again, after `send()` returned false. */
  ondrain? (channel: Channel): unknown
}

/** What carries a channel. */
export interface ChannelCarrier {
  readonly drained: boolean
  openChannel (channel: Channel, handshake: Uint8Array | null): void
  closeChannel (channel: Channel): void
  sendMessage (channel: Channel, type: number, payload: Uint8Array): boolean
  cork (): void
  uncork (): void
  destroy (error: Error): void
  warn (error: Error): void
}

/** A message that can be sent. */
export interface Message<T = any> {
  /** Its place among the messages of the channel. */
  readonly type: number
  /** How it becomes bytes. */
  readonly encoding: CompactEncoding<T>
  autoBatch: boolean
  /** Called with each message of the other end. */
  onmessage (message: T, channel: Channel): unknown
  /** Returns false when the stream is full. */
  send (message: T, channel?: Channel): boolean
}

/** A channel of a program's own on a stream, which both ends open. */
export class Channel {
  /** Anything of the program's own. */
  userData: unknown
  /** Its name. */
  readonly protocol: string
  /** Other names of it. */
  readonly aliases: string[]
  /** Tells channels of one protocol apart; null for none. */
  readonly id: Uint8Array | null
  /** What the other end gave to its `open`. */
  handshake: unknown = null
  /** Its kinds of messages. */
  readonly messages: Message[] = []
  /** Whether the other end has opened it, too. */
  opened = false
  /** Whether it is over. */
  closed = false
  /** Whether nothing more of it is under way. */
  destroyed = false
  onopen: NonNullable<ChannelOptions['onopen']>
  onclose: NonNullable<ChannelOptions['onclose']>
  ondestroy: NonNullable<ChannelOptions['ondestroy']>
  ondrain: NonNullable<ChannelOptions['ondrain']>
  /** @internal What the engine calls it. */
  handle: number | null = null

  #carrier
  #encoding
  #active = 0
  #waiters: Array<(opened: boolean) => void> = []
  #mourners: Array<() => void> = []

  /** @internal */
  constructor (carrier: ChannelCarrier, options: ChannelOptions) {
    this.#carrier = carrier
    this.#encoding = options.handshake ?? null
    this.userData = options.userData ?? null
    this.protocol = options.protocol
    this.aliases = options.aliases ?? []
    this.id = options.id ?? null
    this.onopen = options.onopen ?? nothing
    this.onclose = options.onclose ?? nothing
    this.ondestroy = options.ondestroy ?? nothing
    this.ondrain = options.ondrain ?? nothing
    for (const message of options.messages ?? []) this.addMessage(message)
  }

  /** Whether there is room to send. */
  get drained (): boolean {
    return this.#carrier.drained
  }

  /** @internal What it is on, by upstream's name: programs find the stream there. */
  get _mux (): ChannelCarrier {
    return this.#carrier
  }

  /** Opens it; messages may be sent at once. */
  open (handshake?: unknown): void {
    this.#carrier.openChannel(this, this.#encoding ? encode(this.#encoding, handshake) : null)
  }

  /** Ends it, at both ends. */
  close (): void {
    if (this.closed) return
    this.#carrier.closeChannel(this)
    this.ended(false)
  }

  /** Adds a kind of message; both ends add them in the same order. */
  addMessage<T> (options?: MessageOptions<T> | null): Message<T> {
    const type = this.messages.length
    const encoding = options?.encoding ?? raw as CompactEncoding<T>
    const message: Message<T> = {
      type,
      encoding,
      autoBatch: options?.autoBatch !== false,
      onmessage: options?.onmessage?.bind(options) ?? nothing,
      send: (value, channel = this) => {
        if (!options || channel.closed) return false
        return this.#carrier.sendMessage(channel, type, encode(encoding, value))
      }
    }
    this.messages.push(message)
    return message
  }

  /** Gathers what is sent until `uncork()`. */
  cork (): void {
    this.#carrier.cork()
  }

  /** Sends what was gathered. */
  uncork (): void {
    this.#carrier.uncork()
  }

  /** Resolves once both ends opened it, or to false when that will not be. */
  fullyOpened (): Promise<boolean> {
    if (this.opened || this.closed) return Promise.resolve(this.opened)
    return new Promise((resolve) => { this.#waiters.push(resolve) })
  }

  /** Resolves once it is closed and everything that came is dealt with. */
  fullyClosed (): Promise<void> {
    if (this.destroyed) return Promise.resolve()
    return new Promise((resolve) => { this.#mourners.push(resolve) })
  }

  /** @internal The other end opened it too. */
  accepted (handshake: Uint8Array): void {
    if (this.opened || this.closed) return
    this.#run(() => {
      this.handshake = this.#encoding ? this.#encoding.decode(stateOf(handshake)) : null
      this.#track(this.onopen(this.handshake, this))
      this.opened = true
      this.#answer(true)
    })
  }

  /** @internal A message came. */
  received (type: number, payload: Uint8Array): void {
    const message = this.messages[type]
    if (!message || this.closed) return
    this.#run(() => { this.#track(message.onmessage(message.encoding.decode(stateOf(payload)), this)) })
  }

  /** @internal It is over. */
  ended (isRemote: boolean): void {
    if (this.closed) return
    this.closed = true
    this.#run(() => { this.#track(this.onclose(isRemote, this)) })
    if (this.#active === 0) this.#destroy()
    this.#answer(false)
  }

  // What fails in a handler ends the stream, as upstream's.
  #run (step: () => void): void {
    try {
      step()
    } catch (error) {
      this.#carrier.destroy(error as Error)
    }
  }

  #track (result: unknown): void {
    if (typeof (result as Promise<unknown> | null)?.then !== 'function') return
    this.#active++
    const done = () => { if (--this.#active === 0 && this.closed) this.#destroy() }
    ;(result as Promise<unknown>).then(done, (error) => {
      done()
      if (this.closed) this.#carrier.warn(error as Error)
      else this.#carrier.destroy(error as Error)
    })
  }

  #answer (opened: boolean): void {
    for (const resolve of this.#waiters.splice(0)) resolve(opened)
  }

  #destroy (): void {
    if (this.destroyed) return
    this.destroyed = true
    this.#run(() => { this.#track(this.ondestroy(this)) })
    for (const resolve of this.#mourners.splice(0)) resolve()
  }
}

function encode (encoding: CompactEncoding, value: unknown): Uint8Array {
  const state: EncodingState = { start: 0, end: 0, buffer: null }
  encoding.preencode(state, value)
  state.buffer = userBytes(new Uint8Array(state.end))
  encoding.encode(state, value)
  return state.buffer
}

function stateOf (bytes: Uint8Array): EncodingState {
  const buffer = userBytes(bytes)
  return { start: 0, end: buffer.byteLength, buffer }
}

function nothing (): void {}
