// Places in the tree over the blocks: block n is leaf 2 n, and every node stands between the leaves below it.

/** Returns how many levels of nodes are below one; 0 for a leaf. */
export function depthOf (index: number): number {
  let depth = 0
  for (let at = index; at % 2 === 1; at = (at - 1) / 2) depth++
  return depth
}

export function siblingOf (index: number): number {
  const step = 2 ** (depthOf(index) + 1)
  return isLeft(index) ? index + step : index - step
}

export function parentOf (index: number): number {
  const step = 2 ** depthOf(index)
  return isLeft(index) ? index + step : index - step
}

/** Returns the blocks below a node, as first and behind the last. */
export function blocksBelow (index: number): [start: number, end: number] {
  const blocks = 2 ** depthOf(index)
  const start = (index + 1 - blocks) / 2
  return [start, start + blocks]
}

/** Returns the roots over so many blocks: the largest full trees, from the left. */
export function rootsOf (length: number): number[] {
  const roots = []
  for (let start = 0; start < length;) {
    let blocks = 1
    while (start + blocks * 2 <= length) blocks *= 2
    roots.push(start * 2 + blocks - 1)
    start += blocks
  }
  return roots
}

function isLeft (index: number): boolean {
  const width = 2 ** (depthOf(index) + 1)
  return Math.floor((index + 1) / width) % 2 === 0
}
