// A drive: files as entries of a Hyperbee, and their content in a second core.

import type { Duplex } from 'streamx'

import { HypercoreError } from '../errors.js'
import { Hyperbee } from '../hyperbee/hyperbee.js'
import type { BeeStream } from '../hyperbee/iterators.js'
import type { Watcher } from '../hyperbee/watchers.js'
import { Hyperblobs } from '../hyperblobs/hyperblobs.js'
import type { BlobId } from '../hyperblobs/hyperblobs.js'
import { Hypercore } from '../hypercore/hypercore.js'
import type { ManifestInput } from '../hypercore/manifest.js'
import { MirrorDrive, type MirrorOptions } from '../mirror-drive/mirror-drive.js'
import { isBytes } from '../support/bytes.js'
import { filePath, folderPath, resolvePath, toIgnoreFunction, type Ignore } from '../support/path.js'
import { ReadyResource } from '../support/ready-resource.js'
import { Download, type DownloadOptions } from './download.js'
import { below, contentManifest, type ContentManifest, pathEncoding as keyEncoding, type PathRange } from './keys.js'
import { ChildStream, FilteredStream } from './listing.js'
import { Monitor, type MonitorOptions } from './monitor.js'
import { mountValue, MountReader, type MountOptions } from './mounts.js'
import type {
  DownloadRange, DriveDifference, DriveEntry, DriveStore, DriveValue, EntryOptions, FileOptions, HyperdriveOptions, ListOptions, ReadOptions, WaitOptions, WriteOptions
} from './options.js'
import { FileReadStream, FileWriteStream } from './streams.js'

/** Most links that are followed from one to the next. */
const MAX_LINKS = 16

/** What a drive tells, besides `ready` and `close`. */
export type HyperdriveEvents = {
  /** The core of the content is there. */
  blobs: [blobs: Hyperblobs]
  /** The key of the content's core is known, 32 bytes. */
  'content-key': [key: Uint8Array]
}

/** A file system in two cores, which one key names. */
export class Hyperdrive extends ReadyResource<HyperdriveEvents> {
  /** The session of the store that the drive closes with it. */
  readonly corestore: DriveStore
  /** The bee of the entries. */
  readonly db: Hyperbee
  /** The core of the entries: its key is the drive's. */
  readonly core: Hypercore
  /** The content; null before it was looked for, see `getBlobs()`. */
  blobs: Hyperblobs | null = null
  readonly supportsMetadata = true
  /** What both cores are encrypted with, 32 bytes; null for nothing. */
  readonly encryptionKey: Uint8Array | null
  /** Those that `monitor()` made and that are open. */
  readonly monitors = new Set<Monitor>()

  /** @internal */
  _active: boolean
  /** @internal */
  _openingBlobs: Promise<boolean> | null = null
  /** @internal */
  readonly _onwait: NonNullable<HyperdriveOptions['onwait']> | null
  /** @internal Whether this is a batch of another drive. */
  readonly _batching: boolean
  /** @internal The drive that this is a version of. */
  readonly _checkout: Hyperdrive | null
  /** @internal The drive, its versions and its batches. */
  readonly _sessions: Set<Hyperdrive>

  constructor (corestore: DriveStore, key?: Uint8Array | string | HyperdriveOptions | null, options: HyperdriveOptions = {}) {
    super()
    if (typeof key === 'object' && key !== null && !isBytes(key)) {
      options = key
      key = null
    }
    this.corestore = corestore
    this.db = options._db ?? makeBee(key, corestore, options)
    this.core = this.db.core
    this.encryptionKey = options.encryptionKey || null
    this._active = options.active !== false
    this._onwait = options.onwait || null
    this._batching = !!options._batching
    this._checkout = options._checkout || null
    this._sessions = options._sessions ?? new Set()
    this._sessions.add(this)
    this.ready().catch(() => {})
  }

  /** The key of the drive that a store has by itself. */
  static async getDriveKey (corestore: DriveStore): Promise<Uint8Array> {
    const bee = makeBee(null, corestore, {})
    await bee.ready()
    const { key } = bee
    await bee.close()
    return key!
  }

  /** The key of the blobs of the drive with a manifest, or with a core; null before manifests of version 1. */
  static getContentKey (manifest: ManifestInput | Hypercore, key?: Uint8Array | null): Uint8Array | null {
    if (isCore(manifest)) return manifest.core!.compat ? null : Hyperdrive.getContentKey(manifest.manifest!, manifest.key)
    const content = contentManifest(manifest, key)
    return content && Hypercore.key(content)
  }

