export { ByteStream, ReadStream, WriteStream } from '../../hypercore/streams.js'
