// Storage in a folder, for Node, Bun and Deno: one file with everything, and one that says whose it is.

import {
  closeSync, constants, copyFileSync, existsSync, fsyncSync, mkdirSync, mkdtempSync, openSync, readdirSync, readFileSync, readSync, realpathSync, rmdirSync, rmSync, statSync,
  writeFileSync, writeSync
} from 'node:fs'
import { hostname, tmpdir } from 'node:os'
import { join, resolve } from 'node:path'

import type { SyncFile } from '../binding.js'
import { HypertabError } from '../errors.js'
import { call } from '../runtime.js'
import { Storage, type LegacyFiles, type LegacyStore } from './storage.js'

const STORE = 'store'
const LOCK = 'lock'
const IMPORTED = 'imported'
const PRIMARY_KEY = 'primary-key'
const CORES = 'cores'

/** Milliseconds between looks at a lock that somebody else has. */
const LOOK = 50

/** How often a file is copied again because it was written meanwhile. */
const COPIES = 20

export interface FolderOptions {
  /** Waits until nobody else has the store open, instead of failing. */
  wait?: boolean
  /** Opens a copy of the store as it is now, also while somebody else has it open; the copy goes away when it is closed. */
  readOnly?: boolean
}

/** What this process has locked: taken back at its end, however that comes. */
const locks = new Set<string>()
let watchesExit = false

/** Makes a storage in a folder, which is created with those above it. */
export function folder (path: string, { wait = false, readOnly = false }: FolderOptions = {}): Storage {
  const directory = resolve(path)
  const file = join(directory, STORE)
  if (readOnly) return new Storage(path, { open: async () => call((engine) => engine.openFileStore(openCopy(file))) }, { readOnly })
  let unlock: (() => void) | null = null
  const open = () => call((engine) => engine.openFileStore(openFile(file)))
  return new Storage(path, {
    async open () {
      mkdirSync(directory, { recursive: true })
      const place = realpathSync(directory)
      unlock = wait ? await waitForLock(place) : lock(place)
      try {
        return open()
      } catch (error) {
        unlock()
        throw error
      }
    },
    reopen: async () => open(),
    release () {
      unlock?.()
      unlock = null
    },
    legacyFiles: () => legacyFiles(directory),
    legacyStore: () => legacyStore(directory),
    async destroy () {
      if (!existsSync(directory)) return
      const unlock = lock(realpathSync(directory))
      rmSync(join(directory, STORE), { force: true })
      unlock()
      // Only what is empty: a program may keep files of its own there.
      try { rmdirSync(directory) } catch {}
    }
  })
}

// Hypercore 10 kept each part in a file of its own, beside which the store is.
function legacyFiles (directory: string): LegacyFiles | null {
  const path = (name: string) => join(directory, name)
  if (!existsSync(path('oplog')) || existsSync(path(IMPORTED))) return null
  const oplog = readFileSync(path('oplog'))
  if (oplog.byteLength === 0) return null
  const read = (name: string) => existsSync(path(name)) ? readFileSync(path(name)) : null
  let data: number | null = null
  return {
    oplog,
    header: read('header'),
    tree: read('tree') ?? new Uint8Array(0),
    bitfield: read('bitfield') ?? new Uint8Array(0),
    read (offset, length) {
      const bytes = new Uint8Array(length)
      if (data === null && existsSync(path('data'))) data = openSync(path('data'), 'r')
      for (let count = 0; data !== null && count < length;) {
        const read = readSync(data, bytes, count, length - count, offset + count)
        if (read === 0) break
        count += read
      }
      return bytes
    },
    close () {
      if (data !== null) closeSync(data)
      data = null
    },
    imported: () => { writeFileSync(path(IMPORTED), 'The core in these files was imported into `store`.\n') }
  }
}

// Corestore 6 kept each core in a folder of its own, below the first two bytes of its discovery key.
function legacyStore (directory: string): LegacyStore | null {
  const key = join(directory, PRIMARY_KEY)
  const cores = join(directory, CORES)
  const done = join(directory, IMPORTED)
  if ((!existsSync(key) && !existsSync(cores)) || existsSync(done)) return null
  return {
    primaryKey: existsSync(key) ? readFileSync(key) : null,
    cores: legacyCores(cores),
    imported: () => { writeFileSync(done, 'The cores below `cores` were imported into `store`.\n') }
  }
}

