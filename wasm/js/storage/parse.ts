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
  rocks?: unknown
  close? (): Promise<void>
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
    if ('acquire' in input && 'isOwner' in input) throw new TypeError('the storage is of another copy of hypertab; take it from the one that opens it')
    if ('href' in input && String(input.href).startsWith('file:')) return openPath(decodeURIComponent((input as URL).pathname), options)
  }
  throw new TypeError('storage must be a path or a storage object; memory() from hypertab/storage needs neither')
}

// Whoever has upstream's object goes on using it: it tells of the store that took its place, and closes it.
function inPlaceOf (input: CoreStorageLike): Storage {
  const known = replaced.get(input)
  if (known) return known
  const storage = new HypercoreStorage(`${input.path}/db/hypertab`)
  replaced.set(input, storage)
  const theirs = input.close?.bind(input)
  for (let owner = HypercoreStorage.prototype; owner !== Object.prototype; owner = Object.getPrototypeOf(owner)) {
    for (const [name, { value, get }] of Object.entries(Object.getOwnPropertyDescriptors(owner))) {
      if (name === 'constructor' || !(name in input) || Object.hasOwn(input, name)) continue
      if (get) Object.defineProperty(input, name, { configurable: true, get: get.bind(storage) })
      else Object.defineProperty(input, name, { configurable: true, writable: true, value: value.bind(storage) })
    }
  }
  input.close = async () => {
    await storage.close()
    if (input.db?.opened) await theirs?.()
  }
  return storage
}
