// A session's blocks: appending, reading, finding, waiting for and dropping them.

import type { BlockEncryption, KeyPair } from '../binding.js'
import { HypercoreError } from '../errors.js'
import { bytesFrom, userBytes } from '../platform.js'
import { concat, equal, isBytes } from '../support/bytes.js'
import { namespaces } from '../support/crypto.js'
import { decodeValue, resolveEncoding, type CompactEncoding, type ValueEncoding } from '../support/encoding.js'
import type { Core } from './core.js'
import { Download } from './download.js'
import { DefaultEncryption, type EncryptionProvider } from './encryption.js'
import { isIndex, limit, normalKeyPair, toIndex, type AppendOptions, type DownloadRange, type GetOptions, type KeyPairInput, type TruncateOptions, type UpdateOptions, type WaitOptions } from './options.js'
import { waitForRecovery } from './recovery.js'
import { ensureAlive, track, trackWish, turn } from './requests.js'
import { Session } from './session.js'
import { ByteStream, ReadStream, WriteStream, type ByteStreamOptions, type ReadStreamOptions } from './streams.js'

/** Largest block that replicates well, which is also the largest that can be appended. */
export const MAX_SUGGESTED_BLOCK_SIZE = 15 * 1024 * 1024

/** Reading and writing of a session's blocks; `T` is what its encoding makes of one. */
export abstract class BlockSession<T = any> extends Session {
  /** Adds one block or several, and resolves when they are stored. */
  async append (blocks: T | T[], options: AppendOptions = {}): Promise<{ length: number, byteLength: number }> {
    if (!this.opened) await this.opening
    if (this.closing) throw HypercoreError.SESSION_CLOSED('Cannot append to a closed session', this.discoveryKey)
    const state = this.state!
    const defaultKeyPair = state.name === null ? this.keyPair : null
    const keyPair = options.keyPair === undefined ? defaultKeyPair : options.keyPair
    const writable = state.from !== null || !!options.signature || !!keyPair?.secretKey || options.writable === true
    if (this._readonly || this._snapshot || !writable) {
      throw HypercoreError.SESSION_NOT_WRITABLE('cannot append to a readonly core', this.discoveryKey)
    }
    if (state.isDefault() && this.core!.recovering > 0) await waitForRecovery(state)
    const batch = Array.isArray(blocks) ? blocks : [blocks]
    const encryption = this.encryption instanceof DefaultEncryption ? this.encryption.forEngine : null
    const provider = encryption ? null : this.encryption
    const buffers = this.encodeBatch ? this.encodeBatch(batch) : batch.map((block) => this.#encode(block))
    for (const buffer of buffers) {
      if (buffer.byteLength > MAX_SUGGESTED_BLOCK_SIZE) {
        throw HypercoreError.BAD_ARGUMENT('Appended block exceeds the maximum suggested block size', this.discoveryKey)
      }
    }
    const send = (buffers: Uint8Array[]) => {
      const kept = buffers.map((buffer) => state.kept(buffer))
      return state.write<{ length: number, byteLength: number }>((handle, engine) => engine.coreAppend(handle, kept, {
        ...this.#signing(keyPair, options.signature),
        ...limit(options.maxLength),
        ...(encryption ? { encryption } : {})
      }))
    }
    const append = () => provider ? this.#appendEncrypted(provider, buffers, send) : send(buffers)
    // None at all is answered in its turn, too.
    if (buffers.length === 0) return await append()
    const { postappend } = options
    const appended = await (postappend ? state.withhold(append, () => postappend(buffers)) : append())
    this.core!.stored()
    return appended
  }

  /** Returns a block with another encoding than the session's, or as it is stored, from peers when it is not here; null when it is not to be waited for. */
  get (index: number, options: GetOptions & ({ valueEncoding: ValueEncoding } | { raw: true })): Promise<any>
  /** Returns a block, from peers when it is not here; null when it is not to be waited for. */
  get (index: number, options?: GetOptions): Promise<T | null>
  async get (index: number, options: GetOptions = {}): Promise<any> {
    if (!this.opened) await this.opening
    if (!isIndex(index)) throw HypercoreError.ASSERTION('block index is invalid', this.discoveryKey)
    if (this.closing) throw HypercoreError.SESSION_CLOSED('cannot get on a closed session', this.discoveryKey)
    if (Number.isFinite(index) && index > Number.MAX_SAFE_INTEGER) throw new Error(`Invalid number ${index}`)
    index = toIndex(index)
    options ??= {}
    const encoding = options.valueEncoding ? resolveEncoding(options.valueEncoding) : this.valueEncoding
    if (this.onseq) this.onseq(index, this.self)
    if (this._marking) await this.self.markBlock(index)

    const wantsPlain = !options.raw && options.decrypt !== false
    const encryption = wantsPlain && this.encryption instanceof DefaultEncryption ? this.encryption.forEngine : null
    let block = await this.#block(index, options, encryption)
    if (block === null) return null
    block = userBytes(block)
    if (options.raw) return block
    if (encryption || !this.encryption) return this.#decode(encoding, block)
    const padding = this.encryption.padding(this.core!, index)
    if (wantsPlain) await this.encryption.decrypt(index, block, this.core!)
    return this.#decode(encoding, block.subarray(padding))
  }

  /** Whether a block, or every block of a range, is here. */
  async has (start: number, end = start + 1): Promise<boolean> {
    if (!this.opened) await this.opening
    if (!isIndex(start) || !isIndex(end)) throw HypercoreError.ASSERTION('has range is invalid', this.discoveryKey)
    // One more than what is beyond every log is the same number.
    if (end === start + 1 && !(start < Number.MAX_SAFE_INTEGER)) return false
    start = toIndex(start)
    end = toIndex(end)
    if (this._snapshot) return await this.#hadAll(start, end)
    return this.state!.has(start, end)
  }

  /** How many blocks of a range are here. */
  async count (start: number, end: number): Promise<number> {
    if (!this.opened) await this.opening
    if (!isIndex(start) || !isIndex(end)) throw HypercoreError.ASSERTION('count range is invalid', this.discoveryKey)
    const [first, last] = [toIndex(start), Math.min(toIndex(end), this.length)]
    await this.state!.resuming
    if (this.state!.isDefault()) return first < last ? this.core!.bitfield.countSet(first, last - first) : 0
    return await this.#countStored(first, last)
  }

  // Of a branch or a snapshot, it can only be asked whether all of a range is here.
  async #countStored (start: number, end: number): Promise<number> {
    if (start >= end) return 0
    if (await this.has(start, end)) return end - start
    const middle = Math.floor((start + end) / 2)
    return middle === start ? 0 : await this.#countStored(start, middle) + await this.#countStored(middle, end)
  }

