import { BitInterlude } from '../../hypercore/lib/bit-interlude.js'

export { BitInterlude as default, BitInterlude }