  /** The manifest of the core of the content, by that of the entries' core; null before manifests of version 1. */
  static getContentManifest (manifest: ManifestInput, key?: Uint8Array | null): ContentManifest | null {
    return contentManifest(manifest, key)
  }

  /** The path of a file as it is kept. */
  static normalizePath (name: string): string {
    return filePath(name)
  }

  /** The key as text; null before it is known. */
  get id (): string | null { return this.core.id }
  /** 32 bytes; null before it is known. */
  get key (): Uint8Array | null { return this.core.key }
  /** What peers look for, 32 bytes; null before it is known. */
  get discoveryKey (): Uint8Array | null { return this.core.discoveryKey }
  /** The key of the content's core; undefined before that is there. */
  get contentKey (): Uint8Array | null | undefined { return this.blobs?.core.key }
  /** The length of the entries' core, at least 1: what `checkout()` takes. */
  get version (): number { return this.db.version }
  /** Whether files can be put here. */
  get writable (): boolean { return this.core.writable }
  /** False once it is closed. */
  get readable (): boolean { return this.core.readable }

  /** All entries, in the order of their paths. */
  [Symbol.asyncIterator] (): AsyncIterator<DriveEntry> {
    return this.entries()[Symbol.asyncIterator]()
  }

  /** Says that peers are being looked for. Call what it returns when they are not. */
  findingPeers (): () => void {
    return this.corestore.findingPeers()
  }

  /** Replicates both cores, as `Corestore.replicate()`. */
  replicate (isInitiator: boolean | object, options?: object): Duplex {
    return this.corestore.replicate(isInitiator, options)
  }

  /** Asks peers for a newer version; true when there was one. */
  update (options?: object): Promise<boolean> {
    return this.db.update(options)
  }

  /** Says whether the drive wants to hear of new blocks. */
  setActive (active: boolean): void {
    if (!!active === this._active) return
    this._active = !!active
    this.core.setActive(this._active)
    this.blobs?.core.setActive(this._active)
  }

  /** The drive as it was. */
  checkout (version: number): Hyperdrive {
    return this._makeCheckout(this.db.checkout(version))
  }

  /** The drive as it is now. */
  snapshot (): Hyperdrive {
    return this._makeCheckout(this.db.snapshot())
  }

  /** Collects changes that are stored together by `flush()`. */
  batch (): Hyperdrive {
    return new Hyperdrive(this.corestore, this.key, {
      onwait: this._onwait,
      encryptionKey: this.encryptionKey,
      _batching: true,
      _db: this.db.batch() as unknown as Hyperbee,
      _sessions: this._sessions
    })
  }

  /** Stores the changes of a batch, and closes it. */
  async flush (): Promise<void> {
    await (this.db as unknown as { flush (): Promise<unknown> }).flush()
    return await this.close()
  }

  /** Where content is kept. It waits for the first block of a drive that is read from peers. */
  async getBlobs (): Promise<Hyperblobs> {
    if (this.blobs) return this.blobs
    if (this._checkout) {
      this.blobs = await this._checkout.getBlobs()
    } else {
      await this.ready()
      await this._openingBlobs
    }
    return this.blobs!
  }

  /** The content of a file; null when there is none. */
  async get (name: string | DriveEntry, options?: EntryOptions & ReadOptions): Promise<Uint8Array | null> {
    const entry = await this.entry(name, options)
    if (!entry?.value.blob) return null
    const blobs = await this.getBlobs()
    const content = await blobs.get(entry.value.blob, options)
    if (content === null) throw HypercoreError.BLOCK_NOT_AVAILABLE()
    return content
  }

  /** Stores a file. */
  async put (name: string, content: Uint8Array | string, { executable = false, metadata = null }: FileOptions = {}): Promise<void> {
    const blobs = await this.getBlobs()
    const begun = await blobs.begin(content)
    const blob = begun?.id ?? await blobs.put(content)
    const entered = this.#put(name, { executable, linkname: null, blob, metadata })
    // Both are stored together.
    for (const result of await Promise.allSettled([begun?.stored, entered])) if (result.status === 'rejected') throw result.reason
  }

  /** Stores an entry as it is given. */
  async putEntry (name: string, { executable = false, linkname = null, blob = null, metadata = null }: Partial<DriveValue> = {}): Promise<void> {
    await this.#put(name, { executable, linkname, blob, metadata })
  }

  /** Removes a file. What it held stays in older versions. */
  async del (name: string): Promise<void> {
    await this.db.del(filePath(name), { keyEncoding })
  }

