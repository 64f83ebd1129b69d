// Keys as text, for programs: with bytes as the platform has them.

import { userBytes } from '../platform.js'
import { isBytes } from './bytes.js'
import { encodeId, readKey } from './key-text.js'

export { encodeId }

/** Reads a key: bytes as they are, z-base-32, hexadecimal, or a link that starts with one. */
export function decodeId (id: string | Uint8Array): Uint8Array {
  const key = readKey(id)
  return isBytes(id) ? key : userBytes(key)
}

/** Writes any form of a key as z-base-32. */
export function normalizeId (id: string | Uint8Array): string {
  return encodeId(readKey(id))
}

/** Whether something is a key in any form. */
export function isValidId (id: unknown): boolean {
  try {
    readKey(id as string)
    return true
  } catch {
    return false
  }
}
