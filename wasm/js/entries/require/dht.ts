// For require(), of Node and of bundlers, which gives what is exported by this name: the class itself, as upstream's packages do.

import { DHT } from '../dht.js'

export { DHT as default, DHT, DHT as 'module.exports' }
