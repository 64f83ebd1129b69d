// For require(), of Node and of bundlers, which gives what is exported by this name: the class itself, as upstream's packages do.

import { Hypercore } from '../hypercore.js'

export { Hypercore as default, Hypercore, Hypercore as 'module.exports' }
