// For require(), of Node and of bundlers, which gives what is exported by this name: the class itself, as upstream's packages do.

import { DefaultEncryption } from '../../lib/default-encryption.js'

export { DefaultEncryption as default, DefaultEncryption, DefaultEncryption as 'module.exports' }
