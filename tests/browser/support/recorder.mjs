// Stands in for the runners of tests/interop when its programs are bundled for a page: it keeps them, to be run there.

import { playTest } from '../../interop/support/assertions.mjs'
import { withBees } from '../../interop/support/bee-scene.mjs'
import { playDrives } from '../../interop/support/drive-scene.mjs'
import { playSwarms } from '../../interop/support/network-scene.mjs'
import { play } from '../../interop/support/scene.mjs'
import { playStores } from '../../interop/support/store-scene.mjs'

export { eventFlush, sleep, unreplicate } from '../../interop/support/assertions.mjs'
export { closed, eventually, first, outcome, outcomeOf, plain } from '../../interop/support/scene.mjs'

export { blocksOf, collect, random } from '../../interop/support/bee-scene.mjs'
export { noise, tree, write } from '../../interop/support/drive-scene.mjs'

/** Each takes tools and a life, and resolves to what it notes. */
const programs = new Map()

/** Names of everything that was recorded, in order. */
export const names = () => [...programs.keys()]

function record (name, program) {
  // Files may have programs of one name.
  let key = name
  for (let number = 2; programs.has(key); number++) key = `${name}, ${number}`
  programs.set(key, program)
}

export const sameWithBoth = (name, program) => { record(name, (tools, life) => play(tools.Hypercore, program, life)) }
export const sameWithEveryPair = sameWithBoth
export const suite = (name, program) => {
  record(name, (tools, life) => play(tools.Hypercore, (scene) => playTest(scene, program, tools), life))
}
export const suiteOfPairs = suite
export const sameBees = (name, program) => {
  record(name, (tools, life) => play(tools.Hypercore, (scene) => program(withBees(scene, () => tools.kit.Hyperbee)), life))
}
export const sameBeePairs = sameBees
export const sameWithBothStores = (name, program) => { record(name, ({ kit }, life) => playStores([kit, kit], program, life)) }
export const sameWithEveryPairOfStores = sameWithBothStores
export const sameDrives = (name, program) => { record(name, ({ kit }, life) => playDrives([kit], program, life)) }
export const sameDrivesOfEveryPair = sameDrives
export const sameSwarms = (name, program) => { record(name, ({ network }, life) => playSwarms(program, network, life)) }

/**
 * Runs one program.
 *
 * @param {string} name
 * @param {{ Hypercore: Function, Storage: Function, lib: Function, isEqual: Function, kit: object, folder: () => string }} tools
 * @returns {Promise<{ notes: unknown[] } | { failed: string }>}
 */
export async function run (name, tools) {
  const steps = []
  let late
  const patience = new Promise((_resolve, reject) => {
    late = setTimeout(() => { reject(new Error('it does not end')) }, PATIENCE_MS)
  })
  try {
    const life = { folder: tools.folder, defer: (step) => { steps.push(step) } }
    const notes = await Promise.race([programs.get(name)(tools, life), patience])
    return { notes: JSON.parse(JSON.stringify(notes ?? null).replaceAll('"buffer:', '"bytes:')) }
  } catch (error) {
    return { failed: String(error?.stack ?? error) }
  } finally {
    clearTimeout(late)
    for (const step of steps.reverse()) await Promise.race([step(), patience]).catch(() => {})
  }
}

const PATIENCE_MS = 20_000
