// Where a log is kept in this browser: an IndexedDB database of its own, which can be deleted as a whole.

import { indexedDb } from 'hypertab/storage'
import type { Storage } from 'hypertab/storage'

/** Returns the storage of a log. */
export function openStore (name: string): Storage {
  return indexedDb(database(name))
}

/** Deletes a store and everything in it. No core may be open in it. */
export function removeStore (name: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const request = indexedDB.deleteDatabase(database(name))
    request.onsuccess = () => resolve()
    request.onerror = () => reject(request.error ?? new Error('the browser could not delete it'))
    request.onblocked = () => reject(new Error('it is open in another tab; close it there first'))
  })
}

function database (name: string): string {
  return `hypertab-demo:${name}`
}
