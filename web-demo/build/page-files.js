/* global FILES, VERSION: two lines that the build puts in front */
// Serves the page when the network is cut. Blocks and keys are none of its business: they are in IndexedDB.

const cacheName = `hypertab-page-${VERSION}`

/** Where the package serves drives. */
const drives = new URL('hyper/', self.registration.scope).href

self.addEventListener('install', (event) => {
  event.waitUntil(keepFiles().then(() => self.skipWaiting()))
})

self.addEventListener('activate', (event) => {
  event.waitUntil(dropOldFiles().then(() => self.clients.claim()))
})

self.addEventListener('fetch', (event) => {
  const { request } = event
  // What is of a drive, or asked for by a document of one, is the package's to answer; everything else is not.
  if (request.url.startsWith(drives) || request.referrer.startsWith(drives)) return
  event.stopImmediatePropagation()
  const url = new URL(request.url)
  if (request.method !== 'GET' || url.origin !== self.location.origin || !request.url.startsWith(self.registration.scope)) return
  const isFresh = request.mode === 'navigate' || url.pathname.endsWith('/config.json')
  event.respondWith(isFresh ? networkFirst(request) : cacheFirst(request))
})

async function keepFiles () {
  const cache = await caches.open(cacheName)
  await cache.addAll(FILES.map((file) => new Request(file, { cache: 'no-cache' })))
}

async function dropOldFiles () {
  const names = await caches.keys()
  await Promise.all(names.filter((name) => name.startsWith('hypertab-page-') && name !== cacheName).map((name) => caches.delete(name)))
}

async function networkFirst (request) {
  try {
    return await fetch(request)
  } catch (error) {
    const kept = await keptFor(request)
    if (kept) return kept
    throw error
  }
}

async function cacheFirst (request) {
  return await keptFor(request) ?? await fetch(request)
}

async function keptFor (request) {
  const cache = await caches.open(cacheName)
  if (request.mode === 'navigate') return await cache.match('./')
  return await cache.match(request, { ignoreSearch: true })
}
