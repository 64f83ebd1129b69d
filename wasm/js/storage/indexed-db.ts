// Storage in a database of the page's origin, with one writer among all of its tabs.

import { HypertabError } from '../errors.js'
import { call } from '../runtime.js'
import { lock } from './web-lock.js'
import { sharedOpener } from './shared.js'
import { Storage } from './storage.js'

/** Makes a storage in the IndexedDB database of that name, which any number of tabs and workers may have open. */
export function indexedDb (name: string): Storage {
  return new Storage(name, sharedOpener('indexed-db', name, {
    async open () {
      try {
        // The name alone throws where cookies are blocked.
        if (typeof indexedDB === 'undefined') throw new HypertabError('STORAGE_NOT_AVAILABLE', 'there is no IndexedDB here; use memory(), or a folder in Node')
        const opening = call((engine) => engine.openIndexedDbStore(name))
        return await opening
      } catch (cause) {
        if (cause instanceof HypertabError) throw cause
        throw new HypertabError('STORAGE_NOT_AVAILABLE', `the database ${name} could not be opened`, { cause })
      }
    },
    async destroy () {
      const unlock = await lock(`hypertab-lock:${name}`)
      try {
        await deleteDatabase(name)
      } finally {
        unlock()
      }
    }
  }))
}

function deleteDatabase (name: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const request = indexedDB.deleteDatabase(name)
    request.onsuccess = () => { resolve() }
    request.onerror = () => {
      reject(new HypertabError('STORAGE_NOT_AVAILABLE', `the database ${name} could not be deleted`, { cause: request.error }))
    }
    request.onblocked = () => { reject(new HypertabError('STORAGE_LOCKED', `${name} is open elsewhere; close it there first`)) }
  })
}

/** The storage that a path means in a browser. */
export function indexedDbPath (path: string, _options?: object): Storage {
  return indexedDb(`hypertab:${path}`)
}
