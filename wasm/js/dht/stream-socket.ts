// A stream of a program's as the connection to a relay, as upstream's `@hyperswarm/dht-relay` takes one: each message is a frame.

/** What a stream of messages has, such as one of `@hyperswarm/dht-relay/ws` or an encrypted one. */
export interface MessageStream {
  write (message: Uint8Array): boolean
  destroy (error?: Error | null): unknown
  on (name: string, listener: (...args: any[]) => void): unknown
  readonly destroyed?: boolean
}

export function isMessageStream (value: unknown): value is MessageStream {
  const stream = value as Partial<MessageStream> | null
  return typeof stream === 'object' && stream !== null && typeof stream.write === 'function' && typeof stream.on === 'function' && typeof stream.destroy === 'function'
}

/** Says how a stream ended that nobody breaks off: there is no coming back over another one. */
const ENDED = 1000

/** Behaves as a WebSocket, as far as the engine looks at one. */
export class StreamSocket {
  binaryType = 'arraybuffer'
  /** 0 until it may be sent to, 1, then 3. */
  readyState = 0
  /** Bytes that the stream has not taken yet. */
  bufferedAmount = 0
  onopen: (() => void) | null = null
  onmessage: ((event: { data: ArrayBuffer }) => void) | null = null
  onclose: ((event: { code: number, reason: string }) => void) | null = null
  onerror: (() => void) | null = null
  readonly #stream: MessageStream

  constructor (stream: MessageStream) {
    this.#stream = stream
    let reason = ''
    const close = (): void => {
      if (this.readyState === 3) return
      this.readyState = 3
      this.onclose?.({ code: ENDED, reason })
    }
    stream.on('data', (message: Uint8Array) => { this.onmessage?.({ data: new Uint8Array(message).buffer }) })
    stream.on('drain', () => { this.bufferedAmount = 0 })
    stream.on('error', (error: Error) => { reason = error.message })
    stream.on('end', close)
    stream.on('close', close)
    // A stream takes messages before it is open, and keeps them.
    setTimeout(() => {
      if (stream.destroyed) return close()
      if (this.readyState !== 0) return
      this.readyState = 1
      this.onopen?.()
    })
  }

  send (message: Uint8Array): void {
    // What is handed over here is memory of the engine.
    if (!this.#stream.write(message.slice())) this.bufferedAmount += message.byteLength
  }

  close (): void {
    this.readyState = 3
    this.#stream.destroy()
  }
}
