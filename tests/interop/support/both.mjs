// One program, run with upstream's class and with ours: what it says must be the same.

import assert from 'node:assert/strict'
import test from 'node:test'

import Hypercore from 'hypercore'
import Hypertab from 'hypertab/hypercore'

import { defer } from './cleanup.mjs'
import { temporaryFolder } from './folder.mjs'
import { play as playScene } from './scene.mjs'

export { closed, eventually, first, outcome, outcomeOf, plain, within } from './scene.mjs'

/** The implementations, by name. */
export const implementations = { upstream: Hypercore, hypertab: Hypertab }

/**
 * Runs a program with each implementation and compares what it notes.
 *
 * The program gets `{ Hypercore, note, create, folder }`: `create(...args)` opens a core in a folder of its own,
 * `note(...values)` writes down what is to be the same.
 *
 * @param {string} name
 * @param {(scene: object) => unknown} program
 */
export function sameWithBoth (name, program) {
  test(name, async (t) => {
    const notes = {}
    for (const [implementation, Class] of Object.entries(implementations)) {
      notes[implementation] = await play(t, Class, program)
    }
    assert.deepEqual(notes.hypertab, notes.upstream)
  })
}

/** Runs a program with one implementation on each side, in every combination. */
export function sameWithEveryPair (name, program) {
  test(name, async (t) => {
    const expected = await play(t, [Hypercore, Hypercore], program)
    for (const [one, other] of [['hypertab', 'upstream'], ['upstream', 'hypertab'], ['hypertab', 'hypertab']]) {
      await t.test(`${one} and ${other}`, async (t) => {
        assert.deepEqual(await play(t, [implementations[one], implementations[other]], program), expected)
      })
    }
  })
}

function play (t, classes, program) {
  return playScene(classes, program, { folder: () => temporaryFolder(t), defer: (step) => { defer(t, step) } })
}
