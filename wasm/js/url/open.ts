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

/** A link to a drive, or to a file in it. */
export async function urlOf (drive: Hyperdrive, { version = false, strong = false, ...parts }: DriveLinkOptions = {}): Promise<string> {
  await drive.ready()
  const number = typeof version === 'number' ? version : version || strong ? drive.version : null
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
  if (drive.core.length < url.version) await drive.core.update({ wait: true })
  if (drive.core.length < url.version) throw new LinkError('ERR_LINK_MISMATCH', 'The drive has no such version', { url })
  if (url.treeHash && !equal(await drive.core.treeHash(url.version), url.treeHash)) {
    throw new LinkError('ERR_LINK_MISMATCH', 'The version has other content than the link names', { url })
  }
  return { drive: drive.checkout(url.version), path: url.path, url }
}
