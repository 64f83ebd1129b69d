// How a core shows itself in a console.

import { toHex } from '../support/bytes.js'
import type { Hypercore } from './hypercore.js'

/** What Node's `inspect` gives. */
export interface InspectOptions {
  indentationLvl?: number
  stylize? (text: string, style: string): string
}

/** Most peers that are shown. */
const SHOWN = 5

export function inspect (core: Hypercore, { indentationLvl = 0, stylize = String }: InspectOptions): string {
  const show = (value: unknown) => stylize(String(value), typeof value === 'number' ? 'number' : typeof value === 'boolean' ? 'boolean' : 'string')
  const hex = (bytes: Uint8Array | null) => show(bytes && toHex(bytes))
  const indent = ' '.repeat(indentationLvl)
  const block = (name: string, fields: Record<string, string>, margin: string) => {
    const lines = Object.entries(fields).map(([field, value]) => `${margin}  ${field}: ${value}\n`)
    return `${name}(\n${lines.join('')}${margin})`
  }
  const peers = core.peers.slice(0, SHOWN).map((peer) => `${indent}    ${block('Peer', {
    remotePublicKey: hex(peer.remotePublicKey),
    remoteLength: show(peer.remoteLength),
    remoteFork: show(peer.remoteFork),
    remoteCanUpgrade: show(peer.remoteCanUpgrade)
  }, `${indent}    `)}\n`)
  if (core.peers.length > SHOWN) peers.push(`${indent}  ... and ${core.peers.length - SHOWN} more\n`)
  return block(core.constructor.name, {
    id: show(core.id),
    key: hex(core.key),
    discoveryKey: hex(core.discoveryKey),
    opened: show(core.opened),
    closed: show(core.closed),
    snapshotted: show(core.snapshotted),
    writable: show(core.writable),
    length: show(core.length),
    fork: show(core.fork),
    sessions: `[ ${show(core.sessions.length)} ]`,
    activeRequests: `[ ${show(core.activeRequests.length)} ]`,
    peers: peers.length > 0 ? `[\n${peers.join('')}${indent}  ]` : `[ ${show(0)} ]`
  }, indent)
}
