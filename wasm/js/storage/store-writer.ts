// A store as it is written into a file, frame by frame, while it is read.

import { Hypercore } from '../hypercore/hypercore.js'
import { encodeManifest } from '../hypercore/manifest.js'
import type { EngineProof, Proof } from '../hypercore/proof.js'
import { HypertabError } from '../errors.js'
import { storedRanges } from './export.js'
import type { Frame } from './store-file.js'
import type { Storage } from './storage.js'

/** Blocks that are asked for before the first of them is there, and their bytes as the ones before them were. */
const AHEAD = { blocks: 256, bytes: 2 << 20 }

/** A frame, and what it says about how far the store was read. */
export interface WrittenFrame {
  frame: Frame
  /** Blocks in it. */
  blocks: number
  /** It is the last one of its core. */
  endsCore: boolean
}

/** Everything in a store: each core as it was when its turn came. */
export async function * storeFrames (source: Storage, signal?: AbortSignal): AsyncGenerator<WrittenFrame, void> {
  const [seed, unnamed] = [await source.getSeed(), await source.getDefaultDiscoveryKey()]
  yield { frame: { kind: 'store', value: { seed, default: unnamed } }, blocks: 0, endsCore: false }
  let cores = 0
  for await (const discoveryKey of source.createDiscoveryKeyStream()) {
    signal?.throwIfAborted()
    let last: WrittenFrame | null = null
    for await (const frame of coreFrames(source, discoveryKey)) {
      signal?.throwIfAborted()
      if (last) yield last
      last = frame
    }
    if (last === null) continue
    cores++
    yield { ...last, endsCore: true }
  }
  yield { frame: { kind: 'end', value: { cores } }, blocks: 0, endsCore: false }
}

async function * coreFrames (source: Storage, discoveryKey: Uint8Array): AsyncGenerator<WrittenFrame, void> {
  const info = await source.getInfo(discoveryKey)
  if (!info?.auth) return
  const { key, keyPair } = info.auth
  const core = new Hypercore(source, key, { createIfMissing: false })
  await core.ready()
  try {
    const { fork, length, manifest } = core
    const written = (frame: Frame, blocks = 0): WrittenFrame => ({ frame, blocks, endsCore: false })
    const proof = (value: Proof, blocks: number) => written({ kind: 'proof', value: { request: 0, ...value } as EngineProof & { request: number } }, blocks)
    yield written({
      kind: 'core',
      value: {
        key,
        fork,
        length,
        compat: core.core!.compat,
        manifest: manifest && encodeManifest(manifest),
        publicKey: keyPair?.publicKey ?? null,
        secretKey: keyPair?.secretKey ?? null,
        alias: info.core.alias
      }
    })
    if (length > 0) yield proof(ofFork(fork, await core.proof({ upgrade: { start: 0, length } })), 0)
    let last: number | null = null
    const climb = (index: number): number => {
      const nodes = levels(index, last, length)
      last = index
      return nodes
    }
    const asked: Array<Promise<Proof>> = []
    let usual = 1
    const take = async (): Promise<WrittenFrame> => {
      const found = ofFork(fork, await asked.shift()!)
      usual = Math.max(usual / 2, found.block!.value?.byteLength ?? 0, 1)
      return proof(found, 1)
    }
    try {
      for await (const [start, end] of storedRanges(source.records(info.core.dataPointer, 'bitfield'), Math.min(core.contiguousLength, length), length)) {
        for (let index = start; index < end; index++) {
          while (asked.length > 0 && (asked.length >= AHEAD.blocks || (asked.length + 1) * usual > AHEAD.bytes)) yield await take()
          const wanted = core.proof({ block: { index, nodes: climb(index) } })
          wanted.catch(() => {})
          asked.push(wanted)
        }
      }
      while (asked.length > 0) yield await take()
    } finally {
      await Promise.allSettled(asked)
    }
    for await (const { key: name, value } of core.core!.createUserDataStream()) {
      yield written({ kind: 'userData', value: { name, value } })
    }
  } finally {
    await core.close()
  }
}

function ofFork (fork: number, proof: Proof): Proof {
  if (proof.fork !== fork) throw new HypertabError('STORE_CHANGED', 'a core was truncated while it was read')
  return proof
}

/**
 * Levels of the tree from a block up to a node that a reader knows who has the roots of so many blocks, and the block before this one with
 * its proof: a node is known that is a root, or whose parent covers both blocks.
 */
export function levels (index: number, before: number | null, length: number): number {
  const root = levelOfRoot(index, length)
  if (before === null) return root
  let level = 0
  while (level < root && Math.floor(index / 2 ** (level + 1)) !== Math.floor(before / 2 ** (level + 1))) level++
  return level
}

/** The level of the root over a block in a log of so many. */
function levelOfRoot (index: number, length: number): number {
  let first = 0
  for (let level = Math.floor(Math.log2(length)); ; level--) {
    const size = 2 ** level
    if (first + size > length) continue
    if (index < first + size) return level
    first += size
  }
}

