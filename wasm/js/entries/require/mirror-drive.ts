// For require(), of Node and of bundlers, which gives what is exported by this name: the class itself, as upstream's packages do.

import { MirrorDrive } from '../mirror-drive.js'

export { MirrorDrive as default, MirrorDrive, MirrorDrive as 'module.exports' }
