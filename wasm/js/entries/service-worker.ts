// Drives at addresses of the application: `hyper/<key>[+version]/path` below the scope of a service worker.
//
// In a service worker, importing this is all. On a page, `serveDrives()` says which drives there are.

import { answerDrive, type Scope } from '../service-worker/drives.js'
import { CLAIM } from '../service-worker/words.js'

export { answerDrive } from '../service-worker/drives.js'
export { serveDrives, DriveServer, type OpenDrive, type ServeOptions } from '../service-worker/host.js'

interface FetchEvent extends Event {
  readonly request: Request
  readonly clientId: string
  respondWith (response: Promise<Response>): void
}

interface WorkerScope extends Scope {
  skipWaiting (): Promise<void>
  readonly clients: Scope['clients'] & { claim (): Promise<void> }
  addEventListener (name: string, listener: (event: any) => void): void
}

if ('ServiceWorkerGlobalScope' in globalThis) {
  const scope = globalThis as unknown as WorkerScope
  scope.addEventListener('install', () => { void scope.skipWaiting() })
  scope.addEventListener('activate', (event) => { event.waitUntil(scope.clients.claim()) })
  // A page that was loaded past the service worker asks to come under it.
  scope.addEventListener('message', (event) => { if (event.data === CLAIM) event.waitUntil(scope.clients.claim()) })
  scope.addEventListener('fetch', (event: FetchEvent) => {
    event.respondWith(answerDrive(scope, event.request, event.clientId).then((response) => response ?? fetch(event.request)))
  })
}
