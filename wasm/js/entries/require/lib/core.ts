// For require(), of Node and of bundlers, which gives what is exported by this name: the class itself, as upstream's packages do.

import { BareCore } from '../../../hypercore/lib/core.js'

export { BareCore as default, BareCore as Core, BareCore as 'module.exports' }
