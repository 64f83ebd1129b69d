// For require(), of Node and of bundlers, which gives what is exported by this name: the class itself, as upstream's packages do.

import { Localdrive } from '../localdrive.js'

export { Localdrive as default, Localdrive, Localdrive as 'module.exports' }
