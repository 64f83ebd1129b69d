import { MarkBitfield } from '../../hypercore/lib/mark-bitfield.js'

export { MarkBitfield as default, MarkBitfield }
