// Tests in the manner of upstream's own, which are written for the runner `brittle`: each runs with upstream's classes
// and with ours, must hold with both, and has to fail in the same way where it is to fail.

import { createRequire } from 'node:module'
import { isDeepStrictEqual } from 'node:util'

import CoreStorage from 'hypercore-storage'
import Hypertab from 'hypertab/hypercore'
import { HypercoreStorage } from 'hypertab/storage'

import { playTest } from './assertions.mjs'
import { sameWithBoth, sameWithEveryPair } from './both.mjs'

export { eventFlush, sleep, unreplicate } from './assertions.mjs'

const require = createRequire(import.meta.url)

/** Parts of either package, by the path that programs import them from. */
const partsOf = (name) => (path) => require(`${name === 'hypertab' ? 'hypertab/hypercore' : 'hypercore'}/${path}`)

/**
 * Runs a test with each implementation.
 *
 * @param {string} name
 * @param {(t: object, scene: object) => unknown} program gets assertions as of brittle, and `create(t, ...args)`,
 * `createStored(t)`, `createStorage(t)`, `replicate(a, b, t)`, `Hypercore`, `CoreStorage` and `lib(path)`
 */
export function suite (name, program) {
  sameWithBoth(name, (scene) => play(scene, program))
}

/** Runs a test of two peers with every pair of implementations; `createA` and `createB` make their cores. */
export function suiteOfPairs (name, program) {
  sameWithEveryPair(name, (scene) => play(scene, program))
}

function play (scene, program) {
  const isOurs = scene.Hypercore === Hypertab
  return playTest(scene, program, {
    Storage: isOurs ? HypercoreStorage : CoreStorage,
    lib: partsOf(isOurs ? 'hypertab' : 'hypercore'),
    isEqual: isDeepStrictEqual
  })
}
