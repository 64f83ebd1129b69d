// A session of a core: what upstream calls a Hypercore.

import type { Duplex } from 'streamx'

import { HypercoreError } from '../errors.js'
import { call } from '../runtime.js'
import { equal, isBytes } from '../support/bytes.js'
import type { ValueEncoding } from '../support/encoding.js'
import { discoveryKey } from '../support/crypto.js'
import { Mux } from '../links/mux.js'
import { parseStorage, type StorageInput, type StorageOptions } from '../storage/parse.js'
import type { Storage } from '../storage/storage.js'
import { BlockSession, MAX_SUGGESTED_BLOCK_SIZE } from './blocks.js'
import type { Core } from './core.js'
import { createEncryption, DefaultEncryption, isEncryptionProvider, type EncryptionProvider } from './encryption.js'
import { enableFeatures, SMALL_WANTS } from './features.js'
import { Extension, type ExtensionHandlers } from './extension.js'
import { Info } from './info.js'
import { BareCore, type BareCoreOptions } from './lib/core.js'
import { decodeRemoteProof, proof as proveRemotely } from './lib/fully-remote-proof.js'
import { rootsAt, treeHash } from './lib/tree-nodes.js'
import { createManifest, encodeManifest, manifestKey, type Manifest, type ManifestInput } from './manifest.js'
import { normalKeyPair, type HypercoreOptions, type KeyPairInput, type ReplicateOptions } from './options.js'
import { forEngine, fromEngine, verifyFullyRemote, type EngineProof, type Proof, type ProofOptions, type RemoteHead } from './proof.js'
import { createProtocolStream, getProtocolMuxer, isMux } from './protocol-stream.js'
import { setRecoveryPeers, waitForRecovery, type RecoverOptions } from './recovery.js'
import { clearRequests, destroyRequests, type ActiveRequests } from './requests.js'
import type { CommitOptions } from './state.js'

/** A secure, append-only log of blocks, which are a `T` each by its encoding. Usable at once; it opens by itself. */
export class Hypercore<T = any> extends BlockSession<T> {
  /** Bytes of a block, at most: larger ones are refused (`BAD_ARGUMENT`). */
  static readonly MAX_SUGGESTED_BLOCK_SIZE = MAX_SUGGESTED_BLOCK_SIZE
  /** What encrypts blocks where the options give a key. */
  static readonly DefaultEncryption = DefaultEncryption
  /** Wants peers to report 4096 blocks at a time, and any block of a range; hypercore 10 cannot. */
  static readonly SMALL_WANTS = SMALL_WANTS

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

  /** What peers look for, 32 bytes: a hash of the key. Needs the engine, see `ready()`. */
  static discoveryKey (key: Uint8Array): Uint8Array {
    if (!isBytes(key) || key.byteLength !== 32) throw new Error('Must pass a 32 byte buffer')
    return discoveryKey(key)
  }

  /** The key that blocks are encrypted with, 32 bytes. */
  static blockEncryptionKey (key: Uint8Array, encryptionKey: Uint8Array): Uint8Array {
    return DefaultEncryption.blockEncryptionKey(key, encryptionKey)
  }

  /** What replicates on a stream. */
  static getProtocolMuxer (stream: unknown): unknown {
    return getProtocolMuxer(stream)
  }

  /** An encrypted stream that cores can replicate on, and the outer side of it for the transport. */
  static createProtocolStream (isInitiator: boolean | object, options?: ReplicateOptions): Duplex {
    return createProtocolStream(isInitiator, options)
  }

  /** A core without a session. */
  static createCore (storage: StorageInput, options?: BareCoreOptions): Core {
    return new BareCore(storage, { autoClose: false, ...options })
  }

  /** The storage that a string, an object or a function stands for. */
  static defaultStorage (storage: StorageInput, options?: StorageOptions): Storage {
    return parseStorage(storage, options)
  }

  /** Cancels everything that was asked for with a list `activeRequests`, which fails with the error, or `REQUEST_CANCELLED`. */
  static clearRequests (list: ActiveRequests, error: Error | null = null): void {
    clearRequests(list, error)
  }

