// Who signs a core, and whether a signature is theirs: `hypercore/lib/verifier`.

import type { KeyPair } from '../../binding.js'
import { HypercoreError } from '../../errors.js'
import { userBytes } from '../../platform.js'
import { look } from '../../runtime.js'
import { equal } from '../../support/bytes.js'
import {
  createManifest, decodeManifest, encodeManifest, isCompat, manifestKey, singleSigner, DEFAULT_NAMESPACE, type Manifest, type ManifestInput
} from '../manifest.js'
import type { TreeNode } from '../proof.js'
import { largestSpan } from './flat-tree.js'
import { assemble, assemblev0, inflate, inflatev0, type PartialSignature } from './multisig.js'

/** The head that is signed, as a tree batch tells it. */
export interface SignedBatch {
  length: number
  fork: number
  hash (): Uint8Array
  signable (context: Uint8Array): Uint8Array
  signableCompat (noHeader?: boolean): Uint8Array
  clone (): SignedBatch
  verifyUpgrade (proof: any): boolean
}

export interface VerifierOptions {
  /** The key itself signs. */
  compat?: boolean
  /** Signatures are as very old versions made them. */
  legacy?: boolean
}

/** Verifies and makes the signatures of one core. */
export class Verifier {
  readonly manifestHash: Uint8Array
  readonly compat: boolean
  readonly version: number
  readonly hash: string
  readonly allowPatch: boolean
  readonly quorum: number
  readonly signers: Signer[]
  readonly prologue: Manifest['prologue']

  constructor (manifestHash: Uint8Array, manifest: Manifest, { compat = isCompat(manifestHash, manifest), legacy = false }: VerifierOptions = {}) {
    this.manifestHash = manifestHash
    this.compat = compat
    this.version = compat ? 0 : typeof manifest.version === 'number' ? manifest.version : 1
    this.hash = manifest.hash || 'blake2b'
    this.allowPatch = !compat && !!manifest.allowPatch
    this.quorum = compat ? 1 : typeof manifest.quorum === 'number' ? manifest.quorum : manifest.signers?.length ? (manifest.signers.length >> 1) + 1 : 0
    this.signers = (manifest.signers ?? []).map((signer, index) => new Signer(this, index, signer, legacy))
    this.prologue = compat ? null : manifest.prologue || null
  }

  static manifestHash (manifest: Manifest): Uint8Array {
    return manifestKey(manifest)
  }

  static encodeManifest (manifest: Manifest): Uint8Array {
    return encodeManifest(manifest)
  }

  static decodeManifest (bytes: Uint8Array): Manifest {
    return decodeManifest(bytes)
  }

  static createManifest (input: ManifestInput | Uint8Array | null | undefined): Manifest | null {
    return createManifest(input)
  }

  static defaultSignerManifest (publicKey: Uint8Array): Manifest {
    return singleSigner(publicKey)
  }

  static isValidManifest (key: Uint8Array, manifest: Manifest): boolean {
    return equal(key, manifestKey(manifest))
  }

  static isCompat (key: Uint8Array, manifest: Manifest | null): boolean {
    return isCompat(key, manifest)
  }

  static fromManifest (input: ManifestInput | Uint8Array, options?: VerifierOptions): Verifier {
    const manifest = createManifest(input)!
    return new this(manifestKey(manifest), manifest, options)
  }

  static sign (manifest: ManifestInput | Uint8Array, batch: SignedBatch, keyPair: KeyPair, options?: VerifierOptions): Uint8Array {
    return this.fromManifest(manifest, options).sign(batch, keyPair)
  }

  /** Whether a head is signed by enough of the signers. */
  verify (batch: SignedBatch, signature: Uint8Array | null | undefined): boolean {
    const { prologue } = this
    if (this.version === 0) {
      if (!signature) return false
      if (this.compat || (!this.allowPatch && this.signers.length === 1)) return this.signers[0]!.verify(batch, signature)
      return this.#verifyAll(batch, signature)
    }
    if (prologue !== null && batch.length <= prologue.length) {
      return batch.length === prologue.length && equal(batch.hash(), prologue.hash)
    }
    return !!signature && this.#verifyAll(batch, signature)
  }

