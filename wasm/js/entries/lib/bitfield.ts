import { Bitfield } from '../../hypercore/lib/bitfield.js'

export { Bitfield as default, Bitfield }
