/* global FILES, VERSION, hyperResponse, mayBeHyper: the build puts two lines and hyper-worker.js in front */
// Serves the page when the network is cut. Blocks and keys are none of its business: they are in IndexedDB.

const cacheName = `hypertab-${VERSION}`

self.addEventListener('install', (event) => {
  event.waitUntil(keepFiles().then(() => self.skipWaiting()))
})

self.addEventListener('activate', (event) => {
  event.waitUntil(dropOldFiles().then(() => self.clients.claim()))
})

self.addEventListener('fetch', (event) => {
  const { request } = event
  if ((request.method === 'GET' || request.method === 'HEAD') && mayBeHyper(request)) return event.respondWith(hyperResponse(event))
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
  await Promise.all(names.filter((name) => name.startsWith('hypertab-') && name !== cacheName).map((name) => caches.delete(name)))
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
