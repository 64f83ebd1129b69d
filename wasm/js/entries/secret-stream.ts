import { Connection } from '../links/connection.js'

export { Connection as default, Connection as NoiseSecretStream }
export type { ConnectionEvents, ConnectionKeys, ConnectionOptions, HandshakeKeys } from '../links/connection.js'
export type { Transport } from '../links/raw-stream.js'
