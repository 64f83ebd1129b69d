export { MerkleTree, MerkleTreeBatch } from '../../hypercore/lib/merkle-tree.js'
