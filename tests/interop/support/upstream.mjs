// Upstream's hypercores: made in folders of their own, filled with known blocks, compared, or turned hostile.

import Hypercore from 'hypercore'
import HypercoreV10 from 'hypercore-v10'

import { defer } from './cleanup.mjs'
import { temporaryFolder } from './folder.mjs'

/** Most blocks that one append carries, so that seeding stays within a bounded amount of memory. */
const APPEND = 500

/**
 * Opens an upstream core in a folder that goes away with the test.
 *
 * @param {import('./cleanup.mjs').Life} t
 * @param {{ key?: Uint8Array, version?: 10 | 11 }} [options] anything else goes to the constructor
 */
export async function createCore (t, { key = null, version = 11, ...options } = {}) {
  const Class = version === 10 ? HypercoreV10 : Hypercore
  const core = new Class(temporaryFolder(t), key, options)
  defer(t, () => core.close())
  await core.ready()
  return core
}

/** Appends the deterministic blocks `length .. length + count` to a core. */
export async function seed (core, count, size) {
  const end = core.length + count
  while (core.length < end) {
    const start = core.length
    const batch = Array.from({ length: Math.min(APPEND, end - start) }, (_, k) => block(start + k, size))
    await core.append(batch)
  }
}

/** Returns deterministic bytes: xorshift32, seeded by the block's index. */
export function block (index, size) {
  const bytes = Buffer.alloc(size)
  let x = Math.imul(index + 1, 2654435761) >>> 0
  for (let offset = 0; offset + 4 <= size; offset += 4) {
    x ^= x << 13; x >>>= 0; x ^= x >>> 17; x ^= x << 5; x >>>= 0
    bytes.writeUInt32LE(x, offset)
  }
  return bytes
}

/** Returns what two equal cores agree on. */
export async function summary (core) {
  const treeHash = core.length > 0 ? Buffer.from(await core.treeHash()).toString('hex') : null
  return {
    key: core.key.toString('hex'),
    length: core.length,
    byteLength: core.byteLength,
    fork: core.fork,
    contiguousLength: core.contiguousLength,
    treeHash
  }
}

/**
 * Makes a core lie to its peers: one byte of every block that `pick` chooses is flipped as it leaves.
 *
 * The proof around the block stays true and so does the storage; call it before replicating.
 *
 * @param {Hypercore} core
 * @param {(index: number) => boolean} [pick]
 */
export function forgeBlocks (core, pick = () => true) {
  core.on('peer-add', ({ wireData }) => {
    const send = wireData.send.bind(wireData)
    wireData.send = (message, ...rest) => send(forge(message, pick), ...rest)
  })
}

function forge (message, pick) {
  if (!message.block?.value?.byteLength || !pick(message.block.index)) return message
  const value = Buffer.from(message.block.value)
  value[value.byteLength >> 1] ^= 1
  return { ...message, block: { ...message.block, value } }
}

/** Counts the blocks that come into a core; returns what says how many came. */
export function countDownloads (core) {
  let count = 0
  core.on('download', () => { count++ })
  return () => count
}
