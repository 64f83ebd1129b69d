// Signatures of what is announced, made by the program: for keys whose secret is kept somewhere else.

import type { RelayHandle } from '../binding.js'
import { DHTError, HypercoreError } from '../errors.js'
import { userBytes } from '../platform.js'
import { call } from '../runtime.js'
import { isBytes } from '../support/bytes.js'
import { type Address, type AnnouncedPeer, COMMANDS, signRecord } from './records.js'
import type { ServerKeys } from './server.js'

/** What is announced at a node. */
export interface AnnouncedRecord {
  peer: AnnouncedPeer
  refresh: null
  signature: null
  bump: number
}

/** Returns 64 bytes: the signature of a record for the node with an id, which has given out a token. */
export type SignRecord = (target: Uint8Array, token: Uint8Array, id: Uint8Array, record: AnnouncedRecord, keyPair: ServerKeys) => Uint8Array | Promise<Uint8Array>

/** Signatures of a program's own. Nodes wait ten seconds for them. */
export interface SigningOptions {
  /** Signs what is announced, in place of the secret key. */
  signAnnounce?: SignRecord | undefined
  /** Signs what is taken back. */
  signUnannounce?: SignRecord | undefined
}

const SIGNATURE_LENGTH = 64

/** Signs the records of one target. */
export class RecordSigning {
  readonly #target: Uint8Array
  readonly #keyPair: ServerKeys
  readonly #options: SigningOptions
  readonly #bump: number
  #signed = 0
  #error: Error | null = null

  constructor (target: Uint8Array, keyPair: ServerKeys, options: SigningOptions, bump = 0) {
    this.#target = target
    this.#keyPair = keyPair
    this.#options = options
    this.#bump = bump
  }

  /** One where the program signs; null where the engine does, with the secret key. */
  static of (target: Uint8Array, keyPair: ServerKeys, options: SigningOptions, bump = 0): RecordSigning | null {
    const { signAnnounce, signUnannounce } = options
    if (signAnnounce || signUnannounce) return new RecordSigning(target, keyPair, options, bump)
    secretOf(keyPair)
    return null
  }

  /** Answers an event of the engine's that asks for a signature. */
  async answer (relay: RelayHandle, rest: unknown[]): Promise<void> {
    const [number, isUnannounce, token, id, relayAddresses] = rest as [number, boolean, Uint8Array, Uint8Array, Address[]]
    const keyPair = this.#keyPair
    const peer = { publicKey: keyPair.publicKey, relayAddresses }
    const sign = isUnannounce ? this.#options.signUnannounce : this.#options.signAnnounce
    let signature: Uint8Array
    try {
      signature = sign
        ? await sign(this.#target, userBytes(token), userBytes(id), { peer, refresh: null, signature: null, bump: isUnannounce ? 0 : this.#bump }, keyPair)
        : signRecord(isUnannounce ? COMMANDS.UNANNOUNCE : COMMANDS.ANNOUNCE, this.#target, token, id, peer, secretOf(keyPair))
      if (!isBytes(signature) || signature.byteLength !== SIGNATURE_LENGTH) throw HypercoreError.BAD_ARGUMENT('a signature has 64 bytes')
      if (!isUnannounce) this.#signed++
    } catch (error) {
      signature = new Uint8Array(0)
      if (!isUnannounce) this.#error = error as Error
    }
    try {
      // Without a signature the node is left out.
      call((engine) => { engine.relaySigned(relay, number, signature) })
    } catch {
      // The engine stopped while the program signed, and tells everybody.
    }
  }

  /** Throws what the program threw, where nothing could be announced. What cannot be taken back expires, as upstream leaves it. */
  check (): void {
    if (this.#error && this.#signed === 0) throw this.#error
  }
}

/** The secret of a key pair that has to have one. */
function secretOf ({ secretKey }: ServerKeys): Uint8Array {
  if (!isBytes(secretKey)) throw HypercoreError.BAD_ARGUMENT('a key pair without its secret cannot sign: give signAnnounce and signUnannounce')
  return secretKey
}

/** Refuses a key pair that cannot shake hands: the engine does that, and with nobody's help. */
export function needsSecret ({ secretKey }: ServerKeys): void {
  if (!isBytes(secretKey)) throw HypercoreError.BAD_ARGUMENT('a key pair without its secret cannot shake hands: handshakes are made here, with keyPair.secretKey')
}

/** Refuses what would make handshakes, or streams of them, in the engine's place. */
export function ownHandshake (options: Record<string, unknown>): void {
  for (const name of ['createHandshake', 'createSecretStream']) {
    if (options[name]) throw new DHTError(`${name} cannot be used: handshakes and their streams are the engine's`, 'NOT_SUPPORTED')
  }
}
