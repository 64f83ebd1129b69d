// The service worker's side: an HTTP face of drives that pages of the application have.
//
// What a drive holds must not get the rights of the application, whose origin its addresses have. A document of a drive either
// runs no script at all, or has an origin of its own; scripts and workers for others are not served.

import { ask, type Found } from './asking.js'
import { askingPlace, document, isDocument, place, tokenOf, type Place } from './places.js'
import { documentPolicy, MOST, withOwnOrigin } from './documents.js'

/** The part of a service worker that is used here. */
export interface Scope {
  readonly registration: { readonly scope: string }
  readonly clients: Clients
  readonly caches: CacheStorage
}

/** What the library of types for pages does not have. */
export interface Clients {
  get (id: string): Promise<Client | undefined>
  matchAll (options: { includeUncontrolled: boolean, type: string }): Promise<Client[]>
}

export interface Client {
  readonly url: string
  postMessage (message: unknown, transfer: Transferable[]): void
}

/** Destinations whose content would run with the application's rights. */
const RUNS = new Set(['script', 'worker', 'sharedworker', 'serviceworker', 'audioworklet', 'paintworklet', 'json', 'xslt'])

/** An application that is isolated from other origins shows only frames that are so, too. */
const ALWAYS = { 'x-content-type-options': 'nosniff', 'cross-origin-embedder-policy': 'require-corp' }

/** Answers a request for a file of a drive; null for one that is none. */
export async function answerDrive (scope: Scope, request: Request, clientId: string): Promise<Response | null> {
  const url = new URL(request.url)
  const asked = place(scope, url)
  const asking = await askingPlace(scope, request, clientId)
  if (asked === null) {
    if (asking === null || url.origin !== new URL(scope.registration.scope).origin) return null
    // An address from the root of a site is one of the drive that the site is in.
    const within = new URL(`${asking.root}${url.pathname.slice(1)}${url.search}`)
    if (isDocument(request)) return Response.redirect(within.href)
    return await answer(scope, request, place(scope, within)!, url)
  }
  return await answer(scope, request, asked, url)
}

async function answer (scope: Scope, request: Request, asked: Place, url: URL): Promise<Response> {
  if (request.method !== 'GET' && request.method !== 'HEAD') return refuse(405, 'a drive is read only', { allow: 'GET, HEAD' })
  if (RUNS.has(request.destination)) return refuse(403, 'scripts of a drive run in documents of the drive only')
  if (asked.path === null) return refuse(400, 'the address is not escaped well')
  const found = await ask(scope, asked)
  switch (found.answer.is) {
    case 'nobody': return refuse(503, 'no page of the application that serves this drive is open')
    case 'missing':
    case 'failed':
      found.end()
      return refuse(found.answer.is === 'missing' ? 404 : 502, found.answer.text)
    case 'moved': {
      found.end()
      // Put together, not resolved: a path that begins with slashes stays in the drive.
      return Response.redirect(asked.root + escapePath(found.answer.path.slice(1)) + url.search)
    }
    case 'folder': {
      found.end()
      const { html, tag, isFixed } = found.answer
      return await respond(scope, request, asked, { html, tag, isFixed, type: 'text/html; charset=utf-8' })
    }
    case 'file': return await respondFile(scope, request, asked, found)
  }
}