  /** The same, and nothing more can be asked for with the list. */
  static destroyRequests (list: ActiveRequests, error: Error | null = null): void {
    destroyRequests(list, error)
  }

  /** The hash of the tree over so many blocks, 32 bytes; over all of them by default. */
  static async treeHashFromStorage ({ state }: Hypercore, length = state!.length): Promise<Uint8Array> {
    return treeHash(length === state!.length ? state!.roots : await rootsAt(state!.storage, length))
  }

  /** Sets what cores of this process do from their next peers on: {@link SMALL_WANTS}, or 0 for what every peer understands. */
  static enable (flags: number): void {
    enableFeatures(flags)
  }

  /** Whom a writer hears before it goes on after its store was repaired; null for any peer. */
  static setRecoveryPeers (keys: Uint8Array[] | null): void {
    setRecoveryPeers(keys)
  }

  /** Another session of the core, with options of its own. */
  session (options: HypercoreOptions & { valueEncoding: ValueEncoding | null }): Hypercore
  /** Another session of the core, with options of its own. */
  session (options?: HypercoreOptions): Hypercore<T>
  session (options: HypercoreOptions = {}): Hypercore {
    if (this.closing) throw HypercoreError.SESSION_CLOSED('Cannot make sessions on a closing core', this.discoveryKey)
    if (options.checkout !== undefined && !options.name && !options.atom) {
      throw HypercoreError.ASSERTION('Checkouts are only supported on atoms or named sessions', this.discoveryKey)
    }
    const Class = options.class || Hypercore
    const session = new Class(null, this.key, {
      ...options,
      wait: options.wait === false ? false : this.wait,
      writable: options.writable === undefined ? !this._readonly : options.writable === true,
      onwait: options.onwait === undefined ? this.onwait : options.onwait,
      onseq: options.onseq === undefined ? this.onseq : options.onseq,
      timeout: options.timeout === undefined ? this.timeout : options.timeout,
      weak: options.weak === undefined ? this.weak : options.weak,
      parent: this
    })
    session._marking = this._marking
    return session
  }

  /** A session whose length stays as it is. */
  snapshot (options: HypercoreOptions = {}): Hypercore<T> {
    return this.session({ ...options, snapshot: true })
  }

  /**
   * Replicates the core.
   *
   * @param isInitiator whether this side speaks first, for a new stream; or a stream or mux to replicate on
   * @returns the stream, or the mux; pipe a new stream into the transport and back
   */
  replicate<M extends { isProtomux: boolean }> (mux: M, options?: ReplicateOptions): M
  replicate (isInitiator: boolean | object, options?: ReplicateOptions): Duplex
  replicate (isInitiator: boolean | object, options: ReplicateOptions = {}): object {
    if (isMux(isInitiator)) {
      this._attach(Mux.from(isInitiator))
      return isInitiator
    }
    const stream = Hypercore.createProtocolStream(isInitiator, options)
    this._attach(Mux.from(stream))
    return stream
  }

  /** Says that peers are being looked for, so that updates wait for them. Call what it returns when they are not. */
  findingPeers (): () => void {
    this._findingPeers++
    this.core?.replicator.updateFindingPeers(1)
    let over = false
    return () => {
      if (over || this.closing) return
      over = true
      this._findingPeers--
      this.core?.replicator.updateFindingPeers(-1)
    }
  }

  /** Says whether this session wants peers to be ready to send. */
  setActive (active: boolean): void {
    const next = !!active
    if (next === this._active || this.closing) return
    this._active = next
    if (this.opened) this.core!.replicator.updateActivity(next ? 1 : -1)
  }

  /** Says whether the last block is fetched along with every longer log, for all sessions of the core. */
  async setAlwaysLatestBlock (enabled: boolean): Promise<void> {
    if (!this.opened) await this.opening
    this.core!.replicator.setLatestBlock(!!enabled)
  }

  /** Signs with this pair from here on. */
  setKeyPair (keyPair: KeyPairInput | null): void {
    this.keyPair = keyPair
  }

