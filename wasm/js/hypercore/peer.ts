// A peer of one core, with the fields that upstream's peers have.

import type { Detours, LinkHandle, PeerHandle, PeerStatus } from '../binding.js'
import { userBytes } from '../platform.js'
import { call, look } from '../runtime.js'
import type { Connection } from '../links/connection.js'
import type { SecretStreamLike } from '../links/external.js'
import type { ForeignMux } from '../links/foreign.js'
import type { Mux } from '../links/mux.js'
import { BlockList } from './block-list.js'
import type { Core } from './core.js'
import type { Extension } from './extension.js'
import { replicate } from './lib/caps.js'

/** How many messages of one kind went and came. */
export interface MessageCount {
  /** Sent. */
  tx: number
  /** Received. */
  rx: number
}

/** What the other end said when it opened the channel. */
export interface ReplicationHandshake {
  seeks: boolean
  /** Proof that it knows the key. */
  capability: Uint8Array
}

/** Where a core is replicated on a stream. What goes over it is the engine's. */
export class ReplicationChannel {
  readonly protocol = 'hypercore/alpha'
  readonly aliases = ['hypercore']
  /** Who is at the other end. */
  readonly userData: Peer

  /** @internal */
  constructor (peer: Peer) {
    this.userData = peer
  }

  get id (): Uint8Array | null { return this.userData.core.discoveryKey }
  get opened (): boolean { return !this.userData.removed }
  get closed (): boolean { return this.userData.removed }
  get destroyed (): boolean { return this.userData.removed }
  get drained (): boolean { return this.userData.protomux?.drained ?? true }
  get protomux (): Mux | ForeignMux | null { return this.userData.protomux }
  get handshake (): ReplicationHandshake | null { return this.userData.handshake }
  /** @internal */
  get _mux (): Mux | ForeignMux | null { return this.userData.protomux }

  /** Whether both ends opened it, which they did. */
  fullyOpened (): Promise<boolean> {
    return Promise.resolve(this.opened)
  }

  /** Gathers what is sent on the stream, until as many {@link uncork}s. */
  cork (): void {
    this.protomux?.cork()
  }

  uncork (): void {
    this.protomux?.uncork()
  }
}

/** Counters of messages, by kind, and of what went wrong. */
export interface PeerStats {
  wireSync: MessageCount
  wireRequest: MessageCount
  wireCancel: MessageCount
  wireData: MessageCount
  wireWant: MessageCount
  wireUnwant: MessageCount
  wireBitfield: MessageCount
  wireRange: MessageCount
  wireExtension: MessageCount
  hotswaps: number
  invalidData: number
  invalidRequests: number
  backoffs: number
  notAvailableBackoffs: number
}

/** Which type each counter's messages have on the wire. */
const TYPES = {
  wireSync: 0,
  wireRequest: 1,
  wireCancel: 2,
  wireData: 3,
  wireWant: 5,
  wireUnwant: 6,
  wireBitfield: 7,
  wireRange: 8,
  wireExtension: 9
} as const

/** What the engine counted, in upstream's form. */
export function statsOf (
  traffic: [sent: number[], received: number[]] | null,
  failures: { data: number, requests: number },
  [hotswaps, backoffs, notAvailableBackoffs]: Detours = [0, 0, 0]
): PeerStats {
  const counts = Object.entries(TYPES).map(([name, type]) => [name, { tx: traffic?.[0][type] ?? 0, rx: traffic?.[1][type] ?? 0 }])
  return {
    ...Object.fromEntries(counts) as Record<keyof typeof TYPES, MessageCount>,
    hotswaps,
    invalidData: failures.data,
    invalidRequests: failures.requests,
    backoffs,
    notAvailableBackoffs
  }
}

/** One end of a core's replication. It stays readable after the peer has gone. */
export class Peer {
  /** What is replicated. */
  readonly core: Core
  /** @internal */
  readonly mux: Mux | null
  /** What it is replicated on. */
  readonly stream: Connection | SecretStreamLike | null
  /** Those that both ends have, by name. */
  readonly extensions = new Map<string, Extension>()
  /** The channel that the core is replicated on. */
  readonly channel = new ReplicationChannel(this)
  /** @internal */
  readonly failures = { data: 0, requests: 0 }
  /** Whether the peer is gone. */
  removed = false
  /** @internal */
  readonly id: PeerHandle
  /** @internal */
  readonly link: LinkHandle
  #last: PeerStatus
  #handshake: ReplicationHandshake | null = null
  #traffic: [number[], number[]] | null = null

