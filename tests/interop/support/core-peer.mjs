// Our own core on TCP, a native program told what to do by JSON lines; see tests/src/bin/hypertab-peer.rs.

import { fileURLToPath } from 'node:url'

import { cargoBuild } from '../../../scripts/lib/cargo.mjs'
import { startProcess } from './process.mjs'

let program = null

/**
 * Starts a peer with one core, and returns it with the summary of the core.
 *
 * @param {import('./cleanup.mjs').Life} t
 * @param {{ key?: string | null, path?: string, compat?: boolean, encryption?: string }} [options]
 */
export async function startCorePeer (t, options = {}) {
  program ??= build()
  const peer = startProcess(t, await program)
  const core = await peer.ask('open', options)
  return { peer, core }
}

async function build () {
  // The program runs on its own, where the workspace is built.
  process.chdir(fileURLToPath(new URL('../../..', import.meta.url)))
  const { executables } = await cargoBuild(['--release', '-p', 'hypertab-tests', '--bin', 'hypertab-peer'])
  return executables.get('hypertab-peer')
}
