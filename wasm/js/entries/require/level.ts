// For require(), of Node and of bundlers, which gives what is exported by this name.

import { BeeLevel } from '../level.js'

export { BeeLevel as default, BeeLevel, BeeLevel as 'module.exports' }
