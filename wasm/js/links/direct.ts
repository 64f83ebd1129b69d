// A shorter way for a stream that runs through relays: a data channel between two tabs.
//
// Both ends describe their WebRTC session inside the encrypted stream, on a channel of its own that others leave alone.
// Once the data channel is open the engine moves the stream's bytes to it, and back when it breaks; the stream itself
// notices nothing. Only streams with channels have a place for that: those that replicate, or that a program put a
// Protomux on.

import { call } from '../runtime.js'
import { HypertabError } from '../errors.js'
import { unrefTimer } from '../platform.js'
import type { CompactEncoding } from '../support/encoding.js'
import { fromUtf8, toUtf8 } from '../support/bytes.js'
import type { Channel } from './channel.js'
import type { Connection } from './connection.js'
import type { Mux } from './mux.js'

// The library `dom` says more of these; a program for Node or a worker has none of it.
declare global {
  interface RTCConfiguration {}
  interface RTCIceServer {}
  interface RTCPeerConnection {}
}

/** What a page has; a program elsewhere may bring one. */
export interface PeerConnectionClass {
  new (configuration?: RTCConfiguration): RTCPeerConnection
}

/** How a direct path is looked for. */
export interface DirectOptions {
  /** Servers that tell a page its address; by default the relay, once its address is known. */
  iceServers?: RTCIceServer[]
  /** `'relay'` hides this tab's address from peers, and needs a TURN server among the `iceServers`. */
  iceTransportPolicy?: 'all' | 'relay'
  /** The implementation, where there is none of the environment's. */
  RTCPeerConnection?: PeerConnectionClass
}

/** Why a stream takes the path that it takes. */
export type PathReason =
  /** Nothing else was tried yet. */
  | 'DIALLED'
  /** The option `webrtc` is false. */
  | 'OFF'
  /** There is no WebRTC here. */
  | 'NO_WEBRTC'
  /** The other end does not do this. */
  | 'REFUSED'
  /** A data channel is being made. */
  | 'CONNECTING'
  /** The data channel is open. */
  | 'CONNECTED'
  /** No data channel came about: no path was found, it took too long, or the browser refused. */
  | 'ICE_FAILED'
  | 'ICE_TIMEOUT'
  | 'WEBRTC_FAILED'
  /** The data channel broke. */
  | 'ICE_DISCONNECTED'
  | 'CHANNEL_CLOSED'
  /** Nothing that was sent arrived for a while. */
  | 'SILENT'
  /** The other end went back. */
  | 'REMOTE'

/** Name of the channel; a version that is not understood would have another one. */
const PROTOCOL = 'hypertab/direct'

/** How long a data channel may take to open, in milliseconds. */
const PATIENCE = 15_000

/** Pauses before another attempt, in milliseconds; the last one again and again. */
const PAUSES = [2_000, 30_000, 300_000]

/** Least time between two attempts that the other end begins, in milliseconds: whoever asks for more wants to tire this one out. */
const LEAST_PAUSE = 500

/** What may wait in the browser for the network before more is held back here. The engine bounds both together. */
const BUFFERED = 1 << 20

/** Most candidates that the other end may name in one attempt, and the longest message. */
const CANDIDATES = 64
const LONGEST = 64 * 1024

interface Signal {
  /** Which attempt it belongs to. */
  attempt: number
  description?: RTCSessionDescriptionInit
  candidate?: RTCIceCandidateInit
  /** It came to nothing. */
  failed?: boolean
}

const json: CompactEncoding<Signal> = {
  preencode (state, signal) { state.end += fromUtf8(JSON.stringify(signal)).byteLength },
  encode (state, signal) {
    const bytes = fromUtf8(JSON.stringify(signal))
    state.buffer!.set(bytes, state.start)
    state.start += bytes.byteLength
  },
  decode (state) {
    const bytes = state.buffer!.subarray(state.start, state.end)
    state.start = state.end
    if (bytes.byteLength > LONGEST) throw new HypertabError('BAD_SIGNAL', 'a session description is too long')
    return JSON.parse(toUtf8(bytes)) as Signal
  }
}

/** Finds a direct path for one connection, as long as it is open. The end that dialled makes the offers. */
export class DirectPath {
  #connection
  #link
  #Class
  #configuration
  #channel: Channel | null
  #attempt: Attempt | null = null
  #number = 0
  #failures = 0
  /** When the other end began an attempt last. */
  #begun = -LEAST_PAUSE
  #pause: ReturnType<typeof setTimeout> | undefined
  #over = false

