// For require(), of Node and of bundlers, which gives what is exported by this name: the class itself, as upstream's packages do.

import { MarkBitfield } from '../../lib/mark-bitfield.js'

export { MarkBitfield as default, MarkBitfield, MarkBitfield as 'module.exports' }
