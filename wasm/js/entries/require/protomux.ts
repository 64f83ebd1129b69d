// For require(), of Node and of bundlers, which gives what is exported by this name: the class itself, as upstream's packages do.

import { Protomux } from '../protomux.js'

export { Protomux as default, Protomux, Protomux as 'module.exports' }