  /** Stores a link to another file. */
  async symlink (name: string, linkname: string, { metadata = null }: { metadata?: any } = {}): Promise<void> {
    await this.#put(name, { executable: false, linkname, blob: null, metadata })
  }

  /** Shows another drive, or a version of it, at a path, to those that read through {@link mounts}. */
  async mount (name: string, key: Uint8Array | string, options: MountOptions = {}): Promise<void> {
    await this.#put(name, mountValue(key, options))
  }

  /** Reads this drive and those that are mounted in it as one. Close it when done. */
  mounts (): MountReader {
    return new MountReader(this)
  }

  /** What is kept of a file; null when there is none. An entry is returned as it is. */
  async entry (name: string | DriveEntry, options?: EntryOptions): Promise<DriveEntry | null> {
    if (!options?.follow) return await this.#entry(name, options)
    let next = name
    for (let i = 0; i < MAX_LINKS; i++) {
      const entry = await this.#entry(next, options)
      if (!entry?.value.linkname) return entry
      next = resolvePath(entry.key, entry.value.linkname)
    }
    throw new Error('Recursive symlink')
  }

  /** Resolves to whether there is a file or link of this path. */
  async exists (name: string): Promise<boolean> {
    return await this.entry(name) !== null
  }

  /** Which of two entries is newer: 1 for the first, -1 for the second. */
  compare (a: DriveEntry, b: DriveEntry): 1 | 0 | -1 {
    return a.seq > b.seq ? 1 : a.seq < b.seq ? -1 : 0
  }

  /** Drops the local blocks of a file. */
  async clear (name: string, options?: { diff?: boolean }): Promise<{ blocks: number } | null> {
    if (!this.opened) await this.ready()
    // An entry that is not here has no content here either.
    const entry = await this.entry(name, { wait: false }).catch(() => null)
    const blob = entry && this.blobs ? entry.value.blob : null
    if (!blob || this.blobs === null) return options?.diff ? { blocks: 0 } : null
    return await this.blobs.clear(blob, options)
  }

  /** Drops the local blocks of all files. */
  async clearAll (options?: { diff?: boolean }): Promise<{ blocks: number } | null> {
    if (!this.opened) await this.ready()
    if (this.blobs === null) return options?.diff ? { blocks: 0 } : null
    return await this.blobs.core.clear(0, this.blobs.core.length, options)
  }

  /** Closes the drive and deletes what is stored of it. */
  async purge (): Promise<void> {
    if (this._checkout || this._batching) throw new Error('Can only purge the main session')
    await this.ready()
    await this.close()
    await this.core.purge()
    await this.blobs?.core.purge()
  }

  /** Drops versions: those after this one. The content that only they have goes with them. */
  async truncate (version: number, { blobs = -1 }: { blobs?: number } = {}): Promise<void> {
    if (!this.opened) await this.ready()
    if (version > this.core.length) throw HypercoreError.BAD_ARGUMENT('Bad truncation length')
    const length = blobs === -1 ? await this.getBlobsLength(version) : blobs
    const { core } = await this.getBlobs()
    if (length > core.length) throw HypercoreError.BAD_ARGUMENT('Bad truncation length')
    await this.core.truncate(version)
    await core.truncate(length)
  }

  /** Blocks of the blobs' core that a version needs. */
  async getBlobsLength (version?: number): Promise<number> {
    if (!this.opened) await this.ready()
    const bee = this.db.checkout(version || this.version)
    try {
      await bee.ready()
      await bee.core.download({ start: 0, end: bee.core.length }).done()
      let length = 0
      for await (const { value } of bee.createReadStream()) {
        const end = value?.blob ? value.blob.blockOffset + value.blob.blockLength : 0
        // What is no number is no length: whoever wrote the drive may have said anything.
        if (end > length) length = end
      }
      return length
    } finally {
      await bee.close()
    }
  }

  /** Pairs of snapshots whenever something in a folder has changed. */
  watch (folder?: string): Watcher<Hyperdrive> {
    return this.db.watch(below(folderPath(folder)), {
      keyEncoding,
      map: (snapshot: Hyperbee) => this._makeCheckout(snapshot)
    })
  }

  /** How the files of a folder differ from those of another version. */
  diff (version: number, folder?: string | object | null, options?: object): BeeStream<DriveDifference> {
    if (typeof folder === 'object' && folder && !options) return this.diff(version, null, folder)
    return this.db.createDiffStream(version, below(folderPath(folder as string | null)), { ...options, keyEncoding }) as BeeStream<any>
  }

