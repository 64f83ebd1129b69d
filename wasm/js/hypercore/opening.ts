// What the engine has to know to open a core.

import type { CoreHandle, OpenCoreOptions } from '../binding.js'
import { HypercoreError } from '../errors.js'
import { hasMoved } from '../remote/messages.js'
import { request } from '../runtime.js'
import { equal, isBytes } from '../support/bytes.js'
import { discoveryKey, keyPair } from '../support/crypto.js'
import { createManifest, encodeManifest, isCompat, manifestKey, singleSigner } from './manifest.js'
import { hasSmallWants } from './features.js'
import { normalKeyPair, type HypercoreOptions } from './options.js'

/** Translates a program's options, and refuses those that make no sense. */
export function openOptions (options: HypercoreOptions): OpenCoreOptions {
  const manifest = createManifest(options.manifest)
  const key = options.key as Uint8Array | null | undefined
  const keyPair = options.keyPair ? normalKeyPair(options.keyPair) : null
  if (key && !(isBytes(key) && key.byteLength === 32)) throw new Error('Must pass a 32 byte buffer')
  if (keyPair && (keyPair.publicKey ?? null) === null) throw new TypeError('A key pair has a public key')
  if (keyPair && !(isBytes(keyPair.publicKey) && keyPair.publicKey.byteLength === 32)) throw new Error('Incorrect buffer size')
  if (manifest && !options.compat && key && !equal(key, manifestKey(manifest)) && !isCompat(key, manifest)) {
    throw HypercoreError.STORAGE_CONFLICT('Manifest does not hash to provided key', discoveryKey(key))
  }
  const opening: OpenCoreOptions = {
    compat: options.compat === true,
    legacy: !!options.legacy,
    smallWants: hasSmallWants(),
    createIfMissing: options.createIfMissing !== false,
    overwrite: options.overwrite === true,
    force: options.force === true,
    eagerUpgrade: options.eagerUpgrade !== false,
    allowFork: options.allowFork !== false,
    allowPush: !!options.allowPush,
    pushOnly: !!options.pushOnly,
    allowLatestBlock: !!options.allowLatestBlock,
    // Sessions say when they want blocks.
    active: false
  }
  if (key) opening.key = key
  if (options.discoveryKey) opening.discoveryKey = options.discoveryKey
  if (keyPair) opening.keyPair = keyPair
  if (manifest) opening.manifest = encodeManifest(manifest)
  if (Number.isFinite(options.notDownloadingLinger)) opening.notDownloadingLinger = Math.max(0, Math.trunc(options.notDownloadingLinger!))
  if (options.inflightRange) opening.inflightRange = options.inflightRange
  if (options.incoming !== undefined) opening.incoming = options.incoming
  if (options.alias) opening.alias = options.alias
  return opening
}

/** Has the engine close a core, or a branch of one. With the engine that had its store, it is gone already. */
export async function closeCore (core: CoreHandle): Promise<void> {
  try {
    await request((engine) => engine.closeCore(core))
  } catch (error) {
    if (!hasMoved(error)) throw error
  }
}

/** Names a core that is made while others are made in the same store: each of them is one of its own. */
export function nameNewCore (opening: OpenCoreOptions): void {
  opening.keyPair ??= keyPair()
  const { publicKey } = opening.keyPair
  if (opening.compat) {
    opening.key = publicKey
    return
  }
  const manifest = singleSigner(publicKey)
  opening.key = manifestKey(manifest)
  opening.manifest = encodeManifest(manifest)
}
