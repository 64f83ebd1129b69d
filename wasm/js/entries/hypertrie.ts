import { Hypertrie } from '../hypertrie/hypertrie.js'

export { Hypertrie as default, Hypertrie }
export type { HypertrieOptions, TrieGetOptions, TrieHeader, TrieHistoryOptions, TrieListOptions, TrieNode, TrieReadOptions } from '../hypertrie/hypertrie.js'
