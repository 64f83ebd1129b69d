// How a session's blocks are encrypted: upstream's scheme, carried out by the engine, or one that a program brings.

import type { BlockEncryption } from '../binding.js'
import { userBytes } from '../platform.js'
import { look } from '../runtime.js'
import { isBytes } from '../support/bytes.js'
import { hash, namespaces } from '../support/crypto.js'

/** What a scheme may look at. */
export interface EncryptedCore {
  readonly key: Uint8Array | null
  readonly compat: boolean
}

/** A scheme of a program's own. `padding` bytes in front of each block are its to fill. */
export interface EncryptionProvider {
  padding (core: EncryptedCore, index: number): number
  encrypt (index: number, block: Uint8Array, fork: number, core: EncryptedCore): unknown
  decrypt (index: number, block: Uint8Array, core: EncryptedCore): unknown
}

export type EncryptionInput = Uint8Array | { key: Uint8Array | null, block?: boolean } | EncryptionProvider | null

/** Upstream's scheme: XSalsa20 under a key of the core, with the fork and index as nonce. */
export class DefaultEncryption implements EncryptionProvider {
  static readonly PADDING = 8

  readonly key: Uint8Array
  readonly compat: boolean
  readonly #coreKey
  readonly #isBlockKey

  constructor (encryptionKey: Uint8Array, hypercoreKey: Uint8Array, { block = false, compat = false } = {}) {
    this.key = encryptionKey
    this.compat = compat
    this.#coreKey = hypercoreKey
    this.#isBlockKey = block
  }

  /** The key that a core's blocks are encrypted with, for those who may read this core only. */
  static blockEncryptionKey (hypercoreKey: Uint8Array, encryptionKey: Uint8Array): Uint8Array {
    return hash([namespaces('hypercore', 6)[5]!, hypercoreKey, encryptionKey])
  }

  /** The keys for blocks and for the fork in front of them. */
  static deriveKeys (encryptionKey: Uint8Array, hypercoreKey: Uint8Array, { block = false, compat = false } = {}): { block: Uint8Array, blinding: Uint8Array } {
    const key = block
      ? encryptionKey
      : compat
        ? keyedHash(hypercoreKey, encryptionKey)
        : DefaultEncryption.blockEncryptionKey(hypercoreKey, encryptionKey)
    return { block: key, blinding: hash(key) }
  }

  get blockKey (): Uint8Array {
    return this.#keys().block
  }

  get blindingKey (): Uint8Array {
    return this.#keys().blinding
  }

  padding (): number {
    return DefaultEncryption.PADDING
  }

  /** Encrypts a block with room in front, in place. */
  static encrypt (index: number, block: Uint8Array, fork: number, blockKey: Uint8Array, blindingKey: Uint8Array): void {
    const nonce = new Uint8Array(24)
    const view = new DataView(nonce.buffer)
    view.setBigUint64(0, BigInt(fork), true)
    const blinded = nonce.slice(0, DefaultEncryption.PADDING)
    view.setBigUint64(0, BigInt(index), true)
    block.set(xsalsa20(blindingKey, nonce, blinded))
    nonce.set(block.subarray(0, DefaultEncryption.PADDING), 8)
    const content = block.subarray(DefaultEncryption.PADDING)
    content.set(xsalsa20(blockKey, nonce, content))
  }

  /** Decrypts a block in place; the room in front stays as it is. */
  static decrypt (index: number, block: Uint8Array, blockKey: Uint8Array): void {
    const nonce = new Uint8Array(24)
    new DataView(nonce.buffer).setBigUint64(0, BigInt(index), true)
    nonce.set(block.subarray(0, DefaultEncryption.PADDING), 8)
    const content = block.subarray(DefaultEncryption.PADDING)
    content.set(xsalsa20(blockKey, nonce, content))
  }

  encrypt (index: number, block: Uint8Array, fork: number, core: EncryptedCore): void {
    const { block: blockKey, blinding } = this.#keys(core.compat)
    DefaultEncryption.encrypt(index, block, fork, blockKey, blinding)
  }

  decrypt (index: number, block: Uint8Array, core: EncryptedCore): void {
    DefaultEncryption.decrypt(index, block, this.#keys(core.compat).block)
  }

  /** What the engine has to know to do it by itself. */
  get forEngine (): BlockEncryption {
    return { key: this.key, isBlockKey: this.#isBlockKey }
  }

  #keys (compat = this.compat): { block: Uint8Array, blinding: Uint8Array } {
    return DefaultEncryption.deriveKeys(this.key, this.#coreKey, { block: this.#isBlockKey, compat })
  }
}

/** Whether something is a scheme of its own. */
export function isEncryptionProvider (value: unknown): value is EncryptionProvider {
  const provider = value as Partial<EncryptionProvider> | null
  return typeof provider?.padding === 'function' && typeof provider.encrypt === 'function' && typeof provider.decrypt === 'function'
}

/** The encryption that a session's options ask for, in their present or older form. */
export function encryptionOption (options: { encryption?: EncryptionInput, encryptionKey?: Uint8Array | null, isBlockKey?: boolean }): EncryptionInput {
  if (options.encryptionKey) return { key: options.encryptionKey, block: !!options.isBlockKey }
  if (!options.encryption) return null
  return isBytes(options.encryption) ? { key: options.encryption } : options.encryption
}

/** Makes what the option stands for. */
export function createEncryption (input: EncryptionInput, core: EncryptedCore): EncryptionProvider | null {
  if (isEncryptionProvider(input)) return input
  if (!input || isBytes(input) || !input.key) return null
  return new DefaultEncryption(input.key, core.key!, { block: !!input.block, compat: core.compat })
}

function xsalsa20 (key: Uint8Array, nonce: Uint8Array, data: Uint8Array): Uint8Array {
  return look((engine) => engine.xsalsa20(key, nonce, data))
}

function keyedHash (key: Uint8Array, data: Uint8Array): Uint8Array {
  return userBytes(look((engine) => engine.keyedHash(key, [data])))
}
