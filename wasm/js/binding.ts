// The border to the engine: what its exports take and give. Everything is synchronous, and nothing calls back.

import * as generated from './engine/hypertab.js'

export type StoreHandle = number
export type CoreHandle = number
export type LinkHandle = number
export type RelayHandle = number
export type QuestionHandle = number
export type ServerHandle = number
export type PeerHandle = number
export type RequestHandle = number

/** A signing pair; a public key alone can only verify. */
export interface KeyPair {
  publicKey: Uint8Array
  secretKey: Uint8Array | null
}

/** A file that is read and written without waiting. */
export interface SyncFile {
  read (buffer: Uint8Array, offset: number): number
  write (bytes: Uint8Array, offset: number): void
  sync (): void
  close (): void
  /** Its length, if another realm may still write to it. */
  readonly lengthIfShared?: number | undefined
}

/** An error as it crosses the border. */
export interface Failure {
  code: string
  message: string
  /** Why, where the code says only what failed. */
  cause?: { code: string, message: string }
}

/** One event: its kind, and what belongs to it. */
export type EngineEvent = [kind: string, ...rest: unknown[]]

export interface OpenCoreOptions {
  key?: Uint8Array
  discoveryKey?: Uint8Array
  keyPair?: KeyPair
  manifest?: Uint8Array
  compat?: boolean
  legacy?: boolean
  smallWants?: boolean
  createIfMissing?: boolean
  overwrite?: boolean
  force?: boolean
  eagerUpgrade?: boolean
  allowFork?: boolean
  allowPush?: boolean
  pushOnly?: boolean
  notDownloadingLinger?: number
  inflightRange?: [number, number]
  alias?: { name: string, namespace: Uint8Array }
  allowLatestBlock?: boolean
  /** It is not in the store before {@link Engine.storeTakeIn}. */
  incoming?: number
  active?: boolean
}

/** The key that blocks are encrypted with, or that theirs is derived from. */
export interface BlockEncryption {
  key: Uint8Array
  isBlockKey: boolean
}

export interface OpenLinkOptions {
  isInitiator: boolean
  transport: 'stream' | 'framed'
  /** A handshake here, one that was made elsewhere and left keys behind, or a stream that encrypts by itself. */
  security: 'noise' | 'established' | 'external'
  sendKey?: Uint8Array
  receiveKey?: Uint8Array
  publicKey?: Uint8Array
  secretKey?: Uint8Array
  handshakeHash?: Uint8Array
  remotePublicKey?: Uint8Array
  keepAlive?: number
  /** A core: the link is made in the engine that has it. */
  near?: CoreHandle
}

/** A channel of a program's own. */
export interface OpenChannelOptions {
  protocol: string
  aliases: string[]
  shared: boolean
  id?: Uint8Array
  handshake?: Uint8Array
}

/** What the engine knows of a peer of one core. */
export interface PeerStatus {
  remoteSynced?: boolean
  detours?: Detours
  peer: PeerHandle
  link: LinkHandle
  remotePublicKey?: Uint8Array
  remoteFork?: number
  remoteLength?: number
  remoteContiguousLength?: number
  remoteUploading?: boolean
  remoteDownloading?: boolean
  remoteCanUpgrade?: boolean
  remoteHasManifest?: boolean
  remoteAllowPush?: boolean
  canUpgrade?: boolean
  inflight?: number
  paused?: boolean
  lengthAcked?: number
}

/** Requests of blocks that somebody else was asked for already, those refused as impossible, and for lack of the block. */
export type Detours = [hotswaps: number, refused: number, notAvailable: number]

/** Cuts bytes where their content says; it returns where chunks end. */
export interface Chunker {
  push (data: Uint8Array): Uint32Array
  free (): void
}

/** Decoded blocks of a bee. */
export interface BeeCacheHandle {
  keep (seq: number, block: Uint8Array): void
  truncate (length: number): void
  clear (): void
}

/** An entry of a bee as it crosses the border. */
export type RawEntry = [seq: number, key: Uint8Array, value: Uint8Array | null]
/** Entries at once: of each its block, the length of its key, and that of its value, or -1 without one; then all keys and values. */
export type RawEntries = [numbers: Float64Array, bytes: Uint8Array]
export type RawChange = [entry: RawEntry, isDeletion: boolean]
export type RawDifference = [left: RawEntry | null, right: RawEntry | null]

/** What takes steps over blocks. A step is undefined when blocks are missing, and false when others are to have their turn. */
export interface WalkHandle {
  give (seq: number, block: Uint8Array): void
  needed (): Float64Array
  ahead? (): Float64Array
  clear (): void
}