  /** Signs a head, as one of the signers. */
  sign (batch: SignedBatch, keyPair: { publicKey: Uint8Array, secretKey?: Uint8Array | null } | null | undefined): Uint8Array {
    if (!keyPair?.secretKey) throw HypercoreError.BAD_ARGUMENT('No key pair was passed')
    const signer = this.signers.find(({ publicKey }) => equal(publicKey, keyPair.publicKey))
    if (!signer) throw HypercoreError.BAD_ARGUMENT('Public key is not a declared signer')
    const signature = signer.sign(batch, keyPair as KeyPair)
    if (this.signers.length !== 1 || this.version === 0) return signature
    return this.assemble([{ signer: 0, signature, patch: 0, nodes: null }])
  }

  assemble (inputs: PartialSignature[]): Uint8Array {
    return this.version === 0 ? assemblev0(inputs) : assemble(inputs)
  }

  #verifyAll (batch: SignedBatch, signature: Uint8Array): boolean {
    if (this.quorum === 0) return false
    const { proofs, patch } = this.#inflate(signature)
    if (proofs.length < this.quorum) return false
    const nodes = new Map(patch.map((node) => [node.index, node]))
    const tried = new Set<number>()
    return proofs.slice(0, this.quorum).every(({ signer, signature, patch }) => {
      if (signer >= this.signers.length || tried.has(signer)) return false
      tried.add(signer)
      const tree = patch > 0 && this.allowPatch ? patched(batch, nodes, patch) : batch
      return tree !== null && this.signers[signer]!.verify(tree, signature)
    })
  }

  #inflate (signature: Uint8Array): { proofs: Array<{ signer: number, signature: Uint8Array, patch: number }>, patch: TreeNode[] } {
    if (this.version >= 1) return inflate(signature)
    const { proofs, patch } = inflatev0(signature)
    return { proofs: proofs.map((proof) => ({ ...proof, patch: proof.patch?.length ?? 0 })), patch }
  }
}

/** One of those who sign. */
class Signer {
  readonly manifestHash: Uint8Array | null
  readonly version: number
  readonly signer: number
  readonly signature = 'ed25519'
  readonly publicKey: Uint8Array
  readonly namespace: Uint8Array
  readonly #isCompat: boolean
  readonly #isLegacy: boolean

  constructor (verifier: Verifier, index: number, signer: Manifest['signers'][number], isLegacy: boolean) {
    if (!signer.publicKey) throw HypercoreError.BAD_ARGUMENT('public key is required for a signer')
    if ((signer.signature ?? 'ed25519') !== 'ed25519') throw HypercoreError.BAD_ARGUMENT('Only Ed25519 signatures are supported')
    this.#isCompat = verifier.compat
    this.#isLegacy = isLegacy
    this.manifestHash = verifier.compat ? null : verifier.manifestHash
    this.version = verifier.version
    this.signer = index
    this.publicKey = signer.publicKey
    this.namespace = signer.namespace ?? userBytes(DEFAULT_NAMESPACE)
  }

  verify (batch: SignedBatch, signature: Uint8Array): boolean {
    return look((engine) => engine.verify(this.#message(batch), signature, this.publicKey))
  }

  sign (batch: SignedBatch, { secretKey }: KeyPair): Uint8Array {
    return userBytes(look((engine) => engine.sign(this.#message(batch), secretKey!)))
  }

  #message (batch: SignedBatch): Uint8Array {
    if (this.#isCompat) return batch.signableCompat(this.#isLegacy)
    return batch.signable(this.version === 0 ? this.namespace : this.manifestHash!)
  }
}

/** The head that somebody signed when the log was longer by some blocks; null when they are not proven. */
function patched (batch: SignedBatch, nodes: Map<number, TreeNode>, length: number): SignedBatch | null {
  const tree = batch.clone()
  const list = upgradeNodes(batch.length, length).map((index) => nodes.get(index))
  if (list.includes(undefined)) return null
  try {
    const upgrade = { start: batch.length, length, nodes: list as TreeNode[], additionalNodes: [], signature: null }
    return tree.verifyUpgrade({ fork: tree.fork, block: null, hash: null, seek: null, upgrade, manifest: null }) ? tree : null
  } catch {
    return null
  }
}

/** Nodes that lead from one length to another: each the largest tree that begins where the last one ended. */
function upgradeNodes (start: number, length: number): number[] {
  const end = 2 * (start + length)
  const indexes = []
  for (let at = 2 * start; at < end;) {
    const span = largestSpan(at, end)
    indexes.push(at + span / 2 - 1)
    at += span
  }
  return indexes
}
