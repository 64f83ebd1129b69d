// One program over stores of cores, run with upstream's classes and with ours: what it says must be the same.

import assert from 'node:assert/strict'
import test from 'node:test'

import Corestore from 'corestore'
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

/**
 * Runs a program with each implementation and compares what it notes.
 *
 * @param {string} name
 * @param {(scene: object) => unknown} program
 */
export function sameWithBothStores (name, program) {
  test(name, async (t) => {
    const notes = {}
    for (const [implementation, classes] of Object.entries(implementations)) {
      notes[implementation] = await play(t, classes, classes, program)
    }
    assert.deepEqual(notes.hypertab, notes.upstream)
  })
}

/** Runs a program with one implementation on each side, in every combination. */
export function sameWithEveryPairOfStores (name, program) {
  test(name, async (t) => {
    const { upstream, hypertab } = implementations
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

function play (t, one, other, program) {
  return playStores([one, other], program, { folder: () => temporaryFolder(t), defer: (step) => { defer(t, step) } })
}
