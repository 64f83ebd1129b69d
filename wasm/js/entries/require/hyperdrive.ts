// For require(), of Node and of bundlers, which gives what is exported by this name: the class itself, as upstream's packages do.

import { Hyperdrive } from '../hyperdrive.js'

export { Hyperdrive as default, Hyperdrive, Hyperdrive as 'module.exports' }
export { formatUrl, openUrl, parseUrl, urlOf } from '../hyperdrive.js'
