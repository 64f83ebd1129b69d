// One program, run with upstream's bee and with ours, each over the core of its own kind.

import Hyperbee from 'hyperbee'
import Hypertab from 'hypertab/hyperbee'

import { withBees } from './bee-scene.mjs'
import { implementations, sameWithBoth, sameWithEveryPair } from './both.mjs'

export { blocksOf, collect, random } from './bee-scene.mjs'

/** The bee that belongs to a class of cores. */
export const beeOf = (Hypercore) => Hypercore === implementations.upstream ? Hyperbee : Hypertab

/** A scene with `Hyperbee`, and `createBee(options, coreOptions)` for one in a folder of its own. */
export function sameBees (name, program) {
  sameWithBoth(name, (scene) => program(withBees(scene, beeOf)))
}

/** A scene with `createBeeA` and `createBeeB(key, options)`. */
export function sameBeePairs (name, program) {
  sameWithEveryPair(name, (scene) => program(withBees(scene, beeOf)))
}
