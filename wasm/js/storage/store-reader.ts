// Takes a store in from a file. Until all of it was read, and found to be true, nothing of it is in the store.

import { Hypercore } from '../hypercore/hypercore.js'
import { decodeManifest } from '../hypercore/manifest.js'
import type { ProofOptions } from '../hypercore/proof.js'
import { equal } from '../support/bytes.js'
import { damaged, type CoreFrame, type Frame, type ProofFrame } from './store-file.js'
import type { Storage } from './storage.js'

/** Proofs that are being verified and stored: blocks, and bytes of them. */
const AT_ONCE = { blocks: 512, bytes: 4 << 20 }

export class StoreReader {
  readonly #target: Storage
  #seed: Uint8Array | null = null
  #first: Uint8Array | null = null
  #begun = false
  #ended = false
  #core: Hypercore | null = null
  #frame: CoreFrame | null = null
  #discoveryKeys: Uint8Array[] = []
  #pending: Array<{ proof: ProofFrame, applied: Promise<boolean> }> = []
  #pendingBytes = 0

  constructor (target: Storage) {
    this.#target = target
  }

  /** Cores of which everything was read. */
  get finished (): number {
    return this.#discoveryKeys.length - (this.#core === null ? 0 : 1)
  }

  async take (frame: Frame): Promise<void> {
    try {
      await this.#take(frame)
    } catch (error) {
      throw UNTRUE.test((error as { code?: string }).code ?? '') ? damaged(error) : error
    }
  }

  async #take ({ kind, value }: Frame): Promise<void> {
    if (this.#ended || this.#begun === (kind === 'store')) throw damaged()
    switch (kind) {
      case 'store':
        this.#begun = true
        this.#seed = value.seed
        this.#first = value.default
        return
      case 'core':
        await this.#endCore()
        return await this.#beginCore(value)
      case 'proof':
        return await this.#apply(value)
      case 'userData':
        if (this.#core === null) throw damaged()
        return await this.#core.setUserData(value.name, value.value ?? new Uint8Array(0))
      case 'end':
        await this.#endCore()
        if (value.cores !== this.#discoveryKeys.length) throw damaged()
        this.#ended = true
    }
  }

  /** Puts everything into the store, at once; cores that are there already get what they lack. */
  async finish (): Promise<void> {
    if (!this.#ended) throw damaged()
    const left = await this.#target.takeIn(this.#discoveryKeys, this.#seed, this.#first)
    for (const discoveryKey of left) await this.#merge(discoveryKey)
  }

  /** Closes what is open, whatever came of it. */
  async close (): Promise<void> {
    const core = this.#core
    this.#core = null
    await Promise.allSettled(this.#pending.map(({ applied }) => applied))
    await core?.close()
  }

  async #beginCore (frame: CoreFrame): Promise<void> {
    const { key, fork, compat, manifest, publicKey, secretKey, alias } = frame
    this.#frame = frame
    const core = this.#core = new Hypercore(this.#target, key, {
      ...(publicKey && secretKey ? { keyPair: { publicKey, secretKey } } : {}),
      ...(manifest ? { manifest: decodeManifest(manifest) } : {}),
      ...(alias ? { alias } : {}),
      compat,
      incoming: fork
    })
    await core.ready()
    // Each of them comes once.
    if (core.length > 0 || this.#discoveryKeys.some((known) => equal(known, core.discoveryKey!))) throw damaged()
    this.#discoveryKeys.push(core.discoveryKey!)
  }

  async #apply (proof: ProofFrame): Promise<void> {
    const core = this.#core
    if (core === null) throw damaged()
    if (proof.upgrade) {
      await this.#settle()
      if (!(await core.applyProof(decoded(proof))) || core.length < this.#frame!.length) throw damaged()
      return
    }
    if (!proof.block) throw damaged()
    const bytes = proof.block.value?.byteLength ?? 0
    if (this.#pending.length >= AT_ONCE.blocks || this.#pendingBytes + bytes > AT_ONCE.bytes) await this.#settle()
    const applied = core.applyProof(decoded(proof))
    applied.catch(() => {})
    this.#pending.push({ proof, applied })
    this.#pendingBytes += bytes
  }

  // One that came before what it is based on was stored is taken again.
  async #settle (): Promise<void> {
    const pending = this.#pending
    this.#pending = []
    this.#pendingBytes = 0
    const results = await Promise.allSettled(pending.map(({ applied }) => applied))
    for (const [at, result] of results.entries()) {
      if (result.status === 'fulfilled' && result.value) continue
      const { proof } = pending[at]!
      if (!(await this.#core!.applyProof(decoded(proof))) && !(await this.#core!.has(proof.block!.index))) throw damaged()
    }
  }

  async #endCore (): Promise<void> {
    const core = this.#core
    if (core === null) return
    await this.#settle()
    if (core.length < this.#frame!.length) throw damaged()
    this.#core = null
    await core.close()
  }

  async #merge (id: Uint8Array): Promise<void> {
    const incoming = new Hypercore(this.#target, null, { discoveryKey: id, createIfMissing: false, incoming: 0 })
    let existing: Hypercore | null = null
    try {
      await incoming.ready()
      existing = new Hypercore(this.#target, incoming.key!, { createIfMissing: false })
      await existing.ready()
      await giveBlocks(incoming, existing)
      for await (const { key, value } of incoming.core!.createUserDataStream()) {
        await existing.setUserData(key, value)
      }
    } finally {
      await Promise.all([incoming.close(), existing?.close()])
    }
  }
}

/** Gives a log what another one can prove to it. One of another fork stays as it is. */
async function giveBlocks (from: Hypercore, to: Hypercore): Promise<void> {
  if (from.fork !== to.fork) return
  if (from.length > to.length) await give(from, to, { upgrade: { start: to.length, length: from.length - to.length } })
  const giveBlock = async (index: number) => {
    if (!(await from.has(index)) || await to.has(index)) return
    await give(from, to, { block: { index, nodes: await to.missingNodes(2 * index) } })
  }
  for (let start = 0, end = Math.min(from.length, to.length); start < end; start += TOGETHER) {
    await Promise.all(Array.from({ length: Math.min(TOGETHER, end - start) }, (_, i) => giveBlock(start + i)))
  }
}

/** Blocks that are given together. */
const TOGETHER = 32

// Nodes that a proof needs may be missing on either side.
async function give (from: Hypercore, to: Hypercore, wanted: ProofOptions): Promise<void> {
  try {
    await to.applyProof(await from.proof(wanted))
  } catch (error) {
    if (!UNPROVEN.test((error as { code?: string }).code ?? '')) throw error
  }
}

/** What is said of a core, a proof or keys that are none; without a code, where they cannot be decoded. */
const UNTRUE = /^$|^INVALID_|^STORAGE_CONFLICT$/

const UNPROVEN = /^INVALID_(OPERATION|PROOF|CHECKSUM)$|^BLOCK_NOT_AVAILABLE$|^REQUEST_FAILED$/

function decoded (proof: ProofFrame): Parameters<Hypercore['applyProof']>[0] {
  return { ...proof, manifest: null }
}
