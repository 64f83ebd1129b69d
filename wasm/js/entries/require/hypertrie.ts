// For require(), of Node and of bundlers, which gives what is exported by this name: the class itself, as upstream's packages do.

import { Hypertrie } from '../hypertrie.js'

export { Hypertrie as default, Hypertrie, Hypertrie as 'module.exports' }
