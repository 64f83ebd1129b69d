// What programs give as storage, turned into a Storage.

import { openPath } from '../platform.js'
import { HypercoreStorage } from './hypercore-storage.js'
import { memory } from './memory.js'
import { Storage } from './storage.js'

/** Storage of upstream's that stands for a folder: `hypercore-storage`. */
interface CoreStorageLike {
  path: string
  isCoreStorage?: boolean
  db?: { opened?: boolean }
  rocks?: { path: string }
  close? (): Promise<void>
}

/** A database that upstream keeps cores in, beside what the program has there: `rocksdb-native`. */
interface Database {
  path: string
  opened: boolean
  closed: boolean
  close (): Promise<void>
}

/** A path, a storage of ours, or one that was made for upstream. */
export type StorageInput = string | Storage | ((name: string) => unknown) | object

/** Upstream's storage objects, each with the store that takes its place. */
const replaced = new WeakMap<object, Storage>()

/** How a path is opened; in a browser neither means anything, as everybody shares one store. */
export interface StorageOptions {
  wait?: boolean
  readOnly?: boolean
}

/** Turns what a program gives into a storage. */
export function parseStorage (input: StorageInput, options: StorageOptions = {}): Storage {
  if (input instanceof Storage) return input
  if (typeof input === 'string') return openPath(input, options)
  // random-access-memory and its like are made for each file anew: in memory.
  if (typeof input === 'function') return memory()
  if (typeof input === 'object' && input !== null) {
    const { path, db, rocks } = input as CoreStorageLike
    if (typeof path === 'string' && (db || rocks)) return inPlaceOf(input as CoreStorageLike)
    if (typeof path === 'string' && 'columnFamily' in input) return besideWhatIsIn(input as object as Database)
    if ('acquire' in input && 'isOwner' in input) throw new TypeError('the storage is of another copy of hypertab; take it from the one that opens it')
    if ('href' in input && String(input.href).startsWith('file:')) return openPath(decodeURIComponent((input as URL).pathname), options)
  }
  throw new TypeError('storage must be a path or a storage object; memory() from hypertab/storage needs neither')
}

// Whoever has upstream's object goes on using it: it tells of the store that took its place, and closes it.
function inPlaceOf (input: CoreStorageLike): Storage {
  const known = replaced.get(input)
  if (known) return known
  const theirs = input.close?.bind(input)
  const storage = new StorageInside(input.rocks?.path ?? `${input.path}/db`, async () => {
    if (input.db?.opened) await theirs?.()
  })
  replaced.set(input, storage)
  for (let owner = HypercoreStorage.prototype; owner !== Object.prototype; owner = Object.getPrototypeOf(owner)) {
    for (const [name, { value, get }] of Object.entries(Object.getOwnPropertyDescriptors(owner))) {
      if (name === 'constructor' || !(name in input) || Object.hasOwn(input, name)) continue
      if (get) Object.defineProperty(input, name, { configurable: true, get: get.bind(storage) })
      else Object.defineProperty(input, name, { configurable: true, writable: true, value: value.bind(storage) })
    }
  }
  input.close = () => storage.close()
  return storage
}

// The program goes on using its database for what it has there.
function besideWhatIsIn (database: Database): Storage {
  const storage = replaced.get(database) ?? new StorageInside(database.path, async () => {
    if (database.opened && !database.closed) await database.close()
  })
  replaced.set(database, storage)
  return storage
}

/** Storage in the folder of a database, which closes with it. */
class StorageInside extends HypercoreStorage {
  #closeDatabase

  constructor (path: string, closeDatabase: () => Promise<void>) {
    super(`${path}/hypertab`)
    this.#closeDatabase = closeDatabase
  }

  override async close (): Promise<void> {
    await super.close()
    await this.#closeDatabase()
  }

  override async userClosed (): Promise<void> {
    await super.userClosed()
    if (this.users === 0) await this.#closeDatabase()
  }
}