/** A read or walk of a trie. */
export interface TrieWalkHandle extends WalkHandle {
  next (): unknown
}

/** What a block of a trie put, as it crosses the border. */
export type RawTrieNode = [seq: number, key: string, value: Uint8Array | null, flags: number]

/** A read, walk or batch of a bee. */
export interface BeeWalkHandle extends WalkHandle {
  ahead (): Float64Array
  askAhead (): void
  startTrace (): void
  touched (): Float64Array
  hint (message: Uint8Array): boolean
  get (key: Uint8Array): unknown
  getBySeq (seq: number): unknown
  isLinked (seq: number, skipMissing: boolean): unknown
  open (): unknown
  next (): unknown
  nextEntries (most: number): unknown
  nextPending (batch: BeeWalkHandle): unknown
  finish (): Uint8Array[]
  askRange (version: number): Uint8Array | undefined
  checkpoint (): Float64Array
  extend (version: number): void
  current (key: Uint8Array): unknown
  put (key: Uint8Array, value: Uint8Array | undefined): unknown
  refusePut (key: Uint8Array): unknown
  del (key: Uint8Array): unknown
  takeBlocks (): Uint8Array[]
  pendingBlocks (): Uint8Array[]
}

/** Block 0 of a bee. */
export interface BeeHeader {
  protocol: string
  metadata: { contentFeed: Uint8Array | null, userData: Uint8Array | null } | null
}

/** The exports of the engine. Those with `?` may be missing from an engine of another build. */
export interface Engine {
  start (wake: () => void, setTimer?: (milliseconds: number) => void): void
  pollEvents (): EngineEvent[]
  handleTimeout (): void
  /** Writes what waits since the event `commit`. */
  writeCommits (): void
  gatherCommits (): void
  settleStore (store: StoreHandle): void
  /** A number that stays the same until something enters the engine that may change it; nothing once its memory has grown. */
  revision (): Float64Array

  openMemoryStore (): StoreHandle
  openFileStore (file: SyncFile): StoreHandle
  openIndexedDbStore (name: string): Promise<StoreHandle>
  closeStore (store: StoreHandle): RequestHandle
  suspendStore (store: StoreHandle): RequestHandle
  resumeStore (store: StoreHandle): void
  storeSeed (store: StoreHandle, seed: Uint8Array | undefined, overwrite: boolean): RequestHandle
  storeDefaultCore (store: StoreHandle): RequestHandle
  storeAlias (store: StoreHandle, namespace: Uint8Array, name: string): RequestHandle
  storeForget (store: StoreHandle, discoveryKey: Uint8Array): RequestHandle
  storeTakeIn (store: StoreHandle, discoveryKeys: Uint8Array[], seed: Uint8Array | undefined, first: Uint8Array | undefined): RequestHandle
  storeDropIncoming (store: StoreHandle): RequestHandle
  storeInfos (store: StoreHandle, discoveryKeys: Uint8Array[]): RequestHandle
  storeCores (store: StoreHandle, from: Uint8Array | undefined, limit: number): RequestHandle
  storeAliases (store: StoreHandle, namespace: Uint8Array | undefined, from: Uint8Array | undefined, limit: number): RequestHandle
  storeGroup (store: StoreHandle, topic: Uint8Array): RequestHandle
  storeGroupUpdates (
    store: StoreHandle, group: number, since: number, reverse: boolean, from: Uint8Array | undefined, limit: number
  ): RequestHandle
  storeBranches (store: StoreHandle, discoveryKey: Uint8Array): RequestHandle
  storeRecords (
    store: StoreHandle, data: number, kind: 'blocks' | 'tree' | 'bitfield', from: Uint8Array | undefined, limit: number
  ): RequestHandle

