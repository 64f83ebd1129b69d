// Where nodes are in a tree over blocks: leaves have even indexes, a parent is in the middle of its children.
//
// Source: flat-tree 1.13. Indexes are above 2^32 here as well, so nothing is done with bits.

/** Blocks below a node. */
export function leaves (index: number): number {
  let count = 1
  for (let at = index; at % 2 === 1; at = (at - 1) / 2) count *= 2
  return count
}

/** The leftmost leaf below a node. */
export function leftSpan (index: number): number {
  return index + 1 - leaves(index)
}

/** The rightmost leaf below a node. */
export function rightSpan (index: number): number {
  return index - 1 + leaves(index)
}

/** Whether a node is below another, or is that one. */
export function contains (index: number, other: number): boolean {
  return other >= leftSpan(index) && other <= rightSpan(index)
}

function isLeft (index: number): boolean {
  return leftSpan(index) % (4 * leaves(index)) === 0
}

export function parent (index: number): number {
  const count = leaves(index)
  return isLeft(index) ? index + count : index - count
}

export function sibling (index: number): number {
  const span = 2 * leaves(index)
  return isLeft(index) ? index + span : index - span
}

/** The left child of a node that is no leaf. */
export function leftChild (index: number): number {
  return index - leaves(index) / 2
}

/** Twice the blocks of the largest tree that begins at a leaf and ends before `end`. */
export function largestSpan (at: number, end: number): number {
  let span = 2
  while (at % (2 * span) === 0 && at + 2 * span <= end) span *= 2
  return span
}

/** The roots of the trees over so many blocks. */
export function fullRoots (length: number): number[] {
  const roots: number[] = []
  for (let at = 0; at < 2 * length;) {
    const span = largestSpan(at, 2 * length)
    roots.push(at + span / 2 - 1)
    at += span
  }
  return roots
}
