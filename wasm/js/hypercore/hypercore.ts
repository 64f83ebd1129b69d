// A session of a core: what upstream calls a Hypercore.

import type { Duplex } from 'streamx'

import type { BlockEncryption, KeyPair } from '../binding.js'
import { HypercoreError } from '../errors.js'
import { bytesFrom, userBytes } from '../platform.js'
import { call, look } from '../runtime.js'
import { concat, equal, fromUtf8, isBytes } from '../support/bytes.js'
import { discoveryKey, namespaces } from '../support/crypto.js'
import { EventEmitter } from '../support/emitter.js'
import { decodeValue, resolveEncoding, type CompactEncoding } from '../support/encoding.js'
import { decodeId } from '../support/id.js'
import { Connection } from '../links/connection.js'
import { Mux } from '../links/mux.js'
import { parseStorage, type StorageInput } from '../storage/parse.js'
import { Storage } from '../storage/storage.js'
import { Core, type Replicator } from './core.js'
import { Download } from './download.js'
import { createEncryption, DefaultEncryption, encryptionOption, isEncryptionProvider, type EncryptionProvider } from './encryption.js'
import { Extension, type ExtensionHandlers } from './extension.js'
import { inspect, type InspectOptions } from './inspect.js'
import { createManifest, encodeManifest, manifestKey, type Manifest, type ManifestInput } from './manifest.js'
import type {
  AppendOptions, DownloadRange, GetOptions, HypercoreOptions, KeyPairInput, ReplicateOptions, TruncateOptions, UpdateOptions, WaitOptions
} from './options.js'
import type { Peer } from './peer.js'
import { clearRequests, destroyRequests, ensureAlive, track, trackWish, type ActiveRequests } from './requests.js'
import { forEngine, fromEngine, verifyFullyRemote, type EngineProof, type Proof, type ProofOptions, type RemoteHead } from './proof.js'
import { State, type CommitOptions } from './state.js'
import { ByteStream, ReadStream, WriteStream, type ByteStreamOptions, type ReadStreamOptions } from './streams.js'

export type HypercoreEvents = {
  ready: []
  close: []
  append: []
  truncate: [ancestors: number, fork: number]
  manifest: []
  'peer-add': [peer: Peer]
  'peer-remove': [peer: Peer]
  download: [index: number, byteLength: number, peer: Peer | null, request: { elapsed: number }]
  upload: [index: number, byteLength: number, peer: Peer | null]
  'remote-contiguous-length': [length: number]
  'verification-error': [error: Error, request: unknown, response: unknown, peer: Peer | null]
  'invalid-request': [error: Error, request: unknown, peer: Peer | null]
  conflict: [length: number, fork: number, proof: unknown]
  migrate: [key: Uint8Array]
  /** Nothing more can be stored; what is there can be read. */
  'storage-full': [error: Error]
}

/** Largest block that replicates well, which is also the largest that can be appended. */
const MAX_SUGGESTED_BLOCK_SIZE = 15 * 1024 * 1024

/** What `core.info()` tells. */
export class Info {
  readonly key: Uint8Array
  readonly discoveryKey: Uint8Array
  readonly length: number
  readonly contiguousLength: number
  readonly byteLength: number
  readonly fork: number
  readonly padding: number
  readonly storage = null

  /** @internal */
  constructor (session: Hypercore) {
    this.key = session.key!
    this.discoveryKey = session.discoveryKey!
    this.length = session.length
    this.contiguousLength = session.contiguousLength
    this.byteLength = session.byteLength
    this.fork = session.fork
    this.padding = session.padding
  }
}

/** A secure, append-only log. Usable at once; it opens by itself. */
export class Hypercore extends EventEmitter<HypercoreEvents> {
  static readonly MAX_SUGGESTED_BLOCK_SIZE = MAX_SUGGESTED_BLOCK_SIZE
  static readonly DefaultEncryption = DefaultEncryption
  static readonly SMALL_WANTS = 1

  core: Core | null = null
  /** The log, branch or atomic view that this session reads and writes. */
  state: State | null = null
  encryption: EncryptionProvider | null = null
  readonly extensions = new Map<string, Extension>()
  valueEncoding: CompactEncoding | null = null
  encodeBatch: ((blocks: any[]) => Uint8Array[]) | null = null
  readonly activeRequests: ActiveRequests = []
  /** All sessions of the core. */
  sessions: Hypercore[] = []
  keyPair: KeyPairInput | null
  readable = true
  writable = false
  exclusive = false
  opened = false
  closed = false
  readonly weak: boolean
  readonly snapshotted: boolean
  onseq: NonNullable<HypercoreOptions['onseq']> | null
  onwait: NonNullable<HypercoreOptions['onwait']> | null
  ongc: NonNullable<HypercoreOptions['ongc']> | null
  wait: boolean
  timeout: number
  /** How often a get had to wait for peers. */
  waits = 0
  closing: Promise<void> | null = null
  readonly opening: Promise<void>

  #readonly: boolean
  #active: boolean
  #findingPeers = 0
  #preload: Promise<Partial<HypercoreOptions>> | null = null
  #snapshot: { length: number, byteLength: number, fork: number, id: number | null, users: number } | null = null
  /** Blocks that the log still shares with the snapshot. */
  #compatLength = Infinity
  #unlock: (() => void) | null = null
  #marking = false

