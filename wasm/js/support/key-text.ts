// Keys as text: z-base-32 of 52 characters, or hexadecimal of 64. Needs nothing of a platform: a service worker has it, too.

import { fromHex, isBytes } from './bytes.js'

const ALPHABET = 'ybndrfg8ejkmcpqxot1uwisza345h769'
const KEY_LENGTH = 32
const Z32_LENGTH = 52
const HEX_LENGTH = 64

/** Writes a key as z-base-32. */
export function encodeId (key: Uint8Array): string {
  if (!isBytes(key)) throw new Error('Key must be a Buffer')
  if (key.byteLength !== KEY_LENGTH) throw new Error('Key must be 32-bytes long')
  let text = ''
  let bits = 0
  let pending = 0
  for (const byte of key) {
    pending = (pending << 8) | byte
    bits += 8
    while (bits >= 5) {
      bits -= 5
      text += ALPHABET[(pending >> bits) & 31]
    }
    pending &= (1 << bits) - 1
  }
  return bits > 0 ? text + ALPHABET[(pending << (5 - bits)) & 31] : text
}

/** Reads a key: bytes as they are, z-base-32, hexadecimal, or a link that starts with one. */
export function readKey (id: string | Uint8Array): Uint8Array {
  if (isBytes(id)) {
    if (id.byteLength !== KEY_LENGTH) throw new Error('ID must be 32-bytes long')
    return id
  }
  if (typeof id === 'string') {
    const text = /^(?:pear|hyper):\/\//.test(id) ? id.slice(id.indexOf('://') + 3).split(/[/?#]/)[0]! : id
    const key = text.length === Z32_LENGTH ? decodeZ32(text) : text.length === HEX_LENGTH ? fromHex(text) : null
    if (key !== null) return key
    throw new Error(`Invalid Hypercore key: ${whatIsWrong(text)}`)
  }
  throw new Error(`Invalid Hypercore key: it is ${id === null ? 'null' : `of type ${typeof id}`}, and a key is a string or bytes`)
}

function whatIsWrong (text: string): string {
  if (text.length === Z32_LENGTH) {
    const wrong = [...text].find((character) => !ALPHABET.includes(character.toLowerCase()))
    return `${JSON.stringify(wrong)} is not in z-base-32, which uses ${ALPHABET}`
  }
  if (text.length === HEX_LENGTH) return `${JSON.stringify([...text].find((character) => !/[0-9a-f]/i.test(character)))} is no hexadecimal digit`
  return `it has ${text.length} characters, and a key has ${Z32_LENGTH} of z-base-32 or ${HEX_LENGTH} hexadecimal digits`
}

function decodeZ32 (text: string): Uint8Array | null {
  const key = new Uint8Array(KEY_LENGTH)
  let bits = 0
  let pending = 0
  let offset = 0
  for (const character of text) {
    const value = ALPHABET.indexOf(character.toLowerCase())
    if (value === -1) return null
    pending = (pending << 5) | value
    bits += 5
    if (bits >= 8) {
      bits -= 8
      key[offset++] = pending >> bits
      pending &= (1 << bits) - 1
    }
  }
  return key
}
