// One drive: its folders, files and versions, and what of it is on this device.

import { formatUrl, Hyperdrive } from 'hypertab'
import type { Corestore, DriveDifference, DriveEntry } from 'hypertab'

import { FileFetch } from './file-fetch.ts'
import type { Sink, Source } from './file-fetch.ts'
import { Work } from './work.ts'

/** Most names of one folder that are listed. */
export const MOST_CHILDREN = 2_000

/** Most changes that a look into the history goes back. */
const MOST_HISTORY = 500

/** Most paths of a comparison that are listed. */
export const MOST_DIFFERENCES = 500

/** Bytes of a file in one block. */
const FILE_BLOCK = 65_536

/** How the entries of a drive begin in its core. */
const FILES = 'files\0'

/** What is directly in a folder. */
export interface Child {
  readonly name: string
  readonly path: string
  readonly isFolder: boolean
  readonly size: number
  /** Where a link leads, or null. */
  readonly link: string | null
  /** The version that put it; nothing for folders. */
  readonly version: number | null
  /** Whether all of its content is on this device. */
  readonly isHere: boolean
}

/** One change in the history. */
export interface Change {
  /** The drive's version right after it. */
  readonly version: number
  readonly path: string
  readonly isRemoved: boolean
  readonly size: number
}

/** A path that is not the same in two versions. Sizes in bytes; null where there is no such file. */
export interface FileDifference {
  readonly path: string
  readonly newer: number | null
  readonly older: number | null
}

export class Drive extends Work<Hyperdrive> {
  readonly kind = 'drive'
  #old: { version: number, drive: Hyperdrive } | null = null

  /** Returns a link to a file or folder, of a version or of the newest. */
  linkTo (path: string, version: number | null): string {
    return formatUrl({ key: this.entry.id, path, version })
  }

  /** The drive itself, for whoever serves it. */
  get hyperdrive (): Hyperdrive | null {
    return this.opened
  }

  /** Lists a folder, folders first. Only metadata is fetched. */
  async list (folder: string, version: number | null): Promise<Child[]> {
    const drive = this.#at(version)
    const children: Child[] = []
    const start = folder === '/' ? '/' : `${folder}/`
    for await (const entry of drive.list(folder, { recursive: false, ...this.waiting }) as AsyncIterable<DriveEntry>) {
      const rest = entry.key.slice(start.length)
      const slash = rest.indexOf('/')
      const name = slash === -1 ? rest : rest.slice(0, slash)
      children.push({
        name,
        path: start + name,
        isFolder: slash !== -1,
        size: slash === -1 ? entry.value.blob?.byteLength ?? 0 : 0,
        link: slash === -1 ? entry.value.linkname : null,
        version: slash === -1 ? entry.seq + 1 : null,
        isHere: slash === -1 && await this.#isHere(entry)
      })
      if (children.length === MOST_CHILDREN) break
    }
    return children.sort((a, b) => Number(b.isFolder) - Number(a.isFolder) || a.name.localeCompare(b.name, 'en', { numeric: true }))
  }

