// The page's side: it has the drives, and gives the service worker the bytes that it asks for.

import type { Hyperdrive } from '../hyperdrive/hyperdrive.js'
import type { DriveEntry } from '../hyperdrive/options.js'
import { isBytes } from '../support/bytes.js'
import { encodeId, readKey } from '../support/key-text.js'
import { typeOf } from './types.js'
import { isToken } from './places.js'
import { CLAIM, FOLDER, type Answer, type FileQuestion, type Piece, type Question, type WholeFile, type Wish } from './words.js'

/** Gives the drive of a key, which has the form of an id; null for one that this page does not serve. */
export type OpenDrive = (key: string) => Hyperdrive | null | Promise<Hyperdrive | null>

/** Which service worker serves the drives. */
export interface ServeOptions {
  /** Registers this service worker first. */
  worker?: string | URL
  /** Of that service worker, as of `navigator.serviceWorker.register()`. */
  scope?: string
}

/**
 * Bytes that are fetched ahead of what was taken: few at first, because a player looks here and there before it plays, and twice as many each
 * time that all of them were taken.
 */
const AHEAD = { least: 1 << 17, most: 1 << 20 }

/** Bytes of a file that a script of a document gets at once. */
const LARGEST = 64 << 20

/** Versions that are kept open, beside the newest, and names of one folder that are listed: what asks for more may be hostile. */
const MOST_CHECKOUTS = 32
const MOST_NAMES = 10_000

/** Milliseconds after which an entry that peers do not give is missing. */
const PATIENCE = 20_000

