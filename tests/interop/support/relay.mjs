// The project's relay as a child process.

import { nativeProgram } from '../../../scripts/lib/cargo.mjs'
import { startProcess } from './process.mjs'

/**
 * Starts `hypertab-relay` on loopback, on a free port unless `listen` names one.
 *
 * @param {import('./cleanup.mjs').Life} t
 * @param {{ listen?: string, bootstrap?: string[], testnet?: boolean, args?: string[] }} [options]
 * @returns {Promise<{ url: string, bootstrap: string[], process: import('../../../scripts/lib/json-process.mjs').JsonProcess }>}
 */
export async function startRelay (t, { listen = '127.0.0.1:0', bootstrap = [], testnet = false, args = [] } = {}) {
  const child = startProcess(t, await relayProgram(), [
    '--listen', listen,
    ...bootstrap.flatMap((address) => ['--bootstrap', address]),
    ...(testnet ? ['--testnet'] : []),
    ...args
  ])
  const { url } = await child.next('listening')
  const network = testnet ? (await child.next('testnet')).bootstrap : bootstrap
  return { url, bootstrap: network, process: child }
}

/** Returns the path of the relay: HYPERTAB_RELAY where somebody has built one, else the workspace's. */
export async function relayProgram () {
  return process.env.HYPERTAB_RELAY ?? await nativeProgram('hypertab-relay')
}

/** Reads the figures of a relay by their names, with labels where they have some. */
export async function relayFigures (relay) {
  const text = await (await fetch(`${relay.url.replace('ws:', 'http:')}/metrics`)).text()
  const lines = text.matchAll(/^hypertab_relay_(\S+) (\S+)$/gm)
  return Object.fromEntries([...lines].map(([, name, value]) => [name, Number(value)]))
}

/** Reads one figure of a relay; throws when it has none of that name. */
export async function relayFigure (relay, name) {
  const figures = await relayFigures(relay)
  if (!(name in figures)) throw new Error(`The relay has no figure ${name}.`)
  return figures[name]
}
