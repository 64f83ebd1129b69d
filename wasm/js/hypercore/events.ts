// What the engine tells of a core, for its sessions to hear.

import type { Failure } from '../binding.js'
import { fromFailure } from '../errors.js'
import { userBytes } from '../platform.js'
import { call, look } from '../runtime.js'
import type { Core } from './core.js'
import type { Hypercore } from './hypercore.js'
import { MerkleTreeBatch, type GrowingHead } from './lib/merkle-tree-batch.js'
import { Peer } from './peer.js'
import { fromEngine, type EngineProof } from './proof.js'

/** The events of one core, and the peers that they are of. */
export class CoreEvents {
  readonly #core: Core
  /** Those of the core's list. */
  readonly #peers = new Map<number, Peer>()
  /** What a program threw when the log was to grow. */
  #refusal: Error | null = null

  constructor (core: Core) {
    this.#core = core
  }

  /** Tells what happened. */
  readonly handle = (kind: string, rest: unknown[]): void => {
    const core = this.#core
    const { state } = core
    // What changed by the time that its store has moved is told then.
    if (core.isMoving && (kind === 'append' || kind === 'truncate')) return
    switch (kind) {
      case 'append':
      case 'truncate':
        state.changed(kind, rest, () => core.allSessions().reverse(), () => { this.#updateGroup() })
        break
      case 'growing':
        void this.#askForUpdate(rest[0] as GrowingHead)
        break
      case 'manifest':
        if (core.closing === null) core.compat = look((engine) => engine.coreIsCompat(core.handle))
        this.#emit((session) => { session.emit('manifest') })
        break
      case 'remote-contiguous-length':
        this.#emit((session) => { session.emit('remote-contiguous-length', rest[0] as number) })
        break
      case 'download': {
        const [index, byteLength, id, elapsed] = rest as [number, number, number, number | null | undefined]
        const peer = this.#peer(id)
        core.arrivals?.tell(index)
        this.#emit((session) => { session.emit('download', index, byteLength - session.padding, peer, { elapsed: elapsed ?? 0 }) })
        break
      }
      case 'upload': {
        const [index, byteLength, id] = rest as [number, number, number]
        this.#emit((session) => { session.emit('upload', index, byteLength - session.padding, this.#peer(id)) })
        break
      }
      case 'peer-add':
        this.#addPeer(rest[0] as number, (rest[1] ?? rest[0]) as number)
        break
      case 'peer-remove':
        this.#removePeer(rest[0] as number)
        break
      case 'verification-error': {
        const peer = this.#peer(rest[1] as number)
        if (peer) peer.failures.data++
        core.replicator.failures.data++
        const error = this.#refusal ?? fromFailure(rest[0] as Failure, core.discoveryKey)
        this.#refusal = null
        const block = typeof rest[2] === 'number' ? { index: rest[2] } : null
        this.#emit((session) => { session.emit('verification-error', error, { block }, null, peer) })
        break
      }
      case 'invalid-request': {
        const peer = this.#peer(rest[1] as number)
        if (peer) peer.failures.requests++
        core.replicator.failures.requests++
        const error = fromFailure(rest[0] as Failure, core.discoveryKey)
        this.#emit((session) => { session.emit('invalid-request', error, null, peer) })
        break
      }
      case 'conflict': {
        const [length, fork, proof] = rest as [number, number, EngineProof]
        const evidence = { request: 0, ...fromEngine(proof) }
        core.frozen = true
        this.#emit((session) => { session.emit('conflict', length, fork, evidence) })
        void core.closeAllSessions(new Error(`Two conflicting signatures exist for length ${length}`))
        break
      }
      case 'repair': {
        const [stage, proof] = rest as ['repairing' | 'repaired' | 'repair-failed', EngineProof]
        const taken = { request: 0, ...fromEngine(proof) }
        this.#emit((session) => {
          if (stage === 'repair-failed') session.emit(stage)
          else session.emit(stage, taken)
        })
        // The engine asks for blocks again, too.
        if (stage === 'repaired') core.replicator.pushOnly = false
        break
      }
      case 'extension': {
        const [id, name, payload] = rest as [number, string, Uint8Array]
        const peer = this.#peer(id)
        if (peer) peer.extensions.get(name)?.receive(userBytes(payload), peer)
        break
      }
      case 'core-closed': {
        const error = rest[0] ? fromFailure(rest[0] as Failure, core.discoveryKey) : null
        for (const session of core.allSessions()) void session.close({ error }).catch(() => {})
      }
    }
  }

  /** All peers have gone. */
  removePeers (): void {
    for (const id of [...this.#peers.keys()]) this.#removePeer(id)
  }

  /** There are no peers any more, and nobody to hear of it. */
  forgetPeers (): void {
    for (const peer of this.#core.peers.splice(0)) peer.removed = true
    this.#peers.clear()
  }

  // Newest session first, as upstream; a copy, because a listener may close sessions.
  #emit (tell: (session: Hypercore) => void): void {
    const sessions = this.#core.allSessions()
    for (let i = sessions.length - 1; i >= 0; i--) tell(sessions[i]!)
  }

  async #askForUpdate (head: GrowingHead): Promise<void> {
    const core = this.#core
    const { handle } = core
    let isAdmitted = true
    try {
      await core.preupdate?.(MerkleTreeBatch.ofHead(core.state, head), core.key!)
    } catch (error) {
      isAdmitted = false
      this.#refusal = error as Error
    }
    if (!core.closed) call((engine) => { engine.coreAdmit(handle, isAdmitted) })
  }

  #updateGroup (): void {
    const core = this.#core
    // What was stored before it closed is told after the engine has let go of it.
    if (core.closing !== null) return
    const topic = core.group
    if (topic) core.ongroupupdate(topic, { key: core.key!, length: core.length, fork: core.fork })
  }

  #peer (id: number): Peer | null {
    return this.#peers.get(id) ?? null
  }

  #addPeer (id: number, link: number): void {
    const core = this.#core
    const mux = [...core.muxes].find((mux) => mux.isOn(link)) ?? null
    const peer = new Peer(core, id, link, mux)
    this.#peers.set(id, peer)
    core.peers.push(peer)
    if (core.isLost) call((engine) => { engine.coreAskForRepair(core.handle) })
    this.#emit((session) => {
      session.emit('peer-add', peer)
      for (const extension of session.extensions.values()) peer.extensions.set(extension.name, extension)
    })
  }

  #removePeer (id: number): void {
    const { handle, muxes, peers } = this.#core
    const peer = this.#peers.get(id)
    if (!peer) return
    this.#peers.delete(id)
    peers.splice(peers.indexOf(peer), 1)
    peer.removed = true
    if (peer.mux?.peerGone(handle)) muxes.delete(peer.mux)
    this.#emit((session) => { session.emit('peer-remove', peer) })
    this.#core.checkIfIdle()
  }
}
