// For require(), of Node and of bundlers, which gives what is exported by this name: the class itself, as upstream's packages do.

import { RemoteBitfield } from '../../lib/remote-bitfield.js'

export { RemoteBitfield as default, RemoteBitfield, RemoteBitfield as 'module.exports' }
