// Who is to be connected to, the highest priority first, and among equals whichever: a swarm that dials in order would crowd
// its first peers.

import type { PeerInfo } from './peer-info.js'

export class PeerQueue {
  #peers = new Set<PeerInfo>()

  get length (): number {
    return this.#peers.size
  }

  add (peer: PeerInfo): void {
    this.#peers.add(peer)
  }

  /** Takes the next one out. */
  shift (): PeerInfo | null {
    let highest = -Infinity
    let equals: PeerInfo[] = []
    for (const peer of this.#peers) {
      if (peer.priority > highest) [highest, equals] = [peer.priority, []]
      if (peer.priority === highest) equals.push(peer)
    }
    const next = equals[Math.floor(Math.random() * equals.length)]
    if (!next) return null
    this.#peers.delete(next)
    return next
  }

  /** Leaves nobody queued. */
  clear (): void {
    for (const peer of this.#peers) peer.queued = false
    this.#peers.clear()
  }
}