  openCore (store: StoreHandle, options: OpenCoreOptions): [CoreHandle, RequestHandle]
  closeCore (core: CoreHandle): RequestHandle
  coreKey (core: CoreHandle): Uint8Array
  coreDiscoveryKey (core: CoreHandle): Uint8Array
  coreManifest (core: CoreHandle): Uint8Array | undefined | null
  corePublicKey (core: CoreHandle): Uint8Array | undefined | null
  coreHasSecretKey (core: CoreHandle): boolean
  coreKeyPair (core: CoreHandle): KeyPair | undefined | null
  coreIsCompat (core: CoreHandle): boolean
  coreLength (core: CoreHandle): number
  coreStagedLength (core: CoreHandle): number
  coreFork (core: CoreHandle): number
  coreByteLength (core: CoreHandle): number
  coreContiguousLength (core: CoreHandle): number
  coreRemoteContiguousLength (core: CoreHandle): number
  coreAppend (core: CoreHandle, blocks: Uint8Array[], options: {
    keyPair?: KeyPair, signature?: Uint8Array, maxLength?: number, encryption?: BlockEncryption, operation?: string
  }): RequestHandle
  coreGet (core: CoreHandle, index: number, options: {
    wait: boolean, force?: boolean, encryption?: BlockEncryption, snapshot?: number
  }): RequestHandle
  coreUpdate (core: CoreHandle, options: { wait: boolean, force?: boolean }): RequestHandle
  coreSeek (core: CoreHandle, bytes: number, options: { wait: boolean, padding: number }): RequestHandle
  coreTruncate (core: CoreHandle, length: number, options: { fork?: number | undefined, keyPair?: KeyPair, signature?: Uint8Array, operation?: string }): RequestHandle
  coreClear (core: CoreHandle, start: number, end: number): RequestHandle
  coreDownload (core: CoreHandle, range: { start: number, end: number, blocks?: number[], linear?: boolean }): RequestHandle
  coreTreeHash (core: CoreHandle, length?: number): RequestHandle
  coreSetUserData (core: CoreHandle, key: string, value: Uint8Array | null, operation?: string): RequestHandle
  coreUserData (core: CoreHandle, key: string): RequestHandle
  corePeers (core: CoreHandle): PeerStatus[]
  /** Of the blocks that are here, or of those that a peer announced beside its prefix; -1 for none. */
  coreFindBlock (core: CoreHandle, peer: PeerHandle | undefined, isSet: boolean, from: number, backwards: boolean): number
  coreCountBlocks (core: CoreHandle, peer: PeerHandle | undefined, start: number, end: number): number
  coreBlocksPage (core: CoreHandle, peer: PeerHandle | undefined, page: number): Uint8Array | undefined
  /** The revision now, then the pages from one on that have changed after another. */
  coreChangedPages (core: CoreHandle, peer: PeerHandle | undefined, revision: number, first: number): number[] | undefined
  coreDetours (core: CoreHandle): Detours
  corePush (core: CoreHandle, index: number): void
  coreTraffic (core: CoreHandle, peer?: PeerHandle): [sent: number[], received: number[]]
  coreSetActive (core: CoreHandle, active: boolean): void
  coreDownloads (core: CoreHandle): boolean
  coreSetFindingPeers (core: CoreHandle, count: number): void
  /** Turns on or off that pushes are taken (0), that nothing is requested (1), that the last block comes with upgrades (2), that peers report few blocks at once (3). */
  coreSwitch (core: CoreHandle, which: 0 | 1 | 2 | 3, on: boolean): void
  /** An engine elsewhere leaves the hash out: it follows from the roots. */
  coreSnapshot (core: CoreHandle): { snapshot: number, length: number, byteLength: number, fork: number, hash?: Uint8Array }
  coreCloseSnapshot (core: CoreHandle, snapshot: number): void
  coreProof (core: CoreHandle, request: unknown): RequestHandle
  coreApplyProof (core: CoreHandle, proof: unknown): RequestHandle
  coreCheckReorg (core: CoreHandle, proof: unknown): RequestHandle
  coreApplyReorg (core: CoreHandle, fork: number): RequestHandle
  openImportedCore (
    store: StoreHandle, options: OpenCoreOptions, oplog: Uint8Array, header: Uint8Array | undefined, tree: Uint8Array, bitfield: Uint8Array
  ): [CoreHandle, RequestHandle] | [Failure]
  coreImportRange (core: CoreHandle, limit: number): [offset: number, length: number] | undefined
  coreImportBytes (core: CoreHandle, bytes: Uint8Array): RequestHandle
  coreMark (core: CoreHandle, start: number, end: number): RequestHandle
  coreClearMarks (core: CoreHandle): RequestHandle
  coreUnmarked (core: CoreHandle, from: number): RequestHandle
  coreAudit (core: CoreHandle, start: number, options: object): RequestHandle
  openBranch (parent: CoreHandle, name: string, overwrite: boolean, moved: boolean, checkout?: number): [CoreHandle, RequestHandle]
  createAtom (store: StoreHandle): StoreHandle
  openAtomic (parent: CoreHandle, atom: StoreHandle): [CoreHandle, RequestHandle]
  flushAtom (atom: StoreHandle): RequestHandle
  closeAtom (atom: StoreHandle): void
  coreCommit (core: CoreHandle, source: CoreHandle, options: {
    length?: number, treeLength?: number, keyPair?: KeyPair, signature?: Uint8Array, operation?: string
  }): RequestHandle
  coreCopyPrologue (core: CoreHandle, source: CoreHandle): RequestHandle
  coreCatchUp (branch: CoreHandle, source: CoreHandle, length: number): RequestHandle
  coreLocalList (core: CoreHandle, from: Uint8Array, to: Uint8Array | undefined, limit: number): RequestHandle
  coreHold (core: CoreHandle): RequestHandle
  coreRelease (core: CoreHandle): void
  coreGuard (core: CoreHandle, isGuarded: boolean): void
  coreAdmit (core: CoreHandle, isAdmitted: boolean): void
  coreUserDataList (core: CoreHandle, from: string, to: string | undefined, limit: number): RequestHandle
  coreSetManifest (core: CoreHandle, manifest: Uint8Array): RequestHandle
  coreSetGroup (core: CoreHandle, topic: Uint8Array): RequestHandle
  coreRoots (core: CoreHandle): Array<{ index: number, size: number, hash: Uint8Array }>
  coreTellSignature (core: CoreHandle, signature: Uint8Array): void
  coreSignature (core: CoreHandle): Uint8Array | undefined | null
  coreIsLost (core: CoreHandle): boolean
  coreRepair (core: CoreHandle, proof: unknown): RequestHandle
  coreAskForRepair (core: CoreHandle): void
  coreReadRecords (core: CoreHandle, records: unknown[][]): RequestHandle
  coreWriteRecords (core: CoreHandle, changes: unknown[][]): RequestHandle
  decodeRecord (kind: string, record: Uint8Array): unknown
  encodeRecord (kind: string, fields: object): Uint8Array
  coreSetInFlight (core: CoreHandle, least: number, most: number): void
  coreGroup (core: CoreHandle): Uint8Array | undefined | null
  coreRecovering (core: CoreHandle): number
  coreSetRecovering (core: CoreHandle, milliseconds: number): void
  /** The pointers of the core and of its records; then, oldest first, of those below and the blocks up to which they are read. */
  coreLayers (core: CoreHandle): Float64Array
  coreHasStored (core: CoreHandle, start: number, end: number): RequestHandle
  coreVerifyFullyRemote (core: CoreHandle, proof: unknown): RequestHandle
  coreMissingNodes (core: CoreHandle, index: number): RequestHandle
  coreSendExtension (core: CoreHandle, peer: PeerHandle, name: string, bytes: Uint8Array): void
  cancel (request: RequestHandle, code?: string): void

