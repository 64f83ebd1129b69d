// Our own core on TCP, a native program told what to do by JSON lines; see tests/src/bin/hypertab-peer.rs.

import { nativeProgram } from '../../../scripts/lib/cargo.mjs'
import { startProcess } from './process.mjs'

/**
 * Starts a peer with one core, and returns it with the summary of the core.
 *
 * @param {import('./cleanup.mjs').Life} t
 * @param {{ key?: string | null, path?: string, compat?: boolean, encryption?: string }} [options]
 * @param {object} [env]
 */
export async function startCorePeer (t, options = {}, env = {}) {
  const peer = startProcess(t, await nativeProgram('hypertab-peer'), [], { env })
  const core = await peer.ask('open', options)
  return { peer, core }
}