  /** Returns a file, or null when there is none. */
  async file (path: string, version: number | null): Promise<Child | null> {
    const entry = await this.#at(version).entry(path, { follow: true, ...this.waiting })
    if (!entry) return null
    const { blob, linkname } = entry.value
    return { name: path.slice(path.lastIndexOf('/') + 1), path, isFolder: false, size: blob?.byteLength ?? 0, link: linkname, version: entry.seq + 1, isHere: await this.#isHere(entry) }
  }

  /** Begins to fetch a file, into `sink` when there is one. */
  fetch (file: Child, version: number | null, sink: Sink | null = null): FileFetch {
    let entry: DriveEntry | null = null
    return new FileFetch(async (wait, start) => {
      const drive = this.#at(version)
      // Once it is known, its content is the same whatever the author writes meanwhile.
      entry ??= await drive.entry(file.path, { follow: true, ...this.waiting })
      return entry && drive.createReadStream(entry, { wait, start }) as Source
    }, file.size, () => this.peers.length, this, sink)
  }

  /** Lists how what is in a folder differs between two versions. */
  async compare (folder: string, older: number, newer: number): Promise<FileDifference[]> {
    const drive = this.opened
    if (!drive) throw new Error('The drive is not open')
    const at = drive.checkout(newer)
    try {
      const differences: FileDifference[] = []
      for await (const { left, right } of at.diff(older, folder, this.waiting) as AsyncIterable<DriveDifference>) {
        differences.push({ path: (left ?? right)!.key, newer: left && sizeOf(left), older: right && sizeOf(right) })
        if (differences.length === MOST_DIFFERENCES) break
      }
      return differences
    } finally {
      await at.close()
    }
  }

  /** Reads a file of a version; null when it has none. */
  async read (path: string, version: number): Promise<Uint8Array | null> {
    const drive = this.opened
    if (!drive) throw new Error('The drive is not open')
    const at = drive.checkout(version)
    try {
      return await at.get(path, { follow: true, ...this.waiting })
    } finally {
      await at.close()
    }
  }

  /** Lists changes, the last one first: of one file, or of all. */
  async history (path: string | null, limit: number): Promise<Change[]> {
    const changes: Change[] = []
    const { db } = this.#at(null)
    for await (const { type, seq, key, value } of db.createHistoryStream({ reverse: true, limit: MOST_HISTORY, ...this.waiting })) {
      const name = String(key)
      if (!name.startsWith(FILES)) continue
      const changed = name.slice(FILES.length)
      if (path !== null && changed !== path) continue
      changes.push({ version: seq + 1, path: changed, isRemoved: type === 'del', size: value?.blob?.byteLength ?? 0 })
      if (changes.length === limit) break
    }
    return changes
  }

  /** Puts a file, telling how many of its bytes are stored. */
  async put (path: string, file: Blob, progress: (bytes: number) => void): Promise<void> {
    const stream = this.#at(null).createWriteStream(path)
    const closed = new Promise<void>((resolve, reject) => {
      stream.on('error', reject)
      stream.on('close', resolve)
    })
    closed.catch(() => {})
    try {
      for (let start = 0; start < file.size; start += FILE_BLOCK) {
        const block = new Uint8Array(await file.slice(start, start + FILE_BLOCK).arrayBuffer())
        if (!stream.write(block)) await Promise.race([new Promise<void>((resolve) => stream.once('drain', resolve)), closed])
        progress(Math.min(file.size, start + FILE_BLOCK))
      }
      stream.end(null)
    } catch (error) {
      stream.destroy(error as Error)
    }
    await closed
  }

  async remove (path: string): Promise<void> {
    await this.#at(null).del(path)
  }

  /** Closes the drive and deletes what is stored of it. */
  async purge (): Promise<void> {
    const drive = this.opened
    if (drive) await drive.purge()
    await this.close()
  }

  protected override make (store: Corestore, key: Uint8Array | null): Hyperdrive {
    return new Hyperdrive(store, key)
  }

  #at (version: number | null): Hyperdrive {
    const drive = this.opened
    if (!drive) throw new Error('The drive is not open')
    if (version === null) return drive
    if (this.#old?.version !== version) {
      this.#old?.drive.close().catch(() => {})
      this.#old = { version, drive: drive.checkout(version) }
    }
    return this.#old.drive
  }

  async #isHere ({ value: { blob } }: DriveEntry): Promise<boolean> {
    if (!blob || blob.blockLength === 0) return true
    const core = this.opened?.blobs?.core
    return core ? await core.has(blob.blockOffset, blob.blockOffset + blob.blockLength) : false
  }
}

function sizeOf ({ value: { blob } }: DriveEntry): number {
  return blob?.byteLength ?? 0
}
