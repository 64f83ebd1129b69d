// For require(), of Node and of bundlers, which gives what is exported by this name: the class itself, as upstream's packages do.

import { Mutex } from '../../lib/mutex.js'

export { Mutex as default, Mutex, Mutex as 'module.exports' }
