// A writer whose store was repaired: it may have signed more than it remembers, so it hears its peers first.
//
// Source: hypercore 11.39, `lib/session-state.js`, `waitForRecovery`.

import { HypercoreError } from '../errors.js'
import { equal } from '../support/bytes.js'
import type { Hypercore } from './hypercore.js'
import type { Peer } from './peer.js'
import type { State } from './state.js'

/** How long is waited for peers. */
export interface RecoverOptions {
  /** Milliseconds after which it is given up (`REQUEST_TIMEOUT`); 0, the default, for never. */
  timeout?: number
  /** Milliseconds for which peers have to agree that the log is not longer; 8000 by default. */
  settle?: number
}

/** Milliseconds until peers are looked for again. */
const PEERS_EVERY = 5000
/** Milliseconds between two times that they are asked, and for how long they have to agree. */
const ROUND = 250
const SETTLE = 8000

let trusted: Uint8Array[] | null = null

/** Sets whose word counts, by public key; null for that of any peer. */
export function setRecoveryPeers (keys: Uint8Array[] | null): void {
  trusted = keys
}

/** Resolves when peers have agreed for a while that the log is not longer than it is here: for an append, or for a session that asked. */
export async function waitForRecovery (state: State, session: Hypercore | null = null, { timeout = 0, settle = SETTLE }: RecoverOptions = {}): Promise<void> {
  const { core } = state
  if (!state.isDefault()) throw HypercoreError.BAD_ARGUMENT('Only the default session can recover', core.discoveryKey)
  const { length } = state
  const rounds = Math.max(1, Math.ceil(settle / ROUND))
  const until = timeout > 0 ? Date.now() + timeout : Infinity
  const isOver = () => core.closing !== null || core.closed || !!session?.closing
  const sleep = (milliseconds: number) => wait(Math.min(milliseconds, until - Date.now()), session)
  while (!isOver()) {
    if (Date.now() >= until) throw HypercoreError.REQUEST_TIMEOUT('Recovery timed out', core.discoveryKey)
    if (heard(core.peers).length === 0) {
      await sleep(PEERS_EVERY)
      continue
    }
    let agree = true
    for (let round = 0; agree && round < rounds; round++) {
      await sleep(ROUND)
      agree = !isOver() && agreesAll(heard(core.peers), state.length)
    }
    if (!agree) continue
    if (session === null && state.length !== length) throw HypercoreError.SESSION_NOT_WRITABLE('core recovered during append')
    if (core.recovering > 0) core.recovering = 0
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

/** Waits so long, or until a session closes. */
function wait (milliseconds: number, session: Hypercore | null): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer)
      session?.off('close', done)
      resolve()
    }
    const timer = setTimeout(done, milliseconds)
    session?.on('close', done)
  })
}
