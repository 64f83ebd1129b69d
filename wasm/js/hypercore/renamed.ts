// A core that goes by a name that a program gave it, and that its key does not prove.

import type { Mux } from '../links/mux.js'
import { concat } from '../support/bytes.js'
import { raw } from '../support/encoding.js'
import type { Core } from './core.js'
import { replicate } from './lib/caps.js'

/** Says in the handshake that seeks are understood. */
const SEEKS = Uint8Array.of(1)

/** Offers the core as the one of that name. Whoever has that one sees that the key is another, and ends the stream. */
export function attachRenamed (core: Core, mux: Mux): void {
  const { stream } = mux
  const channel = mux.createChannel({ protocol: 'hypercore/alpha', id: core.discoveryKey, handshake: raw })
  void stream.opened.then(() => {
    if (stream.handshakeHash) channel?.open(concat([SEEKS, replicate(stream.isInitiator, core.key!, stream.handshakeHash)]))
  })
}
