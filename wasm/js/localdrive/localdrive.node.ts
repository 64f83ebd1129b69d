// A folder as a drive.

import { constants, type Dirent, type Stats } from 'node:fs'
import { lstat, mkdir, opendir, readdir, readlink, realpath, rmdir, stat, symlink, unlink } from 'node:fs/promises'
import { dirname, join, resolve, sep } from 'node:path'

import { MirrorDrive, type AnyDrive, type MirrorOptions } from '../mirror-drive/mirror-drive.js'
import { HypertabError } from '../errors.js'
import { Lock } from '../support/lock.js'
import { resolvePath, type Ignore } from '../support/path.js'
import type { DriveValue, EntryOptions } from '../hyperdrive/options.js'
import { FileReadStream, FileWriteStream, type FileReadOptions, type FileWriteOptions } from './streams.node.js'

/** Most links that are followed from one to the next: in a drive, and in a file system. */
const MAX_LINKS = 16
const MAX_FILE_LINKS = 256

/** Where metadata is kept, which folders have no place for. */
export interface MetadataHooks {
  /** The metadata of a path; null for none. */
  get? (key: string): any
  /** Keeps the metadata of a path. */
  put? (key: string, metadata: any): any
  /** Forgets the metadata of a path. */
  del? (key: string): any
}

/** How a folder is used as a drive. */
export interface LocaldriveOptions {
  /** Where metadata of files is kept, which folders have no place for; nowhere by default. */
  metadata?: Map<string, any> | MetadataHooks | null
  /** Shows what links lead to in their place. */
  followLinks?: boolean
  /** The same for links out of the folder only. */
  followExternalLinks?: boolean
  /** Writes beside a file, and takes its place when all is written. */
  atomic?: boolean
}

/** A file of a folder. */
export interface LocalEntry {
  /** The path, which begins with `/`. */
  key: string
  /** What there is of the file. */
  value: DriveValue
  /** When it was changed, in milliseconds since 1970. */
  mtime: number
}

/** A folder with the methods of a drive. */
export class Localdrive {
  /** The folder, as an absolute path. */
  readonly root: string
  /** Where metadata is kept. */
  readonly metadata: MetadataHooks
  /** Whether there is such a place. */
  readonly supportsMetadata: boolean
  /** @internal */
  readonly _lock = new Lock()
  /** @internal */
  readonly _followLinks: boolean
  /** @internal */
  readonly _followExternalLinks: boolean
  /** @internal Names of files that are yet to take the place of others. */
  readonly _atomics: Set<string> | null

  constructor (root: string, options: LocaldriveOptions = {}) {
    this.root = resolve(root)
    this.metadata = hooksOf(options.metadata)
    this.supportsMetadata = !!options.metadata
    this._followLinks = !!options.followLinks
    this._followExternalLinks = !!options.followExternalLinks
    this._atomics = options.atomic ? new Set() : null
  }

  /** Resolves at once. */
  async ready (): Promise<void> {}
  /** Resolves at once. */
  async close (): Promise<void> {}
  /** Resolves at once: everything is written when it is put. */
  async flush (): Promise<void> {}

  /** Itself. */
  batch (): this {
    return this
  }

  /** Itself: there are no versions. */
  checkout (_version?: number): this {
    return this
  }

  /** The name that the file system has for a path. */
  toPath (key: string): string {
    return join(this.root, resolvePath('/', key))
  }

  /** A file or link; null for none. */
  async entry (name: string | { key: string }, options?: EntryOptions): Promise<LocalEntry | null> {
    if (!options?.follow) return await this.#entry(name)
    let next = name
    for (let i = 0; i < MAX_LINKS; i++) {
      const entry = await this.#entry(next)
      if (!entry?.value.linkname) return entry
      next = resolvePath(entry.key, entry.value.linkname)
    }
    throw new Error('Recursive symlink')
  }

  /** Resolves to whether there is a file or link of this path. */
  async exists (name: string): Promise<boolean> {
    return await this.entry(name) !== null
  }

  /** A file's content; null for none. */
  async get (key: string | { key: string }, options?: EntryOptions): Promise<Buffer | null> {
    const entry = await this.entry(key, options)
    if (!entry?.value.blob) return null
    const chunks: Buffer[] = []
    for await (const chunk of this.createReadStream(entry.key) as AsyncIterable<Buffer>) chunks.push(chunk)
    return Buffer.concat(chunks)
  }

