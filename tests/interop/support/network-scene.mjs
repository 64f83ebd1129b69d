// What programs over swarms and nodes get, wherever they run.

import { plain } from './scene.mjs'

/**
 * Runs a program with swarms of one class, each on a node of its own, and returns what it notes.
 *
 * @param {(scene: object) => unknown} program
 * @param {{ Hyperswarm: Function, createNode: () => object }} kit
 */
export async function playSwarms (program, { Hyperswarm, createNode }, { defer }) {
  const notes = []
  const swarms = []
  const create = (options = {}) => {
    const swarm = new Hyperswarm({ backoffs: [100, 200, 300, 400], jitter: 0, dht: createNode(), ...options })
    swarm.on('connection', (connection) => connection.on('error', () => {}))
    swarms.push(swarm)
    return swarm
  }
  const end = async () => {
    for (const swarm of swarms.splice(0)) {
      // Forced, upstream's leave the timers of their topics behind.
      swarm.clear().catch(() => {})
      await swarm.destroy({ force: true }).catch(() => {})
    }
  }
  defer(end)
  await program({ create, note: (...values) => { notes.push(...values.map(plain)) } })
  await end()
  return notes
}
