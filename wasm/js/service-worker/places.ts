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
  secret ??= makeSecret(scope)
  try {
    return await tokenBy(await secret, key, version)
  } catch (error) {
    secret = null
    throw error
  }
}

/** Whether a token is one that a service worker of this scope gave to a document of the drive. */
export async function isToken (scope: Pick<Scope, 'caches' | 'registration'>, { key, version }: Pick<Place, 'key' | 'version'>, token: string): Promise<boolean> {
  // Only the service worker makes a secret: one of each would never agree.
  const known = await storedSecret(scope)
  return known !== null && token === await tokenBy(known, key, version)
}

async function tokenBy (secret: ArrayBuffer, key: string, version: number | null): Promise<string> {
  const signer = await crypto.subtle.importKey('raw', secret, { name: 'HMAC', hash: 'SHA-256' }, false, ['sign'])
  const signature = await crypto.subtle.sign('HMAC', signer, new TextEncoder().encode(`${key}+${version ?? ''}`))
  return [...new Uint8Array(signature)].map((byte) => byte.toString(16).padStart(2, '0')).join('')
}

let secret: Promise<ArrayBuffer> | null = null

// Kept: a service worker is stopped and started again while its documents stay, and pages compare with it.
async function makeSecret (scope: Pick<Scope, 'caches' | 'registration'>): Promise<ArrayBuffer> {
  const known = await storedSecret(scope)
  if (known) return known
  const made = crypto.getRandomValues(new Uint8Array(32)).buffer
  await (await scope.caches.open(CACHE)).put(secretName(scope), new Response(made))
  return made
}

async function storedSecret (scope: Pick<Scope, 'caches' | 'registration'>): Promise<ArrayBuffer | null> {
  const known = await (await scope.caches.open(CACHE)).match(secretName(scope))
  return known ? await known.arrayBuffer() : null
}

const CACHE = 'hypertab-service-worker'

function secretName ({ registration }: Pick<Scope, 'registration'>): string {
  return new URL('hypertab-secret', registration.scope).href
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
