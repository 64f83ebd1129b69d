// Keys of files in the bee, and of the core that their blobs are in.

import { exports as engine } from '../binding.js'
import { decodeManifest, encodeManifest, manifestKey, createManifest, type Manifest, type ManifestInput } from '../hypercore/manifest.js'
import { look } from '../runtime.js'
import { textOf, userBytes } from '../platform.js'
import { concat, fromUtf8 } from '../support/bytes.js'

/** A range of paths. */
export interface PathRange {
  gt?: string | undefined
  gte?: string | undefined
  lt?: string | undefined
  lte?: string | undefined
}

/** What keys of files begin with; behind the last byte come the keys of nothing else. */
const FILES = fromUtf8('files\0')
const AFTER_FILES = fromUtf8('files\x01')

const bound = (path: string | undefined): Uint8Array | undefined => path === undefined || path === null ? undefined : withPrefix(path)

/** Files are one part of the bee. */
export const pathEncoding = {
  encode: withPrefix,
  decode: (key: Uint8Array): string => textOf(key.subarray(FILES.byteLength)),
  encodeRange ({ gt, gte, lt, lte }: PathRange): Record<string, Uint8Array> {
    const lower = bound(gt) ? { gt: bound(gt)! } : { gte: bound(gte) ?? userBytes(FILES) }
    const upper = bound(lt) ? { lt: bound(lt)! } : bound(lte) ? { lte: bound(lte)! } : { lt: userBytes(AFTER_FILES) }
    return { ...lower, ...upper }
  }
}

function withPrefix (path: string): Uint8Array {
  return userBytes(concat([FILES, fromUtf8(path)]))
}

/** The paths below a folder, after what is named. */
export function below (folder: string, after = '/'): { gt: string, lt: string } {
  // '0' comes right after '/'.
  return { gt: folder + after, lt: folder + '0' }
}

/** Nothing is linked to blobs, and nothing is said about them. */
export type ContentManifest = Omit<Manifest, 'linked' | 'userData'>

/** The manifest of the core of a drive's blobs; null before version 1. */
export function contentManifest (manifest: ManifestInput | null, key?: Uint8Array | null): ContentManifest | null {
  const parsed = manifest && createManifest(manifest)
  if (!parsed || parsed.version < 1) return null
  const encoded = look(() => engine.contentManifest(encodeManifest(parsed), key ?? manifestKey(parsed)))
  if (!encoded) return null
  const { linked, userData, ...content } = decodeManifest(userBytes(encoded))
  return content
}