  /** Entries by path, in order. */
  entries (range?: PathRange | null, options?: WaitOptions & { ignore?: Ignore | null, [other: string]: any }): BeeStream<DriveEntry> {
    const stream = this.db.createReadStream(range as any, { ...options, keyEncoding }) as BeeStream<any>
    return options?.ignore ? new FilteredStream(stream, toIgnoreFunction(options.ignore)) as BeeStream<any> : stream
  }

  /** The entries in a folder, and in all folders below it. */
  list (folder?: string | ListOptions | null, options: ListOptions = {}): BeeStream<DriveEntry> {
    if (typeof folder === 'object' && folder !== null) return this.list(undefined, folder)
    const path = folderPath(folder)
    const given = options ?? {}
    if (given.recursive !== false) return this.entries(below(path), given)
    return this.#children(path, given, (_name, entry) => entry, given.ignore ? toIgnoreFunction(given.ignore) : null)
  }

  /** The names of what is directly in a folder. */
  readdir (folder?: string | null, options?: WaitOptions): BeeStream<string> {
    return this.#children(folderPath(folder), options, (name) => name, null)
  }

  /** Makes another drive the same as this one. */
  mirror (out: any, options?: MirrorOptions): MirrorDrive {
    return new MirrorDrive(this, out, options)
  }

  /** Fetches a file, or all files in a folder. */
  download (folder: string | DownloadOptions = '/', options?: DownloadOptions): Download {
    if (typeof folder === 'object') return this.download(undefined, folder)
    return new Download(this, folder, options)
  }

  /** Fetches what has come since a version. */
  async downloadDiff (version: number, folder?: string | object | null, options?: object): Promise<Download> {
    if (typeof folder === 'object' && folder && !options) return this.downloadDiff(version, null, folder)
    return new Download(this, folderPath(folder as string | null), { ...options, diff: version })
  }

  /** Fetches blocks of both cores. */
  async downloadRange (dbRanges: Iterable<DownloadRange>, blobRanges: Iterable<DownloadRange>): Promise<Download> {
    const { core } = await this.getBlobs()
    const downloads = [...dbRanges].map((range) => this.core.download(range))
    for (const range of blobRanges) downloads.push(core.download(range))
    return new Download(this, null, { downloads })
  }

  /** Whether the content of a file, or of all files in a folder, is here. */
  async has (path?: string): Promise<boolean> {
    const blobs = await this.getBlobs()
    const entry = !path || path.endsWith('/') ? null : await this.entry(path)
    if (entry) return !!entry.value.blob && await hasBlob(blobs, entry.value.blob)
    let isFolder = false
    for await (const { value } of this.list(path)) {
      isFolder = true
      if (value.blob && !(await hasBlob(blobs, value.blob))) return false
    }
    return isFolder
  }

  /** A file's content as a stream, which fails where there is no such file; that of a link is empty. */
  createReadStream (name: string | DriveEntry, options?: ReadOptions): FileReadStream {
    return new FileReadStream(this, name, options)
  }

  /** Writes a file. Chunks become blocks as they are: keep them at 64 KiB or less. */
  createWriteStream (name: string, { executable = false, metadata = null, dedup = false }: WriteOptions = {}): FileWriteStream {
    const replaced = async (): Promise<BlobId | null> => (await this.entry(name))?.value.blob ?? null
    return new FileWriteStream(this, dedup ? replaced : null, (blob) => this.#put(name, { executable, linkname: null, blob, metadata }))
  }

  /** Follows how the blocks of a file travel. */
  monitor (name?: string | null, options: MonitorOptions = {}): Monitor {
    const monitor = new Monitor(this, { name: name ?? null, ...options })
    this.monitors.add(monitor)
    return monitor
  }

  /** Closes all monitors. */
  async closeMonitors (): Promise<void> {
    await Promise.allSettled([...this.monitors].map((monitor) => monitor.close()))
  }

  protected override async _open (): Promise<void> {
    if (this._checkout) {
      await this._checkout.ready()
      this.blobs = this._checkout.blobs
      return
    }
    await this.#openBlobsFromHeader({ wait: false })
    if (this.core.writable && !this.blobs) await this.#createBlobs()
    await this.db.ready()
    if (!this.blobs) {
      this._openingBlobs = this.#openBlobsFromHeader()
      this._openingBlobs.catch(() => {})
    }
  }

  protected override async _close (): Promise<void> {
    if (!this._checkout) await this.blobs?.core.close()
    await this.db.close()
    if (!this._checkout && !this._batching) {
      for (const session of [...this._sessions]) if (session !== this) await session.close().catch(() => {})
      await this.corestore.close()
    }
    await this.closeMonitors()
    this._sessions.delete(this)
  }

  // The manifest of the entries' core says which core the blobs are in, unless the header names another.
  async #openBlobsFromHeader (options?: { wait?: boolean }): Promise<boolean> {
    if (this.blobs) return true
    const header = await this.#bee.getHeader(options)
    if (!header) return false
    if (this.blobs) return true
    const named = header.metadata?.contentFeed?.subarray(0, 32) ?? null
    const manifest = named ? null : this.#contentManifest()
    if (!manifest && (named?.byteLength ?? 0) < 32) throw new Error('Invalid or no Blob store key set')
    const core = this.corestore.get({
      ...(manifest ? { manifest } : { key: named }),
      onwait: this._onwait,
      encryptionKey: this.encryptionKey,
      keyPair: manifest && this.core.writable ? this.core.keyPair : null,
      active: this._active
    })
    await core.ready()
    if (this.closing) {
      await core.close()
      return false
    }
    this.#use(core)
    return true
  }

