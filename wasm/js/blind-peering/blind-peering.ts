// Has blind peers keep cores: those of upstream, and mirrors of our relay. They need no secret, and read nothing that is
// encrypted.

import type { ServerKeys } from '../dht/server.js'
import { HypertabError } from '../errors.js'
import type { Hypercore } from '../hypercore/hypercore.js'
import { decodeId } from '../support/id.js'
import { equal, isBytes, toHex } from '../support/bytes.js'
import { keepBase, type Autobase } from './base-cores.js'
import { BlindPeer, type BlindPeerNetwork } from './blind-peer.js'
import { Copy, type Keepable, type KeepOptions } from './copy.js'

/** What replicates on a stream; a Corestore does. */
interface Replicates { replicate (stream: any): unknown }

/** Which blind peers are asked, and as whom. */
export interface BlindPeeringOptions {
  /** Public keys of blind peers. */
  keys?: Array<string | Uint8Array>
  /** The same, as upstream's first version has it. */
  mirrors?: Array<string | Uint8Array>
  /** The same where there are no others, as upstream's first version has it. */
  autobaseMirrors?: Array<string | Uint8Array>
  /** How many of them are asked for each core: those whose keys are closest to the core's. 2 without it. */
  pick?: number
  /** A fourth of how long a connection stays that nobody needs, in milliseconds, unless more blocks go over it. 2000. */
  gcWait?: number
  /** Told of every connection to a blind peer (`addStream`), as `protomux-wakeup`. */
  wakeup?: { addStream (stream: any): unknown } | null
  /** Up to how many cores of an Autobase all are asked for at once; 6. */
  maxBatchMin?: number
  /** How many there are at most, those that matter most; 12. */
  maxBatchMax?: number
  /** For how long no writer of an Autobase has come when those that came are asked for, in milliseconds; 2000. */
  batchIdleWait?: number
  /** After how long they are at the latest, in milliseconds; 10000. */
  batchMaxWait?: number
  /** Who we are to them; the DHT's own key without one. One that stays the same lets copies be taken back later. */
  keyPair?: ServerKeys | null
  /** True to connect to nobody until `resume()`; false by default. */
  suspended?: boolean
  /** As of `connect()` of the node. */
  relayThrough?: unknown
  [other: string]: unknown
}

/** How a core is asked for. */
export interface AddCoreOptions {
  /** Whose closest blind peers are asked, in place of the core's. */
  target?: Uint8Array | string
  /** The key of a core that this one belongs to; for an Autobase, its key by default. */
  referrer?: Uint8Array | null
  /** How much it matters, for blind peers that look at it; 0 by default, 1 for an Autobase. */
  priority?: number
  /** Whether the copy is to be found on the DHT; false by default. */
  announce?: boolean
  /** How many blind peers are asked; as many as the options of the class say by default. */
  pick?: number
  /** The blind peers to pick from; all by default. */
  keys?: Array<string | Uint8Array>
}

/** What follows what is to be kept: options, or a target before them, as in upstream's first version. */
export type AddCoreRest = [options?: AddCoreOptions | Uint8Array, more?: AddCoreOptions]

/** Asks blind peers to keep cores, and keeps them up to date. */
export class BlindPeering {
  /** The node that connects. */
  readonly dht: BlindPeerNetwork['dht']
  /** What is replicated with blind peers; null for what is given alone. */
  readonly store: Replicates | null
  /** Whether it connects to nobody. */
  suspended: boolean
  /** Whether it is closed. */
  closed = false
  /** The blind peers that are known, 32 bytes each. */
  keys: Uint8Array[]
  /** How many are asked for each core. */
  pick: number
  /** Who we are to them; null for the keys of the node. */
  keyPair: ServerKeys | null
  readonly relayThrough: unknown
  /** Told of every connection to a blind peer; null for nobody. */
  wakeup: { addStream (stream: any): unknown } | null
  /** A fourth of how long a connection stays that nobody needs, in milliseconds. */
  readonly gcWait: number
  /** How much of an Autobase is asked for at once, and when. */
  readonly maxBatchMin: number
  readonly maxBatchMax: number
  readonly batchIdleWait: number
  readonly batchMaxWait: number
  /** Those that are connected to, or wanted, by the hexadecimal key. */
  readonly blindPeers = new Map<string, BlindPeer>()
  /** How many bases and cores were asked for, and how often that was sent. */
  readonly stats = { addAutobase: 0, addCore: 0, addCoresTx: 0 }
  #copies = new Set<Copy>()
  #bases = new Set<() => void>()
  #bump = () => { this.bump() }

