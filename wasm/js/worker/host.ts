// The inside of the worker that has the engine of a page.

import { openSocket } from '../platform.js'
import type { StorageKind } from '../remote/messages.js'
import { workerPort, type Postable } from '../remote/port.js'
import { RemoteSession } from '../remote/session.js'
import { ready } from '../runtime.js'
import { indexedDb } from '../storage/indexed-db.js'
import { memory } from '../storage/memory.js'
import { opfs } from '../storage/opfs.js'
import type { Storage } from '../storage/storage.js'

const makers: Record<StorageKind, (name: string) => Storage> = { 'indexed-db': indexedDb, opfs, memory: () => memory() }

/** Serves the page that has made this worker. */
export function servePage (scope: Postable): void {
  const port = workerPort(scope)
  const early: unknown[] = []
  port.onmessage = (message) => { early.push(message) }
  const storages = new Map<string, Storage>()
  const storageOf = (kind: StorageKind, name: string) => {
    const key = `${kind}:${name}`
    let storage = storages.get(key)
    if (!storage) storages.set(key, storage = makers[kind](name))
    return storage
  }
  void ready().then(() => {
    new RemoteSession(port, {
      open: storageOf,
      destroy: (kind, name) => storageOf(kind, name).destroy(),
      // Where another tab has the store, the answer can get lost on the way.
      isRecorded: (storage) => storage.isOwner === false || storage.isUncertain,
      openSocket
    })
    for (const message of early.splice(0)) port.onmessage!(message)
  }, (error: Error) => {
    // A promise that nobody waits for tells the page nothing; an error does.
    setTimeout(() => { throw error })
  })
}
