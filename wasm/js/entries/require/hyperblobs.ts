// For require(), of Node and of bundlers, which gives what is exported by this name: the class itself, as upstream's packages do.

import { Hyperblobs } from '../hyperblobs.js'

export { Hyperblobs as default, Hyperblobs, Hyperblobs as 'module.exports' }
