// Files of a folder as streams.

import { constants, close, fchmod, fstat, mkdir, open, read, rename, unlink, writev } from 'node:fs'
import { dirname } from 'node:path'
import { promisify } from 'node:util'

import { Readable, Writable } from 'streamx'

import type { ReadEvents } from '../support/readable.js'
import type { Localdrive } from './localdrive.node.js'

type Done = (error: Error | null) => void

const [closeFile, changeMode, statFile, makeFolder, openFile, renameFile, removeFile, readFile] =
  [promisify(close), promisify(fchmod), promisify(fstat), promisify(mkdir), promisify(open), promisify(rename), promisify(unlink), promisify(read)]

/** Bytes read at once. */
const READ_BYTES = 65536

/** Which bytes of a file are read; all of them by default. */
export interface FileReadOptions {
  /** First byte. */
  start?: number
  /** Last byte, inclusive. */
  end?: number
  /** Bytes; counts before `end`. */
  length?: number
}

export interface FileReadStream {
  read (): Uint8Array | null
  [Symbol.asyncIterator] (): AsyncIterator<Uint8Array>
}

/** The bytes of a file of a folder. */
export class FileReadStream extends Readable<ReadEvents<Uint8Array>> {
  /** The file in the system. */
  readonly filename: string
  /** Its descriptor; 0 before it is open. */
  fd = 0
  #offset: number
  #left: number

  constructor (filename: string, { start, end, length }: FileReadOptions = {}) {
    super()
    this.filename = filename
    this.#offset = start || 0
    this.#left = length || (typeof end === 'number' ? end - this.#offset + 1 : Infinity)
  }

  override _open (done: Done): void {
    settle(this.#open(), done)
  }

  override _read (done: Done): void {
    settle(this.#next(), done)
  }

  override _destroy (done: Done): void {
    if (this.fd === 0) done(null)
    else settle(closeFile(this.fd), done)
  }

  async #open (): Promise<void> {
    const fd = await openFile(this.filename, constants.O_RDONLY)
    try {
      const stat = await statFile(fd)
      if (!stat.isFile()) throw new Error(`${this.filename} is not a file`)
      this.#offset = Math.min(this.#offset, stat.size)
      this.#left = Math.max(Math.min(this.#left, stat.size - this.#offset), 0)
      this.fd = fd
    } finally {
      if (this.fd === 0) await closeFile(fd)
    }
  }

  async #next (): Promise<void> {
    const buffer = Buffer.allocUnsafe(Math.min(this.#left, READ_BYTES))
    const { bytesRead } = this.#left > 0 ? await readFile(this.fd, buffer, 0, buffer.byteLength, this.#offset) : { bytesRead: 0 }
    if (bytesRead === 0) {
      this.push(null)
      return
    }
    this.#offset += bytesRead
    this.#left -= bytesRead
    this.push(buffer.subarray(0, bytesRead))
    if (this.#left === 0) this.push(null)
  }
}

/** What is kept with a file. */
export interface FileWriteOptions {
  /** Whether it is a program; false by default. */
  executable?: boolean
  /** Goes to the hooks of the drive; null by default. */
  metadata?: any
}

export interface FileWriteStream { end (data?: unknown): this }

/** Writes a file of a folder. It is there when the stream has finished. */
export class FileWriteStream extends Writable {
  /** The file in the system. */
  readonly filename: string
  /** What is written: the file itself, or one that takes its place in the end. */
  atomicFilename: string
  /** Its path in the drive. */
  readonly key: string
  /** The drive that it is of. */
  readonly drive: Localdrive
  /** Whether it is a program. */
  readonly executable: boolean
  /** What goes to the hooks of the drive. */
  readonly metadata: any
  /** The descriptor; 0 before it is open and after it was closed. */
  fd = 0

  constructor (filename: string, key: string, drive: Localdrive, options: FileWriteOptions = {}) {
    super({ map: (data: unknown) => typeof data === 'string' ? Buffer.from(data) : data })
    this.filename = filename
    this.atomicFilename = filename
    this.key = key
    this.drive = drive
    this.executable = !!options?.executable
    this.metadata = options?.metadata || null
  }

  override _open (done: Done): void {
    settle(this.#open(), done)
  }

  override _writev (data: any[], done: Done): void {
    try {
      writev(this.fd, data, done)
    } catch (error) {
      // It is no bytes.
      done(error as Error)
    }
  }

  override _final (done: Done): void {
    settle(this.#finish(), done)
  }

  override _destroy (done: Done): void {
    settle(this.#clean(), done)
  }

  async #open (): Promise<void> {
    this.atomicFilename = this.drive._alloc(this.filename)
    const mode = this.executable ? 0o755 : 0o644
    // A folder that another call finds empty must not go before the file is in it.
    const release = await this.drive._lock.acquire()
    try {
      await this.drive._ensureInside(this.atomicFilename)
      await makeFolder(dirname(this.filename), { recursive: true })
      this.fd = await openFile(this.atomicFilename, constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC | constants.O_APPEND, mode)
    } finally {
      release()
    }
    const stat = await statFile(this.fd)
    if (this.executable !== !!(stat.mode & constants.S_IXUSR)) await changeMode(this.fd, mode)
  }

  async #finish (): Promise<void> {
    const { metadata } = this.drive
    if (this.metadata === null) await metadata.del?.(this.key)
    else await metadata.put?.(this.key, this.metadata)
    const { fd } = this
    this.fd = 0
    await closeFile(fd)
    if (this.atomicFilename === this.filename) return
    await renameFile(this.atomicFilename, this.filename)
    this.#free()
  }

  async #clean (): Promise<void> {
    if (this.fd !== 0) await closeFile(this.fd)
    if (this.atomicFilename === this.filename) return
    await removeFile(this.atomicFilename).catch((error) => {
      if (error.code !== 'ENOENT') throw error
    })
    this.#free()
  }

  #free (): void {
    this.drive._free(this.atomicFilename)
    this.atomicFilename = this.filename
  }
}

function settle (work: Promise<unknown>, done: Done): void {
  work.then(() => { done(null) }, done)
}
