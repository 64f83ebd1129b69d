// For require(), of Node and of bundlers, which gives what is exported by this name: the function itself, as upstream's packages do.

import { audit } from '../../lib/audit.js'

export { audit as default, audit, audit as 'module.exports' }
