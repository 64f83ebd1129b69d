// Opening a core from the folder of a hypercore 10.

import type { CoreHandle, OpenCoreOptions, StoreHandle } from '../binding.js'
import { fromFailure } from '../errors.js'
import { call, request } from '../runtime.js'
import type { LegacyFiles } from '../storage/storage.js'
import type { Core } from './core.js'

/** How much of a folder is read at once, in bytes. */
const IMPORT_BYTES = 1 << 20

/** Opens a core with what the files say of it, but for its blocks. */
export function openImported (core: Core, store: StoreHandle, opening: OpenCoreOptions, { oplog, header, tree, bitfield }: LegacyFiles): [CoreHandle, number] {
  const [handle, id] = call((engine) => engine.openImportedCore(store, opening, oplog, header ?? undefined, tree, bitfield))
  if (typeof handle !== 'number') throw fromFailure(handle, core.discoveryKey)
  return [handle, id!]
}

/** Stores the blocks that are in the files. What an earlier attempt stored is stored again, which changes nothing. */
export async function importBlocks (core: CoreHandle, legacy: LegacyFiles): Promise<void> {
  try {
    for (;;) {
      const range = call((engine) => engine.coreImportRange(core, IMPORT_BYTES))
      if (!range) break
      const bytes = legacy.read(...range)
      await request((engine) => engine.coreImportBytes(core, bytes))
    }
  } finally {
    legacy.close()
  }
  legacy.imported()
}
