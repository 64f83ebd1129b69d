// For Node, whose require() gives what is exported by this name: the class itself, as upstream's packages do.

import { Hyperblobs } from '../hyperblobs.js'

export { Hyperblobs as default, Hyperblobs, Hyperblobs as 'module.exports' }
