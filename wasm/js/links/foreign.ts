// Cores of ours on a Protomux of upstream's, beside whatever a program runs there.
//
// The engine speaks Protomux frames over a link of its own; here each of its channels becomes one on the program's mux.

import type { CoreHandle, LinkHandle } from '../binding.js'
import { userBytes } from '../platform.js'
import { call, listen, unlisten } from '../runtime.js'
import { concat, fromUtf8, toUtf8 } from '../support/bytes.js'
import { raw } from '../support/encoding.js'
import { linkOver, type SecretStreamLike } from './external.js'
import type { Mux } from './mux.js'

interface ForeignChannel {
  readonly messages: Array<{ send (message: Uint8Array): boolean }>
  open (handshake: Uint8Array): void
  close (): void
}

/** What upstream's Protomux has that is used here. */
export interface ForeignMux {
  readonly isProtomux: true
  readonly stream: SecretStreamLike
  readonly drained: boolean
  createChannel (options: object): ForeignChannel | null
  pair (name: { protocol: string, id?: Uint8Array | null }, notify: (id: Uint8Array) => unknown): void
  unpair (name: { protocol: string, id?: Uint8Array | null }): void
  cork (): void
  uncork (): void
}

/** Kinds of messages between cores. */
const MESSAGES = 10

/** Kinds of frames on channel 0. */
const [BATCH, OPEN, REJECT, CLOSE] = [0, 1, 2, 3]

/** Whether something is a Protomux that is not ours. */
export function isForeign (value: unknown): value is ForeignMux {
  const mux = value as Partial<ForeignMux> | null
  return typeof mux === 'object' && mux !== null && mux.isProtomux === true && typeof mux.createChannel === 'function'
}

/** Gives the engine a link that ends in the mux, once the stream's handshake is done. */
export function carryOn (foreign: ForeignMux, mux: Mux, near?: CoreHandle): void {
  const { stream } = foreign
  const join = (link: LinkHandle): void => {
    const adapter = new Adapter(foreign, link)
    listen('link', link, (kind, rest) => {
      if (kind === 'transmit') adapter.take(rest[0] as Uint8Array)
      else if (kind === 'link-close' || kind === 'link-closed') adapter.close(rest[0] as Error | null, mux)
      else mux.handle(kind, rest)
    })
    stream.on('drain', () => { adapter.grant() })
    stream.on('close', () => { adapter.end() })
  }
  void linkOver(stream, mux, join, near)
}

/** One channel of the engine's: its number there, ours towards the engine, and what it is on the mux. */
interface Pair {
  theirs: number
  ours: number
  channel: ForeignChannel
}

class Adapter {
  #foreign
  #link
  #pairs = new Map<number, Pair>()
  #free: number[] = []
  #count = 0
  #unsent = 0
  #over = false

  constructor (foreign: ForeignMux, link: LinkHandle) {
    this.#foreign = foreign
    this.#link = link
  }

