// Asks a relay whether it keeps copies, and by which key.

import { HypertabError } from '../errors.js'
import { decodeId } from '../support/id.js'

/** What a relay says about its mirror. */
export interface MirrorInfo {
  /** By which it is asked. */
  publicKey: Uint8Array
  /** Who may ask: clients of the relay, listed keys, or all who find it. */
  who: 'clients' | 'listed' | 'all'
  /** Whether copies are found on the DHT when whoever asks wants it. */
  announces: boolean
  /** How long a copy is kept after it was asked for last, in seconds. */
  retention: number
  /** Bytes that one core may have. A block counts 128 more than it has. */
  coreBytes: number
  /** Bytes, and cores, that are kept for one client. */
  clientBytes: number
  /** Most copies for one key, and for one address. */
  clientCores: number
}

/**
 * Says what mirror a relay has; null when it keeps nothing. Rejects with `MIRROR_UNREACHABLE` when it cannot be asked.
 *
 * A content security policy needs `connect-src` for the address with `http:` in place of `ws:`.
 */
export async function findMirror (relay: string, options: { signal?: AbortSignal } = {}): Promise<MirrorInfo | null> {
  const url = new URL(relay)
  url.protocol = url.protocol === 'wss:' || url.protocol === 'https:' ? 'https:' : 'http:'
  url.pathname = url.pathname.replace(/\/?$/, '/mirror')
  url.search = url.hash = ''
  try {
    const response = await fetch(url, { cache: 'no-store', credentials: 'omit', ...(options.signal ? { signal: options.signal } : {}) })
    // A relay of somebody else's has no such page.
    if (response.status >= 400 && response.status < 500) return null
    if (!response.ok) throw new Error(`the relay answers ${response.status}`)
    const given = await response.json() as Omit<MirrorInfo, 'publicKey'> & { publicKey: string } | null
    return given && { ...given, publicKey: decodeId(given.publicKey) }
  } catch (cause) {
    throw new HypertabError('MIRROR_UNREACHABLE', `${url.origin} does not say whether it keeps copies: ${(cause as Error).message}`, { cause })
  }
}
