// What runs on one encrypted stream: the cores that are attached to it, those that a peer asks for, and channels of a
// program's own. To such programs it is a Protomux.

import type { CoreHandle, LinkHandle } from '../binding.js'
import { HypercoreError } from '../errors.js'
import { userBytes } from '../platform.js'
import { placeOf, placeOfLinks } from '../remote/router.js'
import { call, look, request } from '../runtime.js'
import { equal, fromHex, toHex } from '../support/bytes.js'
import type { ReplicationChannel } from '../hypercore/peer.js'
import { Channel, type ChannelCarrier, type ChannelOptions } from './channel.js'
import { Connection, rejectDiscoveryKey } from './connection.js'
import { carry, isSecretStream, type SecretStreamLike } from './external.js'
import { carryOn, isForeign, type ForeignMux } from './foreign.js'

/** Called when a peer asks for a core that is not attached; attach it before the promise resolves. */
export type OnDiscoveryKey = (discoveryKey: Uint8Array) => unknown

/** A channel's name: a protocol, and what tells its channels apart. */
export interface ChannelName {
  /** Its name. */
  protocol?: string
  /** Tells channels of one protocol apart; null for none. */
  id?: Uint8Array | null
}

type Notify = (id: any) => unknown

/** A core that wants to know how a stream goes on. */
interface Attached {
  muxOpened (): void
  muxOver (mux: Mux): void
  /** What the core is replicated on there, once both ends opened it. */
  channelOn (mux: Mux): ReplicationChannel | null
}

/** What is open under a name, as upstream keeps it. */
interface ChannelInfo {
  readonly lastChannel: Channel | ReplicationChannel
}

const REPLICATION = 'hypercore/alpha'
const REPLICATION_NAMES = [REPLICATION, 'hypercore']

/** The one for each Protomux of upstream's, or of ours whose link is in another engine than the cores. */
const adopted = new WeakMap<object, Map<string, Mux>>()

/** The cores and channels of one stream. There is one mux for each. */
export class Mux implements ChannelCarrier {
  /** Whether something is a mux. */
  readonly isProtomux = true
  /** The stream of messages that it works on. */
  readonly stream: Connection | SecretStreamLike
  /** Upstream's mux, where a program put one on the stream first. */
  readonly foreign: ForeignMux | null
  /** Which engine its link is in. */
  readonly #place: string
  /** How often it was corked and not uncorked. */
  corked = 0
  /** Whether there is room to send. */
  drained = true
  #link: LinkHandle | null = null
  /** The handshake is done: channels can be opened. */
  #open = false
  #over = false
  #cores = new Map<CoreHandle, Attached>()
  /** Those of them that are attached no longer, and replicate until their peer goes. */
  #parted = new Set<CoreHandle>()
  #notify = new Map<string, Notify>()
  #channels: Channel[] = []
  /** Cores in other engines that were attached a moment ago. */
  #arriving = new Set<Promise<void>>()
  #byHandle = new Map<number, Channel>()
  /** What was asked for before the handshake was done. */
  #waiting: Array<(link: LinkHandle) => void> = []
  /** Bytes among that. */
  #held = 0
  /** Resolves when there is a link, or never will be. */
  readonly #linked: Promise<void>
  #settleLinked!: () => void

  /** The mux of a stream, as {@link from}. Options of upstream's have nothing to do here. */
  constructor (stream: unknown, options: unknown = null) {
    const beside = options instanceof Beside ? options : null
    const existing = beside ? null : Mux.#on(stream)
    const noise = beside ? beside.foreign.stream : (stream as { noiseStream?: unknown } | null)?.noiseStream
    this.stream = noise as Connection | SecretStreamLike
    this.foreign = beside?.foreign ?? null
    this.#place = beside?.place ?? placeOfLinks()
    this.#linked = new Promise((resolve) => { this.#settleLinked = resolve })
    if (existing) return existing
    if (beside) return
    if (noise instanceof Connection) {
      noise.muxed(this)
    } else if (isSecretStream(noise)) {
      noise.userData = this
      carry(noise, this)
    } else {
      throw HypercoreError.BAD_ARGUMENT('Invalid stream')
    }
  }

  /** The mux of a stream: of ours, of upstream's, or the outer side of one; or beside a Protomux. */
  static from (stream: unknown, _options?: unknown): Mux {
    return Mux.#on(stream) ?? new Mux(stream)
  }

