// What a core tells about itself at once.

import type { Hypercore } from './hypercore.js'

/** What `core.info()` tells. */
export class Info {
  readonly key: Uint8Array
  readonly discoveryKey: Uint8Array
  readonly length: number
  readonly contiguousLength: number
  readonly byteLength: number
  readonly fork: number
  readonly padding: number
  readonly storage = null

  /** @internal */
  constructor (session: Hypercore) {
    this.key = session.key!
    this.discoveryKey = session.discoveryKey!
    this.length = session.length
    this.contiguousLength = session.contiguousLength
    this.byteLength = session.byteLength
    this.fork = session.fork
    this.padding = session.padding
  }
}
