// Where something is kept in this browser: an IndexedDB database of its own, which can be deleted as a whole. Where the browser keeps
// nothing, it is in memory.

import { destroyStorage, indexedDb, memory } from 'hypertab/storage'
import type { Storage } from 'hypertab/storage'

import { isKept } from './settings.ts'

const inMemory = new Map<string, Storage>()

/** Returns the storage of a name. */
export function openStore (name: string): Storage {
  if (isKept) return indexedDb(`hypertab-demo:${name}`)
  const storage = inMemory.get(name) ?? memory()
  inMemory.set(name, storage)
  return storage
}

/** Deletes a store and everything in it. No core may be open in it. */
export async function removeStore (name: string): Promise<void> {
  await destroyStorage(openStore(name))
  inMemory.delete(name)
}
