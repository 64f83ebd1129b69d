// For require(), of Node and of bundlers, which gives what is exported by this name: the class itself, as upstream's packages do.

import { BitInterlude } from '../../lib/bit-interlude.js'

export { BitInterlude as default, BitInterlude, BitInterlude as 'module.exports' }
