// What the part of the address after # names, and back.

import { parseUrl } from 'hypertab'

import { formatKey, KeyError, parseKey } from './key.ts'

export type Place =
  | { readonly view: 'logs' }
  | { readonly view: 'log', readonly id: string }
  | { readonly view: 'drives' }
  | { readonly view: 'drive', readonly id: string, readonly version: number | null, readonly path: string }
  | { readonly view: 'tables' }
  | { readonly view: 'table', readonly id: string }
  | { readonly view: 'sites' }
  | { readonly view: 'site', readonly id: string, readonly version: number | null, readonly path: string }
  | { readonly view: 'rooms' }
  | { readonly view: 'room', readonly id: string, readonly name: string }
  | { readonly view: 'network' }
  | { readonly view: 'keys' }

/** Reads an address. Throws a KeyError when the key in it is wrong. */
export function parsePlace (hash: string): Place {
  const text = hash.replace(/^#\/?/, '')
  const [head = '', ...rest] = text.split('/')
  switch (head) {
    case '': return { view: 'logs' }
    case 'network': return { view: 'network' }
    case 'keys': return { view: 'keys' }
    case 'drive': return rest[0] ? drivePlace(rest.join('/')) : { view: 'drives' }
    case 'site': return rest[0] ? { view: 'site', ...parseDriveLink(rest.join('/')) } : { view: 'sites' }
    case 'room': return rest[0] ? { view: 'room', id: formatKey(parseKey(decodeURIComponent(rest[0]))), name: decodeURIComponent(rest[1] ?? '') } : { view: 'rooms' }
    case 'table': return rest[0] ? { view: 'table', id: formatKey(parseKey(decodeURIComponent(rest[0]))) } : { view: 'tables' }
    default: return { view: 'log', id: formatKey(parseKey(decodeURIComponent(text))) }
  }
}

// A folder is the same with a slash behind it and without; for pages of a site it is not.
function drivePlace (text: string): Place {
  const { id, version, path } = parseDriveLink(text)
  return { view: 'drive', id, version, path: path === '/' ? path : path.replace(/\/$/, '') }
}

/** Reads the link of a drive: a key in any form, or one with a version and a path. */
export function parseDriveLink (text: string): { id: string, version: number | null, path: string } {
  const bare = text.trim().replace(/^hyper:\/\//i, '')
  const host = /^[^/?#]*/.exec(bare)![0]
  const id = formatKey(parseKey(host.replace(/\+.*$/, '')))
  try {
    const { version, path } = parseUrl(`hyper://${id}${host.includes('+') ? host.slice(host.indexOf('+')) : ''}${bare.slice(host.length)}`)
    return { id, version: version === 0 ? null : version, path: normal(path) }
  } catch {
    throw new KeyError('The version or path in this link is wrong. Copy it again, all of it.')
  }
}

/** Writes the address of a place in a drive. */
export function driveAddress (id: string, path: string, version: number | null): string {
  return addressIn('drive', id, path, version)
}

/** Writes the address of a page of a site. */
export function siteAddress (id: string, path: string, version: number | null): string {
  return addressIn('site', id, path, version)
}

function addressIn (view: string, id: string, path: string, version: number | null): string {
  const names = path.split('/').map(encodeURIComponent).join('/')
  return `#/${view}/${id}${version === null ? '' : `+${version}`}${names === '/' ? '' : names}`
}

/** Returns a place on this page as a link for others: without what the address bar says of this browser only. */
export function pageLink (place: string): string {
  const url = new URL(place, location.href)
  url.search = ''
  return url.href
}

function normal (path: string): string {
  const names = path.split('/').filter((name) => name !== '' && name !== '.' && name !== '..')
  return `/${names.join('/')}${names.length > 0 && path.endsWith('/') ? '/' : ''}`
}
