// For require(), of Node and of bundlers, which gives what is exported by this name: the class itself, as upstream's packages do.

import { Hyperbee } from '../hyperbee.js'

export { Hyperbee as default, Hyperbee, Hyperbee as 'module.exports' }
