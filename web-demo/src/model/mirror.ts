// Copies at the relay: whether it keeps any, and how those of one's own logs, drives and tables stand.

import { BlindPeering, DHT, findMirror } from 'hypertab'
import type { Copy, CopyStatus, Keepable, MirrorInfo } from 'hypertab'

import { relayChoice } from './config.ts'
import { Observable } from './emitter.ts'
import type { Network } from './network.ts'
import { setSetting, setting } from './settings.ts'
import type { Vault } from './vault.ts'

const SETTING = 'hypertab.mirror'

export type MirrorState =
  /** There is no relay to ask. */
  | { readonly state: 'no-relay' }
  | { readonly state: 'asking' }
  /** It keeps nothing. */
  | { readonly state: 'off' }
  | { readonly state: 'unreachable' }
  | { readonly state: 'ready', readonly info: MirrorInfo }

/** Something of one's own. */
export interface Own {
  readonly id: string
  readonly name: string
  /** Returns what its cores are in; null when it does not open. */
  readonly open: () => Promise<Keepable | null>
}

export interface KeptView {
  readonly id: string
  readonly name: string
  readonly status: CopyStatus
}

export class Mirror extends Observable {
  readonly #vault: Vault
  readonly #network: Network
  readonly #own: () => Own[]
  #found: MirrorState = { state: 'asking' }
  #relay = ''
  #asking: AbortController | null = null
  #peering: Promise<{ dht: DHT, blind: BlindPeering }> | null = null
  readonly #copies = new Map<string, { copy: Copy, name: string }>()
  #syncing: Promise<void> = Promise.resolve()

  constructor (vault: Vault, network: Network, own: () => Own[]) {
    super()
    this.#vault = vault
    this.#network = network
    this.#own = own
    network.watch(() => this.#look())
  }

  get state (): MirrorState {
    return this.#network.relay.state === 'open' ? this.#found : { state: 'no-relay' }
  }

  /** Whether what is one's own is to be kept. */
  get isOn (): boolean {
    return setting(SETTING) === 'on'
  }

  /** How each copy stands, by name. */
  get copies (): KeptView[] {
    return Array.from(this.#copies, ([id, { copy, name }]) => ({ id, name, status: copy.status })).sort((a, b) => a.name.localeCompare(b.name))
  }

  /** Asks for copies of everything that is one's own, now and later. */
  async start (): Promise<void> {
    setSetting(SETTING, 'on')
    this.changed()
    await this.sync()
  }

  /** Takes back what was asked for. Rejects when the relay could not be told: it then drops the copies in its own time. */
  async stop (): Promise<void> {
    await this.#syncing
    setSetting(SETTING, 'off')
    const copies = [...this.#copies.values()]
    this.#copies.clear()
    this.changed()
    const told = await Promise.allSettled(copies.map(({ copy }) => copy.remove()))
    await this.#close()
    const failed = told.find((result) => result.status === 'rejected')
    if (failed) throw failed.reason
  }

  /** Looks what is one's own at the moment. */
  sync (): Promise<void> {
    this.#syncing = this.#syncing.then(() => this.#sync()).catch(() => {})
    return this.#syncing
  }

  async #sync (): Promise<void> {
    const { state } = this
    if (!this.isOn || state.state !== 'ready') return
    const opening = this.#peering ??= this.#open(state.info)
    const peering = await opening.catch((error: unknown) => {
      // The next look opens it anew.
      if (opening === this.#peering) this.#peering = null
      throw error
    })
    const own = this.#own()
    for (const [id, { copy }] of this.#copies) {
      if (own.some((one) => one.id === id)) continue
      // What is removed here is not to be found elsewhere either.
      this.#copies.delete(id)
      copy.remove().catch(() => {})
      this.changed()
    }
    for (const { id, name, open } of own) {
      if (this.#copies.has(id)) continue
      const what = await open()
      // Meanwhile it may have been switched off, or the relay be another one.
      if (opening !== this.#peering || !this.isOn) return
      if (what === null || this.#copies.has(id)) continue
      const copy = peering.blind.keep(what)
      copy.on('update', () => this.changed())
      this.#copies.set(id, { copy, name })
      this.changed()
    }
  }

  // A connection of its own, with a key that stays the same: only who asked can take it back.
  async #open (info: MirrorInfo): Promise<{ dht: DHT, blind: BlindPeering }> {
    const relay = this.#relay
    const store = await this.#vault.open()
    const keyPair = await store.createKeyPair('copies')
    const dht = new DHT({ relay, keyPair, webrtc: false })
    return { dht, blind: new BlindPeering(dht, store, { keys: [info.publicKey] }) }
  }

  async #close (): Promise<void> {
    const opening = this.#peering
    this.#peering = null
    // What did not open has nothing to close.
    const peering = await opening?.catch(() => null)
    await peering?.blind.close()
    await peering?.dht.destroy({ force: true })
  }

  #look (): void {
    const address = this.#network.relay.state === 'open' ? relayChoice().address : ''
    if (address === this.#relay) return
    this.#relay = address
    this.#asking?.abort()
    this.#asking = null
    for (const { copy } of this.#copies.values()) copy.close()
    this.#copies.clear()
    void this.#close()
    if (address !== '') void this.#ask(address)
    this.changed()
  }

  /** Asks the relay again. */
  retry (): void {
    if (this.#relay !== '') void this.#ask(this.#relay)
  }

  async #ask (address: string): Promise<void> {
    const asking = this.#asking = new AbortController()
    this.#found = { state: 'asking' }
    this.changed()
    let found: MirrorState
    try {
      const info = await findMirror(address, { signal: asking.signal })
      found = info ? { state: 'ready', info } : { state: 'off' }
    } catch {
      found = { state: 'unreachable' }
    }
    if (asking !== this.#asking) return
    this.#found = found
    this.changed()
    await this.sync()
  }
}
