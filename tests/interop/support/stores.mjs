// One program over stores of cores, run with upstream's classes and with ours: what it says must be the same.

import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import test from 'node:test'

import Corestore from 'corestore'
import LatestCorestore from 'corestore-latest'
import Hypercore from 'hypercore'
import Hypertab from 'hypertab/hypercore'
import HypertabStore from 'hypertab/corestore'

import { defer } from './cleanup.mjs'
import { temporaryFolder } from './folder.mjs'
import { playStores } from './store-scene.mjs'

/** The implementations, by name. */
const implementations = {
  upstream: { Corestore, Hypercore },
  hypertab: { Corestore: HypertabStore, Hypercore: Hypertab }
}

/** What upstream has published since, with the newest Hypercore below it. */
const latest = {
  Corestore: LatestCorestore,
  Hypercore: createRequire(import.meta.resolve('corestore-latest'))('hypercore')
}

/**
 * Runs a program with each implementation and compares what it notes.
 *
 * @param {string} name
 * @param {(scene: object) => unknown} program
 */
export function sameWithBothStores (name, program, { upstream, hypertab } = implementations) {
  test(name, async (t) => {
    const expected = await play(t, upstream, upstream, program)
    assert.deepEqual(await play(t, hypertab, hypertab, program), expected)
  })
}

/** Runs a program with one implementation on each side, in every combination. */
export function sameWithEveryPairOfStores (name, program, { upstream, hypertab } = implementations) {
  test(name, async (t) => {
    const expected = await play(t, upstream, upstream, program)
    for (const [what, one, other] of [
      ['ours and upstream\'s', hypertab, upstream], ['upstream\'s and ours', upstream, hypertab], ['ours and ours', hypertab, hypertab]
    ]) {
      await t.test(what, async (t) => {
        assert.deepEqual(await play(t, one, other, program), expected)
      })
    }
  })
}

/** The same with the newest that upstream has published. */
export function sameWithLatestStores (name, program) {
  sameWithBothStores(name, program, { ...implementations, upstream: latest })
}

export function sameWithEveryPairOfLatestStores (name, program) {
  sameWithEveryPairOfStores(name, program, { ...implementations, upstream: latest })
}

function play (t, one, other, program) {
  return playStores([one, other], program, { folder: () => temporaryFolder(t), defer: (step) => { defer(t, step) } })
}
