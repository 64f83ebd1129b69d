// Where a log is kept in this browser: an IndexedDB database of its own, which can be deleted as a whole.

import { destroyStorage, indexedDb } from 'hypertab/storage'
import type { Storage } from 'hypertab/storage'

/** Returns the storage of a log. */
export function openStore (name: string): Storage {
  return indexedDb(database(name))
}

/** Deletes a store and everything in it. No core may be open in it. */
export async function removeStore (name: string): Promise<void> {
  await destroyStorage(openStore(name))
}

function database (name: string): string {
  return `hypertab-demo:${name}`
}
