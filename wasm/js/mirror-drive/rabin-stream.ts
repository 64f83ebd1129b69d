// Cuts what passes through where its content says, so that equal parts of two files become equal chunks.

import { Transform } from 'streamx'

import { exports as engine } from '../binding.js'
import { bytesFrom, userBytes } from '../platform.js'
import { call } from '../runtime.js'
import { concat, isBytes } from '../support/bytes.js'

/** Bytes of a chunk: fewest, but for the last one, and most. */
const MIN_SIZE = 512 * 1024
const MAX_SIZE = 8 * 1024 * 1024

export class RabinStream extends Transform {
  readonly #chunker
  /** What has come since the last chunk. */
  #parts: Uint8Array[] = []

  constructor ({ minSize = MIN_SIZE, maxSize = MAX_SIZE }: { minSize?: number, maxSize?: number } = {}) {
    super()
    this.#chunker = call(() => new engine.Chunker(minSize, maxSize))
  }

  override _transform (data: unknown, done: (error: Error | null, data?: unknown) => void): void {
    const bytes = isBytes(data) ? data : bytesFrom(data)
    let start = 0
    for (const end of this.#chunker.push(bytes)) {
      this.#parts.push(bytes.subarray(start, end))
      this.#flush()
      start = end
    }
    if (start < bytes.byteLength) this.#parts.push(bytes.subarray(start))
    done(null)
  }

  override _flush (done: (error: Error | null) => void): void {
    if (this.#parts.length > 0) this.#flush()
    done(null)
  }

  override _destroy (done: (error: Error | null) => void): void {
    this.#chunker.free()
    done(null)
  }

  #flush (): void {
    this.push(this.#parts.length === 1 ? this.#parts[0]! : userBytes(concat(this.#parts)))
    this.#parts = []
  }
}
