// What programs noted that ran with upstream's classes and with ours.

import assert from 'node:assert/strict'

/** How much of what came before a difference is shown. */
const SHOWN = 12

/** Where two lists of notes differ first; -1 where all of the first one is in the other. */
export function differenceOf (expected, found) {
  return expected.findIndex((note, at) => JSON.stringify(note) !== JSON.stringify(found[at]))
}

/**
 * Fails unless both noted the same.
 *
 * @param {unknown[]} expected
 * @param {unknown[]} found
 * @param {string} replay what runs the program again
 * @param {number} [at] where they differ, for who compares otherwise
 */
export function assertSameNotes (expected, found, replay, at = differenceOf(expected, found)) {
  const lines = expected.slice(Math.max(0, at - SHOWN), at + 1).map((note) => JSON.stringify(note))
  assert.equal(at, -1, `note ${at} of ${replay}:\n${lines.join('\n')}\n${JSON.stringify(found[at])}`)
  assert.equal(found.length, expected.length, replay)
}
