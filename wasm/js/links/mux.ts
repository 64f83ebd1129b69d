// What replicates on one encrypted stream: the cores that are attached to it, and those that a peer asks for.

import type { CoreHandle, LinkHandle } from '../binding.js'
import { HypercoreError } from '../errors.js'
import { call } from '../runtime.js'
import { toHex } from '../support/bytes.js'
import { Connection, rejectDiscoveryKey } from './connection.js'
import { carry, isSecretStream, type SecretStreamLike } from './external.js'

/** Called when a peer asks for a core that is not attached; attach it before the promise resolves. */
export type OnDiscoveryKey = (discoveryKey: Uint8Array) => unknown

/** The cores of one stream. There is one mux for each. */
export class Mux {
  /** The stream of messages that it works on. */
  readonly stream: Connection | SecretStreamLike
  #link: LinkHandle | null = null
  #over = false
  #cores = new Set<CoreHandle>()
  #any: OnDiscoveryKey | null = null
  #paired = new Map<string, OnDiscoveryKey>()

  private constructor (stream: Connection | SecretStreamLike) {
    this.stream = stream
  }

  /** The mux of a stream: of ours, of upstream's, or the outer side of one. */
  static from (stream: unknown): Mux {
    if (stream instanceof Mux) return stream
    const noise = (stream as { noiseStream?: unknown } | null)?.noiseStream
    if (!noise) throw HypercoreError.BAD_ARGUMENT('Invalid stream')
    const { userData } = noise as { userData?: unknown }
    if (userData instanceof Mux) return userData
    if ((userData as { isProtomux?: boolean } | null)?.isProtomux) {
      throw HypercoreError.NOT_SUPPORTED('this stream is in use by a Protomux of upstream; replicate on it before, or on a stream of its own')
    }
    if (noise instanceof Connection) {
      const mux = new Mux(noise)
      noise.muxed(mux)
      return mux
    }
    if (!isSecretStream(noise)) throw HypercoreError.BAD_ARGUMENT('Invalid stream')
    const mux = new Mux(noise)
    noise.userData = mux
    carry(noise, mux)
    return mux
  }

  /** Whether the stream is still there. */
  get destroyed (): boolean {
    return this.#over
  }

  /** Sets what is asked for cores that are not attached. */
  pair ({ id = null }: { protocol?: string, id?: Uint8Array | null }, notify: OnDiscoveryKey): void {
    if (id === null) this.#any = notify
    else this.#paired.set(toHex(id), notify)
  }

  unpair ({ id = null }: { protocol?: string, id?: Uint8Array | null }): void {
    if (id === null) this.#any = null
    else this.#paired.delete(toHex(id))
  }

  /** @internal Whether this is the mux of a link of the engine. */
  isOn (link: LinkHandle): boolean {
    return this.#link === link
  }

  /** Whether a core replicates here. */
  attached (core: CoreHandle): boolean {
    return this.#cores.has(core)
  }

  /** Replicates a core on the stream, from its opening on. */
  attach (core: CoreHandle): void {
    if (this.#over || this.#cores.has(core)) return
    this.#cores.add(core)
    const link = this.#link
    if (link !== null) call((engine) => { engine.attach(core, link) })
  }

  detach (core: CoreHandle): void {
    const link = this.#link
    if (!this.#cores.delete(core) || this.#over || link === null) return
    call((engine) => { engine.detach(core, link) })
  }

  /** Ends the stream. */
  destroy (error?: Error | null): void {
    this.stream.destroy(error)
  }

  /** @internal The engine has a link for the stream now. */
  linked (link: LinkHandle): void {
    if (this.#link !== null) return
    this.#link = link
    call((engine) => { engine.linkStartChannels?.(link) })
    for (const core of this.#cores) call((engine) => { engine.attach(core, link) })
  }

  /** @internal The stream is over. */
  unlinked (): void {
    this.#over = true
    this.#cores.clear()
  }

  /** @internal A peer asks for a core. */
  ondiscoverykey (discoveryKey: Uint8Array): void {
    const notify = this.#paired.get(toHex(discoveryKey)) ?? this.#any
    void this.#offer(discoveryKey, notify)
  }

  async #offer (discoveryKey: Uint8Array, notify: OnDiscoveryKey | null): Promise<void> {
    try {
      if (notify) await notify(discoveryKey)
    } catch (error) {
      this.destroy(error as Error)
      return
    }
    // Does nothing when the core was attached meanwhile.
    if (this.#link !== null && !this.#over) rejectDiscoveryKey(this.#link, discoveryKey)
  }
}