  /** Writes a file. */
  put (key: string, content: Uint8Array | string, options?: FileWriteOptions): Promise<void> {
    return new Promise((resolve, reject) => {
      const stream = this.createWriteStream(key, options)
      let failure: Error | null = null
      stream.on('error', (error: Error) => { failure = error })
      stream.on('close', () => {
        if (failure) reject(failure)
        else resolve()
      })
      stream.end(content)
    })
  }

  /** Removes a file, and the folders that are empty without it. */
  async del (key: string): Promise<void> {
    const name = resolvePath('/', key)
    const path = join(this.root, name)
    await this.#insideFolder(path)
    try {
      await unlink(path)
    } catch (error) {
      if ((error as { code?: string }).code === 'ENOENT') return
      throw error
    }
    const release = await this._lock.acquire()
    try {
      await this.#removeEmptyFolders(dirname(path))
    } finally {
      release()
    }
    await this.metadata.del?.(name)
  }

  /** Puts a link. */
  async symlink (key: string, linkname: string): Promise<void> {
    if (await this.entry(key)) await this.del(key)
    const path = this.toPath(key)
    const release = await this._lock.acquire()
    try {
      await this.#insideFolder(path)
      await mkdir(dirname(path), { recursive: true })
      const target = linkname.startsWith('/') ? this.toPath(linkname) : linkname.replaceAll('/', sep)
      const isFolder = (await orNull(lstat(target)))?.isDirectory()
      await symlink(target, path, isFolder ? 'junction' : null)
    } finally {
      release()
    }
  }

  /** Which of two entries is newer: 1 for the first, -1 for the second. */
  compare (a: LocalEntry, b: LocalEntry): 1 | 0 | -1 {
    return a.mtime > b.mtime ? 1 : a.mtime < b.mtime ? -1 : 0
  }

  /** The files in a folder, and in all folders below it, in the order of the file system. */
  async * list (folder?: string | { ignore?: Ignore | null }, options: { ignore?: Ignore | null } = {}): AsyncGenerator<LocalEntry, void, undefined> {
    if (typeof folder === 'object') {
      options = folder
      folder = undefined
    }
    const ignore = options.ignore ? ignored(options.ignore) : null
    const name = resolvePath('/', folder)
    const children = await orNull(opendir(join(this.root, name)))
    for await (const child of children ?? []) {
      const key = resolvePath(name, child.name)
      if (ignore?.(key)) continue
      if (await this.#isFolder(child, join(this.root, key))) {
        yield * this.list(key, options)
        continue
      }
      const entry = await this.entry(key)
      if (entry) yield entry
    }
  }

  /** The names of what is directly in a folder; folders without files are left out. */
  async * readdir (folder?: string): AsyncGenerator<string, void, undefined> {
    const name = resolvePath('/', folder)
    const children = await orNull(readdir(join(this.root, name), { withFileTypes: true }))
    for (const child of children ?? []) {
      const key = resolvePath(name, child.name)
      const isFolder = await this.#isFolder(child, join(this.root, key))
      if (isFolder ? await this.#hasFile(key) : await this.entry(key)) yield child.name
    }
  }

  /** Makes another drive the same as this folder. */
  mirror (out: any, options?: MirrorOptions): MirrorDrive {
    return new MirrorDrive(this as unknown as AnyDrive, out, options)
  }

  /** A file's content as a stream. */
  createReadStream (key: string | { key: string }, options?: FileReadOptions): FileReadStream {
    return new FileReadStream(this.toPath(typeof key === 'object' ? key.key : key), options)
  }

  /** Writes a file, which is there when the stream has finished. */
  createWriteStream (key: string, options?: FileWriteOptions): FileWriteStream {
    const name = resolvePath('/', key)
    return new FileWriteStream(join(this.root, name), name, this, options)
  }

  /**
   * @internal A file is not written where links of the drive lead out of its folder: they are somebody else's when it mirrors
   * somebody else's drive.
   */
  async _ensureInside (filename: string): Promise<void> {
    let path = filename
    for (let i = 0; i < MAX_FILE_LINKS; i++) {
      const folder = await this.#insideFolder(path)
      const target = folder === null ? null : await orNull(readlink(path))
      if (target === null) return
      path = resolve(folder!, target)
    }
    // Links that lead to each other lead nowhere: opening the file says so.
  }

  /** @internal */
  _alloc (filename: string): string {
    if (!this._atomics) return filename
    for (let i = 0; ; i++) {
      const name = `${filename}.${i}.localdrive.tmp`
      if (this._atomics.has(name)) continue
      this._atomics.add(name)
      return name
    }
  }

  /** @internal */
  _free (filename: string): void {
    this._atomics?.delete(filename)
  }

  async #entry (name: string | { key: string }): Promise<LocalEntry | null> {
    const key = resolvePath('/', typeof name === 'object' ? name.key : name)
    const { stats, path } = await this.#stat(join(this.root, key))
    if (!stats || !(stats.isFile() || stats.isSymbolicLink())) return null
    const value: DriveValue = { executable: false, linkname: null, blob: null, metadata: null }
    if (stats.isSymbolicLink()) {
      value.linkname = this.#linkname(await readlink(path))
    } else {
      value.executable = !!(stats.mode & constants.S_IXUSR)
      if (this.metadata.get) value.metadata = await this.metadata.get(key)
      const blockLength = stats.blocks || Math.ceil(stats.size / stats.blksize) * 8
      value.blob = { byteOffset: 0, blockOffset: 0, blockLength, byteLength: stats.size }
    }
    return { key, value, mtime: stats.mtimeMs }
  }

