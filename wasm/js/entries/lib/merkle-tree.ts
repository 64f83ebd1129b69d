export { MerkleTree } from '../../hypercore/lib/merkle-tree.js'
export { MerkleTreeBatch } from '../../hypercore/lib/merkle-tree-batch.js'
export { ReorgBatch } from '../../hypercore/lib/reorg-batch.js'
