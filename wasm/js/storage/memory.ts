// Storage that is gone with the page or process.

import { call, expect, unlisten } from '../runtime.js'
import { Storage } from './storage.js'

/** Closes stores that nobody can open again. */
const abandoned = new FinalizationRegistry<number>((store) => {
  unlisten('store', store)
  try {
    expect(call((engine) => engine.closeStore(store)), () => {})
  } catch {
    // It was closed already, or with the engine.
  }
})

/** Makes a storage in memory. It keeps what is written for as long as the object is held. */
export function memory (): Storage {
  const storage = new Storage('memory', {
    open: async () => {
      const store = call((engine) => engine.openMemoryStore())
      abandoned.register(storage, store)
      return store
    }
  }, { keepOpen: true })
  return storage
}
