// Looking through a whole store.

import type { Audit } from '../hypercore/audit.js'
import type { Corestore } from './corestore.js'

/** What an audit found in one core. */
export interface AuditedCore {
  discoveryKey: Uint8Array
  key: Uint8Array
  audit: Audit
}

/** Audits one core after the other; each is open only meanwhile. */
export async function * audit (store: Corestore, { dryRun = false }: { dryRun?: boolean }): AsyncGenerator<AuditedCore, void> {
  for await (const { discoveryKey } of store.storage.createCoreStream()) {
    const session = store.get({ discoveryKey, active: false })
    try {
      await session.ready()
      yield { discoveryKey, key: session.key!, audit: await session.core!.audit({ dryRun }) }
    } finally {
      await session.close().catch(() => {})
    }
  }
}
