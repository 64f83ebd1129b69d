// Storage in a file of the origin private file system; only a dedicated worker may have one.

import type { SyncFile } from '../binding.js'
import { HypertabError } from '../errors.js'
import { call } from '../runtime.js'
import { lock } from './web-lock.js'
import { sharedOpener } from './shared.js'
import { Storage } from './storage.js'

/** What workers have and the library of types for pages does not. */
interface SyncAccessHandle {
  read (buffer: Uint8Array, options: { at: number }): number
  write (bytes: Uint8Array, options: { at: number }): number
  getSize (): number
  flush (): void
  close (): void
}

interface FileHandle {
  createSyncAccessHandle? (options: { mode: string }): Promise<SyncAccessHandle>
}

/**
 * How a file is opened that a frozen worker may have, which cannot let go of it. The Web Lock says who owns it, and the engine
 * compares the owner in the file with itself before it writes. Only Chromium knows this mode; elsewhere nobody else gets the file.
 */
const SHARED = 'readwrite-unsafe'

/** How long the file of a worker that is gone may stay taken, in milliseconds. */
const PATIENCE = 2000

/** How many others may have the file: as many as the newest header of the engine has copies to spare. */
const MOST_OTHERS = 31

/** How long nobody takes the store from a realm that has just got it, in milliseconds: less than an owner may be silent. */
const UNDISTURBED = 250

/** Makes a storage in the file of that name. A dedicated worker can own it; others work through such a worker. */
export function opfs (name: string): Storage {
  return new Storage(name, sharedOpener('opfs', name, {
    async open () {
      const presence = await enter(name)
      let handle: SyncAccessHandle | null = null
      try {
        handle = await openHandle(name)
        const others = await presence.others()
        if (others > MOST_OTHERS) throw new HypertabError('STORAGE_NOT_AVAILABLE', 'too many frozen tabs have this store')
        const file = syncFile(handle, presence.leave, others > 0)
        return call((engine) => engine.openFileStore(file))
      } catch (error) {
        handle?.close()
        presence.leave()
        throw error
      }
    },
    async destroy () {
      const unlock = await lock(`hypertab-lock:opfs:${name}`)
      try {
        const root = await globalThis.navigator?.storage?.getDirectory?.()
        await root?.removeEntry(encodeURIComponent(name)).catch((error: Error) => {
          if (error.name !== 'NotFoundError') throw error
        })
      } finally {
        unlock()
      }
    }
  }))
}

async function openHandle (name: string): Promise<SyncAccessHandle> {
  const root = await globalThis.navigator?.storage?.getDirectory?.().catch((cause: unknown) => {
    throw new HypertabError('STORAGE_NOT_AVAILABLE', 'this page may have no origin private file system, as in some private windows', { cause })
  })
  if (!root) throw new HypertabError('STORAGE_NOT_AVAILABLE', 'this environment has no origin private file system')
  const file = await root.getFileHandle(encodeURIComponent(name), { create: true }) as FileHandle
  if (!file.createSyncAccessHandle) {
    throw new HypertabError('STORAGE_NOT_AVAILABLE', 'opfs() works in a dedicated worker only; use indexedDB() on a page')
  }
  const mode = globalThis.navigator.locks ? SHARED : 'readwrite'
  for (const start = performance.now(); ;) {
    try {
      return await file.createSyncAccessHandle({ mode })
    } catch (error) {
      if ((error as Error).name !== 'NoModificationAllowedError' || performance.now() - start > PATIENCE) throw error
      await new Promise((resolve) => { setTimeout(resolve, 20) })
    }
  }
}

/** What a realm says while it has the file. */
interface Presence {
  others (): Promise<number>
  leave (): void
}

/**
 * Says that this realm has the file, by a lock that all who have it share: a browser frees it only when the realm is gone, and one that
 * is frozen may be so in the middle of a write.
 */
async function enter (name: string): Promise<Presence> {
  const locks = globalThis.navigator.locks as LockManager | undefined
  // Then nobody else gets the file.
  if (!locks) return { others: async () => 0, leave () {} }
  const own = `hypertab-file:${name}`
  const leave = await new Promise<() => void>((resolve, reject) => {
    locks.request(own, { mode: 'shared' }, () => new Promise<void>((end) => { resolve(end) })).catch(reject)
  })
  const others = async () => {
    const { held } = await locks.query()
    return held!.filter((lock) => lock.name === own).length - 1
  }
  return { others, leave }
}

function syncFile (handle: SyncAccessHandle, leave: () => void, isShared: boolean): SyncFile {
  const asked = performance.now()
  return {
    get lengthIfShared () {
      // A realm that slept meanwhile may no longer be the only one.
      return isShared || performance.now() - asked > UNDISTURBED ? handle.getSize() : undefined
    },
    read: (buffer, offset) => handle.read(buffer, { at: offset }),
    write (bytes, offset) {
      let written = 0
      while (written < bytes.byteLength) {
        const taken = handle.write(bytes.subarray(written), { at: offset + written })
        // Where a browser takes nothing instead of saying so.
        if (taken === 0) throw new DOMException('the file takes nothing more', 'QuotaExceededError')
        written += taken
      }
    },
    sync: () => { handle.flush() },
    close () {
      try {
        handle.close()
      } finally {
        leave()
      }
    }
  }
}