  /** The mux that is there. */
  static #on (stream: unknown): Mux | null {
    if (stream instanceof Mux) return stream
    if (isForeign(stream)) return Mux.#beside(stream)
    const noise = (stream as { noiseStream?: unknown } | null)?.noiseStream
    const userData = (noise as { userData?: unknown } | null | undefined)?.userData
    if (userData instanceof Mux) return userData
    if (isForeign(userData)) return Mux.#beside(userData)
    return noise instanceof Connection ? noise.mux : null
  }

  static isProtomux (value: unknown): value is Mux {
    return (value as { isProtomux?: unknown } | null)?.isProtomux === true
  }

  static #beside (foreign: ForeignMux, place = placeOfLinks(), near?: CoreHandle): Mux {
    let muxes = adopted.get(foreign)
    if (!muxes) adopted.set(foreign, muxes = new Map())
    let mux = muxes.get(place)
    if (!mux || mux.destroyed) {
      mux = new Mux(foreign.stream, new Beside(foreign, place))
      muxes.set(place, mux)
      carryOn(foreign, mux, near)
    }
    return mux
  }

  /** Whether the handshake is done. */
  get open (): boolean {
    return this.#open
  }

  /** Whether the stream is over. */
  get destroyed (): boolean {
    return this.#over
  }

  /** The channels on this side: of cores whose peer has opened them too, and of programs. */
  * [Symbol.iterator] (): Iterator<Channel | ReplicationChannel> {
    for (const attached of this.#cores.values()) {
      const channel = attached.channelOn(this)
      if (channel) yield channel
    }
    yield * this.#channels
  }

  /** Whether nothing runs on it. */
  isIdle (): boolean {
    return this.#channels.length === 0 && this.#cores.size === 0
  }

  /** Sets what is asked for channels that a peer opens first: by name, or for a whole protocol. */
  pair ({ protocol = REPLICATION, id = null }: ChannelName, notify: Notify): void {
    this.#notify.set(nameOf(protocol, id), notify)
    this.foreign?.pair({ protocol, id }, async (id: Uint8Array) => {
      await notify(id)
      await this.#linked
      // What the engine opened meanwhile is on its way.
      await null
    })
  }

  /** Takes back a `pair()`. */
  unpair ({ protocol = REPLICATION, id = null }: ChannelName): void {
    this.#notify.delete(nameOf(protocol, id))
    this.foreign?.unpair({ protocol, id })
  }

  /** Whether a channel of that name is open on this side. */
  opened ({ protocol = REPLICATION, id = null }: ChannelName): boolean {
    return this.getLastChannel({ protocol, id }) !== null || (id !== null && REPLICATION_NAMES.includes(protocol) && this.#coreOf(id) !== null)
  }

  /** The channel of a name that was made last: of a program, or of a core whose peer has opened it too. */
  getLastChannel ({ protocol = REPLICATION, id = null }: ChannelName): Channel | ReplicationChannel | null {
    const name = nameOf(protocol, id)
    const own = this.#channels.findLast((channel) => [channel.protocol, ...channel.aliases].some((protocol) => nameOf(protocol, channel.id) === name))
    if (own || id === null || !REPLICATION_NAMES.includes(protocol)) return own ?? null
    const core = this.#coreOf(id)
    return core === null ? null : this.#cores.get(core)?.channelOn(this) ?? null
  }

  /** @internal What is open by upstream's names for it, where programs look. */
  get _infos (): { get (name: string): ChannelInfo | undefined, has (name: string): boolean } {
    const get = (name: string): ChannelInfo | undefined => {
      const at = name.lastIndexOf('##')
      const id = name.slice(at + 2)
      const lastChannel = at === -1 ? null : this.getLastChannel({ protocol: name.slice(0, at), id: id ? fromHex(id) : null })
      return lastChannel ? { lastChannel } : undefined
    }
    return { get, has: (name) => get(name) !== undefined }
  }

  /** Makes a channel; it is there once both ends have opened it. Null when there is one of this name already. */
  createChannel (options: ChannelOptions): Channel | null {
    if (this.#over || this.stream.destroying) return null
    const { protocol, id = null, unique = true } = options
    if (unique && this.#channels.some((channel) => nameOf(channel.protocol, channel.id) === nameOf(protocol, id))) return null
    if (unique && id !== null && protocol === REPLICATION && this.#coreOf(id) !== null) return null
    return new SharedChannel(this, options, !unique)
  }

  /** Gathers what is sent, until as many {@link uncork}s. */
  cork (): void {
    if (++this.corked === 1) this.#whenOpen((link) => { call((engine) => { engine.corkLink(link, true) }) })
  }

  /** Sends what was gathered. */
  uncork (): void {
    if (--this.corked === 0) this.#whenOpen((link) => { call((engine) => { engine.corkLink(link, false) }) })
  }

  /** Ends the stream. */
  destroy (error?: Error | null): void {
    this.stream.destroy(error)
  }

  /** Tells of what failed where nothing depends on it any more. */
  warn (error: Error): void {
    this.stream.emit('warning', error)
  }

  /** Whether a core is to replicate here. */
  attached (core: CoreHandle): boolean {
    return this.#cores.has(core) ? !this.#parted.has(core) : this.#of(core)?.attached(core) ?? false
  }

  /** Replicates a core on the stream, from its opening on. */
  attach (core: CoreHandle, attached: Attached): void {
    if (this.#parted.delete(core) || this.#over || this.#cores.has(core)) return
    const place = placeOf(core)
    if (place !== this.#place) {
      // The channels of its engine become channels here, as they would on a Protomux of upstream's.
      const beside = Mux.#beside(this.foreign ?? this as unknown as ForeignMux, place, core)
      beside.attach(core, { muxOpened: () => { attached.muxOpened() }, muxOver: () => { attached.muxOver(this) }, channelOn: () => attached.channelOn(this) })
      const arriving = beside.#arrived(core).finally(() => { this.#arriving.delete(arriving) })
      this.#arriving.add(arriving)
      return
    }
    this.#cores.set(core, attached)
    this.foreign?.pair({ protocol: REPLICATION, id: look((engine) => engine.coreDiscoveryKey(core)) }, async () => {
      await this.#linked
      this.#attach(core)
      if (place !== '0') await this.#arrived(core)
    })
    this.#attach(core)
  }

  /** @internal The engine has closed a core by itself. */
  forget (core: CoreHandle): void {
    this.#parted.delete(core)
    if (!this.#cores.delete(core)) this.#of(core)?.forget(core)
    else this.foreign?.unpair({ protocol: REPLICATION, id: look((engine) => engine.coreDiscoveryKey(core)) })
  }

  /** Replicates a core until its peer goes, and with no other one, as upstream. */
  part (core: CoreHandle): void {
    if (this.#cores.has(core)) this.#parted.add(core)
    else this.#of(core)?.part(core)
  }

  /** A peer of a core has gone: detaches the core if that was waited for. Returns whether it was. */
  peerGone (core: CoreHandle): boolean {
    if (!this.#cores.has(core)) return this.#of(core)?.peerGone(core) ?? false
    if (!this.#parted.has(core)) return false
    this.detach(core)
    return true
  }

  /** Replicates a core no longer. */
  detach (core: CoreHandle): void {
    if (!this.#cores.has(core)) return this.#of(core)?.detach(core)
    this.#parted.delete(core)
    const link = this.#link
    if (!this.#cores.delete(core) || this.#over || link === null) return
    this.foreign?.unpair({ protocol: REPLICATION, id: look((engine) => engine.coreDiscoveryKey(core)) })
    call((engine) => { engine.detach(core, link) })
  }

  /** Opens a channel on the link. */
  openChannel (channel: Channel, handshake: Uint8Array | null): void {
    this.#channels.push(channel)
    this.#whenOpen((link) => {
      const handle = call((engine) => engine.openChannel(link, {
        protocol: channel.protocol,
        aliases: channel.aliases,
        shared: (channel as SharedChannel).shared,
        ...(channel.id ? { id: channel.id } : {}),
        ...(handshake ? { handshake } : {})
      }))
      if (handle === undefined) {
        this.#forget(channel)
        channel.ended(true)
        return
      }
      channel.handle = handle
      this.#byHandle.set(handle, channel)
    })
  }

  /** Closes it there, after everything that was sent. */
  closeChannel (channel: Channel): void {
    this.#forget(channel)
    this.#whenOpen((link) => {
      const { handle } = channel
      if (handle === null) return
      this.#forget(channel)
      call((engine) => { engine.closeChannel(link, handle) })
    })
  }

  /** Sends what a channel has to say; false when the link is full. */
  sendMessage (channel: Channel, type: number, payload: Uint8Array): boolean {
    if (!this.#open && (this.#held += payload.byteLength) >= HIGH_WATER_MARK) this.drained = false
    this.#whenOpen((link) => {
      const { handle } = channel
      if (handle !== null && this.#byHandle.has(handle)) this.drained = call((engine) => engine.channelSend(link, handle, type, payload))
    })
    return this.drained
  }

  /** @internal Resolves when there is a link, or never will be; null when there is one. */
  get linking (): Promise<void> | null {
    return this.#link === null && !this.#over ? this.#linked : null
  }

  /** @internal As {@link linking}, for the link in another engine that a core is attached to. */
  linkingBeside (core: CoreHandle): Promise<void> | null {
    return this.#of(core)?.linking ?? null
  }

  /** What a core in another engine opens is known here once it has answered something. */
  async #arrived (core: CoreHandle): Promise<void> {
    await this.#linked
    if (this.#cores.has(core)) await request((engine) => engine.coreUpdate(core, { wait: false })).catch(() => {})
  }

  /** @internal Whether this is the mux of a link of the engine, or of one beside that link. */
  isOn (link: LinkHandle): boolean {
    if (this.#link === link) return true
    for (const mux of adopted.get(this.foreign ?? this)?.values() ?? []) if (mux.#link === link) return true
    return false
  }

  /** @internal The engine has a link for the stream now. */
  linked (link: LinkHandle): void {
    if (this.#link !== null) return
    this.#link = link
    call((engine) => { engine.linkStartChannels(link) })
    for (const core of this.#cores.keys()) this.#attach(core)
    this.#settleLinked()
  }

  /** @internal The handshake is done. */
  ready (): void {
    if (this.#open || this.#link === null) return
    this.#open = true
    const wasFull = !this.drained
    this.drained = true
    for (const step of this.#waiting.splice(0)) step(this.#link)
    if (wasFull && this.drained) this.#drain()
    for (const attached of this.#cores.values()) attached.muxOpened()
  }

  /** @internal The stream is over. */
  unlinked (): void {
    if (this.#over) return
    this.#over = true
    this.#settleLinked()
    const cores = [...this.#cores.values()]
    this.#cores.clear()
    this.#parted.clear()
    for (const attached of cores) attached.muxOver(this)
    this.#waiting = []
    this.#byHandle.clear()
    for (const channel of this.#channels.splice(0)) channel.ended(true)
  }

  /** @internal Something happened on a channel. Returns whether it was that. */
  handle (kind: string, rest: unknown[]): boolean {
    switch (kind) {
      case 'discovery-key':
        void this.#offer(REPLICATION, userBytes(rest[0] as Uint8Array), (link, id) => { rejectDiscoveryKey(link, id!) })
        return true
      case 'remote-channel': {
        const [open, protocol, key] = rest as [number, string, Uint8Array]
        const id = key.byteLength > 0 ? userBytes(key) : null
        void this.#offer(protocol, id, (link) => { call((engine) => { engine.rejectChannel(link, open) }) })
        return true
      }
      case 'channel-opened':
        this.#byHandle.get(rest[0] as number)?.accepted(rest[1] as Uint8Array)
        return true
      case 'channel-message':
        this.#byHandle.get(rest[0] as number)?.received(rest[1] as number, rest[2] as Uint8Array)
        return true
      case 'channel-closed': {
        const channel = this.#byHandle.get(rest[0] as number)
        if (channel) {
          this.#forget(channel)
          channel.ended(true)
        }
        return true
      }
      case 'link-drain':
        this.#drain()
        return false
      default:
        return false
    }
  }

  async #offer (protocol: string, id: Uint8Array | null, reject: (link: LinkHandle, id: Uint8Array | null) => void): Promise<void> {
    const notify = this.#notify.get(nameOf(protocol, id)) ?? this.#notify.get(nameOf(protocol, null))
    try {
      if (notify) await notify(id)
      await Promise.all(this.#arriving)
    } catch (error) {
      this.destroy(error as Error)
      return
    }
    // Does nothing when it was opened meanwhile.
    if (this.#link !== null && !this.#over) reject(this.#link, id)
  }

  /** The one in whose engine a core is that is not in the engine of this one's link. */
  #of (core: CoreHandle): Mux | null {
    const place = placeOf(core)
    return place === this.#place ? null : adopted.get(this.foreign ?? this)?.get(place) ?? null
  }

  #attach (core: CoreHandle): void {
    const link = this.#link
    if (link !== null && !this.#over && this.#cores.has(core)) call((engine) => { engine.attach(core, link) })
  }

  #coreOf (discoveryKey: Uint8Array): CoreHandle | null {
    return look((engine) => [...this.#cores.keys()].find((core) => equal(engine.coreDiscoveryKey(core), discoveryKey))) ?? null
  }

  #whenOpen (step: (link: LinkHandle) => void): void {
    if (this.#over) return
    if (this.#open) step(this.#link!)
    else this.#waiting.push(step)
  }

  #drain (): void {
    this.drained = true
    for (const channel of [...this.#channels]) channel.ondrain(channel)
  }

  #forget (channel: Channel): void {
    const index = this.#channels.indexOf(channel)
    if (index !== -1) this.#channels.splice(index, 1)
    if (channel.handle !== null) this.#byHandle.delete(channel.handle)
  }
}

/** Bytes that a channel may send before the stream is open and is told to wait, as upstream's streams. */
const HIGH_WATER_MARK = 16 * 1024

/** Where a mux is that is not the one of its stream. */
class Beside {
  constructor (readonly foreign: ForeignMux, readonly place: string) {}
}

/** A channel, and whether others may have its name. */
class SharedChannel extends Channel {
  constructor (carrier: ChannelCarrier, options: ChannelOptions, readonly shared: boolean) {
    super(carrier, options)
  }
}

function nameOf (protocol: string, id: Uint8Array | null): string {
  return `${protocol}##${id ? toHex(id) : ''}`
}
