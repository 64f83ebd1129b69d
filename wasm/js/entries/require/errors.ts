// For require(), of Node and of bundlers, which gives what is exported by this name: the class itself, as upstream's packages do.

import { HypercoreError } from '../errors.js'

export { HypercoreError as default, HypercoreError, HypercoreError as 'module.exports' }