function * legacyCores (directory: string): Generator<LegacyFiles> {
  const names = (path: string) => existsSync(path) ? readdirSync(path) : []
  for (const first of names(directory)) {
    for (const second of names(join(directory, first))) {
      for (const core of names(join(directory, first, second))) {
        const files = legacyFiles(join(directory, first, second, core))
        if (files) yield files
      }
    }
  }
}

function openFile (path: string): SyncFile {
  const descriptor = openSync(path, existsSync(path) ? 'r+' : 'w+', 0o600)
  return {
    read (buffer, offset) {
      let count = 0
      while (count < buffer.byteLength) {
        const read = readSync(descriptor, buffer, count, buffer.byteLength - count, offset + count)
        if (read === 0) break
        count += read
      }
      return count
    },
    write (bytes, offset) {
      let written = 0
      while (written < bytes.byteLength) {
        written += writeSync(descriptor, bytes, written, bytes.byteLength - written, offset + written)
      }
    },
    sync: () => { fsyncSync(descriptor) },
    close: () => { closeSync(descriptor) }
  }
}

/** Opens what a file holds now. Of a file that is written meanwhile, parts could be of different times. */
function openCopy (path: string): SyncFile {
  const folder = mkdtempSync(join(tmpdir(), 'hypertab-'))
  const copy = join(folder, STORE)
  const drop = () => { rmSync(folder, { recursive: true, force: true }) }
  const state = () => {
    const { mtimeNs, size } = statSync(path, { bigint: true })
    return `${mtimeNs} ${size}`
  }
  try {
    for (let attempt = 1; ; attempt++) {
      const before = state()
      copyFileSync(path, copy, constants.COPYFILE_FICLONE)
      if (state() === before) break
      if (attempt === COPIES) throw new HypertabError('STORAGE_LOCKED', `${path} is written all the time`)
    }
    const file = openFile(copy)
    return {
      ...file,
      close () {
        file.close()
        drop()
      }
    }
  } catch (error) {
    drop()
    throw error
  }
}

async function waitForLock (directory: string): Promise<() => void> {
  for (;;) {
    try {
      return lock(directory)
    } catch (error) {
      if ((error as { code?: string }).code !== 'STORAGE_LOCKED') throw error
    }
    await new Promise((resolve) => setTimeout(resolve, LOOK))
  }
}

// A lock is a file that names its process. Node has no lock that the system would take back, so a lock whose
// process is gone is stale; one of another machine never is.
function lock (directory: string): () => void {
  const path = join(directory, LOCK)
  const mine = `${process.pid} ${hostname()}\n`
  for (let attempt = 0; ; attempt++) {
    try {
      writeFileSync(path, mine, { flag: 'wx', mode: 0o600 })
      break
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
      const owner = ownerOf(path)
      if (owner !== null && (attempt > 0 || !isStale(path, owner))) throw locked(directory, owner)
      rmSync(path, { force: true })
    }
  }
  locks.add(path)
  watchExit()
  return () => {
    if (locks.delete(path)) rmSync(path, { force: true })
  }
}

function ownerOf (path: string): { pid: number, host: string } | null {
  try {
    const [pid, host] = readFileSync(path, 'utf8').trim().split(' ')
    return { pid: Number(pid), host: host ?? '' }
  } catch {
    return null
  }
}

function isStale (path: string, { pid, host }: { pid: number, host: string }): boolean {
  if (pid === process.pid && host === hostname()) return !locks.has(path)
  if (host !== hostname()) return host === ''
  try {
    process.kill(pid, 0)
    return false
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ESRCH'
  }
}

function locked (directory: string, { pid, host }: { pid: number, host: string }): HypertabError {
  const owner = host !== hostname() ? `process ${pid} on ${host}` : pid === process.pid ? 'this process' : `process ${pid}`
  return new HypertabError('STORAGE_LOCKED', `${directory} is open in ${owner}; File descriptor could not be locked`)
}

function watchExit (): void {
  if (watchesExit) return
  watchesExit = true
  process.once('exit', () => { for (const path of locks) rmSync(path, { force: true }) })
}
