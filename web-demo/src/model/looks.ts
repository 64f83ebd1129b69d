// Bytes as what they look like: text, JSON, or hex.

import { toHex } from './key.ts'

const strict = new TextDecoder('utf-8', { fatal: true })

/** Bytes of a value that are written as hex. */
const SHOWN_HEX = 256

/** Writes a key on one line; what separates names in it is shown as a dot. */
export function keyText (key: Uint8Array): string {
  const text = textOf(key)
  return text === null ? `0x${toHex(key)}` : text.replaceAll('\0', '·')
}

/** Writes a value; JSON in lines when `isLong`. */
export function valueText (value: Uint8Array | null, isLong = false): string {
  if (value === null) return ''
  const text = textOf(value)
  if (text === null) return `0x${toHex(value.subarray(0, SHOWN_HEX))}${value.length > SHOWN_HEX ? '…' : ''}`
  if (!isLong || !/^[[{]/.test(text)) return text
  try {
    return JSON.stringify(JSON.parse(text), null, 2)
  } catch {
    return text
  }
}

/** Returns the text that bytes are, or null when they are none. */
export function textOf (bytes: Uint8Array): string | null {
  try {
    const text = strict.decode(bytes)
    return /[\u0001-\u0008\u000e-\u001f]/.test(text) ? null : text
  } catch {
    return null
  }
}
