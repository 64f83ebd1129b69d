// What a core tells about itself at once.

import type { Hypercore } from './hypercore.js'

/** What `core.info()` tells. */
export class Info {
  /** 32 bytes. */
  readonly key: Uint8Array
  /** 32 bytes. */
  readonly discoveryKey: Uint8Array
  /** Blocks. */
  readonly length: number
  /** Blocks from the first on that are all here. */
  readonly contiguousLength: number
  /** Bytes of all blocks. */
  readonly byteLength: number
  /** How often the log was cut. */
  readonly fork: number
  /** Bytes in front of each block that the encryption takes. */
  readonly padding: number
  /** Upstream's figures of files, which there are none of. */
  readonly storage: { oplog: number, tree: number, blocks: number, bitfield: number } | null = null

  constructor ({ key, discoveryKey, length = 0, contiguousLength = 0, byteLength = 0, fork = 0, padding = 0 }: Partial<Info> = {}) {
    this.key = key!
    this.discoveryKey = discoveryKey!
    this.length = length
    this.contiguousLength = contiguousLength
    this.byteLength = byteLength
    this.fork = fork
    this.padding = padding
  }

  /** What a session tells. */
  static async from (session: Hypercore, _options?: { storage?: boolean }): Promise<Info> {
    return new Info(session as Partial<Info>)
  }
}
