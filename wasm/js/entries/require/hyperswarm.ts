// For require(), of Node and of bundlers, which gives what is exported by this name: the class itself, as upstream's packages do.

import { Hyperswarm } from '../hyperswarm.js'

export { Hyperswarm as default, Hyperswarm, Hyperswarm as 'module.exports' }
