import { DefaultEncryption } from '../../hypercore/encryption.js'

export { DefaultEncryption as default, DefaultEncryption }
