// For require(), of Node and of bundlers, which gives what is exported by this name: the function itself, as upstream's packages do.

import { copyPrologue } from '../../lib/copy-prologue.js'

export { copyPrologue as default, copyPrologue, copyPrologue as 'module.exports' }
