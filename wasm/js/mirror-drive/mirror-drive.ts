// Makes one drive the same as another.

import { isStream, pipelinePromise, type Readable, type Writable } from 'streamx'

import type { BlobId, Hyperblobs } from '../hyperblobs/hyperblobs.js'
import type { DriveEntry } from '../hyperdrive/options.js'
import type { Peer } from '../hypercore/peer.js'
import { toIgnoreFunction, type Ignore } from '../support/path.js'
import { speedometer, type Speedometer } from '../support/speedometer.js'
import { sameData, streamsEqual } from './compare.js'
import { Monitor } from './monitor.js'
import { RabinStream } from './rabin-stream.js'

/** What a mirror needs of a drive. */
export interface AnyDrive {
  /** Whether metadata is kept with files. */
  readonly supportsMetadata?: boolean
  /** The core of the entries; only of drives in cores. */
  readonly core?: { readonly writable: boolean, readonly peers: Peer[] }
  /** Resolves when it is open. */
  ready (): Promise<unknown>
  /** Changes that are made at once. */
  batch (): any
  /** Makes them. */
  flush (): Promise<unknown>
  /** A file or link; null for none. */
  entry (name: any): Promise<any>
  /** The files below a folder. */
  list (folder: string, options: any): AsyncIterable<any>
  /** Deletes a file. */
  del (name: string): Promise<unknown>
  /** Puts a link. */
  symlink (name: string, linkname: string): Promise<unknown>
  /** Reads a file. */
  createReadStream (name: any): Readable
  /** Writes a file. */
  createWriteStream (name: string, options: any): Writable
  /** Puts an entry whose content is there. */
  putEntry? (name: string, value: any): Promise<unknown>
  /** Where content is; only of drives in cores. */
  getBlobs? (): Promise<any>
}

/** What is mirrored, and how. */
export interface MirrorOptions {
  /** Folders or files to mirror; everything by default. */
  prefix?: string | string[]
  /** Only these keys. */
  filter?: ((key: string) => boolean) | null
  /** Paths that are left out, with all below them, or a function that says so. */
  ignore?: Ignore | null
  /** Exactly these keys. */
  entries?: Array<string | DriveEntry> | null
  /** Removes what the source does not have; true. */
  prune?: boolean
  /** Only tells what it would do. */
  dryRun?: boolean
  /** Tells of files that are the same, too. */
  includeEquals?: boolean
  /** Changes the destination at once, at the end. */
  batch?: boolean
  /** Stores equal parts of files once. */
  dedup?: boolean
  /** Counts what is transferred. */
  progress?: boolean
  /** Fetches ahead; true. */
  preload?: boolean
  /** Whether the metadata of two files is the same; by default where all of it is equal. */
  metadataEquals?: ((source: any, destination: any) => boolean) | null
  /** Make a stream that content passes through, or null. */
  transformers?: Array<(key: string) => any>
}

/** What was done, or would be. */
export interface MirrorStep {
  /** What becomes of the file. */
  op: 'add' | 'change' | 'remove' | 'equal'
  /** Its path. */
  key: string
  /** Bytes of what was there. */
  bytesRemoved: number
  /** Bytes of what takes its place. */
  bytesAdded: number
}

type Difference = 'same' | 'content' | 'metadata'

/** Iterate over it, or await `done()`. */
export class MirrorDrive {
  /** What is mirrored. */
  readonly src: AnyDrive
  /** Where to. */
  readonly dst: AnyDrive
  readonly prefix: string[]
  readonly dedup: boolean
  readonly dryRun: boolean
  readonly prune: boolean
  /** Whether it fetches ahead. */
  readonly preload: boolean
  /** Whether it is known how much there is to fetch. */
  preloaded = false
  /** Whether what is transferred is counted. */
  includeProgress: boolean
  readonly includeEquals: boolean
  readonly filter: ((key: string) => boolean) | null
  readonly metadataEquals: ((source: any, destination: any) => boolean) | null
  readonly batch: boolean
  readonly entries: Array<string | DriveEntry> | null
  readonly transformers: Array<(key: string) => any>
  readonly ignore: ((key: string) => boolean) | null

