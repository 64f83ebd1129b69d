import { Hyperblobs } from '../hyperblobs/hyperblobs.js'

export { Hyperblobs as default, Hyperblobs }
export type { BlobId, BlobReadOptions, BlobWriteOptions, HyperblobsBatch, HyperblobsOptions } from '../hyperblobs/hyperblobs.js'
export type { BlockMap, MappedBlock } from '../hyperblobs/block-map.js'
export type { Monitor, TransferStats } from '../hyperblobs/monitor.js'
export type { BlobReadStream, BlobWriteStream, BlockMapReadStream } from '../hyperblobs/streams.js'
