import { BareCore } from '../../hypercore/lib/core.js'

export { BareCore as default, BareCore as Core }
