// Stores that move: from one storage to another, to a file and from one.

import { HypercoreError } from '../errors.js'
import { ready } from '../runtime.js'
import { concat } from '../support/bytes.js'
import { Lock } from '../support/lock.js'
import { parseStorage, type StorageInput } from './parse.js'
import { damaged, FrameReader, FrameWriter } from './store-file.js'
import { StoreReader } from './store-reader.js'
import { storeFrames } from './store-writer.js'
import type { Storage } from './storage.js'

/** How far it is. */
export interface TransferProgress {
  /** Bytes of the file. */
  bytes: number
  /** Cores of which everything is done. */
  cores: number
  /** Blocks, of all cores. */
  blocks: number
}

/** How a store is moved. */
export interface TransferOptions {
  /** Called after each piece of the file, of about a MiB, and at the end. */
  onprogress? (progress: TransferProgress): unknown
  /** Gives it up: it fails with the reason of the signal, and what was there stays as it was. */
  signal?: AbortSignal
}

/** A file with a store: a `Blob`, a `Response`, or its bytes as they come. */
export type StoreFileInput = Blob | Response | ReadableStream<Uint8Array> | AsyncIterable<Uint8Array> | Iterable<Uint8Array>

/** Bytes of a file that are given out together. */
const PIECE = 1 << 20

/**
 * Copies a store into another one, which may be of another kind: the primary key, and of each core its keys, names, blocks
 * and user data. Every block is verified on the way. Branches that are not committed stay behind.
 */
export async function copyStore (from: StorageInput, to: StorageInput, options: TransferOptions = {}): Promise<void> {
  const { signal } = options
  await importStore(exportStore(from, signal ? { signal } : {}), to, options)
}

/** A store as one file, which is read from the storage as it is taken. Each core is as it was when its turn came. */
export function exportStore (from: StorageInput, options: TransferOptions = {}): StoreExport {
  return new StoreExport(parseStorage(from), options)
}

/**
 * Takes in the file of a store. It becomes part of the storage when all of it was read and found to be true, at once; whatever ends that
 * before leaves the storage as it was. Cores that are in the storage already get what they lack then.
 */
export async function importStore (file: StoreFileInput, to: StorageInput, { onprogress, signal }: TransferOptions = {}): Promise<void> {
  signal?.throwIfAborted()
  await ready()
  const target = parseStorage(to)
  if (target.readOnly) throw HypercoreError.SESSION_NOT_WRITABLE('the store is only read')
  // It stays open between cores.
  await target.acquire()
  try {
    const release = await lockImports(target)
    try {
      await takeIn(file, target, signal, onprogress)
    } finally {
      release()
    }
  } finally {
    await target.release()
  }
}

/** Takes the file in, where no other import is under way. */
async function takeIn (file: StoreFileInput, target: Storage, signal: AbortSignal | undefined, onprogress: TransferOptions['onprogress']): Promise<void> {
  const reader = new StoreReader(target)
  const progress = { bytes: 0, cores: 0, blocks: 0 }
  signal?.throwIfAborted()
  // Of an import whose tab or process was ended.
  await target.dropIncoming()
  try {
    await takeFrames(file, reader, progress, signal, onprogress)
  } catch (error) {
    await clean(reader, target).catch(() => {})
    throw error
  }
  await clean(reader, target)
  await onprogress?.({ ...progress })
}

async function takeFrames (
  file: StoreFileInput, reader: StoreReader, progress: TransferProgress, signal: AbortSignal | undefined, onprogress: TransferOptions['onprogress']
): Promise<void> {
  const frames = new FrameReader()
  for await (const bytes of abortable(bytesOf(file), signal)) {
    // Who gives large pieces hears of it in the same steps.
    for (let at = 0; at < bytes.byteLength; at += PIECE) {
      const part = bytes.subarray(at, at + PIECE)
      frames.push(part)
      progress.bytes += part.byteLength
      for (let frame = frames.next(); frame !== null; frame = frames.next()) {
        signal?.throwIfAborted()
        await reader.take(frame)
        progress.cores = reader.finished
        if (frame.kind === 'proof' && frame.value.block) progress.blocks++
      }
      await onprogress?.({ ...progress })
    }
  }
  if (frames.isWithin) throw damaged()
  signal?.throwIfAborted()
  await reader.finish()
}

async function clean (reader: StoreReader, target: Storage): Promise<void> {
  await reader.close()
  await target.dropIncoming()
}

/** The file of a store, to be read once. */
export class StoreExport implements AsyncIterable<Uint8Array<ArrayBuffer>> {
  readonly #pieces: AsyncGenerator<Uint8Array<ArrayBuffer>, void>

