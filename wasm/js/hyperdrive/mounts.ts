// Drives that are shown in others.
//
// A mount is an entry whose metadata names a drive, and a version if it is to stay as it was. Upstream's drives keep it
// as a file without content. Only a reader that asks for it looks through mounts: it opens the drives that are named,
// from the same store, to read only, and never follows a mount of a drive that it came through.

import { Hyperbee } from '../hyperbee/hyperbee.js'
import { HypertabError } from '../errors.js'
import { decodeId, encodeId } from '../support/id.js'
import { folderPath, resolvePath } from '../support/path.js'
import { isBytes } from '../support/bytes.js'
import type { Hyperdrive } from './hyperdrive.js'
import type { DriveEntry, DriveValue, EntryOptions, ReadOptions, WaitOptions } from './options.js'
import type { FileReadStream } from './streams.js'

/** Most drives that are gone through to a file. */
const MAX_MOUNTS = 16

/** Most drives that a reader has open. */
const MAX_OPEN = 256

/** Milliseconds to wait for somebody who tells how long a drive is that nothing is known of. */
const PATIENCE = 1000

/** Which state of a drive is mounted. */
export interface MountOptions {
  /** The version to show; the newest one by default. */
  version?: number | null
}

/** What an entry mounts. */
export interface Mount {
  /** Of the drive, 32 bytes. */
  key: Uint8Array
  /** The version to show; null for the newest. */
  version: number | null
}

/** Where a path leads: a drive, and a path there. */
export interface Place {
  /** The drive that the path is in. */
  drive: Hyperdrive
  /** In that drive. */
  path: string
}

/** The entry of a mount. */
export function mountValue (key: Uint8Array | string, { version = null }: MountOptions): DriveValue {
  if (version !== null && !(Number.isSafeInteger(version) && version > 0)) {
    throw new HypertabError('BAD_ARGUMENT', 'the version of a mount must be a whole number above 0')
  }
  const id = encodeId(isBytes(key) ? key : decodeId(key))
  return { executable: false, linkname: null, blob: null, metadata: { mount: version === null ? { key: id } : { key: id, version } } }
}

/** What an entry mounts; null when it is no mount. */
function mountOf (entry: DriveEntry | null): Mount | null {
  const { linkname, blob, metadata } = entry?.value ?? {}
  const mount = metadata?.mount
  if (linkname || blob?.byteLength || typeof mount?.key !== 'string') return null
  const version = mount.version ?? null
  if (version !== null && !(Number.isSafeInteger(version) && version > 0)) return null
  try {
    return { key: decodeId(mount.key), version }
  } catch {
    return null
  }
}

/** Reads a drive and those that are mounted in it as one. */
export class MountReader {
  /** The drive that the mounts are in. */
  readonly drive: Hyperdrive
  readonly #opened = new Map<string, Hyperdrive>()
  /** Drives that nothing was known of when they were opened: each is waited for once. */
  readonly #asked = new Map<string, Promise<void>>()
  #closed = false

  /** @internal */
  constructor (drive: Hyperdrive) {
    this.drive = drive
  }

  /**
   * Finds the drive that has a path, and its path there.
   *
   * @throws when a mount leads back into a drive on the way, or through too many
   */
  async resolve (name: string, options?: WaitOptions): Promise<Place> {
    let place: Place = { drive: this.drive, path: resolvePath('/', name) }
    const way = [this.drive.id]
    for (;;) {
      const found = await findMount(place, options)
      if (!found) return place
      const drive = await this.#open(found.mount, options)
      if (way.includes(drive.id)) throw new HypertabError('MOUNT_LOOP', `a mount at ${found.path} leads back into a drive on the way`)
      if (way.push(drive.id) > MAX_MOUNTS) throw new HypertabError('MOUNT_LOOP', `more than ${MAX_MOUNTS} mounts lead to ${name}`)
      place = { drive, path: found.rest }
    }
  }

  /** The entry of a file; its key is the path in the drive that has it. */
  async entry (name: string, options?: EntryOptions): Promise<DriveEntry | null> {
    const { drive, path } = await this.resolve(name, options)
    return path === '/' ? null : await drive.entry(path, options)
  }

  /** Resolves to whether there is a file or link of this path. */
  async exists (name: string): Promise<boolean> {
    return await this.entry(name) !== null
  }