  openLink (options: OpenLinkOptions): LinkHandle
  linkBytes (link: LinkHandle, bytes: Uint8Array): void
  linkCredit (link: LinkHandle, bytes: number): void
  /** The transport brings nothing more, and still takes bytes. */
  linkHalfEnded (link: LinkHandle): void
  linkEnded (link: LinkHandle, reason?: string): void
  linkSend (link: LinkHandle, bytes: Uint8Array): boolean
  linkReadMessages (link: LinkHandle): void
  linkStopMessages (link: LinkHandle, stopped: boolean): void
  linkStartChannels (link: LinkHandle): void
  closeLink (link: LinkHandle): void
  breakLink (link: LinkHandle): void
  /** Sends nothing more, and goes on reading. */
  finishLink (link: LinkHandle): void
  attach (core: CoreHandle, link: LinkHandle): void
  detach (core: CoreHandle, link: LinkHandle): void
  rejectDiscoveryKey (link: LinkHandle, discoveryKey: Uint8Array): void
  linkStats (link: LinkHandle): { bytesIn: number, bytesOut: number } | undefined
  linkSetKeepAlive (link: LinkHandle, milliseconds: number): void
  linkSendKeepAlive (link: LinkHandle): void
  openChannel (link: LinkHandle, options: OpenChannelOptions): number | undefined
  channelSend (link: LinkHandle, channel: number, type: number, payload: Uint8Array): boolean
  closeChannel (link: LinkHandle, channel: number): void
  rejectChannel (link: LinkHandle, open: number): void
  corkLink (link: LinkHandle, corked: boolean): void

