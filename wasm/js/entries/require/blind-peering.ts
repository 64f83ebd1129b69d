// For require(), of Node and of bundlers, which gives what is exported by this name: the class itself, as upstream's packages do.

import { BlindPeering } from '../blind-peering.js'

export { BlindPeering as default, BlindPeering, BlindPeering as 'module.exports' }
export { Copy, findMirror } from '../blind-peering.js'
