// The engine as it travels: a module of its own that puts it together, with the streams it is made of in a section. See wasm/streams.

/** Returns the streams that a module has in it; undefined for one that is the engine itself. */
export function streamsOf (module: WebAssembly.Module): Uint8Array | undefined {
  return WebAssembly.Module.customSections(module, 'streams').map((section) => new Uint8Array(section))[0]
}

/** Returns the engine, put together by an instance of the module that had its streams. */
export function join (streams: Uint8Array, instance: WebAssembly.Instance): Uint8Array<ArrayBuffer> {
  const { memory, join } = instance.exports as { memory: WebAssembly.Memory, join: (start: number, length: number) => number }
  const start = memory.buffer.byteLength
  // For them, and twice as much for what they become.
  memory.grow(Math.ceil(3 * streams.byteLength / 65_536))
  new Uint8Array(memory.buffer).set(streams, start)
  const end = join(start, streams.byteLength)
  return new Uint8Array(memory.buffer as ArrayBuffer).subarray(start + streams.byteLength, end)
}
