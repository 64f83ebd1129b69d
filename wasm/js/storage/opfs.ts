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

/** Makes a storage in the file of that name. A dedicated worker can own it; others work through such a worker. */
export function opfs (name: string): Storage {
  return new Storage(name, sharedOpener('opfs', name, {
    async open () {
      const handle = await openHandle(name)
      return call((engine) => engine.openFileStore(syncFile(handle)))
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

function syncFile (handle: SyncAccessHandle): SyncFile {
  return {
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
    close: () => { handle.close() }
  }
}
