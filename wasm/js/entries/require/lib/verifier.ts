// For require(), of Node and of bundlers, which gives what is exported by this name: the class itself, as upstream's packages do.

import { Verifier } from '../../lib/verifier.js'

export { Verifier as default, Verifier, Verifier as 'module.exports' }
