// The key of a log as people write it: z-base-32, hex, or a link.

const ALPHABET = 'ybndrfg8ejkmcpqxot1uwisza345h769'
const ID_LENGTH = 52
const HEX_LENGTH = 64

/** A text that is no key; the message is a sentence for the person who typed it. */
export class KeyError extends Error {}

/** Reads a key in any of its forms. Throws a KeyError that says what is wrong. */
export function parseKey (text: string): Uint8Array {
  const id = strip(text)
  if (id === '') throw new KeyError('Paste the key of a log here first.')
  if (id.length === HEX_LENGTH && /^[0-9a-f]+$/i.test(id)) return fromHex(id)
  if (id.length === ID_LENGTH) return fromId(id.toLowerCase())
  const isHex = /^[0-9a-f]+$/i.test(id)
  const wanted = isHex && id.length > ID_LENGTH ? `${HEX_LENGTH} hex digits` : `${ID_LENGTH} characters, or ${HEX_LENGTH} hex digits`
  throw new KeyError(`This has ${id.length} character${id.length === 1 ? '' : 's'} and a key has ${wanted}. Copy it again, all of it.`)
}

/** Writes a key as 52 characters of z-base-32. */
export function formatKey (key: Uint8Array): string {
  let text = ''
  let bits = 0
  let value = 0
  for (const byte of key) {
    value = (value << 8) | byte
    bits += 8
    while (bits >= 5) {
      bits -= 5
      text += ALPHABET[(value >>> bits) & 31]
    }
    value &= (1 << bits) - 1
  }
  return bits > 0 ? text + ALPHABET[(value << (5 - bits)) & 31] : text
}

/** Shortens a written key for a line of text. */
export function shorten (id: string): string {
  return `${id.slice(0, 6)}…${id.slice(-4)}`
}

/** Writes bytes as hex. */
export function toHex (bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')
}

// What follows the key in a link (a path, a query) is not part of it.
function strip (text: string): string {
  const bare = text.trim().replace(/^[a-z][a-z+.-]*:\/\//i, '')
  return /^[^/?#]*/.exec(bare)![0].replace(/\s+/g, '')
}

function fromHex (text: string): Uint8Array {
  return Uint8Array.from({ length: HEX_LENGTH / 2 }, (_, index) => Number.parseInt(text.slice(index * 2, index * 2 + 2), 16))
}

function fromId (text: string): Uint8Array {
  const bytes = new Uint8Array(32)
  let bits = 0
  let value = 0
  let length = 0
  for (const character of text) {
    const digit = ALPHABET.indexOf(character)
    if (digit === -1) throw new KeyError(`“${character}” cannot be in a key. Copy it again; keys use ${ALPHABET.split('').sort().join('')}.`)
    value = (value << 5) | digit
    bits += 5
    if (bits < 8) continue
    bits -= 8
    bytes[length++] = value >>> bits
    value &= (1 << bits) - 1
  }
  if (value !== 0) throw new KeyError('The last character of this key is wrong. Copy it again.')
  return bytes
}
