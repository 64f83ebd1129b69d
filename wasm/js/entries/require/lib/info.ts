// For require(), of Node and of bundlers, which gives what is exported by this name: the class itself, as upstream's packages do.

import { Info } from '../../lib/info.js'

export { Info as default, Info, Info as 'module.exports' }
