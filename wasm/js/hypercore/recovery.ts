// A writer whose store was repaired: it may have signed more than it remembers, so it hears its peers first.
//
// Source: hypercore 11.35, `lib/session-state.js`, `waitForRecovery`.

import { HypercoreError } from '../errors.js'
import { equal } from '../support/bytes.js'
import type { Peer } from './peer.js'
import type { State } from './state.js'

/** Milliseconds until peers are looked for again. */
const PEERS_EVERY = 5000
/** How often, and how far apart in milliseconds, they have to agree that the log is not longer. */
const ROUNDS = 32
const ROUND = 250

let trusted: Uint8Array[] | null = null

/** Sets whose word counts, by public key; null for that of any peer. */
export function setRecoveryPeers (keys: Uint8Array[] | null): void {
  trusted = keys
}

/** Resolves when peers have agreed for a while that the log is not longer than it is here. */
export async function waitForRecovery (state: State): Promise<void> {
  const { core } = state
  const { length } = state
  const isOver = () => core.closing !== null || core.closed
  while (!isOver()) {
    if (heard(core.peers).length === 0) {
      await sleep(PEERS_EVERY)
      continue
    }
    let agree = true
    for (let round = 0; agree && round < ROUNDS; round++) {
      await sleep(ROUND)
      agree = !isOver() && agreesAll(heard(core.peers), state.length)
    }
    if (!agree) continue
    if (state.length !== length) throw HypercoreError.SESSION_NOT_WRITABLE('core recovered during append')
    core.recovering = 0
    return
  }
  throw HypercoreError.SESSION_CLOSED('Cannot recover a closed session', core.discoveryKey)
}

function heard (peers: Peer[]): Peer[] {
  const keys = trusted
  return keys === null ? peers : peers.filter((peer) => keys.some((key) => equal(key, peer.remotePublicKey)))
}

function agreesAll (peers: Peer[], length: number): boolean {
  return peers.length > 0 && peers.every((peer) => peer.remoteLength <= length && (peer.remoteLength > 0 || peer.remoteSynced))
}

function sleep (milliseconds: number): Promise<void> {
  return new Promise((resolve) => { setTimeout(resolve, milliseconds) })
}
