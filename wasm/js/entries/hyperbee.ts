import { Hyperbee } from '../hyperbee/hyperbee.js'

export { Hyperbee as default, Hyperbee }
export type { BeeExtension, CheckoutOptions, Header, HyperbeeOptions, Metadata, SubOptions } from '../hyperbee/hyperbee.js'
export type { Batch, BatchOptions, Cas, EncodingOptions, PutOptions } from '../hyperbee/batch.js'
export type { Entry, ReadOptions } from '../hyperbee/blocks.js'
export type { BeeCodec, BeeEncoding } from '../hyperbee/encodings.js'
export type { Difference, HistoryEntry, HistoryOptions, RangeIterator, RangeOptions, RangeSnapshot } from '../hyperbee/iterators.js'
export type { EntryWatcher, Watcher, WatchOptions } from '../hyperbee/watchers.js'
