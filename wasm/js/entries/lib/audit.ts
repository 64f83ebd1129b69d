import type { Core, Audit, AuditOptions } from '../../hypercore/core.js'

/** Looks whether what is stored of a core fits together, and drops what does not. */
export async function audit (core: Core, options?: AuditOptions): Promise<Audit> {
  return await core.audit(options)
}

export { audit as default }
