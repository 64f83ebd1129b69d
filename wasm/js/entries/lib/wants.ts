import { enableFeatures, SMALL_WANTS } from '../../hypercore/features.js'

export { WANT_BATCH } from '../../hypercore/features.js'
export { LocalWants, RemoteWants } from '../../hypercore/lib/wants.js'

/** Switches between what hypercore 10 understands and what does not, as `Hypercore.enable` does. */
export function UPDATE_COMPAT (isCompat: boolean): void {
  enableFeatures(isCompat ? 0 : SMALL_WANTS)
}
