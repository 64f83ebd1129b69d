// For require(), of Node and of bundlers, which gives what is exported by this name: the class itself, as upstream's packages do.

import { Corestore } from '../corestore.js'

export { Corestore as default, Corestore, Corestore as 'module.exports' }
