// How a component has something of this package: it opens and closes with the component, and what it tells stays fresh.

/** Something that is had, or what makes one for as long as it is wanted. */
export type Source<R> = R | (() => R | Promise<R>)

/** What a hook returns, beside what its kind of thing tells. */
export interface Status {
  /** `closed` once it was closed, by whomever; `failed` with an `error`. */
  status: 'opening' | 'open' | 'closed' | 'failed'
  /** Why it failed; null otherwise. */
  error: Error | null
}

/** How one kind of thing is watched. */
export interface Kind<R, T extends object> {
  /** What to say before anything is known. */
  readonly nothing: T
  ready (resource: R): Promise<unknown>
  /** Calls `changed` whenever `read` may say something else. Returns what stops it. */
  listen (resource: R, changed: () => void): () => void
  /** What it tells. The signal ends a reading that was overtaken by a change. */
  read (resource: R, signal: AbortSignal): T | Promise<T>
  isClosed (resource: R): boolean
  close (resource: R): Promise<unknown>
}

/** How long changes are gathered, in milliseconds: a page shows no more of them. */
const GATHER = 16

/** What is being closed: a store cannot be opened while it is. */
const leaving = new Set<Promise<unknown>>()

/** Has one thing, from the effect of a component to its cleanup. */
export class Lease<R, T extends object> {
  readonly #kind: Kind<R, T>
  readonly #tell: (resource: R | null, told: T, status: Status) => void
  readonly #isOwned: boolean
  #resource: R | null = null
  #told: T
  #isReleased = false
  #isFailed = false
  #stop: (() => void) | null = null
  #timer: ReturnType<typeof setTimeout> | undefined
  #reading: AbortController | null = null

  constructor (kind: Kind<R, T>, source: Source<R>, tell: (resource: R | null, told: T, status: Status) => void) {
    this.#kind = kind
    this.#tell = tell
    this.#told = kind.nothing
    this.#isOwned = typeof source === 'function'
    this.#open(source).catch((error) => { this.#fail(error) })
  }

  /** Ends it; what this made is closed. */
  release (): void {
    this.#isReleased = true
    this.#stop?.()
    clearTimeout(this.#timer)
    this.#reading?.abort()
    if (this.#resource !== null) this.#leave(this.#resource)
  }

  /** Reads again. */
  refresh (): void {
    this.#reading?.abort()
    if (this.#isReleased || this.#resource === null) return
    const reading = this.#reading = new AbortController()
    const resource = this.#resource
    if (this.#kind.isClosed(resource)) return this.#tell(resource, this.#told, { status: 'closed', error: null })
    Promise.resolve().then(() => this.#kind.read(resource, reading.signal)).then((told) => {
      if (reading.signal.aborted) return
      if (isSame(told, this.#told) && this.#told !== this.#kind.nothing && !this.#isFailed) return
      this.#told = told
      this.#isFailed = false
      this.#tell(resource, told, { status: 'open', error: null })
    }, (error) => {
      if (!reading.signal.aborted && !this.#kind.isClosed(resource)) this.#fail(error)
    })
  }

  async #open (source: Source<R>): Promise<void> {
    // The last one may have been of the same store: components are mounted twice in strict mode.
    if (this.#isOwned) await Promise.allSettled(leaving)
    if (this.#isReleased) return
    const resource = typeof source === 'function' ? await (source as () => R | Promise<R>)() : source
    if (this.#isReleased) return this.#leave(resource)
    this.#resource = resource
    this.#tell(resource, this.#told, { status: 'opening', error: null })
    this.#stop = this.#kind.listen(resource, () => { this.#changed() })
    await this.#kind.ready(resource)
    this.refresh()
  }

  #changed (): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined
      this.refresh()
    }, GATHER)
  }

  #leave (resource: R): void {
    if (!this.#isOwned) return
    const closing = this.#kind.close(resource).catch(() => {})
    leaving.add(closing)
    closing.then(() => { leaving.delete(closing) })
  }

  #fail (error: unknown): void {
    this.#isFailed = true
    if (!this.#isReleased) this.#tell(this.#resource, this.#told, { status: 'failed', error: error as Error })
  }
}

/** Whether a page would show the same. */
function isSame (a: object, b: object): boolean {
  const names = Object.keys(a)
  return names.length === Object.keys(b).length && names.every((name) => isSameValue((a as any)[name], (b as any)[name]))
}

function isSameValue (a: unknown, b: unknown): boolean {
  if (!Array.isArray(a) || !Array.isArray(b)) return Object.is(a, b)
  return a.length === b.length && a.every((item, at) => Object.is(item, b[at]))
}