  openRelay (socket: unknown, publicKey: Uint8Array, secretKey: Uint8Array): RelayHandle
  closeRelay (relay: RelayHandle): void
  /** Goes on with a relay that was interrupted. */
  resumeRelay (relay: RelayHandle, socket: unknown): boolean | undefined
  /** Takes the socket of a relay for broken. */
  interruptRelay (relay: RelayHandle): void
  relayPing (relay: RelayHandle): void
  relayLookup (relay: RelayHandle, topic: Uint8Array): RequestHandle
  relayAnnounce (relay: RelayHandle, topic: Uint8Array, publicKey: Uint8Array, secretKey: Uint8Array, clears: boolean, bump: number, relayAddresses: Uint8Array): RequestHandle
  relayUnannounce (relay: RelayHandle, topic: Uint8Array, publicKey: Uint8Array, secretKey: Uint8Array): RequestHandle
  /** Answers an event that asks for a signature; an empty one when nobody signs. */
  relaySigned (relay: RelayHandle, id: number, signature: Uint8Array): void
  /** Asks the nodes of the DHT closest to a target; events say what they answer. */
  relayAsk (relay: RelayHandle, internal: boolean, writes: boolean, command: number, target: Uint8Array, value?: Uint8Array): QuestionHandle
  /** Writes to a node whose answer is among the closest, by the number of the answer; an event says what became of it. */
  writeToReply (question: QuestionHandle, reply: number, command: number, value: Uint8Array): void
  closeQuestion (question: QuestionHandle): void
  relayConnect (relay: RelayHandle, remotePublicKey: Uint8Array, publicKey: Uint8Array, secretKey: Uint8Array): LinkHandle
  relayListen (relay: RelayHandle, publicKey: Uint8Array, secretKey: Uint8Array, firewall?: boolean, elsewhere?: boolean): ServerHandle
  closeServer (server: ServerHandle): RequestHandle
  acceptConnection (handshake: number): void
  denyConnection (handshake: number): void
  expectDirect (link: LinkHandle): void
  openDirect (link: LinkHandle): void
  directBytes (link: LinkHandle, message: Uint8Array): void
  closeDirect (link: LinkHandle): void

  contentManifest (manifest: Uint8Array, key: Uint8Array): Uint8Array | undefined
  encodeBlockMap (numbers: Float64Array): Uint8Array[]
  decodeBlockMap (blocks: Uint8Array[]): Float64Array
  Chunker: new (min: number, max: number) => Chunker
  BeeCache: new () => BeeCacheHandle
  BeeWalk: {
    new (cache: BeeCacheHandle, version: number): BeeWalkHandle
    range (cache: BeeCacheHandle, version: number, options: object): BeeWalkHandle
    history (cache: BeeCacheHandle, start: number, end: number, reverse: boolean, limit: number): BeeWalkHandle
    diff (cache: BeeCacheHandle, left: number, right: number, options: object): BeeWalkHandle
    batch (cache: BeeCacheHandle, length: number, version: number, alwaysDuplicate: boolean): BeeWalkHandle
    answer (cache: BeeCacheHandle, version: number, message: Uint8Array): BeeWalkHandle | undefined
    askGet (version: number, key: Uint8Array, evidence: boolean): Uint8Array
  }
  beeHeader (metadata: unknown): Uint8Array
  beeDecodeHeader (block: Uint8Array): BeeHeader | undefined
  beeHints (message: Uint8Array): [version: number, key: Uint8Array | null, blocks: number[]] | undefined
  TrieWalk: {
    new (length: number, key: string, flags: number): TrieWalkHandle
    history (length: number, gte: number, reverse: boolean): TrieWalkHandle
  }
  trieHeader (block: Uint8Array): [metadata: Uint8Array | null, subtype: Uint8Array | null] | undefined

  namedKeyPair (primaryKey: Uint8Array, namespace: Uint8Array, name: Uint8Array): { publicKey: Uint8Array, secretKey: Uint8Array }
  childNamespace (namespace: Uint8Array, name: Uint8Array): Uint8Array
  keyPair (seed?: Uint8Array): { publicKey: Uint8Array, secretKey: Uint8Array }
  discoveryKey (key: Uint8Array): Uint8Array
  hash (parts: Uint8Array[]): Uint8Array
  keyedHash (key: Uint8Array, parts: Uint8Array[]): Uint8Array
  sign (message: Uint8Array, secretKey: Uint8Array): Uint8Array
  verify (message: Uint8Array, signature: Uint8Array, publicKey: Uint8Array): boolean
  randomBytes (count: number): Uint8Array
  xsalsa20 (key: Uint8Array, nonce: Uint8Array, data: Uint8Array): Uint8Array
  encryptBlock (key: Uint8Array, isBlockKey: boolean, coreKey: Uint8Array, isCompat: boolean, index: number, fork: number, block: Uint8Array): Uint8Array
  decryptBlock (key: Uint8Array, isBlockKey: boolean, coreKey: Uint8Array, isCompat: boolean, index: number, block: Uint8Array): Uint8Array
}

/** Loads the module from wherever it may be fetched. */
export const init = generated.default

/** Loads the module from its bytes. */
export const initSync = generated.initSync

/** The exports; they work once the module is loaded. */
export const exports = generated as unknown as Engine
