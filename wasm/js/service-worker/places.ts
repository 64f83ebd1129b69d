// Addresses of drives, and which drive a request comes from.

import type { Scope } from './drives.js'
import { FOLDER } from './words.js'

/** What an address means. */
export interface Place {
  /** As it is in the address. */
  key: string
  version: number | null
  /** Not escaped; null when that fails. */
  path: string | null
  /** Address of the drive's root. */
  root: string
}

/** A key as text, in either form. */
const KEY = /^([a-z0-9]{52}|[0-9a-f]{64})$/i

/** What an address means; null when it is not of a drive. */
export function place (scope: Scope, url: URL): Place | null {
  const base = new URL(FOLDER, scope.registration.scope)
  if (url.origin !== base.origin || !url.pathname.startsWith(base.pathname)) return null
  const [name = '', ...rest] = url.pathname.slice(base.pathname.length).split('/')
  const [id = '', pin, ...more] = name.split('+')
  if (more.length > 0 || !KEY.test(id) || (pin !== undefined && !/^\d{1,15}$/.test(pin))) return null
  const root = `${base.href}${name}/`
  return { key: id, version: pin === undefined ? null : Number(pin), path: unescapePath(`/${rest.join('/')}`), root }
}

/** The drive whose document makes a request; null for another document. */
export async function askingPlace (scope: Scope, request: Request, clientId: string): Promise<Place | null> {
  const client = clientId === '' ? null : await scope.clients.get(clientId)
  const from = client?.url ?? request.referrer
  try {
    return place(scope, new URL(from))
  } catch {
    return null
  }
}

/** Whether the answer becomes a document. */
export function isDocument (request: Request): boolean {
  return request.mode === 'navigate' || ['document', 'iframe', 'frame', 'object', 'embed'].includes(request.destination)
}

/** Whether documents of a type can have scripts in them. */
export function document (type: string): boolean {
  return /^(text\/html|application\/xhtml\+xml)/.test(type)
}

/** What only documents of a drive are told, so that others cannot have its files read for them. */
export async function tokenOf (scope: Pick<Scope, 'caches' | 'registration'>, { key, version }: Pick<Place, 'key' | 'version'>): Promise<string> {
  const secret = await crypto.subtle.importKey('raw', await secretOf(scope), { name: 'HMAC', hash: 'SHA-256' }, false, ['sign'])
  const signature = await crypto.subtle.sign('HMAC', secret, new TextEncoder().encode(`${key}+${version ?? ''}`))
  return [...new Uint8Array(signature)].map((byte) => byte.toString(16).padStart(2, '0')).join('')
}

let secret: Promise<ArrayBuffer> | null = null

// Kept: a service worker is stopped and started again while its documents stay, and pages compare with it.
function secretOf ({ caches, registration }: Pick<Scope, 'caches' | 'registration'>): Promise<ArrayBuffer> {
  secret ??= (async () => {
    const cache = await caches.open('hypertab-service-worker')
    const name = new URL('hypertab-secret', registration.scope).href
    const known = await cache.match(name)
    if (known) return await known.arrayBuffer()
    const made = crypto.getRandomValues(new Uint8Array(32)).buffer
    await cache.put(name, new Response(made))
    return made
  })()
  return secret
}

function unescapePath (path: string): string | null {
  try {
    return path.split('/').map((part) => {
      const text = decodeURIComponent(part)
      if (text.includes('/') || text.includes('\0')) throw new Error('no part of a path')
      return text
    }).join('/')
  } catch {
    return null
  }
}