  /** Starts on a stream whose handshake is done. */
  constructor (connection: Connection, mux: Mux, Class: PeerConnectionClass, configuration: () => RTCConfiguration) {
    this.#connection = connection
    this.#link = connection.link!
    this.#Class = Class
    this.#configuration = configuration
    let opened = false
    this.#channel = mux.createChannel({
      protocol: PROTOCOL,
      messages: [{ encoding: json, onmessage: (signal: Signal) => { this.#onsignal(signal) } }],
      onopen: () => {
        opened = true
        if (connection.isInitiator) this.#offer()
      },
      onclose: () => {
        if (!opened) connection.pathChanged(connection.path, 'REFUSED')
        this.destroy()
      }
    })
    this.#channel?.open()
  }

  /** The engine has a message for the other end. */
  transmit (message: Uint8Array): void {
    this.#attempt?.send(message)
  }

  /** The engine has moved the stream, or taken it back. */
  moved (path: 'relay' | 'direct', why: string | undefined): void {
    if (path === 'direct') {
      this.#failures = 0
      this.#connection.pathChanged('direct', 'CONNECTED')
      return
    }
    // An attempt that came to nothing may have moved one way, which the engine takes back.
    if (this.#attempt === null) return
    const reason = this.#attempt.failure ?? (why === 'SILENT' ? 'SILENT' : 'REMOTE')
    this.#connection.pathChanged('relay', reason)
    this.#end()
  }

  /** Leaves the direct path, as if it had broken; another one is looked for after a while. False when there is none. */
  drop (): boolean {
    if (this.#connection.path !== 'direct' || !this.#attempt) return false
    this.#attempt.fail('CHANNEL_CLOSED')
    return true
  }

  /** How long bytes take there and back on the direct path, in milliseconds; null where that is not known. */
  async roundTrip (): Promise<number | null> {
    return await this.#attempt?.roundTrip() ?? null
  }

  destroy (): void {
    if (this.#over) return
    this.#over = true
    clearTimeout(this.#pause)
    this.#attempt?.close()
    this.#attempt = null
    this.#channel?.close()
  }

  #offer (): void {
    if (this.#over || this.#attempt !== null) return
    this.#start(++this.#number)?.offer()
  }

  #start (number: number): Attempt | null {
    this.#attempt?.close()
    if (this.#connection.path === 'relay') this.#connection.pathChanged('relay', 'CONNECTING')
    try {
      const attempt = new Attempt(new this.#Class(this.#configuration()), number, {
        signal: (signal) => { this.#channel!.messages[0]!.send({ ...signal, attempt: number }) },
        open: () => { call((engine) => { engine.openDirect(this.#link) }) },
        message: (message) => { call((engine) => { engine.directBytes(this.#link, message) }) },
        failed: (reason) => { this.#failed(attempt, reason) }
      })
      this.#attempt = attempt
      // From here on the other end may move first.
      call((engine) => { engine.expectDirect(this.#link) })
      return attempt
    } catch {
      this.#connection.pathChanged('relay', 'WEBRTC_FAILED')
      return null
    }
  }

  #onsignal (signal: Signal): void {
    if (this.#over || typeof signal?.attempt !== 'number') return
    const { isInitiator } = this.#connection
    if (signal.description?.type === 'offer' && !isInitiator && signal.attempt > this.#number) {
      const now = performance.now()
      if (now - this.#begun < LEAST_PAUSE) return
      this.#begun = now
      this.#number = signal.attempt
      this.#start(signal.attempt)
    }
    if (this.#attempt?.number !== signal.attempt) return
    if (signal.failed) this.#attempt.fail('ICE_FAILED')
    else this.#attempt.take(signal)
  }

  #failed (attempt: Attempt, reason: PathReason): void {
    if (this.#attempt !== attempt) return
    const { path } = this.#connection
    call((engine) => { engine.closeDirect(this.#link) })
    // On the direct path the engine says when it is left, which makes an end of the attempt.
    if (path === 'direct') return
    this.#connection.pathChanged('relay', reason)
    this.#channel?.messages[0]!.send({ attempt: attempt.number, failed: true })
    this.#end()
  }

  #end (): void {
    this.#attempt?.close()
    this.#attempt = null
    if (this.#over || !this.#connection.isInitiator) return
    clearTimeout(this.#pause)
    this.#pause = setTimeout(() => { this.#offer() }, PAUSES[Math.min(this.#failures++, PAUSES.length - 1)])
    unrefTimer(this.#pause)
  }
}

interface AttemptEvents {
  signal (signal: Omit<Signal, 'attempt'>): void
  open (): void
  message (message: Uint8Array): void
  failed (reason: PathReason): void
}

/** One session of WebRTC. */
class Attempt {
  readonly number
  /** Why it came to nothing. */
  failure: PathReason | null = null
  #peer
  #data: RTCDataChannel
  #events
  #closed = false
  #timer
  /** Candidates that came before the description that they belong to. */
  #early: RTCIceCandidateInit[] = []
  #candidates = 0
  /** The other end has sent its description. */
  #isDescribed = false
  #queue: Uint8Array[] = []

  constructor (peer: RTCPeerConnection, number: number, events: AttemptEvents) {
    this.#peer = peer
    this.number = number
    this.#events = events
    this.#data = peer.createDataChannel('hypertab', { negotiated: true, id: 0, ordered: true })
    this.#data.binaryType = 'arraybuffer'
    this.#data.bufferedAmountLowThreshold = BUFFERED / 2
    this.#data.onopen = () => {
      clearTimeout(this.#timer)
      if (!this.#closed) events.open()
    }
    this.#data.onmessage = ({ data }) => {
      if (this.#closed) return
      // An array made of a text would be as long as the text says.
      if (typeof data === 'string') this.fail('CHANNEL_CLOSED')
      else events.message(new Uint8Array(data as ArrayBuffer))
    }
    this.#data.onbufferedamountlow = () => { this.#flush() }
    this.#data.onclose = () => { this.fail('CHANNEL_CLOSED') }
    peer.onicecandidate = ({ candidate }) => {
      if (candidate && !this.#closed) events.signal({ candidate: candidate.toJSON() })
    }
    peer.onconnectionstatechange = () => {
      if (peer.connectionState === 'failed') this.fail(this.#data.readyState === 'open' ? 'ICE_DISCONNECTED' : 'ICE_FAILED')
      else if (peer.connectionState === 'disconnected') this.fail('ICE_DISCONNECTED')
    }
    this.#timer = setTimeout(() => { this.fail('ICE_TIMEOUT') }, PATIENCE)
    unrefTimer(this.#timer)
  }

  offer (): void {
    this.#try(async () => {
      await this.#peer.setLocalDescription(await this.#peer.createOffer())
      this.#describe()
    })
  }

  take ({ description, candidate }: Signal): void {
    // Counted before they are queued, as the browser may take its time with each. There is one description a session.
    if (description && this.#isDescribed) return
    if (description) this.#isDescribed = true
    if (candidate && ++this.#candidates > CANDIDATES) return
    this.#try(async () => {
      if (description) {
        await this.#peer.setRemoteDescription(description)
        for (const early of this.#early.splice(0)) await this.#peer.addIceCandidate(early)
        if (description.type === 'offer') {
          await this.#peer.setLocalDescription(await this.#peer.createAnswer())
          this.#describe()
        }
      }
      if (candidate) {
        if (this.#peer.remoteDescription === null) this.#early.push(candidate)
        else await this.#peer.addIceCandidate(candidate)
      }
    })
  }

  send (message: Uint8Array): void {
    if (this.#closed) return
    this.#queue.push(message)
    this.#flush()
  }

  fail (reason: PathReason): void {
    if (this.#closed || this.failure !== null) return
    this.failure = reason
    this.#events.failed(reason)
  }

  async roundTrip (): Promise<number | null> {
    if (this.#closed || this.#data.readyState !== 'open') return null
    const reports: RTCStatsReport = await this.#peer.getStats()
    for (const report of reports.values()) {
      const { type, nominated, state, currentRoundTripTime } = report as RTCIceCandidatePairStats
      if (type === 'candidate-pair' && nominated !== false && state === 'succeeded' && currentRoundTripTime !== undefined) return currentRoundTripTime * 1000
    }
    return null
  }

  close (): void {
    if (this.#closed) return
    this.#closed = true
    clearTimeout(this.#timer)
    this.#queue = []
    this.#peer.close()
  }

  #describe (): void {
    const { type, sdp } = this.#peer.localDescription!
    if (!this.#closed) this.#events.signal({ description: { type, sdp } })
  }

  #flush (): void {
    try {
      while (this.#queue.length > 0 && this.#data.readyState === 'open' && this.#data.bufferedAmount < BUFFERED) {
        this.#data.send(this.#queue.shift() as Uint8Array<ArrayBuffer>)
      }
    } catch {
      this.fail('CHANNEL_CLOSED')
    }
  }

  // One step after another: a candidate may come while a description is being taken.
  #steps: Promise<void> = Promise.resolve()

  #try (step: () => Promise<void>): void {
    this.#steps = this.#steps.then(async () => {
      if (this.#closed) return
      try {
        await step()
      } catch {
        this.fail('WEBRTC_FAILED')
      }
    })
  }
}
