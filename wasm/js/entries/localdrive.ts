// Folders are Node's: a browser has none, and this entry is not in its part of the package.

import { Localdrive } from '../localdrive/localdrive.node.js'

export { Localdrive as default, Localdrive }
export type { LocaldriveOptions, LocalEntry, MetadataHooks } from '../localdrive/localdrive.node.js'
export type { FileReadOptions, FileWriteOptions, FileReadStream, FileWriteStream } from '../localdrive/streams.node.js'
