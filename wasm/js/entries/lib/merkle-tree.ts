export { MerkleTree } from '../../hypercore/lib/merkle-tree.js'
export { MerkleTreeBatch, ReorgBatch } from '../../hypercore/lib/merkle-tree-batch.js'
