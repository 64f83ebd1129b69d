import { RemoteBitfield } from '../../hypercore/lib/remote-bitfield.js'

export { RemoteBitfield as default, RemoteBitfield }
