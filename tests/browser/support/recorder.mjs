// Stands in for the runners of tests/interop when its programs are bundled for a page: it keeps them, to be run there.

import { playTest } from '../../interop/support/assertions.mjs'
import { play } from '../../interop/support/scene.mjs'

export { eventFlush, sleep, unreplicate } from '../../interop/support/assertions.mjs'
export { closed, eventually, outcome, plain } from '../../interop/support/scene.mjs'

const programs = new Map()

/** Names of everything that was recorded, in order. */
export const names = () => [...programs.keys()]

export function sameWithBoth (name, program) {
  // Files may have programs of one name.
  let key = name
  for (let number = 2; programs.has(key); number++) key = `${name}, ${number}`
  programs.set(key, program)
}
export const sameWithEveryPair = sameWithBoth
export const suite = (name, program) => { sameWithBoth(name, (scene, tools) => playTest(scene, program, tools)) }
export const suiteOfPairs = suite

/**
 * Runs one program.
 *
 * @param {string} name
 * @param {{ Hypercore: Function, Storage: Function, lib: Function, isEqual: Function, folder: () => string }} tools
 * @returns {Promise<{ notes: unknown[] } | { failed: string }>}
 */
export async function run (name, tools) {
  const steps = []
  let late
  const patience = new Promise((_resolve, reject) => {
    late = setTimeout(() => { reject(new Error('it does not end')) }, PATIENCE_MS)
  })
  try {
    const program = (scene) => programs.get(name)(scene, tools)
    const notes = await Promise.race([
      play(tools.Hypercore, program, { folder: tools.folder, defer: (step) => { steps.push(step) } }), patience
    ])
    return { notes: JSON.parse(JSON.stringify(notes ?? null).replaceAll('"buffer:', '"bytes:')) }
  } catch (error) {
    return { failed: String(error?.stack ?? error) }
  } finally {
    clearTimeout(late)
    for (const step of steps.reverse()) await Promise.race([step(), patience]).catch(() => {})
  }
}

const PATIENCE_MS = 20_000
