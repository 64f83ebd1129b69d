// Fetches one file: how far it is, how fast, and what it waits for.

import { Observable } from './emitter.ts'
import { sentence } from './problem.ts'

/** After how long without a byte a fetch counts as stalled, in milliseconds. */
const STALLED_MS = 6_000

/** Over how long the speed is averaged, in milliseconds. */
const WINDOW_MS = 3_000

export type FetchState = 'running' | 'stalled' | 'waiting' | 'done' | 'failed' | 'cancelled'

/** A stream of bytes that can be given up. */
interface Source extends AsyncIterable<Uint8Array> {
  destroy (): void
}

export class FileFetch extends Observable {
  readonly total: number
  received = 0
  state: FetchState = 'running'
  /** What went wrong, as a sentence. */
  fault = ''
  readonly #start: (wait: boolean) => Promise<Source | null>
  readonly #peers: () => number
  #chunks: Uint8Array[] = []
  #marks: { time: number, received: number }[] = []
  #arrivedAt = Date.now()
  #source: Source | null = null
  #unwatch: () => void
  #timer: ReturnType<typeof setInterval>

  /** `start` opens the file, to wait for peers or to fail when a block is not here; null means there is no such file. */
  constructor (start: (wait: boolean) => Promise<Source | null>, total: number, peers: () => number, around: Observable) {
    super()
    this.#start = start
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

  cancel (): void {
    if (this.state !== 'done' && this.state !== 'failed') this.#end('cancelled')
  }

  async #run (): Promise<void> {
    this.state = 'running'
    this.#chunks = []
    this.received = 0
    this.#arrivedAt = Date.now()
    this.changed()
    const isAlone = this.#peers() === 0
    try {
      this.#source = await this.#start(!isAlone)
      if (!this.#source) return this.#failed('There is no such file in this version.')
      if (this.#isOver()) return this.#source.destroy()
      for await (const chunk of this.#source) {
        if (this.#isOver()) return
        this.#chunks.push(chunk)
        this.received += chunk.byteLength
        this.#arrivedAt = Date.now()
        this.state = 'running'
        this.#mark()
        this.changed()
      }
      if (!this.#isOver()) this.#end('done')
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
    if (state === 'cancelled') this.#source?.destroy()
    this.changed()
  }
}
