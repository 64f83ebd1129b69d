// Links of the form `hyper://<key>[+<version>[.<tree hash>]][/path][?query][#fragment]`.
//
// A link with a tree hash is a strong one: it means this content and no other, whoever signs it.

import { decodeId, encodeId, isValidId } from '../support/id.js'
import { isBytes } from '../support/bytes.js'
import { invalidLink } from './link-error.js'
import { parse as parsePear, serialize as serializePear } from './pear-link.js'

/** Where a file is. */
export interface DriveUrl {
  /** Which kind of link it is. */
  protocol: 'hyper:' | 'pear:'
  /** Of the drive, 32 bytes. */
  key: Uint8Array
  /** The version; null for the newest one. */
  version: number | null
  /** Which history the version is of; only in pear links. */
  fork: number | null
  /** The tree hash of the entries' core at the version, 32 bytes. */
  treeHash: Uint8Array | null
  /** The path, without escapes. */
  path: string
  /** With its `?`, or empty. */
  search: string
  /** With its `#`, or empty. */
  hash: string
}

/** What a link is made of. */
export type DriveUrlInput = Partial<Omit<DriveUrl, 'key'>> & { key: Uint8Array | string }

const HYPER = /^hyper:\/\/([^/?#]*)([^?#]*)(\?[^#]*)?(#.*)?$/is

/** Takes a `hyper:` or `pear:` link to its parts. */
export function parseUrl (link: string): DriveUrl {
  if (/^pear:\/\//i.test(link)) {
    const { drive, pathname, search, hash } = parsePear(link)
    const { key, length: version, fork, hash: treeHash } = drive
    return { protocol: 'pear:', key: key!, version: versionOf(version, link), fork, treeHash, path: unescapePath(pathname, link), search, hash }
  }
  const [, host = '', pathname = '', search = '', hash = ''] = HYPER.exec(link) ?? []
  if (!host) throw invalidLink('Not a link of a drive', { link })
  const [id = '', pin, ...rest] = host.split('+')
  const [number, tree, ...more] = pin?.split('.') ?? []
  if (rest.length > 0 || more.length > 0) throw invalidLink('Incorrect hostname', { link })
  if (!isValidId(id)) throw invalidLink('Incorrect key', { link })
  if (tree !== undefined && !isValidId(tree)) throw invalidLink('Incorrect tree hash', { link })
  let version = number === undefined ? null : versionOf(number === '' ? NaN : Number(number), link)
  let path = unescapePath(pathname, link)
  // The form of hypercore-fetch.
  const inPath = /^\/\$\/version\/(\d+)(\/.*)?$/s.exec(path)
  if (inPath && version === null) {
    version = versionOf(Number(inPath[1]), link)
    path = inPath[2] ?? '/'
  }
  return { protocol: 'hyper:', key: decodeId(id), version, fork: null, treeHash: tree ? decodeId(tree) : null, path, search, hash }
}

/** Makes a link of its parts. */
export function formatUrl ({ protocol = 'hyper:', key, version = null, fork = null, treeHash = null, path = '/', search = '', hash = '' }: DriveUrlInput): string {
  const id = encodeId(isBytes(key) ? key : decodeId(key))
  if (version !== null) versionOf(version, id)
  if (treeHash !== null && version === null) throw invalidLink('A tree hash needs a version', { version, treeHash })
  const pathname = escapePath(path.startsWith('/') ? path : '/' + path)
  if (protocol === 'pear:') {
    const drive = { key: id, hash: treeHash, length: version, fork: version === null ? null : fork ?? 0 }
    return serializePear({ protocol, drive, pathname, search, hash })
  }
  if (protocol !== 'hyper:') throw invalidLink('Protocol is not supported', { protocol })
  const pin = version === null ? '' : `+${version}${treeHash ? `.${encodeId(treeHash)}` : ''}`
  return `hyper://${id}${pin}${pathname}${search}${hash}`
}

function versionOf (version: number | null, link: string): number | null {
  if (version === null || (Number.isSafeInteger(version) && version >= 0)) return version
  throw invalidLink('Incorrect version', { link })
}

// Slashes that are part of a name cannot be told from others, in drives as in links.
function unescapePath (pathname: string, link: string): string {
  try {
    return decodeURIComponent(pathname) || '/'
  } catch (cause) {
    throw invalidLink('Incorrect path', { link }, cause)
  }
}

function escapePath (path: string): string {
  return encodeURI(path).replaceAll('?', '%3F').replaceAll('#', '%23')
}
