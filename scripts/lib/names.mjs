// Shorter names between the engine and its bindings. wasm-bindgen gives long ones, most with sixteen digits that compress to eight bytes, and each is
// in both files.

import { Failure } from './run.mjs'

/** Sections of a module: WebAssembly core specification 2.0, 5.5.2. */
const IMPORTS = 2
const EXPORTS = 7

/** What an import is that is a function, the only kind that wasm-bindgen has. */
const FUNCTION = 0

/** Whoever looks into the memory of the engine finds it by its name. */
const KEPT = new Set(['memory'])

/**
 * Gives every import and export of a module a name of two or three letters, in the module and in the script that loads it.
 *
 * @param {Uint8Array} module
 * @param {string} bindings what wasm-bindgen wrote, not yet minified
 * @returns {{ module: Buffer, bindings: string }}
 */
export function shortenNames (module, bindings) {
  const short = new Map()
  const shorten = (name) => {
    if (KEPT.has(name)) return name
    if (!short.has(name)) short.set(name, `a${short.size.toString(36)}`)
    return short.get(name)
  }
  const parts = [module.subarray(0, 8)]
  const reader = readerOf(module, 8)
  while (!reader.isAtEnd()) {
    const section = reader.byte()
    const content = reader.bytes(reader.number())
    const written = section === IMPORTS ? shortenImports(content, shorten) : section === EXPORTS ? shortenExports(content, shorten) : content
    parts.push(Uint8Array.of(section), numberOf(written.byteLength), written)
  }
  return { module: Buffer.concat(parts), bindings: renamed(bindings, short) }
}

function shortenImports (section, shorten) {
  const reader = readerOf(section)
  const count = reader.number()
  const parts = [numberOf(count)]
  for (let i = 0; i < count; i++) {
    const from = reader.text()
    const name = shorten(reader.text())
    if (reader.byte() !== FUNCTION) throw changed(`${name} is no function`)
    parts.push(textOf(from), textOf(name), Uint8Array.of(FUNCTION), numberOf(reader.number()))
  }
  return Buffer.concat(parts)
}

function shortenExports (section, shorten) {
  const reader = readerOf(section)
  const count = reader.number()
  const parts = [numberOf(count)]
  for (let i = 0; i < count; i++) parts.push(textOf(shorten(reader.text())), Uint8Array.of(reader.byte()), numberOf(reader.number()))
  return Buffer.concat(parts)
}

/** The script with the new names: exports are members of `wasm` there, and imports of an object. */
function renamed (bindings, short) {
  if (/\bwasm\s*\[/.test(bindings)) throw changed('it looks for exports by names that are computed')
  return bindings
    .replace(/\bwasm\.([\w$]+)/g, (whole, name) => short.has(name) ? `wasm.${short.get(name)}` : whole)
    .replace(/\b(__wb[\w$]+)(?=\s*:)/g, (name) => short.get(name) ?? name)
}

function changed (how) {
  return new Failure(`wasm-bindgen writes in another way than before: ${how}; scripts/lib/names.mjs has to be told`)
}

function readerOf (bytes, at = 0) {
  const take = (length) => bytes.subarray(at, at += length)
  const number = () => {
    for (let value = 0, shift = 0; ; shift += 7) {
      const byte = bytes[at++]
      value += (byte & 0x7f) * 2 ** shift
      if (byte < 0x80) return value
    }
  }
  return {
    isAtEnd: () => at >= bytes.byteLength,
    byte: () => bytes[at++],
    bytes: take,
    number,
    text: () => Buffer.from(take(number())).toString()
  }
}

/** A number as LEB128. */
function numberOf (value) {
  const bytes = []
  for (; value >= 0x80; value = Math.floor(value / 0x80)) bytes.push(value % 0x80 + 0x80)
  return Uint8Array.of(...bytes, value)
}

function textOf (text) {
  const bytes = Buffer.from(text)
  return Buffer.concat([numberOf(bytes.byteLength), bytes])
}
