// Child processes of a test, see JsonProcess.

import { JsonProcess } from '../../../scripts/lib/json-process.mjs'
import { defer } from './cleanup.mjs'
import { temporaryFolder } from './folder.mjs'

/**
 * Starts a program that ends with the test at the latest, and whose temporary files go with it. `node`
 * means this Node.
 *
 * @param {import('./cleanup.mjs').Life} t
 * @param {string} program
 * @param {string[]} [args]
 * @param {{ env?: object, cwd?: string }} [options]
 */
export function startProcess (t, program, args = [], { env = {}, cwd } = {}) {
  const child = new JsonProcess(program, args, { env: { TMPDIR: temporaryFolder(t), ...env }, cwd })
  defer(t, () => child.kill())
  return child
}
