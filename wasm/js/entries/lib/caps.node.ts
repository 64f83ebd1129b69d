// For Node, where the engine is loaded at once.

import { ready } from '../../runtime.js'
import { caps } from '../../hypercore/lib/caps.js'

void ready()

export const MANIFEST = caps.MANIFEST
export const DEFAULT_NAMESPACE = caps.DEFAULT_NAMESPACE
export const DEFAULT_ENCRYPTION = caps.DEFAULT_ENCRYPTION
export { replicate, treeSignable, treeSignableCompat } from '../../hypercore/lib/caps.js'