  /** @internal */
  constructor (source: Storage, options: TransferOptions) {
    this.#pieces = pieces(source, options)
  }

  /** Its bytes, in pieces of about a MiB. */
  [Symbol.asyncIterator] (): AsyncGenerator<Uint8Array<ArrayBuffer>, void> {
    return this.#pieces
  }

  /** Its bytes as a stream, for a file, a response, or a worker. */
  stream (): ReadableStream<Uint8Array<ArrayBuffer>> {
    const source = this.#pieces
    return new ReadableStream({
      async pull (controller) {
        const { value, done } = await source.next()
        if (done) controller.close()
        else controller.enqueue(value)
      },
      async cancel () { await source.return() }
    }, { highWaterMark: 0 })
  }

  /** All of it, kept where the browser keeps blobs: on the disk, when it is large. */
  async blob (): Promise<Blob> {
    return await new Response(this.stream(), { headers: { 'content-type': 'application/octet-stream' } }).blob()
  }
}

async function * pieces (source: Storage, { onprogress, signal }: TransferOptions): AsyncGenerator<Uint8Array<ArrayBuffer>, void> {
  signal?.throwIfAborted()
  await ready()
  const progress = { bytes: 0, cores: 0, blocks: 0 }
  // It stays open between cores.
  await source.acquire()
  try {
    const writer = new FrameWriter()
    let parts = [writer.begin()]
    let length = parts[0]!.byteLength
    for await (const { frame, blocks, endsCore } of storeFrames(source, signal)) {
      for (const part of writer.frame(frame)) {
        parts.push(part)
        length += part.byteLength
      }
      progress.blocks += blocks
      if (endsCore) progress.cores++
      if (length < PIECE && frame.kind !== 'end') continue
      progress.bytes += length
      const piece = concat(parts) as Uint8Array<ArrayBuffer>
      parts = []
      length = 0
      await onprogress?.({ ...progress })
      yield piece
      signal?.throwIfAborted()
    }
  } finally {
    await source.release()
  }
}

/** Keeps imports into a storage apart, in this realm and in others. */
async function lockImports (target: Storage): Promise<() => void> {
  let lock = locks.get(target.opener)
  if (!lock) locks.set(target.opener, lock = new Lock())
  const release = await lock.acquire()
  try {
    const releaseOthers = await target.lock('import')
    return () => {
      releaseOthers()
      release()
    }
  } catch (error) {
    release()
    throw error
  }
}

const locks = new WeakMap<object, Lock>()

function bytesOf (file: StoreFileInput): AsyncIterable<Uint8Array> | Iterable<Uint8Array> {
  if (file instanceof Blob) return chunksOf(file.stream())
  if (typeof Response !== 'undefined' && file instanceof Response) return file.body === null ? [] : chunksOf(file.body)
  // Not every browser can iterate over one.
  if (file instanceof ReadableStream) return chunksOf(file)
  if (!file || typeof file !== 'object' || !(Symbol.asyncIterator in file || Symbol.iterator in file)) throw new TypeError('a store comes from a Blob, a Response, a stream or pieces')
  return file
}

/** Unlike a generator, it can be ended while it waits. */
function chunksOf (stream: ReadableStream<Uint8Array>): AsyncIterable<Uint8Array> {
  return {
    [Symbol.asyncIterator] () {
      const reader = stream.getReader()
      return {
        next: async () => await reader.read() as IteratorResult<Uint8Array>,
        async return () {
          await reader.cancel().catch(() => {})
          return { value: undefined, done: true }
        }
      }
    }
  }
}

/** Ends with the signal, even while the next bytes are waited for. */
async function * abortable (bytes: AsyncIterable<Uint8Array> | Iterable<Uint8Array>, signal: AbortSignal | undefined): AsyncGenerator<Uint8Array, void> {
  const iterator = Symbol.asyncIterator in bytes ? bytes[Symbol.asyncIterator]() : bytes[Symbol.iterator]()
  let giveUp: () => void = () => {}
  const aborted = new Promise<never>((_resolve, reject) => {
    giveUp = () => { reject(signal!.reason) }
    signal?.addEventListener('abort', giveUp)
  })
  aborted.catch(() => {})
  let isOver = false
  try {
    for (;;) {
      const { value, done } = await Promise.race([iterator.next(), aborted])
      isOver = done === true
      if (isOver) return
      yield value as Uint8Array
    }
  } catch (error) {
    // One that waits for something would end only then.
    if (signal?.aborted) {
      isOver = true
      Promise.resolve(iterator.return?.()).catch(() => {})
    }
    throw error
  } finally {
    signal?.removeEventListener('abort', giveUp)
    if (!isOver) await iterator.return?.()
  }
}