  /** Reads and writes with another encryption key from here on, 32 bytes, or with none. `block` says that it is that of the blocks. */
  async setEncryptionKey (key: Uint8Array | null, { block = false } = {}): Promise<void> {
    if (!this.opened) await this.opening
    await this.setEncryption(createEncryption(key && { key, block }, this.core!))
  }

  /** Reads and writes with another encryption from here on, or with none. */
  async setEncryption (encryption: EncryptionProvider | null): Promise<void> {
    if (!this.opened) await this.opening
    if (encryption !== null && !isEncryptionProvider(encryption)) {
      throw HypercoreError.ASSERTION('Provider does not satisfy HypercoreEncryption interface', this.discoveryKey)
    }
    this.encryption = encryption
  }

  /** Stores something beside the log, which is not replicated; null deletes it. A name has nearly 32 KiB, and a value 15 MiB, at most (`BAD_ARGUMENT`). */
  async setUserData (key: string, value: Uint8Array | string | null): Promise<void> {
    if (!this.opened) await this.opening
    if (this._snapshot) throw HypercoreError.SESSION_NOT_WRITABLE('cannot set user data of a snapshot', this.discoveryKey)
    await this.state!.setUserData(key, value)
  }

  /** What is stored beside the log under a name; null for nothing. */
  async getUserData (key: string): Promise<Uint8Array | null> {
    if (!this.opened) await this.opening
    return await this.state!.getUserData(key)
  }

  /** The manifest, or its bytes with `raw`; null before it is known. */
  getManifest ({ raw = false } = {}): Manifest | Uint8Array | null {
    const { manifest } = this
    return manifest === null ? null : raw ? encodeManifest(manifest) : manifest
  }

  /** What the core tells about itself at this moment. */
  async info (options?: { storage?: boolean }): Promise<Info> {
    if (!this.opened) await this.opening
    return await Info.from(this, options)
  }

  /** Makes a proof of a block, a node, a byte or a head, as peers get it. */
  async proof (options: ProofOptions): Promise<Proof> {
    if (!this.opened) await this.opening
    if (options === null || options === undefined) throw new TypeError('A proof has to be of something')
    return fromEngine(await this.state!.request<EngineProof>((core, engine) => engine.coreProof(core, options)).promise)
  }

  /** Verifies a proof and stores what it proves; false when it is of no use. */
  async applyProof (proof: Proof, from?: unknown): Promise<boolean> {
    if (!this.opened) await this.opening
    return await this.core!.verify(proof, from)
  }

  /** Verifies the proof of a head without what is stored here. */
  async verifyFullyRemote (proof: Proof): Promise<RemoteHead> {
    if (!this.opened) await this.opening
    return await verifyFullyRemote(this.core!, proof)
  }

  /** How many nodes of the tree a block has to come with. */
  async missingNodes (index: number): Promise<number> {
    if (!this.opened) await this.opening
    // Nothing is known of what is beyond every log.
    if (!Number.isSafeInteger(index) || index < 0) return 0
    return await this.core!.request<number>((core, engine) => engine.coreMissingNodes(core, index)).promise
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
    if (this.opened) this._register(extension)
    return extension
  }

  /** Begins to note which blocks are read, for {@link sweep}. */
  async startMarking (): Promise<void> {
    if (this._marking) throw HypercoreError.ASSERTION("Hypercore cannot be gc'ed when already in gc mode", this.discoveryKey)
    if (this.state?.name) throw HypercoreError.ASSERTION("Hypercore cannot be gc'ed when a named session", this.discoveryKey)
    if (this.state?.atom) throw HypercoreError.ASSERTION("Hypercore cannot be gc'ed when an atomic session", this.discoveryKey)
    if (!this.opened) await this.opening
    await this.clearMarkings()
    this._marking = true
  }

  /** Notes a block, or those of a range: `sweep()` keeps them. */
  async markBlock (start: number, end = start + 1): Promise<void> {
    if (!this.opened) await this.opening
    await this.core!.request((core, engine) => engine.coreMark(core, start, end)).promise
  }

  /** Forgets what was noted. */
  async clearMarkings (): Promise<void> {
    if (!this.opened) await this.opening
    await this.core!.request((core, engine) => engine.coreClearMarks(core)).promise
  }