  // A link into the folder leads from its root.
  #linkname (target: string): string {
    const link = target.replaceAll('\\', '/')
    const root = this.root.replaceAll('\\', '/')
    if (!link.startsWith(root)) return link
    const rest = link.slice(root.length)
    return rest.startsWith('/') ? rest : '/' + rest
  }

  async #stat (path: string): Promise<{ stats: Stats | null, path: string }> {
    if (this._followLinks) return { stats: await orNull(stat(path)), path }
    for (let i = 0; i < MAX_FILE_LINKS; i++) {
      const stats = await orNull(lstat(path))
      if (!this._followExternalLinks || !stats?.isSymbolicLink()) return { stats, path }
      const target = resolve(dirname(path), await readlink(path))
      if (target.startsWith(this.root)) return { stats, path }
      path = target
    }
    throw new Error('Reached symlink recursion limit')
  }

  // Where the folder of a file really is, or what there is of the way to it; null where that does not matter.
  async #insideFolder (path: string): Promise<string | null> {
    const folder = resolve(path) === this.root ? this.root : dirname(path)
    const root = this._followLinks || this._followExternalLinks ? null : await orNull(realpath(this.root))
    if (root === null) return null
    let real = await orNull(realpath(folder))
    for (let above = folder; real === null && above !== dirname(above);) {
      above = dirname(above)
      real = await orNull(realpath(above))
    }
    if (real === root || real?.startsWith(root.endsWith(sep) ? root : root + sep)) return real
    throw new HypertabError('BAD_ARGUMENT', `a link leads out of the drive's folder on the way to ${folder}`)
  }

  async #isFolder (child: Dirent, path: string): Promise<boolean> {
    if (child.isDirectory()) return true
    if (!child.isSymbolicLink() || !(this._followLinks || this._followExternalLinks)) return false
    return (await this.#stat(path)).stats?.isDirectory() ?? false
  }

  async #hasFile (folder: string): Promise<boolean> {
    for await (const _ of this.list(folder)) return true
    return false
  }

  async #removeEmptyFolders (path: string): Promise<void> {
    try {
      for (; path !== this.root && path.startsWith(this.root); path = dirname(path)) await rmdir(path)
    } catch {
      // This one is not empty.
    }
  }
}

function hooksOf (metadata: LocaldriveOptions['metadata']): MetadataHooks {
  if (!(metadata instanceof Map)) return metadata ?? {}
  return {
    get: (key) => metadata.get(key) ?? null,
    put: (key, value) => metadata.set(key, value),
    del: (key) => metadata.delete(key)
  }
}

// A folder is never gone into that is ignored, so that only whole paths are compared.
function ignored (ignore: Ignore): (key: string) => boolean {
  if (typeof ignore === 'function') return ignore
  const all = [ignore].flat().map((path) => resolvePath('/', path))
  return (key) => all.includes(key)
}

async function orNull<T> (work: Promise<T>): Promise<T | null> {
  try {
    return await work
  } catch {
    return null
  }
}
