import { Info } from '../../hypercore/info.js'

export { Info as default, Info }