  /** Clears every block that was not noted, also in an earlier run. */
  async sweep ({ batchSize = 1000 }: { batchSize?: number } = {}): Promise<void> {
    if (!this.opened) await this.opening
    if (this._snapshot) throw HypercoreError.ASSERTION('Cannot sweep a snapshot', this.discoveryKey)
    for (let from: number | null = 0; from !== null;) {
      const start: number = from
      const found: Unmarked = await this.core!.request<Unmarked>((core, engine) => engine.coreUnmarked(core, start)).promise
      while (found.ranges.length > 0) {
        await Promise.all(found.ranges.splice(0, batchSize).map(([start, end]) => this.clear(start, end)))
      }
      from = found.next
    }
    this._marking = false
    await this.clearMarkings()
  }

  /** Takes the blocks of a branch into the signed log; null when it does not continue the log. */
  async commit (session: Hypercore, { keyPair, ...options }: Omit<CommitOptions, 'keyPair'> & { keyPair?: KeyPairInput | null } = {}): Promise<{ length: number, byteLength: number } | null> {
    await this.ready()
    await session.ready()
    const shown = session._snapshot ? { length: session.length } : {}
    const signer = keyPair === undefined ? this.keyPair : keyPair
    return await this.state!.commit(session.state!, { keyPair: signer && normalKeyPair(signer), ...shown, ...options })
  }

  /** The store compacts itself: nothing is left to be done. */
  compact (): Promise<Array<[undefined, undefined]>> {
    return this.core!.compact()
  }

  /** Closes every session and deletes what is stored of the core, and the store when nothing else is in it. */
  async purge (): Promise<void> {
    if (!this.opened) await this.opening
    await this.core!.purge()
  }

  /** Puts the core into a group, once and for all: its store keeps when each of its cores changed. */
  async setGroup (topic: Uint8Array): Promise<void> {
    if (!this.opened) await this.opening
    await this.core!.setGroup(topic)
  }

  /** Resolves when a writer whose store was repaired can go on: its peers know of nothing longer. */
  async recover (options?: RecoverOptions): Promise<void> {
    if (!this.opened) await this.opening
    await waitForRecovery(this.state!, this, options)
  }

  /** Takes what was lost of the tree from a proof that somebody made with {@link generateRemoteProofForTreeNode}. */
  async recoverFromRemoteProof (bytes: Uint8Array): Promise<boolean> {
    if (!this.opened) await this.opening
    const core = this.core!
    core.replicator.setPushOnly(true)
    core._repairMode = true
    const proof = decodeRemoteProof(bytes, core.discoveryKey!)
    if (proof === null) return false
    if (core.isLost) return await core.request<boolean>((handle, engine) => engine.coreRepair(handle, forEngine(proof))).promise
    try {
      await verifyFullyRemote(core, proof)
    } catch {
      return false
    }
    const { nodes } = proof.upgrade!
    const tx = core.storage!.write()
    for (const node of nodes) tx.putTreeNode(node)
    await tx.flush()
    core.replicator.setPushOnly(false)
    return nodes.length > 0
  }

  /** Asks all peers for what was lost of the tree. */
  recoverTreeNodeFromPeers (): void {
    this.core!.replicator.setPushOnly(true)
    call((engine) => { engine.coreAskForRepair(this.core!.handle) })
  }

  /** Proves the nodes that somebody needs who lost one of them. */
  async generateRemoteProofForTreeNode (treeIndex: number): Promise<Uint8Array> {
    let last = treeIndex
    for (let at = treeIndex, span = 1; at % 2 === 1; span *= 2) {
      last += span
      at = (at - 1) / 2
    }
    return await proveRemotely(this, { index: last / 2, upgrade: { start: 0, length: last / 2 + 1 } })
  }

  /** @internal */
  _attach (mux: Mux): void {
    if (this.opened) this.core!.attach(mux)
    else this.opening.then(() => { this.core!.attach(mux) }, (error) => { mux.destroy(error) })
  }
}

/** Stored blocks without marks: first, and end, exclusive. */
interface Unmarked {
  ranges: Array<[start: number, end: number]>
  next: number | null
}