  /** A file's content; null for none. */
  async get (name: string, options?: EntryOptions & ReadOptions): Promise<Uint8Array | null> {
    const { drive, path } = await this.resolve(name, options)
    return path === '/' ? null : await drive.get(path, options)
  }

  /** The bytes of a file. */
  async createReadStream (name: string, options?: ReadOptions): Promise<FileReadStream> {
    const { drive, path } = await this.resolve(name)
    return drive.createReadStream(path, options)
  }

  /** Names of what is directly in a folder; a mount is a name there. */
  async * readdir (folder = '/', options?: WaitOptions): AsyncGenerator<string, void, undefined> {
    const { drive, path } = await this.resolve(folder, options)
    for await (const name of drive.readdir(path, options)) yield name
  }

  /** Files of a folder and of all below it, through mounts, with their whole paths. A mount that leads back is an entry without content. */
  async * list (folder = '/', options?: WaitOptions): AsyncGenerator<DriveEntry, void, undefined> {
    const open: Array<{ at: string, place: Place, way: Array<string | null> }> = []
    const first = await this.resolve(folder, options)
    open.push({ at: folderPath(folder), place: first, way: [this.drive.id, first.drive.id] })
    for (let next = open.pop(); next; next = open.pop()) {
      const { at, place: { drive, path }, way } = next
      const skipped = folderPath(path).length
      for await (const entry of drive.list(path, options)) {
        const key = at + entry.key.slice(skipped)
        const mount = mountOf(entry)
        const mounted = mount && way.length <= MAX_MOUNTS ? await this.#open(mount, options) : null
        if (mounted && !way.includes(mounted.id)) open.push({ at: key, place: { drive: mounted, path: '/' }, way: [...way, mounted.id] })
        else yield { ...entry, key }
      }
    }
  }

  /** Closes the drives that were opened; the one that is read stays open. */
  async close (): Promise<void> {
    this.#closed = true
    for (const drive of this.#opened.values()) await drive.close()
    this.#opened.clear()
  }

  async #open ({ key, version }: Mount, options?: WaitOptions): Promise<Hyperdrive> {
    if (this.#closed) throw new HypertabError('SESSION_CLOSED', 'the reader of mounts is closed')
    const id = encodeId(key)
    const drive = await this.#ready(id, () => this.#make(key))
    if (version !== null) return await this.#ready(`${id}+${version}`, () => drive.checkout(version))
    // Who is connected may have it, and has not told of it when it has just been opened.
    if (drive.core.length === 0 && options?.wait !== false) {
      if (!this.#asked.has(id)) this.#asked.set(id, untilKnown(drive))
      await this.#asked.get(id)
    }
    return drive
  }

  // One that does not open is forgotten, so that a later read tries again.
  async #ready (name: string, make: () => Hyperdrive): Promise<Hyperdrive> {
    let drive = this.#opened.get(name)
    if (!drive) {
      if (this.#opened.size >= MAX_OPEN) throw new HypertabError('TOO_MANY_MOUNTS', `more than ${MAX_OPEN} drives are mounted`)
      drive = make()
      this.#opened.set(name, drive)
    }
    try {
      await drive.ready()
    } catch (error) {
      if (this.#opened.get(name) === drive) this.#opened.delete(name)
      await (drive._checkout ? drive.db : drive.corestore).close()
      throw error
    }
    return drive
  }

  #make (key: Uint8Array): Hyperdrive {
    const store = this.drive.corestore.session()
    const bee = new Hyperbee(store.get({ key, writable: false }), { keyEncoding: 'utf-8', valueEncoding: 'json' })
    return new (this.drive.constructor as typeof Hyperdrive)(store, key, { _db: bee })
  }
}

async function untilKnown (drive: Hyperdrive): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined
  const late = new Promise((resolve) => { timer = setTimeout(resolve, PATIENCE) })
  // Why it fails, the read says that comes next.
  await Promise.race([drive.update({ wait: true }).catch(() => {}), late])
  clearTimeout(timer)
}

// The first mount on the way to a path, and what is left of the path behind it.
async function findMount ({ drive, path }: Place, options?: WaitOptions): Promise<{ mount: Mount, path: string, rest: string } | null> {
  const names = path.split('/').slice(1)
  for (let i = 1; i <= names.length; i++) {
    const above = '/' + names.slice(0, i).join('/')
    if (above === '/') continue
    const mount = mountOf(await drive.entry(above, options))
    if (mount) return { mount, path: above, rest: '/' + names.slice(i).join('/') }
  }
  return null
}
