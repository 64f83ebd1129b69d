// Links of the form `pear://[<fork>.<length>.]<key>[.<tree hash>][/path][?query][#fragment]`, as Pear writes them.

import { decodeId, encodeId, isValidId, normalizeId } from '../support/id.js'
import { isBytes } from '../support/bytes.js'
import { invalidLink } from './link-error.js'

/** The drive that a link is of. */
export interface LinkedDrive {
  key: Uint8Array | null
  /** The version; null for the newest one. */
  length: number | null
  fork: number | null
  /** The tree hash at that length. */
  hash: Uint8Array | null
  /** The name that was used for the key. */
  alias?: string | null
}

/** The parts of a link. */
export interface PearLinkParts {
  protocol: string
  pathname: string
  search: string
  hash: string
  /** The link without version and path. */
  origin: string
  drive: LinkedDrive
}

/** What a link is made of. */
export interface PearLinkInput {
  protocol?: string
  pathname?: string
  search?: string
  hash?: string
  drive?: { key?: Uint8Array | string | null, length?: number | null, fork?: number | null, hash?: Uint8Array | null, alias?: string | null }
}

/** Names for keys. */
export type Aliases = Record<string, Uint8Array>

const NO_DRIVE: LinkedDrive = { key: null, length: null, fork: null, hash: null }

/** Takes a link to its parts. A path is a link to a local file. */
export function parse (link: string, { aliases = {} }: { aliases?: Aliases } = {}): PearLinkParts {
  if (!link) throw invalidLink('No link specified', { link })
  const { protocol, hostname, pathname, search, hash } = urlOf(link)
  const info = { link, protocol, hostname, pathname, search, hash }
  if (protocol === 'file:') {
    if (!pathname) throw invalidLink('Path is missing', info)
    if (hostname !== '') throw invalidLink('Path needs to start from the root, "/"', info)
    return { protocol, pathname, search, hash, origin: normalize(`file://${pathname}`), drive: { ...NO_DRIVE } }
  }
  if (protocol !== 'pear:') throw invalidLink('Protocol is not supported', info)
  const parts = hostname.split('.')
  if (parts.length === 2 || parts.length > 4) throw invalidLink('Incorrect hostname', info)
  const name = parts.length === 1 ? hostname : parts[2]!
  const key = aliases[name] ?? keyOf(name, info)
  const [fork, length] = parts.length === 1 ? [null, null] : [Number(parts[0]), Number(parts[1])]
  if (fork !== null && !(Number.isInteger(fork) && Number.isInteger(length))) throw invalidLink('Incorrect hostname', info)
  return {
    protocol,
    pathname,
    search,
    hash,
    origin: `pear://${nameOf(key, aliases) ?? name}`,
    drive: { key, length, fork, hash: parts[3] ? hashOf(parts[3], info) : null, alias: aliases[name] ? name : null }
  }
}

/** Makes a link of its parts, or of a key. */
export function serialize (link: PearLinkInput | Uint8Array | string): string {
  if (typeof link === 'string' || isBytes(link)) return serialize({ drive: { key: link } })
  const { drive, pathname = '', search = '', hash = '' } = link
  const protocol = link.protocol || (drive ? 'pear:' : undefined)
  if (protocol === 'file:') return `file://${pathname}${search}${hash}`
  if (protocol !== 'pear:' || !drive) throw invalidLink('Unsupported protocol', { protocol, pathname, search, hash, drive })
  const parts = [drive.fork, drive.length, drive.alias || normalizeId(drive.key!), drive.hash && encodeId(drive.hash)]
  return `pear://${parts.filter((part) => part !== null && part !== undefined && part !== '').join('.')}${pathname}${search}${hash}`
}

/** A link without a slash at its end. */
export function normalize (link: string): string {
  return link.endsWith('/') ? link.slice(0, -1) : link
}

function urlOf (link: string): URL {
  const isPath = !link.startsWith('pear://') && !link.startsWith('file://')
  if (!isPath) return new URL(link)
  const isAbsolute = link[0] === '/' || link[1] === ':'
  if (isAbsolute) return new URL(`file://${link}`)
  const folder = (globalThis as { process?: { cwd? (): string } }).process?.cwd?.() ?? ''
  return new URL(link, `file://${folder}/`)
}

function keyOf (name: string, info: object): Uint8Array {
  if (isValidId(name)) return decodeId(name)
  throw invalidLink(`alias not found: "${name}"`, { ...info })
}

function hashOf (text: string, info: object): Uint8Array {
  if (isValidId(text)) return decodeId(text)
  throw invalidLink('Incorrect hostname', { ...info })
}

function nameOf (key: Uint8Array, aliases: Aliases): string | null {
  const id = encodeId(key)
  return Object.keys(aliases).find((name) => encodeId(aliases[name]!) === id) ?? null
}