  async #createBlobs (): Promise<void> {
    const manifest = this.#contentManifest()
    const core = this.corestore.get({
      ...(manifest ? { manifest } : { name: `${this.core.id}/blobs` }),
      onwait: this._onwait,
      encryptionKey: this.encryptionKey,
      compat: this.core.core!.compat,
      active: this._active,
      keyPair: manifest ? this.core.keyPair : null
    })
    await core.ready()
    if (!manifest) this.#bee.metadata!.contentFeed = core.key
    this.#use(core)
  }

  // The bee itself, also of a batch.
  get #bee (): Hyperbee {
    return (this.db as unknown as { tree?: Hyperbee }).tree ?? this.db
  }

  #use (core: Hypercore): void {
    this.blobs = new Hyperblobs(core)
    this.emit('blobs', this.blobs)
    this.emit('content-key', core.key!)
  }

  #contentManifest (): ContentManifest | null {
    return this.core.core!.compat ? null : contentManifest(this.core.manifest, this.core.key)
  }

  /** @internal */
  _makeCheckout (snapshot: Hyperbee): Hyperdrive {
    return new Hyperdrive(this.corestore, this.key, {
      onwait: this._onwait,
      encryptionKey: this.encryptionKey,
      _checkout: this._checkout ?? this,
      _db: snapshot,
      _sessions: this._sessions
    })
  }

  async #entry (name: string | DriveEntry, options?: WaitOptions): Promise<DriveEntry | null> {
    if (typeof name !== 'string') return name
    return await this.db.get(filePath(name), { ...options, keyEncoding }) as DriveEntry | null
  }

  async #put (name: string, value: DriveValue): Promise<void> {
    await this.db.put(filePath(name), value, { keyEncoding })
  }

  #children (folder: string, options: WaitOptions | undefined, pick: (name: string, entry: DriveEntry) => unknown, ignore: ((key: string) => boolean) | null): BeeStream<any> {
    const peek = async (after: string) => await this.db.peek(below(folder, after), { ...options, keyEncoding }) as DriveEntry | null
    return new ChildStream(folder, peek, pick, ignore) as BeeStream<any>
  }
}

function makeBee (key: Uint8Array | string | null | undefined, corestore: DriveStore, options: HyperdriveOptions): Hyperbee {
  if (typeof corestore?.get !== 'function') throw new TypeError('a drive needs a Corestore')
  const core = corestore.get({
    ...(key ? { key } : { name: 'db' }),
    exclusive: true,
    onwait: options.onwait ?? null,
    encryptionKey: options.encryptionKey ?? null,
    ...(options.compat === undefined ? {} : { compat: options.compat }),
    ...(options.active === undefined ? {} : { active: options.active })
  })
  return new Hyperbee(core, {
    keyEncoding: 'utf-8',
    valueEncoding: 'json',
    metadata: { contentFeed: null },
    ...(options.extension === undefined ? {} : { extension: options.extension })
  })
}

async function hasBlob (blobs: Hyperblobs, blob: BlobId): Promise<boolean> {
  const { core } = blobs
  if (!(await core.has(blob.blockOffset, blob.blockOffset + blob.blockLength))) return false
  const map = await blobs.getBlockMap(blob)
  for (const { index } of map?.blocks ?? []) if (!(await core.has(index))) return false
  return true
}

function isCore (value: ManifestInput | Hypercore): value is Hypercore {
  return value instanceof Hypercore || ('core' in value && 'manifest' in value)
}

