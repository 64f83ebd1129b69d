// For Node, whose require() gives what is exported by this name: the class itself, as upstream's packages do.

import { MirrorDrive } from '../mirror-drive.js'

export { MirrorDrive as default, MirrorDrive, MirrorDrive as 'module.exports' }
