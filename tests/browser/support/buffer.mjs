// What of Node's Buffer programs use by its name, and on bytes that are Buffers in Node: `b4a` has it over Uint8Array.

import b4a from 'b4a'

export const Buffer = {
  ...b4a,
  // Node takes what Array.map passes along.
  from: (value, encoding, ...rest) => value instanceof ArrayBuffer ? b4a.from(value, encoding, ...rest) : b4a.from(value, typeof encoding === 'string' ? encoding : undefined)
}

const methods = {
  equals (other) { return b4a.equals(this, other) },
  toString (encoding) { return b4a.toString(this, encoding) }
}
for (const [name, value] of Object.entries(methods)) {
  Object.defineProperty(Uint8Array.prototype, name, { value, configurable: true, writable: true })
}