  constructor (storage?: StorageInput | HypercoreOptions | null, key?: Uint8Array | string | HypercoreOptions | null, options?: HypercoreOptions | null) {
    super()
    if (isPlainOptions(storage)) {
      options = storage
      storage = options.storage ?? null
      key = options.key ?? null
    } else if (key && !isBytes(key) && typeof key !== 'string') {
      options = key
      key = options.key ?? null
    }
    const given = options ?? {}
    const id = key ?? given.key
    const decoded = typeof id === 'string' ? decodeId(id) : id as Uint8Array | null | undefined

    this.keyPair = given.keyPair ?? null
    this.weak = !!given.weak
    this.snapshotted = !!given.snapshot
    this.onseq = given.onseq ?? null
    this.onwait = given.onwait ?? null
    this.ongc = given.ongc ?? null
    this.wait = given.wait !== false
    this.timeout = given.timeout || 0
    this.#readonly = given.writable === false
    this.#active = given.weak ? !!given.active : given.active !== false
    this.opening = this.#open(storage ?? given.storage ?? null, { ...given, key: decoded ?? null })
    this.opening.catch(() => {})
  }

  /** The key of a core that has this manifest, or is signed by this public key. */
  static key (manifest: ManifestInput | Uint8Array, { compat, version, namespace }: { compat?: boolean, version?: number, namespace?: Uint8Array } = {}): Uint8Array {
    const input = isBytes(manifest) && manifest.byteLength === 32
      ? { version, signers: [{ publicKey: manifest, namespace }] }
      : manifest
    const parsed = this.parseManifest(input)!
    return compat ? parsed.signers[0]!.publicKey : manifestKey(parsed)
  }

  /** Fills in or decodes a manifest, and checks it against a key. */
  static parseManifest (manifest: ManifestInput | Uint8Array, key?: Uint8Array | null): Manifest | null {
    const parsed = createManifest(manifest)
    if (parsed === null) return null
    if (parsed.quorum > parsed.signers.length) {
      throw HypercoreError.BAD_ARGUMENT('Quorum should not be higher than the number of signers')
    }
    if (key && !equal(key, manifestKey(parsed))) throw HypercoreError.INVALID_CHECKSUM('Manifest does not hash to provided key')
    return parsed
  }

  static discoveryKey (key: Uint8Array): Uint8Array {
    return discoveryKey(key)
  }

  static blockEncryptionKey (key: Uint8Array, encryptionKey: Uint8Array): Uint8Array {
    return DefaultEncryption.blockEncryptionKey(key, encryptionKey)
  }

  /** What replicates on a stream. */
  static getProtocolMuxer (stream: unknown): unknown {
    return (stream as { noiseStream: { userData: unknown } }).noiseStream.userData
  }

  /** An encrypted stream that cores can replicate on, and the outer side of it for the transport. */
  static createProtocolStream (isInitiator: boolean | object, options: ReplicateOptions = {}): Duplex {
    const given = isMux(isInitiator) ? isInitiator.stream : isStream(isInitiator) ? isInitiator : options.stream
    const outer = given ?? new Connection(isInitiator as boolean, null, {
      keepAlive: keepAliveOf(options.keepAlive),
      keyPair: options.keyPair ?? null
    }).rawStream
    const noise = (outer as { noiseStream?: { userData?: unknown, keepAlive?: number, setKeepAlive?: (milliseconds: number) => void } }).noiseStream
    const isFresh = !noise?.userData
    const mux = Mux.from(outer)
    if (isFresh && options.keepAlive !== false && noise?.keepAlive === 0) noise.setKeepAlive?.(keepAliveOf(options.keepAlive))
    if (options.ondiscoverykey) mux.pair({ protocol: 'hypercore/alpha' }, options.ondiscoverykey)
    return outer as Duplex
  }

  /** A core without a session. */
  static createCore (storage: StorageInput, options: HypercoreOptions = {}): Core {
    // Without a session in front, the key is the public key unless a manifest says otherwise.
    const core = new Core(storage, { ...options, compat: options.compat ?? !options.manifest })
    core.autoClose = false
    return core
  }

  static defaultStorage (storage: StorageInput): Storage {
    return parseStorage(storage)
  }

  static clearRequests (list: ActiveRequests, error: Error | null = null): void {
    clearRequests(list, error)
  }

  static destroyRequests (list: ActiveRequests, error: Error | null = null): void {
    destroyRequests(list, error)
  }

  static treeHashFromStorage (session: Hypercore, length = session.length): Promise<Uint8Array> {
    return session.treeHash(length)
  }

  /** Switches of the whole process; the engine has none. */
  static enable (flags: number): void {}

  static setRecoveryPeers (keys: Uint8Array[]): void {}

  get id (): string | null { return this.core?.id ?? null }
  get key (): Uint8Array | null { return this.core?.key ?? null }
  get discoveryKey (): Uint8Array | null { return this.core?.discoveryKey ?? null }
  get manifest (): Manifest | null { return this.core?.manifest ?? null }
  get replicator (): Replicator | null { return this.core?.replicator ?? null }
  get peers (): Peer[] { return this.opened ? this.core!.peers : [] }
  get globalCache (): null { return null }
  get recovering (): number { return 0 }
  get contiguousByteLength (): number { return 0 }

