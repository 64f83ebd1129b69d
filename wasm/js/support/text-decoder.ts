// Text that comes in pieces, for streams with an encoding in a browser; the package of this name brings a second Buffer along.

import { toHex } from './bytes.js'

type Decode = (bytes: Uint8Array) => string

const ENCODINGS: Record<string, string> = {
  utf8: 'utf8',
  'utf-8': 'utf8',
  latin1: 'latin1',
  binary: 'latin1',
  ascii: 'ascii',
  hex: 'hex',
  base64: 'base64',
  ucs2: 'utf16le',
  'ucs-2': 'utf16le',
  utf16le: 'utf16le',
  'utf-16le': 'utf16le'
}

export default class StreamedText {
  /** How many bytes of a character are there whose others are not. */
  remaining = 0
  #decode: Decode

  constructor (encoding = 'utf8') {
    const name = ENCODINGS[encoding.toLowerCase()]
    if (name === undefined) throw new Error(`Unknown encoding: ${encoding.toLowerCase()}`)
    if (name === 'utf16le' || name === 'base64') throw new Error(`Unsupported encoding: ${name}`)
    this.#decode = name === 'utf8' ? this.#utf8() : name === 'hex' ? toHex : letters(name === 'ascii' ? 0x7f : 0xff)
  }

  /** The text that is whole with these bytes. */
  push (data: Uint8Array | string): string {
    return typeof data === 'string' ? data : this.#decode(data)
  }

  #utf8 (): Decode {
    const decoder = new TextDecoder('utf-8', { ignoreBOM: true })
    let last: number[] = []
    return (bytes) => {
      last = [...last, ...bytes.subarray(-3)].slice(-3)
      this.remaining = begun(last)
      return decoder.decode(bytes, { stream: true })
    }
  }
}

function letters (mask: number): Decode {
  return (bytes) => {
    let text = ''
    for (const byte of bytes) text += String.fromCharCode(byte & mask)
    return text
  }
}

/** How many of the last bytes belong to a character that needs more. */
function begun (last: number[]): number {
  for (let count = 1; count <= last.length; count++) {
    const byte = last.at(-count)!
    if (byte < 0x80) return 0
    if (byte >= 0xc0) return count < (byte < 0xe0 ? 2 : byte < 0xf0 ? 3 : 4) ? count : 0
  }
  return 0
}
