import { Mutex } from '../../hypercore/lib/mutex.js'

export { Mutex as default, Mutex }
