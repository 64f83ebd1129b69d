// What programs give as storage, turned into a Storage.

import { openFolder, openPath } from '../platform.js'
import { memory } from './memory.js'
import { Storage } from './storage.js'

/** Storage of upstream's that stands for a folder: `hypercore-storage`. */
interface CoreStorageLike {
  path: string
  isCoreStorage?: boolean
  db?: unknown
  rocks?: unknown
}

/** A path, a storage of ours, or one that was made for upstream. */
export type StorageInput = string | Storage | ((name: string) => unknown) | object

/** Upstream's storage objects, each with the store that takes its place. */
const replaced = new WeakMap<object, Storage>()

/** Turns what a program gives into a storage. */
export function parseStorage (input: StorageInput): Storage {
  if (input instanceof Storage) return input
  if (typeof input === 'string') return openPath(input)
  // random-access-memory and its like are made for each file anew: in memory.
  if (typeof input === 'function') return memory()
  if (typeof input === 'object' && input !== null) {
    const { path, db, rocks } = input as CoreStorageLike
    if (typeof path === 'string' && (db || rocks)) return reuse(input, () => openFolder(`${path}/db/hypertab`))
    if ('href' in input && String(input.href).startsWith('file:')) return openPath(decodeURIComponent((input as URL).pathname))
  }
  throw new TypeError('storage must be a path or a storage object; memory() from hypertab/storage needs neither')
}

function reuse (input: object, make: () => Storage): Storage {
  const known = replaced.get(input)
  if (known) return known
  const storage = make()
  replaced.set(input, storage)
  return storage
}