  /** Files that were looked at, added, removed and changed. */
  readonly count = { files: 0, add: 0, remove: 0, change: 0 }
  /** Bytes of what was removed or replaced. */
  bytesRemoved = 0
  /** Bytes of what took its place. */
  bytesAdded = 0
  /** Whether it is done. */
  finished = false

  /** Blocks of the source that came from peers. */
  downloadedBlocks = 0
  /** Blocks of the source that have to come. */
  downloadedBlocksEstimate = 0
  /** Bytes of the source that came from peers. */
  downloadedBytes = 0
  /** Bytes a second; null unless it counts. */
  downloadSpeed: Speedometer | null
  /** Blocks of the destination that went to peers. */
  uploadedBlocks = 0
  /** Bytes of the destination that went to peers. */
  uploadedBytes = 0
  /** Bytes a second; null unless it counts. */
  uploadSpeed: Speedometer | null

  /** Those of `monitor()`. */
  readonly monitors: Monitor[] = []
  /** The steps, one at a time. */
  readonly iterator: AsyncGenerator<MirrorStep, void, undefined>

  constructor (src: AnyDrive, dst: AnyDrive, options: MirrorOptions = {}) {
    this.src = src
    this.dst = dst
    this.prefix = [options.prefix || '/'].flat()
    this.dedup = !!options.dedup
    this.dryRun = !!options.dryRun
    this.prune = options.prune !== false
    this.preload = options.preload !== false && (!!src.getBlobs || !!dst.getBlobs)
    this.includeProgress = !!options.progress && !!src.getBlobs
    this.includeEquals = !!options.includeEquals
    this.filter = options.filter || null
    this.metadataEquals = options.metadataEquals || null
    this.batch = !!options.batch
    this.entries = options.entries || null
    this.transformers = options.transformers || []
    this.ignore = options.ignore ? toIgnoreFunction(options.ignore) : null
    this.downloadSpeed = this.includeProgress ? speedometer() : null
    this.uploadSpeed = this.includeProgress ? speedometer() : null
    this.iterator = this.#run()
  }

  /** The steps, one at a time. */
  [Symbol.asyncIterator] (): AsyncGenerator<MirrorStep, void, undefined> {
    return this.iterator
  }

  /** Peers of the source. */
  get peers (): Peer[] {
    return this.src.core?.peers ?? []
  }

  /** From 0 to 1. It is 1 only when all is done, because what there is to fetch is estimated. */
  get downloadProgress (): number {
    if (this.finished) return 1
    if (!this.downloadedBlocksEstimate) return 0
    return Math.min(0.99, this.downloadedBlocks / this.downloadedBlocksEstimate)
  }

  /** Follows it. */
  monitor (options?: { interval?: number }): Monitor {
    this.includeProgress = true
    this.downloadSpeed ??= speedometer()
    this.uploadSpeed ??= speedometer()
    return new Monitor(this, options)
  }

  /** Does all of it. */
  async done (): Promise<void> {
    while (!(await this.iterator.next()).done);
  }

