// When to try a peer again.

import { unrefTimer } from '../platform.js'
import type { PeerInfo } from './peer-info.js'

/** Pauses in milliseconds: short, medium, long, and for peers that were asked for by name. */
const BACKOFFS = [1000, 5000, 15_000, 600_000]
const JITTER = 500

export interface RetryOptions {
  backoffs?: number[] | undefined
  jitter?: number | undefined
}

/** Hands peers back after a pause that grows with their failures. */
export class Retry {
  #push
  #backoffs: number[]
  #jitter: number
  #timers = new Map<PeerInfo, ReturnType<typeof setTimeout>>()

  constructor (push: (peers: PeerInfo[]) => void, { backoffs = BACKOFFS, jitter = JITTER }: RetryOptions = {}) {
    this.#push = push
    this.#backoffs = backoffs
    this.#jitter = jitter
  }

  /** Returns whether the peer will be handed back. */
  add (peer: PeerInfo): boolean {
    const step = stepOf(peer)
    if (step === null) return false
    clearTimeout(this.#timers.get(peer))
    const pause = (this.#backoffs[step] ?? BACKOFFS[step]!) + Math.round(this.#jitter * Math.random())
    const timer = setTimeout(() => {
      this.#timers.delete(peer)
      this.#push([peer])
    }, pause)
    unrefTimer(timer)
    this.#timers.set(peer, timer)
    return true
  }

  clear (): void {
    for (const timer of this.#timers.values()) clearTimeout(timer)
    this.#timers.clear()
  }
}

function stepOf (peer: PeerInfo): number | null {
  if (peer.banned || !peer.reconnecting) return null
  if (peer.attempts > 3) return peer.explicit ? 3 : null
  if (peer.attempts === 0) return 0
  return peer.proven ? peer.attempts - 1 : Math.min(peer.attempts, 2)
}
