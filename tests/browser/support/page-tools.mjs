// What programs of tests/interop get in a page: our classes over IndexedDB.

import * as engine from '/hypertab/engine/hypertab.js'
import Hypercore from '/hypertab/browser/hypercore.js'
import Corestore from '/hypertab/browser/corestore.js'
import Hyperbee from '/hypertab/browser/hyperbee.js'
import Hyperdrive from '/hypertab/browser/hyperdrive.js'
import MirrorDrive from '/hypertab/browser/mirror-drive.js'
import { HypercoreStorage } from '/hypertab/browser/storage.js'
import Bitfield from '/hypertab/browser/hypercore/lib/bitfield.js'
import BitInterlude from '/hypertab/browser/hypercore/lib/bit-interlude.js'
import * as caps from '/hypertab/browser/hypercore/lib/caps.js'
import Core from '/hypertab/browser/hypercore/lib/core.js'
import * as featureFlags from '/hypertab/browser/hypercore/lib/feature-flags.js'
import Info from '/hypertab/browser/hypercore/lib/info.js'
import MarkBitfield from '/hypertab/browser/hypercore/lib/mark-bitfield.js'
import * as merkleTree from '/hypertab/browser/hypercore/lib/merkle-tree.js'
import * as messages from '/hypertab/browser/hypercore/lib/messages.js'
import * as multisig from '/hypertab/browser/hypercore/lib/multisig.js'
import Mutex from '/hypertab/browser/hypercore/lib/mutex.js'
import RemoteBitfield from '/hypertab/browser/hypercore/lib/remote-bitfield.js'
import Verifier from '/hypertab/browser/hypercore/lib/verifier.js'
import * as wants from '/hypertab/browser/hypercore/lib/wants.js'

import { isEqual } from './is-equal.mjs'

const inside = {
  bitfield: Bitfield, 'bit-interlude': BitInterlude, caps, core: Core, 'feature-flags': featureFlags, info: Info, 'mark-bitfield': MarkBitfield,
  'merkle-tree': merkleTree, messages, multisig, mutex: Mutex, 'remote-bitfield': RemoteBitfield, verifier: Verifier, wants
}
const parts = { messages, ...Object.fromEntries(Object.entries(inside).map(([name, part]) => [`lib/${name}`, part])) }

let databases = 0

/** For `run` of the recorder. */
export const tools = {
  Hypercore,
  Storage: HypercoreStorage,
  lib (path) {
    const part = parts[path.replace(/\.js$/, '')]
    if (!part) throw new Error(`a page has no ${path}`)
    return part
  },
  isEqual,
  kit: { name: 'hypertab', Hypercore, Corestore, Hyperbee, Hyperdrive, MirrorDrive },
  folder: () => `suite-${databases++}`
}

/** Swarms behind a relay, once keys can be made. */
export async function networkKit (relay) {
  const [{ default: Hyperswarm }, { default: DHT }] = await Promise.all([import('/hypertab/browser/hyperswarm.js'), import('/hypertab/browser/dht.js')])
  const first = new DHT({ relay, webrtc: false })
  await first.ready()
  await first.destroy()
  return { Hyperswarm, createNode: () => new DHT({ relay, webrtc: false }) }
}

/** In place of `hypercore-crypto`, whose parts in JavaScript are of another package. */
export const crypto = {
  keyPair: (seed) => engine.keyPair(seed),
  sign: (message, secretKey) => engine.sign(message, secretKey),
  verify: (message, signature, publicKey) => engine.verify(message, signature, publicKey),
  randomBytes: (length) => engine.randomBytes(length),
  discoveryKey: (key) => engine.discoveryKey(key),
  data: (block) => engine.hash([Uint8Array.of(0), uint64(block.byteLength), block])
}

function uint64 (value) {
  const bytes = new Uint8Array(8)
  new DataView(bytes.buffer).setBigUint64(0, BigInt(value), true)
  return bytes
}
