import { Corestore } from '../corestore/corestore.js'

export { Corestore as default, Corestore }
export type { CorestoreEvents } from '../corestore/corestore.js'
export type { AuditedCore } from '../corestore/audit.js'
export type { CorestoreOptions, GetCoreOptions, NamedKeyPair, SuspendOptions } from '../corestore/options.js'