/** Serves drives below `hyper/` of the service worker's scope. */
export class DriveServer {
  readonly #open: OpenDrive
  /** By key and version, the one that was asked for longest ago first. */
  readonly #checkouts = new Map<string, { drive: Hyperdrive, of: Hyperdrive }>()
  #isClosed = false
  readonly #onmessage = (event: MessageEvent): void => {
    const question = event.data as Question | null
    const port = event.ports[0]
    if (question?.hypertab === 'drive' && port) void this.#answer(question, port)
  }

  readonly #onframe = (event: MessageEvent): void => {
    const question = event.data as FileQuestion | null
    const port = event.ports[0]
    if (question?.hypertab === 'file' && typeof question.path === 'string' && port) void this.#answerFrame(question, port)
  }

  /** Resolves when the service worker is there; rejects when it cannot be registered. */
  readonly ready: Promise<void>

  constructor (open: OpenDrive, { worker, scope }: ServeOptions = {}) {
    this.#open = open
    const { serviceWorker } = navigator
    serviceWorker.addEventListener('message', this.#onmessage)
    serviceWorker.startMessages()
    // Documents of drives in frames of this page.
    addEventListener('message', this.#onframe)
    this.ready = this.#register(worker, scope)
    this.ready.catch(() => {})
  }

  /** The address of a file of a drive, once the service worker is there. */
  async address (drive: Hyperdrive | Uint8Array | string, path = '/', version: number | null = null): Promise<string> {
    const { scope } = await navigator.serviceWorker.ready
    const key = typeof drive === 'string' || isBytes(drive) ? drive : drive.key!
    // Also a name that somebody else has put into a drive leads nowhere outside of it.
    const names: string[] = []
    for (const name of path.replace(/^\//, '').split('/')) {
      if (name === '..') names.pop()
      else if (name !== '.') names.push(encodeURIComponent(name))
    }
    return new URL(`${FOLDER}${encodeId(readKey(key))}${version === null ? '' : `+${version}`}/${names.join('/')}`, scope).href
  }

  /** Serves nothing more. */
  async close (): Promise<void> {
    this.#isClosed = true
    navigator.serviceWorker.removeEventListener('message', this.#onmessage)
    removeEventListener('message', this.#onframe)
    const checkouts = [...this.#checkouts.values()]
    this.#checkouts.clear()
    await Promise.all(checkouts.map(({ drive }) => drive.close()))
  }

  async #register (worker: string | URL | undefined, scope: string | undefined): Promise<void> {
    const { serviceWorker } = navigator
    if (worker !== undefined) await serviceWorker.register(worker, { type: 'module', ...(scope === undefined ? {} : { scope }) })
    const { active } = await serviceWorker.ready
    if (serviceWorker.controller !== null) return
    const controlled = new Promise<void>((resolve) => { serviceWorker.addEventListener('controllerchange', () => { resolve() }, { once: true }) })
    active?.postMessage(CLAIM)
    await controlled
  }

  async #answer (question: Question, port: MessagePort): Promise<void> {
    const say = (answer: Answer) => { port.postMessage(answer) }
    try {
      const drive = await this.#drive(question)
      if (!drive) return say({ is: 'nobody' })
      const isFixed = question.version !== null
      const found = await find(drive, question.path)
      if (found === null) return say({ is: 'missing', text: `${question.path} is not in the drive` })
      if (typeof found === 'string') return say({ is: 'moved', path: found })
      if ('names' in found) return say({ is: 'folder', tag: `"${drive.version}"`, html: listing(question.path, found.names), isFixed })
      const { key, seq, value } = found
      const { blob } = value
      const tag = `"${drive.core.fork}-${seq}-${blob ? blob.byteOffset : 0}"`
      new Pieces(drive, found, port)
      say({ is: 'file', path: key, size: blob?.byteLength ?? 0, tag, type: typeOf(key), isFixed })
    } catch (error) {
      say({ is: 'failed', text: (error as Error).message })
    }
  }

  // Whoever asks has to be a document of the drive: others could have anything read for them.
  async #answerFrame (question: FileQuestion, port: MessagePort): Promise<void> {
    const say = (file: WholeFile) => { port.postMessage(file) }
    const none = { type: 'text/plain', bytes: null }
    try {
      const registration = await navigator.serviceWorker.ready
      if (!(await isToken({ caches, registration }, question, question.token))) return say(none)
      const drive = await this.#drive(question)
      const found = drive && await find(drive, question.path)
      if (!drive || found === null || typeof found === 'string' || 'names' in found || (found.value.blob?.byteLength ?? 0) > LARGEST) return say(none)
      say({ type: typeOf(found.key), bytes: await drive.get(found) })
    } catch {
      say(none)
    }
  }

  async #drive ({ key, version }: Pick<Question, 'key' | 'version'>): Promise<Hyperdrive | null> {
    const drive = await this.#open(encodeId(readKey(key)))
    if (!drive) return null
    await drive.ready()
    if (version === null) return drive
    if (this.#isClosed) return null
    const name = `${drive.id}+${version}`
    const known = this.#checkouts.get(name)
    this.#checkouts.delete(name)
    const isGood = known?.of === drive && !known.drive.closing
    if (!isGood) known?.drive.close().catch(() => {})
    const checkout = isGood ? known.drive : drive.checkout(version)
    this.#checkouts.set(name, { drive: checkout, of: drive })
    for (const [oldest, { drive }] of this.#checkouts) {
      if (this.#checkouts.size <= MOST_CHECKOUTS) break
      this.#checkouts.delete(oldest)
      drive.close().catch(() => {})
    }
    return checkout
  }
}

/** Serves drives to the service worker of this page. */
export function serveDrives (open: OpenDrive, options?: ServeOptions): DriveServer {
  return new DriveServer(open, options)
}

/** A file, the names of a folder, where to look instead, or null. */
async function find (drive: Hyperdrive, path: string): Promise<DriveEntry | { names: string[] } | string | null> {
  const options = { follow: true, timeout: PATIENCE }
  if (!path.endsWith('/')) {
    const entry = await drive.entry(path, options) ?? await drive.entry(`${path}.html`, options)
    if (entry) return entry
  }
  const folder = path.endsWith('/') ? path : `${path}/`
  const names: string[] = []
  for await (const name of drive.readdir(folder, { timeout: PATIENCE })) {
    names.push(name as string)
    // Of one that is only moved to, that there is something is enough.
    if (folder !== path || names.length === MOST_NAMES) break
  }
  if (names.length === 0 && path !== '/') return null
  if (folder !== path) return folder
  return await drive.entry(`${folder}index.html`, options) ?? { names }
}

/** A page that lists a folder. */
function listing (path: string, names: string[]): string {
  const items = names.map((name) => `<li><a href="./${escape(encodeURIComponent(name))}">${escape(name)}</a></li>`)
  const up = path === '/' ? '' : '<li><a href="../">..</a></li>'
  return `<!doctype html><html><head><meta charset="utf-8"><title>${escape(path)}</title></head><body><h1>${escape(path)}</h1><ul>${up}${items.join('')}</ul></body></html>`
}

function escape (text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`)
}

/** A part of a file that is on its way: what is left of it, and the next bytes of it. */
interface Part {
  stream: AsyncIterator<Uint8Array>
  next: Promise<IteratorResult<Uint8Array>>
  left: number
}

/** Gives the bytes of a file as they are asked for. */
class Pieces {
  readonly #drive: Hyperdrive
  readonly #entry: DriveEntry
  readonly #port: MessagePort
  /** Where the next part begins, and where the last one ends. */
  #at = 0
  #end = 0
  #ahead = AHEAD.least
  /** The one that is given, and maybe the one after it. */
  #parts: Part[] = []
  #isOver = false

  constructor (drive: Hyperdrive, entry: DriveEntry, port: MessagePort) {
    this.#drive = drive
    this.#entry = entry
    this.#port = port
    port.onmessage = ({ data }: MessageEvent<Wish>) => { void this.#give(data) }
    // A service worker that was stopped says nothing.
    port.addEventListener('close', () => { this.#stop() })
  }

  async #give (wish: Wish): Promise<void> {
    if (wish === 'stop') return this.#stop()
    if (wish !== 'more') {
      this.#at = wish.start
      this.#end = wish.end
      return
    }
    try {
      const bytes = await this.#next()
      if (bytes) this.#say({ bytes })
      else this.#say({ end: true })
    } catch (error) {
      if (!this.#isOver) this.#say({ error: (error as Error).message })
    }
  }

  // Whatever is on its way for a reader who left is asked for no longer.
  #stop (): void {
    this.#isOver = true
    this.#port.close()
    for (const { stream } of this.#parts) void stream.return?.().catch(() => {})
    this.#parts = []
  }

  // A part at a time: whoever looks at the start of a film does not fetch all of it.
  async #next (): Promise<Uint8Array | null> {
    for (;;) {
      const part = this.#parts[0] ?? this.#begin()
      if (!part || this.#isOver) return null
      const { value, done } = await part.next
      if (done) {
        if (part.left > 0) throw new Error(`${this.#entry.key} ended early`)
        this.#parts.shift()
        continue
      }
      const bytes = value as Uint8Array
      part.left -= bytes.byteLength
      part.next = part.stream.next()
      part.next.catch(() => {})
      // Who reads on and on waits for no part to end.
      if (this.#ahead === AHEAD.most && part.left < AHEAD.most / 4 && this.#parts.length === 1) this.#begin()
      return bytes
    }
  }

  #begin (): Part | null {
    const length = Math.min(this.#ahead, this.#end - this.#at)
    if (length <= 0 || this.#isOver) return null
    const stream = this.#drive.createReadStream(this.#entry, { start: this.#at, length })[Symbol.asyncIterator]() as AsyncIterator<Uint8Array>
    this.#at += length
    this.#ahead = Math.min(this.#ahead * 2, AHEAD.most)
    const part = { stream, next: stream.next(), left: length }
    part.next.catch(() => {})
    this.#parts.push(part)
    return part
  }

  #say (piece: Piece): void {
    this.#port.postMessage(piece)
  }
}
