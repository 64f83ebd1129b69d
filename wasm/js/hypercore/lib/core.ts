// A core without a session in front of it: `hypercore/lib/core`.
//
// Source: hypercore 11.35, `lib/core.js`.

import type { StorageInput } from '../../storage/parse.js'
import { Core } from '../core.js'
import type { HypercoreOptions } from '../options.js'
import { setRecoveryPeers } from '../recovery.js'

export interface BareCoreOptions extends HypercoreOptions {
  /** Closes the store with it; so it is unless this is false. */
  autoClose?: boolean
}

/** A core that programs open by themselves. Its key is its public key unless a key or a manifest says otherwise. */
export class BareCore extends Core {
  constructor (storage: StorageInput, options: BareCoreOptions = {}) {
    super(storage, { ...options, compat: options.compat ?? (!options.manifest && !options.key) })
    this.autoClose = options.autoClose !== false
  }

  static setRecoveryPeers (keys: Uint8Array[] | null): void {
    setRecoveryPeers(keys)
  }
}