  /** Asks peers for a newer head; true when there was one. */
  async update (options: UpdateOptions = {}): Promise<boolean> {
    if (!this.opened) await this.opening
    options ??= {}
    if (this.closing || this.snapshotted || (this.writable && options.force !== true)) return false
    const wait = this._shouldWait(options, this.core!.replicator.findingPeers > 0)
    const list = options.activeRequests ?? this.activeRequests
    if (wait) ensureAlive(list)
    const request = this.core!.request<boolean>((core, engine) => engine.coreUpdate(core, { wait, force: options.force === true }))
    return await trackWish(list, request).promise
  }

  /** Finds the block that holds a byte, and where in it. */
  async seek (bytes: number, options: WaitOptions = {}): Promise<[index: number, offset: number] | null> {
    if (!this.opened) await this.opening
    if (!isIndex(bytes)) throw HypercoreError.ASSERTION('seek is invalid', this.discoveryKey)
    bytes = toIndex(bytes)
    options ??= {}
    const list = options.activeRequests ?? this.activeRequests
    ensureAlive(list)
    const core = this.core!
    const update = this.encryption && !core.manifest
    if (update) await trackWish(list, core.request<boolean>((handle, engine) => engine.coreUpdate(handle, { wait: true }))).promise
    const wait = this._shouldWait(options, this.wait)
    const seek = (wait: boolean): Parameters<Core['request']>[0] => (handle, engine) => engine.coreSeek(handle, bytes, { wait, padding: this.padding })
    if (this._snapshot && this._snapshot.intact < this._snapshot.length) return await this.#seekBack(bytes)
    if (this.state!.from !== null || this.closing) {
      const found = await this.state!.request<[number, number] | null>(seek(false)).promise
      if (found) return found
      if (this.closing) throw HypercoreError.SESSION_CLOSED('cannot seek on a closed session', this.discoveryKey)
      if (!wait) return null
    }
    const begun = turn()
    const request = core.request<[number, number] | null>(seek(wait))
    return await track(list, request, options.timeout ?? this.timeout).promise.catch((error) => this.#given(error, begun, 'seek')) ?? null
  }

  /** Drops the blocks from a length on, under a new fork. */
  async truncate (newLength = 0, options: TruncateOptions | number = {}): Promise<void> {
    if (!this.opened) await this.opening
    if (this.closing) throw HypercoreError.SESSION_CLOSED('Cannot append to a closed session', this.discoveryKey)
    const given: TruncateOptions = typeof options === 'number' ? { fork: options } : options
    const state = this.state!
    const isDefault = state.from === null
    const fork = given.fork ?? state.fork + 1
    const keyPair = given.keyPair === undefined ? this.keyPair : given.keyPair
    const writable = !this._readonly && !!(given.signature || keyPair?.secretKey)
    if (this._snapshot || (isDefault && !writable && (newLength > 0 || fork !== state.fork))) {
      throw HypercoreError.SESSION_NOT_WRITABLE('cannot append to a non-writable core', this.discoveryKey)
    }
    // Its fork is told in its turn: other cuts may come before.
    await state.cut(newLength, { fork: given.fork, ...(state.isDefault() ? this.#signing(keyPair, given.signature) : {}) })
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
    if (this._snapshot) throw HypercoreError.SESSION_NOT_WRITABLE('cannot clear a snapshot', this.discoveryKey)
    for (const bound of [start, end]) if (typeof bound === 'number' && bound % 1 > 0) throw new Error(`Invalid number ${bound}`)
    const [first, last] = [toIndex(start), toIndex(end)]
    await this.state!.clear(first, last)
    return cleared
  }

  /** Fetches blocks. */
  download (range?: DownloadRange | null): Download {
    return new Download(this.self, range)
  }

  /** @deprecated use `range.destroy()` */
  undownload (range: Download): void {
    range.destroy(null)
  }

  /** @deprecated does nothing */
  cancel (_request: unknown): void {}

  createReadStream (options?: ReadStreamOptions): ReadStream<T> {
    return new ReadStream(this.self, options)
  }

  createByteStream (options?: ByteStreamOptions): ByteStream {
    return new ByteStream(this.self, options)
  }

  createWriteStream (): WriteStream {
    return new WriteStream(this.self)
  }

  /** The hash that a signer signs; it fetches the last block when it is not here. */
  async treeHash (length = -1): Promise<Uint8Array> {
    if (!this.opened) await this.opening
    if (length === -1) length = this.#end
    if (length === this._snapshot?.length) return userBytes(this._snapshot.hash)
    // It is that of the log as it is now, also when it is cut meanwhile.
    const hash = length === this.state!.length ? this.state!.hash() : null
    // Of a branch whose log was cut below that length, no peer has the block.
    const isCut = !this.state!.isDefault() && length <= this.length && length > this.core!.length
    if (length > 0 && !isCut && !(await this.has(length - 1))) await this.get(length - 1, { raw: true })
    return userBytes(hash ?? await this.state!.request<Uint8Array>((core, engine) => engine.coreTreeHash(core, length)).promise)
  }

  /** What is signed for a length and fork. */
  async signable (length = -1, fork = -1): Promise<Uint8Array> {
    if (!this.opened) await this.opening
    if (length === -1) length = this.#end
    if (fork === -1) fork = this.fork
    const position = new Uint8Array(16)
    const view = new DataView(position.buffer)
    view.setBigUint64(0, BigInt(length), true)
    view.setBigUint64(8, BigInt(fork), true)
    return userBytes(concat([namespaces('hypercore', 1)[0]!, this.key!, await this.treeHash(length), position]))
  }

  // What an event or a write tells of may be cut already.
  get #end (): number {
    return this._snapshot?.length ?? Math.min(this.length, this.state!.length)
  }

  async #block (index: number, options: GetOptions, encryption: BlockEncryption | null): Promise<Uint8Array | null> {
    const core = this.core!
    const snapshot = this._snapshot
    const state = this.state!
    // A session of a snapshot reads what that shows, and waits for the rest as any other.
    const isBound = this.snapshotted
    const source = state.isSnapshot() ? state.source(index) : state
    const ask = () => source.request<Uint8Array | null>((handle, engine) => {
      // As it is when this is sent, or sent again: another engine may have the core by then.
      const id = source.isSnapshot() ? source.shown.id : null
      return engine.coreGet(handle, index, { wait: false, ...(encryption ? { encryption } : {}), ...(id === null ? {} : { snapshot: id }) })
    }).promise
    const read = async () => {
      try {
        return await ask()
      } catch (error) {
        if ((error as HypercoreError).code !== 'SNAPSHOT_NOT_AVAILABLE') throw error
        if (!isBound) return null
        this.#checkSnapshot(index)
        throw error
      }
    }
    const isBehind = snapshot !== null && !isBound && index >= snapshot.length
    if (!isBehind && (state.mayHave(index) || (snapshot?.id != null && index < snapshot.length))) {
      if (snapshot && isBound && (snapshot.id === null || index >= snapshot.length)) this.#checkSnapshot(index)
      const block = await read()
      if (block) return block
      if (this.closing) throw HypercoreError.SESSION_CLOSED('cannot get on a closed session', this.discoveryKey)
    }
    if (snapshot && isBound) this.#checkSnapshot(index)
    if (!this._shouldWait(options, this.wait)) return null

    this.waits++
    options.onwait?.(index, this.self)
    this.onwait?.(index, this.self)
    const list = options.activeRequests ?? this.activeRequests
    ensureAlive(list)
    const begun = turn()
    const request = core.request<Uint8Array | null>((handle, engine) => engine.coreGet(handle, index, {
      wait: true,
      force: options.force === true,
      ...(encryption ? { encryption } : {})
    }))
    const block = await track(list, request, options.timeout ?? this.timeout).promise.catch((error) => this.#given(error, begun, 'get'))
    if (snapshot && isBound) this.#checkSnapshot(index)
    return block ?? null
  }

  /** Throws what a request failed with. One that a session was closed with at once never began. */
  #given (error: unknown, begun: number, what: string): never {
    if (this.closing && begun === turn() && (error as HypercoreError).code === 'REQUEST_CANCELLED') {
      throw HypercoreError.SESSION_CLOSED(`cannot ${what} on a closed session`, this.discoveryKey)
    }
    throw error
  }

  /** Finds a byte of a snapshot whose log was cut since: the tree over its blocks is gone, so they are measured. */
  async #seekBack (bytes: number): Promise<[index: number, offset: number] | null> {
    const { id, length, byteLength } = this._snapshot!
    if (bytes > byteLength - length * this.padding) return null
    if (id === null) this.#checkSnapshot(length)
    let offset = bytes
    for (let index = 0; index < length; index++) {
      const block = await this.#shown(index)
      if (block === null) return null
      const size = block.byteLength - this.padding
      if (offset < size) return [index, offset]
      offset -= size
    }
    return [length, offset]
  }

  /** A block of a snapshot as it is stored; null when it is not here. */
  async #shown (index: number): Promise<Uint8Array | null> {
    const state = this.state!
    return state.isSnapshot() ? await state.get(index).catch(() => null) : null
  }

  /** Whether a snapshot shows blocks, also those that the log lost since. */
  async #hadAll (start: number, end: number): Promise<boolean> {
    if (end > this._snapshot!.length && end > start) return false
    if (end <= this._snapshot!.intact && await this.state!.has(start, end)) return true
    for (let index = start; index < end; index++) {
      if (await this.#shown(index) === null) return false
    }
    return true
  }

  #checkSnapshot (index: number): void {
    const available = Math.min(this._snapshot!.compat, this._snapshot!.length)
    if (index < available) return
    throw HypercoreError.SNAPSHOT_NOT_AVAILABLE(
      `snapshot at index ${index} not available (max compat length ${available})`,
      this.discoveryKey
    )
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

  _shouldWait (options: { wait?: boolean }, fallback: boolean): boolean {
    return typeof options.wait === 'boolean' ? options.wait : fallback
  }
}
