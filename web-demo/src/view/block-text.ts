// A block as people can read it: text as text, anything else as hex.

/** Most characters of a block that a line of the list shows. */
const LINE = 200

/** Most bytes of a block that are shown at once; the whole block can be saved. */
const SHOWN = 65_536

/** Bytes in one line of hex. */
const HEX_LINE = 16

export interface BlockLine {
  readonly isText: boolean
  readonly line: string
}

/** Makes one line of a block. */
export function lineOf (block: Uint8Array): BlockLine {
  if (block.length === 0) return { isText: false, line: 'empty' }
  const text = textOf(block.subarray(0, LINE * 4), block.length > LINE * 4)
  if (text !== null) return { isText: true, line: text.slice(0, LINE).replace(/\s+/g, ' ').trim() || 'blank' }
  return { isText: false, line: hex(block.subarray(0, 32)) + (block.length > 32 ? ' …' : '') }
}

/** Writes a block out for reading. */
export function pageOf (block: Uint8Array): { isText: boolean, text: string } {
  const shown = block.subarray(0, SHOWN)
  const rest = block.length > SHOWN ? `\n\n… and ${block.length - SHOWN} more bytes; save the block to have them all.` : ''
  const text = textOf(shown, block.length > SHOWN)
  if (text !== null) return { isText: true, text: text + rest }
  return { isText: false, text: hexDump(shown) + rest }
}

// Null for what is no text. A piece of a larger block may end within a character.
function textOf (bytes: Uint8Array, isPiece: boolean): string | null {
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(bytes, { stream: isPiece })
    return hasControls(text) ? null : text
  } catch {
    return null
  }
}

function hasControls (text: string): boolean {
  for (let index = 0; index < text.length; index++) {
    const code = text.charCodeAt(index)
    if (code < 32 && code !== 9 && code !== 10 && code !== 13) return true
    if (code === 127) return true
  }
  return false
}

function hex (bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join(' ')
}

function hexDump (bytes: Uint8Array): string {
  const lines = []
  for (let start = 0; start < bytes.length; start += HEX_LINE) {
    const piece = bytes.subarray(start, start + HEX_LINE)
    const readable = Array.from(piece, (byte) => byte >= 32 && byte < 127 ? String.fromCharCode(byte) : '·').join('')
    lines.push(`${start.toString(16).padStart(6, '0')}  ${hex(piece).padEnd(HEX_LINE * 3 - 1)}  ${readable}`)
  }
  return lines.join('\n')
}
