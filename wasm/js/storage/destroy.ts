// Deleting a store by whatever names it.

import { parseStorage, type StorageInput } from './parse.js'

/** Deletes a store and everything in it: by its path or name, or as the storage. No core may be open in it. */
export async function destroyStorage (storage: StorageInput): Promise<void> {
  await parseStorage(storage).destroy()
}