  async * #run (): AsyncGenerator<MirrorStep, void, undefined> {
    try {
      yield * this.#mirror()
    } finally {
      for (const monitor of [...this.monitors].reverse()) monitor.destroy()
    }
  }

  async * #mirror (): AsyncGenerator<MirrorStep, void, undefined> {
    const { src } = this
    await src.ready()
    await this.dst.ready()
    if (this.dst.core && !this.dst.core.writable) throw new Error('Destination must be writable')

    const dst: AnyDrive = this.batch ? this.dst.batch() : this.dst
    const srcBlobs: Hyperblobs | null = src.getBlobs ? await src.getBlobs() : null
    const dstBlobs: Hyperblobs | null = dst.getBlobs ? await dst.getBlobs() : null
    const stopCounting = this.includeProgress && srcBlobs ? this.#count(srcBlobs) : null
    try {
      if (this.preload) await this.#preload(dst, srcBlobs, dstBlobs)
      if (this.prune) yield * this.#prune(dst, dstBlobs)
      for await (const [key, source, destination] of this.#list(src, dst, this.filter)) {
        // One of the entries that were asked for may not be there, or not any more.
        if (!source) continue
        this.count.files++
        const difference = this.transformers.length > 0 ? 'content' : await this.#compare(source, destination)
        if (difference === 'same') {
          if (this.includeEquals) yield { op: 'equal', key, bytesRemoved: 0, bytesAdded: 0 }
          continue
        }
        const keepsContent = difference === 'metadata' && !!dst.putEntry
        const bytesRemoved = destination && !keepsContent ? await byteLength(destination, dstBlobs) : 0
        const bytesAdded = keepsContent ? 0 : await byteLength(source, srcBlobs)
        const op = destination ? 'change' : 'add'
        this.count[op]++
        this.bytesRemoved += bytesRemoved
        this.bytesAdded += bytesAdded
        yield { op, key, bytesRemoved, bytesAdded }
        if (!this.dryRun) await this.#copy(dst, key, source, keepsContent ? destination!.value.blob : undefined)
      }
      if (this.batch) await dst.flush()
    } finally {
      stopCounting?.()
    }
    this.finished = true
  }

  async * #prune (dst: AnyDrive, dstBlobs: Hyperblobs | null): AsyncGenerator<MirrorStep, void, undefined> {
    for await (const [key, destination, source] of this.#list(this.dst, this.src, null)) {
      if (source || !destination) continue
      const bytesRemoved = await byteLength(destination, dstBlobs)
      this.count.remove++
      this.bytesRemoved += bytesRemoved
      yield { op: 'remove', key, bytesRemoved, bytesAdded: 0 }
      if (!this.dryRun) await dst.del(key)
    }
  }

  /** @param kept the content that is there already; null for none */
  async #copy (dst: AnyDrive, key: string, source: DriveEntry, kept?: BlobId | null): Promise<void> {
    const streams = this.#transform(key)
    const { executable, linkname, metadata } = source.value
    if (linkname) {
      await dst.symlink(key, linkname)
    } else if (kept !== undefined) {
      await dst.putEntry!(key, { executable, linkname, blob: kept, metadata })
    } else {
      const dedup = !!dst.putEntry && this.dedup
      if (dedup) streams.push(new RabinStream())
      await pipelinePromise(this.src.createReadStream(source), ...streams, dst.createWriteStream(key, { dedup, executable, metadata }))
    }
  }

  #transform (key: string): any[] {
    const streams = []
    for (const transformer of this.transformers) {
      if (typeof transformer !== 'function') throw new Error('transformer must be a function')
      const stream = transformer(key)
      if (stream === null) continue
      if (!isStream(stream)) throw new Error('transformer must return a stream')
      streams.push(stream)
    }
    return streams
  }

  async #compare (source: DriveEntry, destination: DriveEntry | null): Promise<Difference> {
    if (!destination) return 'content'
    const [from, to] = [source.value, destination.value]
    if (from.linkname || to.linkname) return from.linkname === to.linkname ? 'same' : 'content'
    if (!mayBeEqual(from.blob, to.blob)) return 'content'
    const isEqual = await streamsEqual(this.src.createReadStream(source), this.dst.createReadStream(destination))
    // Asked in either case, as upstream does: it is a program's own.
    const isSame = from.executable === to.executable && this.#sameMetadata(from.metadata, to.metadata)
    return !isEqual ? 'content' : isSame ? 'same' : 'metadata'
  }

  #sameMetadata (from: unknown, to: unknown): boolean {
    if (!this.src.supportsMetadata || !this.dst.supportsMetadata) return true
    if (this.metadataEquals) return this.metadataEquals(from, to)
    return (!from && !to) || (!!from && !!to && sameData(from, to))
  }

  // Maps first, because they say which blocks there are; then the blocks, while files are compared.
  async #preload (dst: AnyDrive, srcBlobs: Hyperblobs | null, dstBlobs: Hyperblobs | null): Promise<void> {
    const { core } = (srcBlobs ?? dstBlobs)!
    const mapped: BlobId[] = []
    for await (const [, source, destination] of this.#list(this.src, srcBlobs ? null : dst, this.filter)) {
      const blob = (srcBlobs ? source : destination)?.value.blob
      if (blob?.blockMap && blob.blockLength > 0) mapped.push(blob)
    }
    await Promise.all(mapped.map((blob) => core.download({ start: blob.blockOffset, length: blob.blockLength }).done()))
    this.#fetch((srcBlobs ?? dstBlobs)!, mapped).catch(() => {})
  }

  async #fetch (blobs: Hyperblobs, mapped: BlobId[]): Promise<void> {
    const maps = await Promise.all(mapped.map((blob) => blobs.getBlockMap(blob)))
    const wanted = maps.map((map) => map?.blocks.map((block) => block.index) ?? [])
    const missing = await Promise.all(wanted.map((indexes) => missingBlocks(blobs, indexes)))
    const downloads = wanted.map((blocks) => blobs.core.download({ blocks }))
    this.downloadedBlocksEstimate = this.downloadedBlocks + missing.reduce((sum, count) => sum + count, 0)
    this.preloaded = true
    for (const monitor of this.monitors) monitor.emit('preloaded')
    await Promise.all(downloads.map((download) => download.done()))
  }

  #count (blobs: Hyperblobs): () => void {
    const onupload = (_index: number, bytes: number): void => {
      this.uploadedBlocks++
      this.uploadedBytes += bytes
      this.uploadSpeed!(bytes)
    }
    const ondownload = (_index: number, bytes: number): void => {
      this.downloadedBlocks++
      this.downloadedBytes += bytes
      this.downloadSpeed!(bytes)
    }
    blobs.core.on('upload', onupload)
    blobs.core.on('download', ondownload)
    return () => {
      blobs.core.off('upload', onupload)
      blobs.core.off('download', ondownload)
    }
  }

  /** The files of one drive, and what the other has in their place. */
  async * #list (a: AnyDrive, b: AnyDrive | null, filter: ((key: string) => boolean) | null): AsyncGenerator<[string, DriveEntry | null, DriveEntry | null]> {
    // All of them now: what is removed from one prefix is still in another that holds it.
    const lists = this.prefix.map((prefix) => this.entries ?? begun(a.list(prefix, { ignore: this.ignore })))
    try {
      for (const [i, prefix] of this.prefix.entries()) {
        for await (const entry of lists[i]!) {
          const key = typeof entry === 'object' ? entry.key : entry
          if (filter && !filter(key)) continue
          yield [key, await a.entry(entry), b ? await b.entry(key) : null]
        }
        // A prefix may be a file.
        if (prefix === '/' || (filter && !filter(prefix))) continue
        const entries: [DriveEntry | null, DriveEntry | null] = [await a.entry(prefix), b ? await b.entry(prefix) : null]
        if (entries[0] || entries[1]) yield [prefix, ...entries]
      }
    } finally {
      for (const list of lists) (list as { destroy? (): void }).destroy?.()
    }
  }
}

/** From the first block that is not here to the last one. */
async function missingBlocks (blobs: Hyperblobs, indexes: number[]): Promise<number> {
  const here = await Promise.all(indexes.map((index) => blobs.core.has(index)))
  const first = here.indexOf(false)
  return first === -1 ? 0 : here.lastIndexOf(false) + 1 - first
}

/** Has a stream read ahead; whoever iterates over it gets its error. */
function begun<T extends AsyncIterable<any>> (list: T): T {
  const stream = list as unknown as Readable
  if (isStream(stream)) {
    stream.on('error', () => {})
    stream.resume()
    stream.pause()
  }
  return list
}

function mayBeEqual (a: BlobId | null, b: BlobId | null): boolean {
  if (!a || !b) return !a && !b
  return !!a.blockMap || !!b.blockMap || a.byteLength === b.byteLength
}

async function byteLength (entry: DriveEntry, blobs: Hyperblobs | null): Promise<number> {
  const { blob } = entry.value
  if (!blob) return 0
  return blob.blockMap ? await blobs!.getByteLength(blob) : blob.byteLength
}
