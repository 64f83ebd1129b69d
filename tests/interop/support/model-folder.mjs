// A folder on the disk as the reference of a drive.
//
// A drive has a file and a folder of one name; here names of folders end in `~`. What is put is a new file in the place of the old one, and a copy has
// links to the same files: it stays as it was, and files of two copies are one on the disk where nothing was put in between. What is cleared goes
// for all copies, and a file has no bits for who may read it from then on. Metadata is the time of the last change.

import {
  chmodSync, linkSync, lstatSync, mkdirSync, readdirSync, readFileSync, readlinkSync, renameSync, rmdirSync, symlinkSync, unlinkSync, utimesSync, writeFileSync
} from 'node:fs'
import { dirname, join } from 'node:path'

/** Bits of a mode. */
const MAY_RUN = 0o111
const MAY_READ = 0o444

/** Files and links by their names in the drive. */
class Files {
  constructor (path) {
    this.path = path
    mkdirSync(path)
  }

  /** What there is of a name; null for nothing. */
  read (name) {
    const path = this.pathOf(name)
    const stat = lstatSync(path, { throwIfNoEntry: false })
    if (!stat) return null
    const { ino, mode, mtimeMs } = stat
    const isCleared = (mode & MAY_READ) === 0
    if (stat.isSymbolicLink()) return { ino, linkname: readlinkSync(path), executable: false, metadata: null, bytes: null, isCleared: false }
    return {
      ino,
      linkname: null,
      executable: (mode & MAY_RUN) !== 0,
      metadata: mtimeMs === 0 ? null : { n: mtimeMs / 1000 - 1 },
      bytes: isCleared ? null : readFileSync(path),
      isCleared
    }
  }

  /** Names, each with a number that its file has in all copies. */
  inodes () {
    return new Map(this.names().map((name) => [name, lstatSync(this.pathOf(name)).ino]))
  }
}

/** A folder that changes. */
export class ModelFolder extends Files {
  put (name, bytes, { executable, metadata }) {
    this.#replace(name, (path) => {
      writeFileSync(path, bytes)
      chmodSync(path, MAY_READ | (executable ? MAY_RUN : 0))
      utimesSync(path, 0, metadata === null ? 0 : 1 + metadata.n)
    })
  }

  symlink (name, linkname) {
    this.#replace(name, (path) => { symlinkSync(linkname, path) })
  }

  del (name) {
    const path = this.pathOf(name)
    if (!lstatSync(path, { throwIfNoEntry: false })) return
    unlinkSync(path)
    // A drive has no empty folders.
    for (let folder = dirname(path); folder !== this.path && readdirSync(folder).length === 0; folder = dirname(folder)) rmdirSync(folder)
  }

  clear (name) {
    const path = this.pathOf(name)
    chmodSync(path, lstatSync(path).mode & MAY_RUN)
  }

  /** Every file and link below a folder. */
  names (folder = '/') {
    return [...this.#walk(folder === '/' ? '' : folder)].flatMap(({ files }) => files)
  }

  /** Every folder, each with the names that are directly in it. */
  folders () {
    return [...this.#walk('')].map(({ folder, children }) => [folder || '/', children])
  }

  copy (path) {
    const copy = new FolderCopy(path)
    for (const name of this.names()) linkSync(this.pathOf(name), copy.pathOf(name))
    return copy
  }

  /** Makes it what it was when it was copied. */
  restore (copy) {
    const [now, then] = [this.inodes(), copy.inodes()]
    for (const [name, ino] of now) if (then.get(name) !== ino) this.del(name)
    for (const [name, ino] of then) if (now.get(name) !== ino) this.#replace(name, (path) => { linkSync(copy.pathOf(name), path) })
  }

  pathOf (name) {
    const at = name.lastIndexOf('/')
    return join(this.#folderOf(name.slice(0, at)), name.slice(at + 1))
  }

  /** Each folder, before those in it. */
  * #walk (folder) {
    let entries
    try {
      entries = readdirSync(this.#folderOf(folder), { withFileTypes: true })
    } catch (error) {
      if (error.code === 'ENOENT') return
      throw error
    }
    const files = entries.filter((entry) => !entry.isDirectory()).map(({ name }) => `${folder}/${name}`)
    const folders = entries.filter((entry) => entry.isDirectory()).map(({ name }) => `${folder}/${name.slice(0, -1)}`)
    yield { folder, files, children: [...new Set([...files, ...folders].map((name) => name.slice(folder.length + 1)))] }
    for (const inner of folders) yield * this.#walk(inner)
  }

  #replace (name, write) {
    const path = this.pathOf(name)
    mkdirSync(dirname(path), { recursive: true })
    const fresh = `${this.path}.new`
    write(fresh)
    renameSync(fresh, path)
  }

  #folderOf (folder) {
    return this.path + folder.split('/').map((part) => part && `/${part}~`).join('')
  }
}

/** What a folder was: its files beside each other, since folders take disks most of the time. */
class FolderCopy extends Files {
  names (folder = '/') {
    const prefix = folder === '/' ? '/' : folder + '/'
    return readdirSync(this.path).map((name) => name.replaceAll('~', '/')).filter((name) => name.startsWith(prefix))
  }

  folders () {
    const folders = new Map([['/', new Set()]])
    for (const name of this.names()) {
      for (let at = name.indexOf('/'), next; at >= 0; at = next) {
        next = name.indexOf('/', at + 1)
        const folder = name.slice(0, at) || '/'
        if (!folders.has(folder)) folders.set(folder, new Set())
        folders.get(folder).add(next < 0 ? name.slice(at + 1) : name.slice(at + 1, next))
      }
    }
    return [...folders].map(([folder, children]) => [folder, [...children]])
  }

  remove () {
    for (const name of this.names()) unlinkSync(this.pathOf(name))
    rmdirSync(this.path)
  }

  pathOf (name) {
    return join(this.path, name.replaceAll('/', '~'))
  }
}
