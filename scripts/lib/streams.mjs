// Takes the engine apart, so that it compresses; wasm/streams says how, and wasm/js/engine/unpack.ts has it put together where it is loaded.

import { Failure } from './run.mjs'

/** What every module begins with: WebAssembly core specification 2.0, 5.5. */
const PREAMBLE = 8

/** Sections that say something about a module to whoever asks, and nothing to who runs it. */
const CUSTOM = 0

/**
 * Returns a module that has the engine in it, as streams.
 *
 * @param {Uint8Array} engine
 * @param {{ splitter: Uint8Array<ArrayBuffer>, joiner: Uint8Array<ArrayBuffer> }} modules wasm/streams, compiled with what takes the engine apart and without
 */
export function packEngine (engine, { splitter, joiner }) {
  const { memory, split } = /** @type {any} */ (new WebAssembly.Instance(new WebAssembly.Module(splitter)).exports)
  const start = memory.buffer.byteLength
  memory.grow(Math.ceil(3 * engine.byteLength / 65_536))
  new Uint8Array(memory.buffer).set(engine, start)
  const begin = start + engine.byteLength
  const end = split(start, engine.byteLength)
  if (end === begin) throw new Failure('the engine has code that wasm/streams does not know')
  const content = Buffer.concat([textOf('streams'), new Uint8Array(memory.buffer, begin, end - begin)])
  return Buffer.concat([withoutNotes(joiner), Uint8Array.of(CUSTOM), numberOf(content.byteLength), content])
}

/** The module without names of functions, and of what compiled it. */
function withoutNotes (module) {
  const parts = [module.subarray(0, PREAMBLE)]
  for (let at = PREAMBLE; at < module.byteLength;) {
    const start = at++
    let length = 0
    for (let shift = 0; ; shift += 7) {
      const byte = module[at++]
      length += (byte & 0x7f) * 2 ** shift
      if (byte < 0x80) break
    }
    at += length
    if (module[start] !== CUSTOM) parts.push(module.subarray(start, at))
  }
  return Buffer.concat(parts)
}

/** A number as LEB128. */
export function numberOf (value) {
  const bytes = []
  for (; value >= 0x80; value = Math.floor(value / 0x80)) bytes.push(value % 0x80 + 0x80)
  return Uint8Array.of(...bytes, value)
}

/** Text with its length before it. */
export function textOf (text) {
  const bytes = Buffer.from(text)
  return Buffer.concat([numberOf(bytes.byteLength), bytes])
}
