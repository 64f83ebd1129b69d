// For require(), of Node and of bundlers, which gives what is exported by this name: the class itself, as upstream's packages do.

import { Bitfield } from '../../lib/bitfield.js'

export { Bitfield as default, Bitfield, Bitfield as 'module.exports' }