  get length (): number {
    if (this.#snapshot) return this.#snapshot.length
    return this.opened ? this.state!.length : 0
  }

  get signedLength (): number {
    if (!this.opened) return 0
    return this.#snapshot ? Math.min(this.#snapshot.length, this.#compatLength, this.core!.length) : this.state!.signedLength()
  }

  get byteLength (): number {
    if (!this.opened) return 0
    if (this.#snapshot) return this.#snapshot.byteLength
    return this.state!.byteLength - this.state!.length * this.padding
  }

  get fork (): number {
    if (!this.opened) return 0
    return this.#snapshot ? this.#snapshot.fork : this.state!.fork
  }

  get contiguousLength (): number {
    return this.opened ? this.core!.contiguousLength : 0
  }

  get remoteContiguousLength (): number {
    return this.opened ? Math.min(this.core!.length, this.core!.remoteContiguousLength) : 0
  }

  /** Bytes that encryption puts in front of each block. */
  get padding (): number {
    return this.encryption && this.key && this.manifest ? this.encryption.padding(this.core!, this.length) : 0
  }

  /** Resolves when the core is open. */
  ready (): Promise<void> {
    return this.opening
  }

  /** Another session of the core, with options of its own. */
  session (options: HypercoreOptions = {}): Hypercore {
    if (this.closing) throw HypercoreError.SESSION_CLOSED('Cannot make sessions on a closing core', this.discoveryKey)
    if (options.checkout !== undefined && !options.name && !options.atom) {
      throw HypercoreError.ASSERTION('Checkouts are only supported on atoms or named sessions', this.discoveryKey)
    }
    const Class = options.class ?? Hypercore
    const session = new Class(null, this.key, {
      ...options,
      wait: options.wait === false ? false : this.wait,
      writable: options.writable === undefined ? !this.#readonly : options.writable === true,
      onwait: options.onwait === undefined ? this.onwait : options.onwait,
      onseq: options.onseq === undefined ? this.onseq : options.onseq,
      timeout: options.timeout === undefined ? this.timeout : options.timeout,
      weak: options.weak === undefined ? this.weak : options.weak,
      parent: this
    })
    session.#marking = this.#marking
    return session
  }

  /** A session whose length stays as it is. */
  snapshot (options: HypercoreOptions = {}): Hypercore {
    return this.session({ ...options, snapshot: true })
  }

  /** Closes the session, and the core with its last one. What waits is rejected. */
  close ({ error = null }: { error?: Error | null } = {}): Promise<void> {
    this.closing ??= this.#close(error)
    return this.closing
  }

  /** Adds one block or several, and resolves when they are stored. */
  async append (blocks: unknown, options: AppendOptions = {}): Promise<{ length: number, byteLength: number }> {
    if (!this.opened) await this.opening
    if (this.closing) throw HypercoreError.SESSION_CLOSED('Cannot append to a closed session', this.discoveryKey)
    const state = this.state!
    const defaultKeyPair = state.name === null ? this.keyPair : null
    const keyPair = options.keyPair === undefined ? defaultKeyPair : options.keyPair
    const writable = state.parent !== null || !!options.signature || !!keyPair?.secretKey || options.writable === true
    if (this.#readonly || this.#snapshot || !writable) {
      throw HypercoreError.SESSION_NOT_WRITABLE('cannot append to a readonly core', this.discoveryKey)
    }
    const batch = Array.isArray(blocks) ? blocks : [blocks]
    const encryption = this.encryption instanceof DefaultEncryption ? this.encryption.forEngine : null
    const provider = encryption ? null : this.encryption
    const buffers = this.encodeBatch ? this.encodeBatch(batch) : batch.map((block) => this.#encode(block))
    for (const buffer of buffers) {
      if (buffer.byteLength > MAX_SUGGESTED_BLOCK_SIZE) {
        throw HypercoreError.BAD_ARGUMENT('Appended block exceeds the maximum suggested block size', this.discoveryKey)
      }
    }
    if (buffers.length === 0) return { length: state.length, byteLength: state.byteLength }
    const send = (buffers: Uint8Array[]) => state.request<{ length: number, byteLength: number }>((handle, engine) => engine.coreAppend(handle, buffers, {
      ...this.#signing(keyPair, options.signature),
      ...(options.maxLength === undefined ? {} : { maxLength: options.maxLength }),
      ...(encryption ? { encryption } : {})
    })).promise
    const appended = await (provider ? this.#appendEncrypted(provider, buffers, send) : send(buffers))
    this.core!.stored()
    return appended
  }

  /** Returns a block, from peers when it is not here; null when it is not to be waited for. */
  async get (index: number, options: GetOptions = {}): Promise<any> {
    if (!this.opened) await this.opening
    if (!isIndex(index)) throw HypercoreError.ASSERTION('block index is invalid', this.discoveryKey)
    index = toIndex(index)
    if (this.closing) throw HypercoreError.SESSION_CLOSED('cannot get on a closed session', this.discoveryKey)
    options ??= {}
    const encoding = options.valueEncoding ? resolveEncoding(options.valueEncoding) : this.valueEncoding
    if (this.onseq) this.onseq(index, this)
    if (this.#marking) await this.markBlock(index)

    const wantsPlain = !options.raw && options.decrypt !== false
    const encryption = wantsPlain && this.encryption instanceof DefaultEncryption ? this.encryption.forEngine : null
    let block = await this.#block(index, options, encryption)
    if (block === null) return null
    block = userBytes(block)
    if (options.raw || !this.encryption) return options.raw ? block : this.#decode(encoding, block)
    if (encryption) return this.#decode(encoding, block)
    const padding = this.encryption.padding(this.core!, index)
    if (wantsPlain) await this.encryption.decrypt(index, block, this.core!)
    return this.#decode(encoding, block.subarray(padding))
  }

  /** Whether a block, or every block of a range, is here. */
  async has (start: number, end = start + 1): Promise<boolean> {
    if (!this.opened) await this.opening
    if (!isIndex(start) || !isIndex(end)) throw HypercoreError.ASSERTION('has range is invalid', this.discoveryKey)
    if (this.#snapshot && end > this.#snapshot.length && end > start) return false
    return await this.state!.has(toIndex(start), toIndex(end))
  }

  /** Asks peers for a newer head; true when there was one. */
  async update (options: UpdateOptions = {}): Promise<boolean> {
    if (!this.opened) await this.opening
    options ??= {}
    if (this.closing || this.snapshotted || (this.writable && options.force !== true)) return false
    const wait = this.#shouldWait(options, this.core!.replicator.findingPeers > 0)
    const list = options.activeRequests ?? this.activeRequests
    ensureAlive(list)
    const request = this.core!.request<boolean>((core, engine) => engine.coreUpdate(core, { wait, force: options.force === true }))
    return await trackWish(list, request).promise
  }

  /** Finds the block that holds a byte, and where in it. */
  async seek (bytes: number, options: WaitOptions = {}): Promise<[index: number, offset: number] | null> {
    if (!this.opened) await this.opening
    if (!isIndex(bytes)) throw HypercoreError.ASSERTION('seek is invalid', this.discoveryKey)
    bytes = toIndex(bytes)
    if (this.closing) throw HypercoreError.SESSION_CLOSED('cannot seek on a closed session', this.discoveryKey)
    options ??= {}
    const list = options.activeRequests ?? this.activeRequests
    ensureAlive(list)
    const core = this.core!
    const update = this.encryption && !core.manifest
    if (update) await trackWish(list, core.request<boolean>((handle, engine) => engine.coreUpdate(handle, { wait: true }))).promise
    const wait = this.#shouldWait(options, this.wait)
    const seek = (wait: boolean): Parameters<Core['request']>[0] => (handle, engine) => engine.coreSeek(handle, bytes, { wait, padding: this.padding })
    if (this.state!.parent !== null) {
      const found = await this.state!.request<[number, number] | null>(seek(false)).promise
      if (found) return found
      if (!wait) return null
    }
    const request = core.request<[number, number] | null>(seek(wait))
    return await track(list, request, options.timeout ?? this.timeout).promise ?? null
  }

  /** Drops the blocks from a length on, under a new fork. */
  async truncate (newLength = 0, options: TruncateOptions | number = {}): Promise<void> {
    if (!this.opened) await this.opening
    if (this.closing) throw HypercoreError.SESSION_CLOSED('Cannot append to a closed session', this.discoveryKey)
    const given: TruncateOptions = typeof options === 'number' ? { fork: options } : options
    const state = this.state!
    const isDefault = state.parent === null
    const fork = given.fork ?? state.fork + 1
    const keyPair = given.keyPair === undefined ? this.keyPair : given.keyPair
    const writable = !this.#readonly && !this.#snapshot && !!(given.signature || keyPair?.secretKey)
    if (isDefault && !writable && (newLength > 0 || fork !== state.fork)) {
      throw HypercoreError.SESSION_NOT_WRITABLE('cannot append to a non-writable core', this.discoveryKey)
    }
    if (newLength > state.length) {
      throw HypercoreError.INVALID_OPERATION(`Not a truncation, ${newLength} must be less or equal to ${state.length}`, this.discoveryKey)
    }
    const signing = state.isDefault() ? this.#signing(keyPair, given.signature) : {}
    await state.request((handle, engine) => engine.coreTruncate(handle, newLength, { fork, ...signing })).promise
  }

  /** Drops local blocks; they can be fetched again. */
  async clear (start: number, end: number | { diff?: boolean } = start + 1, options?: { diff?: boolean }): Promise<{ blocks: number } | null> {
    if (!this.opened) await this.opening
    if (this.closing) throw HypercoreError.SESSION_CLOSED('cannot clear on a closed session', this.discoveryKey)
    if (typeof end === 'object') {
      options = end
      end = start + 1
    }
    if (!isIndex(start) || !isIndex(end)) throw HypercoreError.ASSERTION('clear range is invalid', this.discoveryKey)
    const cleared = options?.diff ? { blocks: 0 } : null
    if (start >= end || start >= this.length) return cleared
    const [first, last] = [toIndex(start), toIndex(end)]
    await this.state!.request((core, engine) => engine.coreClear(core, first, last)).promise
    return cleared
  }

  /** Fetches blocks. */
  download (range?: DownloadRange | null): Download {
    return new Download(this, range)
  }

  /** @deprecated use `range.destroy()` */
  undownload (range: Download): void {
    range.destroy(null)
  }

  /** @deprecated does nothing */
  cancel (_request: unknown): void {}

  createReadStream (options?: ReadStreamOptions): ReadStream {
    return new ReadStream(this, options)
  }

  createByteStream (options?: ByteStreamOptions): ByteStream {
    return new ByteStream(this, options)
  }

  createWriteStream (): WriteStream {
    return new WriteStream(this)
  }

  /**
   * Replicates the core.
   *
   * @param isInitiator whether this side speaks first, for a new stream; or a stream or mux to replicate on
   * @returns the stream; pipe a new one into the transport and back
   */
  replicate (isInitiator: boolean | object, options: ReplicateOptions = {}): any {
    if (isMux(isInitiator)) {
      this.#attach(Mux.from(isInitiator))
      return isInitiator
    }
    const stream = Hypercore.createProtocolStream(isInitiator, options)
    this.#attach(Mux.from(stream))
    return stream
  }

  /** Says that peers are being looked for, so that updates wait for them. Call what it returns when they are not. */
  findingPeers (): () => void {
    this.#findingPeers++
    this.core?.replicator.updateFindingPeers(1)
    let over = false
    return () => {
      if (over || this.closing) return
      over = true
      this.#findingPeers--
      this.core?.replicator.updateFindingPeers(-1)
    }
  }

  /** Says whether this session wants peers to be ready to send. */
  setActive (active: boolean): void {
    const next = !!active
    if (next === this.#active || this.closing) return
    this.#active = next
    if (this.opened) this.core!.replicator.updateActivity(next ? 1 : -1)
  }

  setKeyPair (keyPair: KeyPairInput | null): void {
    this.keyPair = keyPair
  }

  async setEncryptionKey (key: Uint8Array | null, { block = false } = {}): Promise<void> {
    if (!this.opened) await this.opening
    await this.setEncryption(createEncryption(key && { key, block }, this.core!))
  }

  async setEncryption (encryption: EncryptionProvider | null): Promise<void> {
    if (!this.opened) await this.opening
    if (encryption !== null && !isEncryptionProvider(encryption)) {
      throw HypercoreError.ASSERTION('Provider does not satisfy HypercoreEncryption interface', this.discoveryKey)
    }
    this.encryption = encryption
  }

  async setUserData (key: string, value: Uint8Array | string | null): Promise<void> {
    if (!this.opened) await this.opening
    const bytes = value === null || value === undefined ? null : isBytes(value) ? value : fromUtf8(value)
    await this.state!.request((core, engine) => engine.coreSetUserData(core, key, bytes)).promise
  }

  async getUserData (key: string): Promise<Uint8Array | null> {
    if (!this.opened) await this.opening
    const value = await this.state!.request<Uint8Array | null>((core, engine) => engine.coreUserData(core, key)).promise
    return value ? userBytes(value) : null
  }

  getManifest ({ raw = false } = {}): Manifest | Uint8Array | null {
    const { manifest } = this
    return manifest === null ? null : raw ? encodeManifest(manifest) : manifest
  }

  async info (_options?: { storage?: boolean }): Promise<Info> {
    if (!this.opened) await this.opening
    return new Info(this)
  }

  /** The hash that a signer signs; it fetches the last block when it is not here. */
  async treeHash (length = -1): Promise<Uint8Array> {
    if (!this.opened) await this.opening
    if (length === -1) length = this.length
    if (length > 0 && !(await this.has(length - 1))) await this.get(length - 1, { raw: true })
    return userBytes(await this.state!.request<Uint8Array>((core, engine) => engine.coreTreeHash(core, length)).promise)
  }

  /** What is signed for a length and fork. */
  async signable (length = -1, fork = -1): Promise<Uint8Array> {
    if (!this.opened) await this.opening
    if (length === -1) length = this.length
    if (fork === -1) fork = this.fork
    const position = new Uint8Array(16)
    const view = new DataView(position.buffer)
    view.setBigUint64(0, BigInt(length), true)
    view.setBigUint64(8, BigInt(fork), true)
    return userBytes(concat([namespaces('hypercore', 1)[0]!, this.key!, await this.treeHash(length), position]))
  }

  /** Makes a proof of a block, a node, a byte or a head, as peers get it. */
  async proof (options: ProofOptions): Promise<Proof> {
    if (!this.opened) await this.opening
    return fromEngine(await this.state!.request<EngineProof>((core, engine) => engine.coreProof!(core, options)).promise)
  }

  /** Verifies a proof and stores what it proves; false when it is of no use. */
  async applyProof (proof: Proof, _from?: unknown): Promise<boolean> {
    if (!this.opened) await this.opening
    return !!(await this.#optional('coreApplyProof', (core, engine) => engine.coreApplyProof!(core, forEngine(proof))))
  }

  /** Verifies the proof of a head without what is stored here. */
  async verifyFullyRemote (proof: Proof): Promise<RemoteHead> {
    if (!this.opened) await this.opening
    return verifyFullyRemote(this.core!, proof)
  }

  async missingNodes (index: number): Promise<number> {
    if (!this.opened) await this.opening
    return await this.#optional<number>('coreMissingNodes', (core, engine) => engine.coreMissingNodes!(core, index))
  }

  /** Messages of a program's own, beside the replication. */
  registerExtension (name: string, handlers: ExtensionHandlers = {}): Extension {
    const existing = this.extensions.get(name)
    if (existing) {
      existing.replace(this, handlers)
      return existing
    }
    const extension = new Extension(this, name, handlers)
    this.extensions.set(name, extension)
    if (this.opened) this.#register(extension)
    return extension
  }

  /** Begins to note which blocks are read, for {@link sweep}. */
  async startMarking (): Promise<void> {
    if (this.#marking) throw HypercoreError.ASSERTION("Hypercore cannot be gc'ed when already in gc mode", this.discoveryKey)
    if (this.state?.name) throw HypercoreError.ASSERTION("Hypercore cannot be gc'ed when a named session", this.discoveryKey)
    if (this.state?.atom) throw HypercoreError.ASSERTION("Hypercore cannot be gc'ed when an atomic session", this.discoveryKey)
    if (!this.opened) await this.opening
    await this.clearMarkings()
    this.#marking = true
  }

  async markBlock (start: number, end = start + 1): Promise<void> {
    if (!this.opened) await this.opening
    await this.core!.request((core, engine) => engine.coreMark(core, start, end)).promise
  }

  async clearMarkings (): Promise<void> {
    if (!this.opened) await this.opening
    await this.core!.request((core, engine) => engine.coreClearMarks(core)).promise
  }

  /** Clears every block that was not noted, also in an earlier run. */
  async sweep ({ batchSize = 1000 }: { batchSize?: number } = {}): Promise<void> {
    if (!this.opened) await this.opening
    if (this.#snapshot) throw HypercoreError.ASSERTION('Cannot sweep a snapshot', this.discoveryKey)
    for (let from: number | null = 0; from !== null;) {
      const start: number = from
      const found: Unmarked = await this.core!.request<Unmarked>((core, engine) => engine.coreUnmarked(core, start)).promise
      while (found.ranges.length > 0) {
        await Promise.all(found.ranges.splice(0, batchSize).map(([start, end]) => this.clear(start, end)))
      }
      from = found.next
    }
    this.#marking = false
    await this.clearMarkings()
  }

  /** Takes the blocks of a branch into the signed log; null when it does not continue the log. */
  async commit (session: Hypercore, options: CommitOptions = {}): Promise<{ length: number, byteLength: number } | null> {
    await this.ready()
    await session.ready()
    return await this.state!.commit(session.state!, { keyPair: this.keyPair && normalKeyPair(this.keyPair), ...options })
  }

  /** Nothing is left to be done: the store compacts itself. */
  async compact (): Promise<void> {}

  /** Closes every session, and deletes the store when the core is alone in it. */
  async purge (): Promise<void> {
    if (!this.opened) await this.opening
    const core = this.core!
    for (const session of core.allSessions()) await session.close()
    await core.close()
    await core.storage.destroy()
  }

  /** Groups are not followed here: nothing is stored. */
  async setGroup (_topic: Uint8Array): Promise<void> {
    if (!this.opened) await this.opening
  }

  /** Moves the session to another core, as if it had been opened there. */
  transferSession (core: Core): void {
    const old = this.core!
    this.#leave(false)
    old.replicator.updateActivity(this.#active ? -1 : 0)
    this.core = core
    this.#join()
    core.replicator.updateActivity(this.#active ? 1 : 0)
    clearRequests(this.activeRequests, new HypercoreError('Session moved', 'SESSION_MOVED', this.discoveryKey))
    this.emit('migrate', this.key!)
  }

  async recover (): Promise<void> {
    if (!this.opened) await this.opening
  }

  clearRequests (list: ActiveRequests, error: Error | null = null): void {
    clearRequests(list, error)
  }

  /** @internal The engine has the core anew, and knows nothing of snapshots. */
  onreopen (): void {
    if (this.#snapshot) this.#snapshot.id = null
  }

  /** @internal */
  onappend (): void {
    if (this.opened && !this.#snapshot) this.emit('append')
  }

  /** @internal */
  ontruncate (ancestors: number, fork: number): void {
    if (this.#snapshot) this.#compatLength = Math.min(this.#compatLength, ancestors)
    else if (this.opened) this.emit('truncate', ancestors, fork)
  }

  [Symbol.for('nodejs.util.inspect.custom')] (_depth?: number, options: InspectOptions = {}): string {
    return inspect(this, options)
  }

  async [Symbol.asyncDispose ?? Symbol.for('Symbol.asyncDispose')] (): Promise<void> {
    await this.close()
  }

  async #open (storage: StorageInput | null, options: HypercoreOptions): Promise<void> {
    const preload = options.preload ?? (options.parent ? options.parent.#preload : null)
    if (preload) {
      this.#preload = preload
      options = { ...options, ...(await preload) }
      this.#preload = null
    }
    const { parent } = options
    try {
      if (options.core && !parent) {
        this.core = options.core
      } else if (parent) {
        // A parent with a preload has no core before it.
        if (parent.core === null) await parent.opening
        this.core = parent.core
      } else {
        this.core = new Core(storage ?? missingStorage(), options)
        this.core.replicator.updateFindingPeers(this.#findingPeers)
      }
      this.#join()
      await this.#openSession(options)
    } catch (error) {
      await this.#giveUp()
      throw error
    }
    this.emit('ready')
    // The core of a weak session may have closed meanwhile.
    if (this.core!.closing) this.close().catch(() => {})
  }

  async #openSession (options: HypercoreOptions): Promise<void> {
    const { parent = null } = options
    const core = this.core!
    if (!core.opened) await core.ready()
    if (parent && !parent.opened) await parent.opening
    this.keyPair ??= core.keyPair ?? parent?.keyPair ?? null
    this.encryption = parent?.encryption ?? createEncryption(encryptionOption(options), core)
    if (options.valueEncoding) this.valueEncoding = resolveEncoding(options.valueEncoding)
    if (options.encodeBatch) this.encodeBatch = options.encodeBatch
    if (options.pushOnly === true) core.replicator.setPushOnly(true)
    if (options.exclusive && options.writable !== false) await this.#lock()
    // At once where it can be: a snapshot is of the log as it is now.
    this.state = options.name || options.atom ? await this.#openState(options) : (parent?.state ?? core.state).ref()
    this.state.sessions.push(this)
    if (parent !== null && parent.#snapshot) {
      this.#snapshot = parent.#snapshot
      this.#snapshot.users++
      this.#compatLength = parent.#compatLength
    } else if (this.snapshotted) {
      this.#takeSnapshot()
    }
    for (const [key, value] of Object.entries(options.userData ?? {})) {
      const bytes = isBytes(value) ? value : fromUtf8(value)
      await this.state.request((handle, engine) => engine.coreSetUserData(handle, key, bytes)).promise
    }
    core.replicator.updateActivity(this.#active ? 1 : 0)
    this.opened = true
    this.writable = this.#isWritable()
    for (const extension of this.extensions.values()) this.#register(extension)
  }

  async #openState ({ parent = null, name, atom, overwrite, checkout = -1 }: HypercoreOptions): Promise<State> {
    const from = parent?.state ?? this.core!.state
    const state = atom ? await from.atomic(atom) : name ? await from.branch(name, !!overwrite) : from.ref()
    if (checkout === -1 || state === from) return state
    try {
      const { length } = state
      const prologue = this.manifest?.prologue?.length ?? 0
      if (checkout > length) throw HypercoreError.ASSERTION(`Invalid checkout ${checkout} for ${name}, length is ${length}`, this.discoveryKey)
      if (checkout < prologue) throw HypercoreError.ASSERTION(`Invalid checkout ${checkout} for ${name}, prologue length is ${prologue}`, this.discoveryKey)
      // A signed log never has two histories of one fork.
      const fork = state.isDefault() ? state.fork + 1 : state.fork
      if (checkout < length) await state.request((handle, engine) => engine.coreTruncate(handle, checkout, { fork })).promise
      return state
    } catch (error) {
      await state.unref()
      throw error
    }
  }

  async #leaveState (): Promise<void> {
    const { state } = this
    const index = state?.sessions.indexOf(this) ?? -1
    if (index === -1) return
    state!.sessions.splice(index, 1)
    await state!.unref()
  }

  #join (): void {
    const core = this.core!
    core.sessions.push(this)
    this.sessions = core.sessions
    if (!this.weak) core.activeSessions++
  }

  #leave (isGone = true): void {
    const core = this.core!
    const index = core.sessions.indexOf(this)
    if (index === -1) return
    core.sessions.splice(index, 1)
    if (!this.weak) core.activeSessions--
    if (isGone) this.ongc?.(this)
  }

  async #giveUp (): Promise<void> {
    if (this.core) {
      this.#leave()
      await this.#leaveState().catch(() => {})
      this.#unlock?.()
      if (this.core.autoClose && !this.core.hasSession()) await this.core.close().catch(() => {})
    }
    this.closed = true
    this.emit('close')
  }

  async #close (error: Error | null): Promise<void> {
    if (!this.opened) {
      try {
        await this.opening
      } catch (failure) {
        if (!this.closed) throw failure
      }
    }
    if (this.closed) return
    const core = this.core!
    for (const extension of [...this.extensions.values()]) extension.destroy()
    this.#leave()
    this.readable = false
    this.writable = false
    this.opened = false
    clearRequests(this.activeRequests, error)
    core.replicator.updateFindingPeers(-this.#findingPeers)
    this.#findingPeers = 0
    if (!core.closed) core.replicator.updateActivity(this.#active ? -1 : 0)
    this.#releaseSnapshot()
    const leaving = core.closed ? null : this.#leaveState().catch(() => {})
    this.#unlock?.()
    if (this.state?.parent || !core.hasSession()) await leaving
    if (!core.hasSession() && core.autoClose) {
      await core.close()
      for (const session of core.allSessions()) await session.close()
    }
    this.closed = true
    this.emit('close')
  }

  async #block (index: number, options: GetOptions, encryption: BlockEncryption | null): Promise<Uint8Array | null> {
    const core = this.core!
    const snapshot = this.#snapshot
    const state = this.state!
    const read = async () => await state.request<Uint8Array | null>((handle, engine) => engine.coreGet(handle, index, {
      wait: false,
      ...(encryption ? { encryption } : {}),
      ...(snapshot?.id != null ? { snapshot: snapshot.id } : {})
    })).promise
    if (state.mayHave(index) || (snapshot?.id != null && index < snapshot.length)) {
      if (snapshot && (snapshot.id === null || index >= snapshot.length)) this.#checkSnapshot(index)
      const block = await read()
      if (block) return block
      if (this.closing) throw HypercoreError.SESSION_CLOSED('cannot get on a closed session', this.discoveryKey)
    }
    if (snapshot) this.#checkSnapshot(index)
    if (!this.#shouldWait(options, this.wait)) return null

    this.waits++
    options.onwait?.(index, this)
    this.onwait?.(index, this)
    const list = options.activeRequests ?? this.activeRequests
    ensureAlive(list)
    const request = core.request<Uint8Array | null>((handle, engine) => engine.coreGet(handle, index, {
      wait: true,
      force: options.force === true,
      ...(encryption ? { encryption } : {})
    }))
    const block = await track(list, request, options.timeout ?? this.timeout).promise
    if (snapshot) this.#checkSnapshot(index)
    return block ?? null
  }

  #checkSnapshot (index: number): void {
    const available = Math.min(this.#compatLength, this.#snapshot!.length)
    if (index < available) return
    throw HypercoreError.SNAPSHOT_NOT_AVAILABLE(
      `snapshot at index ${index} not available (max compat length ${available})`,
      this.discoveryKey
    )
  }

  #takeSnapshot (): void {
    const core = this.state!
    const taken = call((engine) => engine.coreSnapshot?.(core.handle))
    this.#snapshot = taken
      ? { length: taken.length, byteLength: taken.byteLength, fork: taken.fork, id: taken.snapshot, users: 1 }
      : { length: core.length, byteLength: core.byteLength, fork: core.fork, id: null, users: 1 }
  }

  #releaseSnapshot (): void {
    const id = this.#snapshot?.id
    if (id == null || --this.#snapshot!.users > 0 || this.core!.closed) return
    call((engine) => { engine.coreCloseSnapshot?.(this.state!.handle, id) })
  }

  #attach (mux: Mux): void {
    if (this.opened) this.core!.attach(mux)
    else this.opening.then(() => { this.core!.attach(mux) }, (error) => { mux.destroy(error) })
  }

  #register (extension: Extension): void {
    for (const peer of this.peers) peer.extensions.set(extension.name, extension)
  }

  #encode (value: unknown): Uint8Array {
    // The engine makes room for its own encryption; a program's provider gets it here.
    const padding = this.encryption && !(this.encryption instanceof DefaultEncryption) ? this.padding : 0
    const encoding = this.valueEncoding
    if (isBytes(value) || !encoding) {
      const bytes = isBytes(value) ? value : bytesFrom(value)
      return padding === 0 ? bytes : concat([new Uint8Array(padding), bytes])
    }
    const state = { start: padding, end: padding, buffer: null as Uint8Array | null }
    encoding.preencode(state, value)
    state.buffer = userBytes(new Uint8Array(state.end))
    encoding.encode(state, value)
    return state.buffer
  }

  #decode (encoding: CompactEncoding | null, block: Uint8Array): unknown {
    if (!encoding) return block
    try {
      return decodeValue(encoding, block)
    } catch (error) {
      throw HypercoreError.DECODING_ERROR((error as Error).message, this.discoveryKey)
    }
  }

  // Blocks are encrypted for a place in the log, so nothing else may be appended meanwhile.
  async #appendEncrypted<T> (provider: EncryptionProvider, buffers: Uint8Array[], send: (buffers: Uint8Array[]) => Promise<T>): Promise<T> {
    const [core, state] = [this.core!, this.state!]
    const append = async () => {
      const [start, fork] = [state.length, core.fork]
      for (let i = 0; i < buffers.length; i++) await provider.encrypt(start + i, buffers[i]!, fork, core)
      return await send(buffers)
    }
    const appended = state.appending.then(append, append)
    state.appending = appended
    return await appended
  }

  #signing (keyPair: KeyPairInput | null | undefined, signature: Uint8Array | null | undefined): { keyPair?: KeyPair, signature?: Uint8Array } {
    if (signature) return { signature }
    if (!keyPair?.secretKey) return {}
    const stored = this.core!.keyPair
    if (stored?.secretKey && equal(stored.publicKey, keyPair.publicKey)) return {}
    return { keyPair: normalKeyPair(keyPair) }
  }

  async #optional<T> (name: 'coreProof' | 'coreApplyProof' | 'coreMissingNodes', command: Parameters<Core['request']>[0]): Promise<T> {
    if (!look((engine) => engine[name])) throw HypercoreError.NOT_SUPPORTED(`this engine has no ${name}`, this.discoveryKey)
    return await this.core!.request<T>(command).promise
  }

  async #lock (): Promise<void> {
    const core = this.core!
    const before = core.exclusive
    core.exclusive = new Promise((resolve) => { this.#unlock = resolve })
    await before
    this.exclusive = true
  }

  #isWritable (): boolean {
    if (this.#readonly || this.#snapshot) return false
    return (this.state !== null && !this.state.isDefault()) || !!this.keyPair?.secretKey
  }

  #shouldWait (options: { wait?: boolean }, fallback: boolean): boolean {
    return typeof options.wait === 'boolean' ? options.wait : fallback
  }
}

/** Stored blocks without marks: first, and end, exclusive. */
interface Unmarked {
  ranges: Array<[start: number, end: number]>
  next: number | null
}

function normalKeyPair (keyPair: KeyPairInput): KeyPair {
  return { publicKey: keyPair.publicKey, secretKey: keyPair.secretKey ?? null }
}

function keepAliveOf (keepAlive: boolean | number | undefined): number {
  return keepAlive === false ? 0 : typeof keepAlive === 'number' ? keepAlive : 5000
}

function isIndex (value: unknown): boolean {
  return value === 0 || (value as number) > 0
}

/** Upstream takes whatever is above zero, and what is behind the point is lost when it is encoded. */
function toIndex (value: number): number {
  return Math.min(Math.trunc(value), Number.MAX_SAFE_INTEGER)
}

function isMux (value: unknown): value is { stream: unknown } {
  return typeof value === 'object' && value !== null && (value as { isProtomux?: unknown }).isProtomux === true
}

function isStream (value: unknown): boolean {
  return typeof value === 'object' && value !== null && typeof (value as { pipe?: unknown }).pipe === 'function'
}

function isPlainOptions (value: unknown): value is HypercoreOptions {
  return typeof value === 'object' && value !== null && !(value instanceof Storage) && !isBytes(value) &&
    !('db' in value) && !('rocks' in value) && !('href' in value)
}

function missingStorage (): never {
  throw new TypeError('Cannot open a core without storage: give a path, or memory() from hypertab/storage')
}
