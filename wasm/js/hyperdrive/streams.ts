// Files as streams.

import { Readable, Writable } from 'streamx'

import type { BlobId } from '../hyperblobs/hyperblobs.js'
import type { BlobReadStream, BlobWriteStream, BlockMapReadStream } from '../hyperblobs/streams.js'
import type { ReadEvents } from '../support/readable.js'
import type { Hyperdrive } from './hyperdrive.js'
import type { DriveEntry, ReadOptions } from './options.js'

type Done = (error: Error | null) => void

export interface FileReadStream {
  read (): Uint8Array | null
  [Symbol.asyncIterator] (): AsyncIterator<Uint8Array>
}

/** The bytes of a file. */
export class FileReadStream extends Readable<ReadEvents<Uint8Array>> {
  readonly #drive: Hyperdrive
  readonly #name: string | DriveEntry
  readonly #options: ReadOptions | undefined
  #blob: BlobReadStream | BlockMapReadStream | null = null

  constructor (drive: Hyperdrive, name: string | DriveEntry, options?: ReadOptions) {
    super()
    this.#drive = drive
    this.#name = name
    this.#options = options
  }

  override _open (done: Done): void {
    this.#open().then(() => { done(null) }, done)
  }

  override _read (done: Done): void {
    this.#blob?.resume()
    done(null)
  }

  override _predestroy (): void {
    this.#blob?.destroy()
  }

  async #open (): Promise<void> {
    const blobs = await this.#drive.getBlobs()
    const entry = await this.#drive.entry(this.#name)
    if (this.destroying) return
    if (!entry) throw new Error('Blob does not exist')
    if (this.#drive.closing) throw new Error('Closed')
    const { blob } = entry.value
    if (!blob || blob.byteLength === 0) {
      this.push(null)
      return
    }
    const source = this.#blob = blobs.createReadStream(blob, this.#options)
    source.on('data', (data) => { if (!this.push(data)) source.pause() })
    source.on('end', () => { this.push(null) })
    source.on('error', (error: Error) => { this.destroy(error) })
  }
}

export interface FileWriteStream { end (data?: unknown): this }

/** Writes a file: its entry is put when all of it is stored. */
export class FileWriteStream extends Writable {
  readonly #drive: Hyperdrive
  readonly #replaced: (() => Promise<BlobId | null>) | null
  readonly #put: (blob: BlobId) => Promise<unknown>
  #blob: BlobWriteStream | null = null
  /** Waits for the blob to drain or to finish. */
  #waiting: Done | null = null

  /** @param replaced gives the blob whose chunks may be used again */
  constructor (drive: Hyperdrive, replaced: (() => Promise<BlobId | null>) | null, put: (blob: BlobId) => Promise<unknown>) {
    super()
    this.#drive = drive
    this.#replaced = replaced
    this.#put = put
  }

  override _open (done: Done): void {
    this.#open().then(() => { done(null) }, done)
  }

  override _write (data: unknown, done: Done): void {
    if (this.#blob!.write(data)) done(null)
    else this.#waiting = done
  }

  override _final (done: Done): void {
    this.#waiting = (error) => {
      if (error) done(error)
      else this.#put(this.#blob!.id).then(() => { done(null) }, done)
    }
    this.#blob!.end(null)
  }

  override _predestroy (): void {
    this.#blob?.destroy()
  }

  async #open (): Promise<void> {
    const blobs = await this.#drive.getBlobs()
    const options = this.#replaced ? { dedup: true, blob: await this.#replaced() } : {}
    if (this.destroying) return
    const blob = this.#blob = blobs.createWriteStream(options)
    blob.on('error', (error: Error) => { this.destroy(error) })
    blob.on('close', () => { this.#proceed(new Error('Closed')) })
    blob.on('finish', () => { this.#proceed(null) })
    blob.on('drain', () => { this.#proceed(null) })
  }

  #proceed (error: Error | null): void {
    const waiting = this.#waiting
    this.#waiting = null
    waiting?.(error)
  }
}
