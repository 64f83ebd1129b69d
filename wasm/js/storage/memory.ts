// Storage that is gone with the page or process.

import { call } from '../runtime.js'
import { Storage } from './storage.js'

/** Makes a storage in memory. It keeps what is written for as long as the object is held. */
export function memory (): Storage {
  return new Storage('memory', {
    open: async () => call((engine) => engine.openMemoryStore())
  }, { keepOpen: true })
}
