import type { Audit, AuditOptions } from '../../hypercore/audit.js'
import type { Core } from '../../hypercore/core.js'

/** Looks whether what is stored of a core fits together, and drops what does not. */
export async function audit (core: Core, options?: AuditOptions): Promise<Audit> {
  return await core.audit(options)
}

export { audit as default }