  /** @internal */
  constructor (core: Core, id: PeerHandle, link: LinkHandle, mux: Mux | null) {
    this.core = core
    this.id = id
    this.link = link
    this.mux = mux
    this.stream = mux?.stream ?? null
    this.remoteBitfield = new BlockList(() => this.removed || core.closed ? null : { core: core.handle, peer: id }, () => core.length)
    this.#last = { peer: id, link }
    this.#status()
  }

  /** What runs on the stream: ours, or the one that a program put there. */
  get protomux (): Mux | ForeignMux | null {
    return this.mux?.foreign ?? this.mux
  }

  /** Who it is, 32 bytes. */
  get remotePublicKey (): Uint8Array {
    const key = this.stream?.remotePublicKey ?? this.#status().remotePublicKey
    return userBytes(key ?? new Uint8Array(32))
  }

  /** The fork of its log. */
  get remoteFork (): number { return this.#status().remoteFork ?? 0 }
  /** Blocks of its log. */
  get remoteLength (): number { return this.#status().remoteLength ?? 0 }
  /** Blocks that it has all of, from the first on. */
  get remoteContiguousLength (): number { return this.#status().remoteContiguousLength ?? 0 }
  /** Whether it gives blocks. */
  get remoteUploading (): boolean { return this.#status().remoteUploading ?? true }
  /** Whether it wants blocks. */
  get remoteDownloading (): boolean { return this.#status().remoteDownloading ?? true }
  /** Whether its log can be proven to continue the one here. */
  get remoteCanUpgrade (): boolean { return this.#status().remoteCanUpgrade ?? false }
  /** Whether it has the manifest. */
  get remoteHasManifest (): boolean { return this.#status().remoteHasManifest ?? false }
  /** Whether it takes blocks that it did not ask for. */
  get remoteAllowPush (): boolean { return this.#status().remoteAllowPush ?? false }
  /** A peer is one that answered. */
  get remoteOpened (): boolean { return true }
  /** Whether it has said what it has. */
  get remoteSynced (): boolean { return this.#status().remoteSynced ?? false }
  /** Whether the log here can be proven to continue its log. */
  get canUpgrade (): boolean { return this.#status().canUpgrade ?? false }
  /** Blocks that it is being asked for. */
  get inflight (): number { return this.#status().inflight ?? 0 }
  /** Whether it is asked for nothing, as after it sent what is not true. */
  get paused (): boolean { return this.#status().paused ?? false }
  /** The length of this log that it has heard of. */
  get lengthAcked (): number { return this.#status().lengthAcked ?? 0 }

  /** Fewest and most blocks that it is asked for at a time. */
  get inflightRange (): [number, number] {
    return this.core.replicator.inflightRange
  }

  /** @internal What it said when it came. */
  get handshake (): ReplicationHandshake | null {
    this.#handshake ??= this.#proven()
    return this.#handshake
  }

  /** The replication of the core with all peers. */
  get replicator (): Core['replicator'] {
    return this.core.replicator
  }

  /** Which blocks it said that it has, beside those below `remoteContiguousLength`. */
  readonly remoteBitfield: BlockList

  /** Which of those we lack. */
  readonly missingBlocks = { get: (index: number): boolean => this.remoteBitfield.get(index) && !this.core.has(index) }

  /** Requests that it gets at once, while nothing is known of how long the way is; what the engine finds out may be more. */
  getMaxInflight (): number {
    const [least, most] = this.inflightRange
    return Math.min(most, 3 * least)
  }

  /** The same for blocks that somebody else was asked for already. */
  getMaxHotswapInflight (): number {
    return Math.max(16, this.getMaxInflight() / 2)
  }

  /** Whether it is still there. */
  isActive (): boolean {
    return !this.removed
  }

  /** Messages so far. */
  get stats (): PeerStats {
    if (!this.removed && !this.core.closed) this.#traffic = look((engine) => engine.coreTraffic(this.core.handle, this.id))
    return statsOf(this.#traffic, this.failures, this.#status().detours)
  }

  /** Sends a message of an extension. */
  extension (name: string, message: Uint8Array): void {
    if (!this.removed) call((engine) => { engine.coreSendExtension(this.core.handle, this.id, name, message) })
  }

  // That the peer knows the key, it proved for this stream.
  #proven (): ReplicationHandshake | null {
    const { key } = this.core
    const { handshakeHash, isInitiator } = this.stream ?? {}
    return key && handshakeHash ? { seeks: true, capability: replicate(!isInitiator, key, handshakeHash) } : null
  }

  // The engine is asked while the peer is there; what it said last is what remains.
  #status (): PeerStatus {
    if (this.removed || this.core.closed) return this.#last
    const statuses = look((engine) => engine.corePeers(this.core.handle))
    this.#last = statuses.find(({ peer, link }) => peer === this.id || (peer === undefined && link === this.link)) ?? this.#last
    return this.#last
  }
}