  /**
   * `store` is what is replicated with blind peers; without one, only cores that are given. A swarm in place of the node is
   * taken for its node, as upstream's first version does.
   */
  constructor (dht: BlindPeerNetwork['dht'] | { dht: BlindPeerNetwork['dht'] }, store: Replicates | null = null, options: BlindPeeringOptions = {}) {
    this.dht = 'dht' in dht ? dht.dht : dht
    this.store = store
    this.keys = (options.keys ?? options.mirrors ?? options.autobaseMirrors ?? []).map(decodeId)
    this.pick = options.pick ?? 2
    this.keyPair = options.keyPair ?? null
    this.suspended = options.suspended ?? false
    this.relayThrough = options.relayThrough ?? null
    this.wakeup = options.wakeup ?? null
    this.gcWait = options.gcWait ?? 2000
    this.maxBatchMin = options.maxBatchMin ?? 6
    this.maxBatchMax = options.maxBatchMax ?? 12
    this.batchIdleWait = options.batchIdleWait ?? 2000
    this.batchMaxWait = options.batchMaxWait ?? 10_000
    const emitter = this.dht as { on?: (name: 'network-change', listener: () => void) => unknown }
    emitter.on?.('network-change', this.#bump)
  }

  /** Names other blind peers from here on. */
  setKeys (keys: Array<string | Uint8Array>): void {
    this.keys = keys.map(decodeId)
  }

  /** Connects at once to those that are waited for. */
  bump (): void {
    for (const peer of this.blindPeers.values()) peer.bump()
  }

  /** Has a core kept from here on, until it is closed. Resolves when the blind peers that were picked are connected. */
  async addCore (core: Hypercore, ...rest: AddCoreRest): Promise<void> {
    await core.ready()
    if (core.closing) return
    const options = optionsOf(rest)
    const { referrer = null, priority = 0, announce = false } = options
    const peers = this.#pick(core.key!, options)
    for (const peer of peers) {
      if (peer.has(core)) continue
      this.stats.addCore++
      peer.add(core, () => {
        this.stats.addCoresTx++
        return { referrer, priority, announce, cores: [{ key: core.key!, length: core.length }] }
      })
    }
    core.once('close', () => { for (const peer of peers) peer.forget(core) })
    for (const peer of peers) await peer.connecting
  }

  /** As `addCore()`, and nobody waits. */
  addCoreBackground (core: Hypercore, ...rest: AddCoreRest): void {
    this.addCore(core, ...rest).catch(() => {})
  }

  /**
   * Has an Autobase kept, until it is closed: its own log, its views and those of its writers that matter most. Resolves when
   * the blind peers that were picked are connected.
   */
  async addAutobase (base: Autobase, ...rest: AddCoreRest): Promise<void> {
    await base.ready()
    if (base.closing) return
    const options = optionsOf(rest)
    const target = options.target ?? base.wakeupCapability.key
    const peers = this.#pick(target, options)
    const { referrer = decodeId(target), priority = 1, announce = false } = options
    const others = peers.filter((peer) => !peer.has(base))
    if (others.length > 0) {
      this.stats.addAutobase += others.length
      const end = keepBase(base, others, this, (cores) => {
        if (cores.length > 0) this.stats.addCoresTx++
        return { referrer, priority, announce, cores }
      }, () => { this.#bases.delete(end) })
      this.#bases.add(end)
    }
    for (const peer of peers) await peer.connecting
  }

  /** As `addAutobase()`, and nobody waits. */
  addAutobaseBackground (base: Autobase, ...rest: AddCoreRest): void {
    this.addAutobase(base, ...rest).catch(() => {})
  }

  /**
   * Has all cores of a drive, a table, or a core kept by one blind peer, and tells how that goes. The copy is brought up to
   * date when something is written here, and asked for again before its time is over, until it is closed.
   */
  keep (what: Keepable, options: KeepOptions = {}): Copy {
    if (this.closed) throw new HypertabError('CLOSED', 'closed here')
    const key = options.key === undefined ? this.keys[0] : decodeId(options.key)
    if (!key) throw new HypertabError('MIRROR_OFF', 'no mirror is known: give its public key')
    const peer = this.#peer(key)
    const copy = new Copy(peer, what, options, () => { this.#copies.delete(copy) })
    this.#copies.add(copy)
    return copy
  }

  /** Lets go of all connections until `resume()`. */
  async suspend (): Promise<void> {
    this.suspended = true
    for (const peer of this.blindPeers.values()) peer.suspend()
  }

  /** Goes on after `suspend()`. */
  async resume (): Promise<void> {
    this.suspended = false
    for (const peer of this.blindPeers.values()) peer.resume()
  }

  /** Lets go of all connections. Copies stay where they are. */
  async close (): Promise<void> {
    this.closed = true
    const emitter = this.dht as { off?: (name: 'network-change', listener: () => void) => unknown }
    emitter.off?.('network-change', this.#bump)
    for (const copy of this.#copies) copy.close()
    for (const end of this.#bases) end()
    for (const peer of this.blindPeers.values()) peer.destroy()
    this.blindPeers.clear()
  }

  #pick (key: Uint8Array | string, options: AddCoreOptions): BlindPeer[] {
    const target = decodeId(options.target ?? key)
    const keys = options.keys?.map(decodeId) ?? this.keys
    const sorted = [...keys].sort((a, b) => nearer(a, b, target))
    return sorted.slice(0, options.pick ?? this.pick).map((key) => this.#peer(key))
  }

  #peer (key: Uint8Array): BlindPeer {
    const id = toHex(key)
    let peer = this.blindPeers.get(id)
    if (!peer) {
      const network: BlindPeerNetwork = {
        dht: this.dht,
        replicate: (stream) => {
          this.store?.replicate(stream)
          this.wakeup?.addStream(stream)
          for (const copy of this.#copies) if (equal(copy.mirror, key)) copy.replicate(stream)
        },
        keyPair: this.keyPair,
        relayThrough: this.relayThrough,
        linger: 4 * this.gcWait
      }
      const made = peer = new BlindPeer(network, key, this.suspended, () => {
        const copies = [...this.#copies].filter((copy) => equal(copy.mirror, key))
        for (const copy of copies) copy.wake()
        if (made.isUnused && copies.length === 0) this.blindPeers.delete(id)
      })
      this.blindPeers.set(id, made)
    }
    return peer
  }
}

function optionsOf ([options = {}, more]: AddCoreRest): AddCoreOptions {
  return isBytes(options) ? { ...more, target: options } : options
}

/** Orders keys by their distance to another, which is their difference in bits. */
function nearer (a: Uint8Array, b: Uint8Array, target: Uint8Array): number {
  for (let i = 0; i < target.byteLength; i++) {
    const difference = (a[i]! ^ target[i]!) - (b[i]! ^ target[i]!)
    if (difference !== 0) return difference
  }
  return 0
}