async function respondFile (scope: Scope, request: Request, asked: Place, found: Found): Promise<Response> {
  const answer = found.answer as Extract<Found['answer'], { is: 'file' }>
  const { size, tag, type, isFixed } = answer
  const headers = headersOf(tag, isFixed, type)
  headers.set('accept-ranges', 'bytes')
  if (request.headers.get('if-none-match')?.split(',').some((known) => ['*', tag, `W/${tag}`].includes(known.trim()))) {
    found.end()
    return new Response(null, { status: 304, headers })
  }
  // A larger one is no page, and runs nothing.
  if (isDocument(request) && document(type) && size <= MOST) {
    const text = await new Response(found.bytes(0, size)).text()
    return await respond(scope, request, { ...asked, path: answer.path }, { html: text, tag, isFixed, type })
  }
  // Whatever asks for it, in case the answer becomes a document all the same.
  headers.set('content-security-policy', 'sandbox; default-src \'none\'; img-src \'self\'; media-src \'self\'; style-src \'unsafe-inline\'')
  // A part is of what is sent, and here nothing is.
  const wanted = request.method === 'HEAD' ? { start: 0, end: size, isPart: false } : rangeOf(request, tag, size)
  if (wanted === null) {
    found.end()
    headers.set('content-range', `bytes */${size}`)
    return new Response(null, { status: 416, headers })
  }
  const { start, end, isPart } = wanted
  headers.set('content-length', String(end - start))
  if (isPart) headers.set('content-range', `bytes ${start}-${end - 1}/${size}`)
  if (request.method === 'HEAD') found.end()
  const body = request.method === 'HEAD' ? null : found.bytes(start, end)
  return new Response(body, { status: isPart ? 206 : 200, headers })
}

/** A document: without scripts as it is, and otherwise so that it needs nothing from outside its own origin. */
async function respond (
  scope: Scope, request: Request, asked: Place, { html, tag, isFixed, type }: { html: string, tag: string, isFixed: boolean, type: string }
): Promise<Response> {
  const headers = headersOf(tag, isFixed, type)
  const runs = /<script|\son\w+\s*=|javascript:/i.test(html)
  headers.set('content-security-policy', documentPolicy(scope, runs, html, type))
  if (request.method === 'HEAD') return new Response(null, { headers })
  if (!runs) return new Response(html, { headers })
  // What it holds depends on more than its own entry.
  headers.delete('etag')
  headers.set('cache-control', 'no-store')
  const load = async (path: string, most: number): Promise<{ type: string, bytes: Uint8Array } | null> => {
    const found = await ask(scope, { ...asked, path })
    if (found.answer.is !== 'file' || found.answer.size > most) {
      found.end()
      return null
    }
    const { size, type } = found.answer
    try {
      return { type, bytes: new Uint8Array(await new Response(found.bytes(0, size)).arrayBuffer()) }
    } catch {
      // The peer that has it is gone: the rest of the page is shown all the same.
      return null
    }
  }
  return new Response(await withOwnOrigin(html, asked, await tokenOf(scope, asked), load), { headers })
}

function headersOf (tag: string, isFixed: boolean, type: string): Headers {
  return new Headers({
    ...ALWAYS,
    'content-type': type,
    etag: tag,
    'cache-control': isFixed ? 'public, max-age=31536000, immutable' : 'no-cache',
    'referrer-policy': 'same-origin'
  })
}

/** The bytes that a request is for; null when there are none such. */
function rangeOf (request: Request, tag: string, size: number): { start: number, end: number, isPart: boolean } | null {
  const whole = { start: 0, end: size, isPart: false }
  const header = request.headers.get('range')
  const condition = request.headers.get('if-range')
  if (header === null || (condition !== null && condition !== tag)) return whole
  const [, first = '', last = ''] = /^bytes=(\d*)-(\d*)$/i.exec(header.trim()) ?? []
  // Several ranges at once, and what is none, are answered with everything.
  if (first === '' && last === '') return whole
  const start = first === '' ? Math.max(0, size - Number(last)) : Number(first)
  const end = first === '' || last === '' ? size : Math.min(Number(last) + 1, size)
  return start < end ? { start, end, isPart: true } : null
}

function refuse (status: number, text: string, headers: Record<string, string> = {}): Response {
  return new Response(text, {
    status,
    headers: { ...ALWAYS, 'content-type': 'text/plain; charset=utf-8', 'content-security-policy': 'sandbox', 'cache-control': 'no-store', ...headers }
  })
}

function escapePath (path: string): string {
  return path.split('/').map(encodeURIComponent).join('/')
}
