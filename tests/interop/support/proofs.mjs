// Proofs that programs make by themselves.

/**
 * Makes a proof, with the value of its block.
 *
 * @param {object} MerkleTree what `hypercore/lib/merkle-tree` has by that name
 * @param {object} core the inner core
 * @param {object} request as peers send it
 */
export async function proofOf (MerkleTree, { state }, request) {
  const rx = state.storage.read()
  const proof = await MerkleTree.proof(state, rx, request)
  const block = request.block ? rx.getBlock(request.block.index) : null
  rx.tryFlush()
  const settled = await proof.settle()
  if (block) settled.block.value = await block
  return settled
}
