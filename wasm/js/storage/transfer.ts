// Stores that move: from one storage to another, to a file and from one.

import type { SyncFile } from '../binding.js'
import { Hypercore } from '../hypercore/hypercore.js'
import { call, ready } from '../runtime.js'
import { toHex } from '../support/bytes.js'
import { parseStorage, type StorageInput } from './parse.js'
import { Storage } from './storage.js'

export interface CopyOptions {
  /** Called with each core that was copied, and how many of its blocks. */
  onprogress? (core: { key: Uint8Array, blocks: number }): unknown
}

/** Bytes of a file that are kept, and given out, together. */
const PIECE = 1 << 20

/**
 * Copies a store into another one, which may be of another kind: the primary key, and of each core its keys, names, blocks
 * and user data. Every block is verified on the way. Branches that are not committed stay behind.
 */
export async function copyStore (from: StorageInput, to: StorageInput, { onprogress }: CopyOptions = {}): Promise<void> {
  await ready()
  const [source, target] = [parseStorage(from), parseStorage(to)]
  // Both stay open between cores.
  await source.acquire()
  try {
    await target.acquire()
    try {
      await copyAll(source, target, onprogress)
    } finally {
      await target.release()
    }
  } finally {
    await source.release()
  }
}

/** A store as the bytes of one file, the one that `folder()` has in Node. All of it is in memory until it was read. */
export async function * exportStore (from: StorageInput, options?: CopyOptions): AsyncGenerator<Uint8Array, void> {
  const file = new MemoryFile()
  await copyStore(from, fileStorage(file), options)
  yield * file.pieces()
}

/** Copies a store out of the bytes of such a file: a stream of a `Blob`, of a response, or {@link exportStore} itself. */
export async function importStore (file: AsyncIterable<Uint8Array> | Iterable<Uint8Array>, to: StorageInput, options?: CopyOptions): Promise<void> {
  const memory = new MemoryFile()
  let length = 0
  for await (const bytes of file) {
    memory.write(bytes, length)
    length += bytes.byteLength
  }
  await copyStore(fileStorage(memory), to, options)
}

async function copyAll (source: Storage, target: Storage, onprogress: CopyOptions['onprogress']): Promise<void> {
  const seed = await source.getSeed()
  if (seed) await target.setSeed(seed)
  const unnamed = await source.getDefaultDiscoveryKey()
  const discoveryKeys = unnamed ? [unnamed] : []
  for await (const discoveryKey of source.createDiscoveryKeyStream()) {
    if (!unnamed || toHex(discoveryKey) !== toHex(unnamed)) discoveryKeys.push(discoveryKey)
  }
  for (const discoveryKey of discoveryKeys) {
    const info = await source.getInfo(discoveryKey)
    if (!info?.auth) continue
    const { key, keyPair } = info.auth
    const original = new Hypercore(source, key, { createIfMissing: false })
    await original.ready()
    const copy = new Hypercore(target, key, {
      ...(keyPair ? { keyPair } : {}),
      ...(original.manifest ? { manifest: original.manifest } : {}),
      compat: original.core!.compat,
      ...(info.core.alias ? { alias: info.core.alias } : {})
    })
    try {
      const blocks = await copyCore(original, copy)
      await onprogress?.({ key, blocks })
    } finally {
      await Promise.all([original.close(), copy.close()])
    }
  }
}

async function copyCore (original: Hypercore, copy: Hypercore): Promise<number> {
  await copy.ready()
  let blocks = 0
  if (original.length > 0) {
    const [one, other] = [original.replicate(true), copy.replicate(false)]
    for (const stream of [one, other]) stream.on('error', () => {})
    one.pipe(other as never).pipe(one as never)
    try {
      while (copy.length < original.length || copy.fork < original.fork) await copy.update({ wait: true, force: true })
      for (let start = 0; start < original.length;) {
        if (!(await original.has(start))) {
          start++
          continue
        }
        let end = start + 1
        while (end < original.length && await original.has(end)) end++
        await copy.download({ start, end }).done()
        blocks += end - start
        start = end
      }
    } finally {
      one.destroy()
      other.destroy()
    }
  }
  const userData = original.core!.createUserDataStream() as AsyncIterable<{ key: string, value: Uint8Array }>
  for await (const { key, value } of userData) await copy.setUserData(key, value)
  return blocks
}

function fileStorage (file: SyncFile): Storage {
  return new Storage('file', { open: async () => call((engine) => engine.openFileStore(file)) })
}

/** A file in memory. */
class MemoryFile implements SyncFile {
  #pieces: Uint8Array<ArrayBuffer>[] = []
  #length = 0

  read (buffer: Uint8Array, offset: number): number {
    const count = Math.max(0, Math.min(buffer.byteLength, this.#length - offset))
    this.#each(offset, count, (piece, from, at) => { buffer.set(piece.subarray(from, from + Math.min(piece.byteLength - from, count - at)), at) })
    return count
  }

  write (bytes: Uint8Array, offset: number): void {
    this.#length = Math.max(this.#length, offset + bytes.byteLength)
    while (this.#pieces.length * PIECE < this.#length) this.#pieces.push(new Uint8Array(PIECE))
    this.#each(offset, bytes.byteLength, (piece, from, at) => { piece.set(bytes.subarray(at, at + PIECE - from), from) })
  }

  sync (): void {}
  close (): void {}

  * pieces (): Generator<Uint8Array> {
    for (const [index, piece] of this.#pieces.entries()) yield piece.subarray(0, Math.min(PIECE, this.#length - index * PIECE))
  }

  #each (offset: number, count: number, take: (piece: Uint8Array, from: number, at: number) => void): void {
    for (let at = 0; at < count;) {
      const from = (offset + at) % PIECE
      take(this.#pieces[Math.floor((offset + at) / PIECE)]!, from, at)
      at += PIECE - from
    }
  }
}
