// For Node, whose require() gives what is exported by this name: the class itself, as upstream's packages do.

import { Verifier } from '../../lib/verifier.js'

export { Verifier as default, Verifier, Verifier as 'module.exports' }
