// Small things that bytes need.

/** Whether something is bytes, also of another realm: of a frame, or of Node in a test that has jsdom's globals. */
export function isBytes (value: unknown): value is Uint8Array {
  return value instanceof Uint8Array || (ArrayBuffer.isView(value) && (value as Uint8Array)[Symbol.toStringTag] === 'Uint8Array')
}

export function toHex (bytes: Uint8Array): string {
  let text = ''
  for (const byte of bytes) text += byte.toString(16).padStart(2, '0')
  return text
}

/** Reads hexadecimal; null when it is something else. */
export function fromHex (text: string): Uint8Array | null {
  if (text.length % 2 !== 0 || !/^[0-9a-f]*$/i.test(text)) return null
  const bytes = new Uint8Array(text.length / 2)
  for (let i = 0; i < bytes.length; i++) bytes[i] = parseInt(text.slice(2 * i, 2 * i + 2), 16)
  return bytes
}

export function equal (a: Uint8Array, b: Uint8Array): boolean {
  return a.byteLength === b.byteLength && compare(a, b) === 0
}

/** Orders bytes as numbers from their first on. */
export function compare (a: Uint8Array, b: Uint8Array): number {
  const length = Math.min(a.byteLength, b.byteLength)
  for (let i = 0; i < length; i++) {
    if (a[i] !== b[i]) return a[i]! < b[i]! ? -1 : 1
  }
  return Math.sign(a.byteLength - b.byteLength)
}

export function concat (parts: Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.byteLength, 0))
  let offset = 0
  for (const part of parts) {
    whole.set(part, offset)
    offset += part.byteLength
  }
  return whole
}

const encoder = new TextEncoder()

/** Up to this length browsers take longer to begin with a text than text of ASCII takes by itself. */
const SHORT = 64

export function fromUtf8 (text: string): Uint8Array {
  return (text.length <= SHORT && fromAscii(text)) || encoder.encode(text)
}

/** Null when there is something else in it. */
function fromAscii (text: string): Uint8Array | null {
  const bytes = new Uint8Array(text.length)
  for (let at = 0; at < bytes.length; at++) {
    const code = text.charCodeAt(at)
    if (code > 127) return null
    bytes[at] = code
  }
  return bytes
}

const decoder = new TextDecoder()

export function toUtf8 (bytes: Uint8Array): string {
  return decoder.decode(bytes)
}
