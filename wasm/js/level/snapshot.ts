// A version of the bee that is read for as long as somebody wants it.

import { AbstractSnapshot } from 'abstract-level'

import type { Hyperbee } from '../hyperbee/hyperbee.js'

/** What reads are given. */
export interface WithSnapshot {
  snapshot?: { readonly view: Hyperbee } | undefined
}

/** Keeps a version. */
export class BeeLevelSnapshot extends AbstractSnapshot {
  /** @internal */
  readonly view: Hyperbee

  constructor (bee: Hyperbee, options: object) {
    // The owner is in the options; the declarations of the package leave that out.
    super(...[options] as unknown as [])
    this.view = bee.snapshot()
  }

  /** @internal */
  async _close (): Promise<void> {
    await this.view.close()
  }
}

/** What a read is of. */
export function viewOf (bee: Hyperbee, { snapshot }: WithSnapshot): Hyperbee {
  return snapshot ? snapshot.view : bee
}