  /** Takes a frame of the engine's. */
  take (frame: Uint8Array): void {
    this.#unsent += frame.byteLength
    this.#frame(new Frame(userBytes(frame)))
    if (this.#foreign.drained) this.grant()
  }

  grant (): void {
    if (this.#over || this.#unsent === 0) return
    const bytes = this.#unsent
    this.#unsent = 0
    call((engine) => { engine.linkCredit(this.#link, bytes) })
  }

  /** The engine is done with the link. */
  close (failure: Error | null, mux: Mux): void {
    if (this.#over) return
    this.#over = true
    mux.unlinked()
    unlisten('link', this.#link)
    if (failure) this.#foreign.stream.destroy(new Error(failure.message))
    for (const { channel } of [...this.#pairs.values()]) channel.close()
  }

  /** The stream is over. */
  end (): void {
    if (this.#over) return
    this.#over = true
    unlisten('link', this.#link)
    call((engine) => { engine.linkEnded(this.#link) })
  }

  #frame (frame: Frame): void {
    const channel = frame.uint()
    if (channel !== 0) return this.#message(channel, frame)
    switch (frame.uint()) {
      case BATCH:
        this.#batch(frame)
        break
      case OPEN:
        this.#open(frame.uint(), toUtf8(frame.bytes()), frame.bytes(), frame.rest())
        break
      case CLOSE: {
        const theirs = frame.uint()
        this.#pairs.get(theirs)?.channel.close()
      }
    }
  }

  #batch (frame: Frame): void {
    this.#foreign.cork()
    try {
      let channel = frame.uint()
      while (!frame.done) {
        const item = frame.bytes()
        if (item.byteLength === 0) channel = frame.uint()
        else if (channel === 0) this.#frame(new Frame(concat([Uint8Array.of(0), item])))
        else this.#message(channel, new Frame(item))
      }
    } finally {
      this.#foreign.uncork()
    }
  }

  #message (theirs: number, frame: Frame): void {
    const pair = this.#pairs.get(theirs)
    const type = frame.uint()
    pair?.channel.messages[type]?.send(frame.rest())
  }

  #open (theirs: number, protocol: string, id: Uint8Array, handshake: Uint8Array): void {
    const pair: Pair = { theirs, ours: 0, channel: null! }
    const channel = this.#foreign.createChannel({
      protocol,
      aliases: ['hypercore'],
      id: userBytes(id),
      handshake: raw,
      messages: Array.from({ length: MESSAGES }, (_, type) => ({
        encoding: raw,
        onmessage: (payload: Uint8Array) => { this.#tell(uint(pair.ours), uint(type), payload) }
      })),
      ondrain: () => { this.grant() },
      onopen: (handshake: Uint8Array) => {
        pair.ours = this.#free.pop() ?? ++this.#count
        const name = fromUtf8(protocol)
        this.#tell(Uint8Array.of(0, OPEN), uint(pair.ours), uint(name.byteLength), name, uint(id.byteLength), id, handshake)
      },
      onclose: (isRemote: boolean) => {
        this.#pairs.delete(theirs)
        if (pair.ours === 0) {
          this.#tell(Uint8Array.of(0, REJECT), uint(theirs))
        } else {
          this.#free.push(pair.ours)
          if (isRemote) this.#tell(Uint8Array.of(0, CLOSE), uint(pair.ours))
        }
      }
    })
    if (channel === null) {
      this.#tell(Uint8Array.of(0, REJECT), uint(theirs))
      return
    }
    pair.channel = channel
    this.#pairs.set(theirs, pair)
    channel.open(handshake)
  }

  #tell (...parts: Uint8Array[]): void {
    if (!this.#over) call((engine) => { engine.linkBytes(this.#link, concat(parts)) })
  }
}

/** Reads a frame from its start. */
class Frame {
  #bytes
  #offset = 0

  constructor (bytes: Uint8Array) {
    this.#bytes = bytes
  }

  get done (): boolean {
    return this.#offset >= this.#bytes.byteLength
  }

  uint (): number {
    const first = this.#take(1)[0]!
    if (first <= 0xfc) return first
    const bytes = this.#take(first === 0xfd ? 2 : first === 0xfe ? 4 : 8)
    return bytes.reduceRight((value, byte) => value * 256 + byte, 0)
  }

  bytes (): Uint8Array {
    return this.#take(this.uint())
  }

  rest (): Uint8Array {
    return this.#take(this.#bytes.byteLength - this.#offset)
  }

  #take (length: number): Uint8Array {
    return this.#bytes.subarray(this.#offset, this.#offset += length)
  }
}

function uint (value: number): Uint8Array {
  if (value <= 0xfc) return Uint8Array.of(value)
  if (value <= 0xffff) return Uint8Array.of(0xfd, value & 0xff, value >> 8)
  return Uint8Array.of(0xfe, value & 0xff, (value >> 8) & 0xff, (value >> 16) & 0xff, value >>> 24)
}
