// From links to drives and back.

import type { Hyperdrive } from '../hyperdrive/hyperdrive.js'
import { equal } from '../support/bytes.js'
import { formatUrl, parseUrl, type DriveUrl } from './hyper-url.js'
import { LinkError } from './link-error.js'

/** What a link names besides the drive. */
export interface DriveLinkOptions {
  /** `hyper:`, the default, or `pear:`. */
  protocol?: DriveUrl['protocol']
  /** A path in the drive; its top by default. */
  path?: string
  /** The version to link to; true for the one that is there now. */
  version?: number | boolean
  /** Whether the link carries the tree hash of the version. */
  strong?: boolean
  /** With its `?`. */
  search?: string
  /** With its `#`. */
  hash?: string
}

/**
 * A link to a drive, or to a file in it.
 *
 * @throws when a strong link is asked for to a version that the drive does not have
 */
export async function urlOf (drive: Hyperdrive, { version = false, strong = false, ...parts }: DriveLinkOptions = {}): Promise<string> {
  await drive.ready()
  const number = typeof version === 'number' ? version : version || strong ? drive.version : null
  if (strong && number! > drive.core.length) throw new LinkError('ERR_INVALID_LINK', NO_VERSION, { version: number })
  const treeHash = strong ? await drive.core.treeHash(number!) : null
  return formatUrl({ ...parts, key: drive.key!, version: number, fork: drive.core.fork, treeHash })
}

/**
 * Opens what a link names in its drive.
 *
 * @returns the drive itself, or a checkout that is to be closed; and the path in it
 * @throws when the link is of another drive, or of another history than the drive has
 */
export async function openUrl (drive: Hyperdrive, link: string | DriveUrl): Promise<{ drive: Hyperdrive, path: string, url: DriveUrl }> {
  const url = typeof link === 'string' ? parseUrl(link) : link
  await drive.ready()
  if (!equal(url.key, drive.key!)) throw new LinkError('ERR_LINK_MISMATCH', 'The link is of another drive', { url })
  if (url.version === null) return { drive, path: url.path, url }
  const isBehind = (): boolean => drive.core.length < url.version! || drive.core.fork < (url.fork ?? 0)
  if (isBehind()) await drive.core.update({ wait: true })
  if (drive.core.length < url.version) throw new LinkError('ERR_LINK_MISMATCH', NO_VERSION, { url })
  // What a tree hash names may be the same in several histories.
  if (!url.treeHash && url.fork !== null && url.fork !== drive.core.fork) {
    throw new LinkError('ERR_LINK_MISMATCH', 'The drive has another history than the link names', { url })
  }
  if (url.treeHash && !equal(await drive.core.treeHash(url.version), url.treeHash)) {
    throw new LinkError('ERR_LINK_MISMATCH', 'The version has other content than the link names', { url })
  }
  return { drive: drive.checkout(url.version), path: url.path, url }
}

const NO_VERSION = 'The drive has no such version'
