// Fetches one file: how far it is, how fast, and what it waits for. It is kept in memory, or goes where the person chose.

import { Observable } from './emitter.ts'
import { sentence } from './problem.ts'

/** After how long without a byte a fetch counts as stalled, in milliseconds. */
const STALLED_MS = 6_000

/** Over how long the speed is averaged, in milliseconds: blocks come many at once. */
const WINDOW_MS = 8_000

export type FetchState = 'running' | 'stalled' | 'waiting' | 'done' | 'failed' | 'cancelled'

/** A stream of bytes that can be given up. */
export interface Source extends AsyncIterable<Uint8Array> {
  destroy (): void
}

/** Where the bytes go as they come. What is open in the file system has these. */
export interface Sink {
  write (chunk: Uint8Array): Promise<void>
  close (): Promise<void>
  abort (): Promise<void>
}

export class FileFetch extends Observable {
  readonly total: number
  received = 0
  state: FetchState = 'running'
  /** What went wrong, as a sentence. */
  fault = ''
  readonly #start: (wait: boolean, from: number) => Promise<Source | null>
  readonly #sink: Sink | null
  readonly #peers: () => number
  #chunks: Uint8Array[] = []
  #marks: { time: number, received: number }[] = []
  #arrivedAt = Date.now()
  #source: Source | null = null
  #unwatch: () => void
  #timer: ReturnType<typeof setInterval>

  /**
   * @param start opens the file at a byte, to wait for peers or to fail when a block is not here; null means there is no such file
   * @param sink takes the bytes; without one they are kept for {@link blob}
   */
  constructor (start: (wait: boolean, from: number) => Promise<Source | null>, total: number, peers: () => number, around: Observable, sink: Sink | null = null) {
    super()
    this.#start = start
    this.#sink = sink
    this.#peers = peers
    this.total = total
    this.#timer = setInterval(() => this.#look(), 500)
    // Somebody came: what nobody had before may be there now.
    this.#unwatch = around.watch(() => { if (this.state === 'waiting' && peers() > 0) void this.#run() })
    void this.#run()
  }

  /** The whole file once it is here. */
  blob (type: string): Blob {
    return new Blob(this.#chunks as BlobPart[], { type })
  }

  /** Bytes per second just now. */
  get speed (): number {
    const first = this.#marks[0]
    const last = this.#marks.at(-1)
    if (!first || !last || last.time === first.time) return 0
    return (last.received - first.received) / (last.time - first.time) * 1000
  }

  /** Seconds that the rest takes at this speed, or null when that cannot be said. */
  get secondsLeft (): number | null {
    const { speed } = this
    return speed > 0 && this.#marks.length > 2 ? Math.ceil((this.total - this.received) / speed) : null
  }

  cancel (): void {
    if (this.state !== 'done' && this.state !== 'failed') this.#end('cancelled')
  }

  async #run (): Promise<void> {
    this.state = 'running'
    this.#marks = []
    this.#arrivedAt = Date.now()
    this.changed()
    const isAlone = this.#peers() === 0
    try {
      // What was received before somebody left is not fetched again.
      this.#source = await this.#start(!isAlone, this.received)
      if (!this.#source) return this.#failed('There is no such file in this version.')
      if (this.#isOver()) return this.#source.destroy()
      for await (const chunk of this.#source) {
        if (this.#isOver()) return
        if (this.#sink) await this.#sink.write(chunk)
        else this.#chunks.push(chunk)
        this.received += chunk.byteLength
        this.#arrivedAt = Date.now()
        this.state = 'running'
        this.#mark()
        this.changed()
      }
      if (this.#isOver()) return
      await this.#sink?.close()
      this.#end('done')
    } catch (error) {
      if (this.#isOver()) return
      if (!isAlone && this.#peers() > 0) return this.#failed(sentence(error))
      this.state = 'waiting'
      this.changed()
    }
  }

  #isOver (): boolean {
    return this.state === 'cancelled'
  }

  #mark (): void {
    const time = Date.now()
    this.#marks.push({ time, received: this.received })
    while (this.#marks.length > 2 && this.#marks[0]!.time < time - WINDOW_MS) this.#marks.shift()
  }

  #look (): void {
    if (this.state === 'running' && Date.now() - this.#arrivedAt > STALLED_MS) this.state = 'stalled'
    if (this.state === 'running' || this.state === 'stalled') this.#mark()
    this.changed()
  }

  #failed (fault: string): void {
    this.fault = fault
    this.#end('failed')
  }

  #end (state: FetchState): void {
    this.state = state
    clearInterval(this.#timer)
    this.#unwatch()
    if (state !== 'done') {
      this.#source?.destroy()
      this.#sink?.abort().catch(() => {})
    }
    this.changed()
  }
}
