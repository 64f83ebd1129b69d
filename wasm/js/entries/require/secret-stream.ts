// For require(), of Node and of bundlers, which gives what is exported by this name: the class itself, as upstream's packages do.

import { NoiseSecretStream } from '../secret-stream.js'

export { NoiseSecretStream as default, NoiseSecretStream, NoiseSecretStream as 'module.exports' }
