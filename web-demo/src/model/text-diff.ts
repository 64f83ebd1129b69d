// How two texts differ, line by line.

export interface Line {
  readonly sign: ' ' | '+' | '-'
  readonly text: string
}

/** Most lines that may differ; texts further apart are not compared line by line. */
const MOST_EDITS = 600

/**
 * Returns the lines of both in order, or null when they are too far apart.
 *
 * Source: E. Myers, An O(ND) difference algorithm and its variations, 1986, the greedy one.
 */
export function diffLines (older: string, newer: string): Line[] | null {
  const [a, b] = [older.split('\n'), newer.split('\n')]
  // Far[k] is how far in `a` a way with k more insertions than deletions comes; one copy for each number of edits.
  const trace: Map<number, number>[] = []
  let far = new Map([[1, 0]])
  for (let edits = 0; edits <= Math.min(a.length + b.length, MOST_EDITS); edits++) {
    trace.push(new Map(far))
    const next = new Map(far)
    for (let k = -edits; k <= edits; k += 2) {
      let x = k === -edits || (k !== edits && (next.get(k - 1) ?? -1) < (next.get(k + 1) ?? -1)) ? next.get(k + 1)! : next.get(k - 1)! + 1
      while (x < a.length && x - k < b.length && a[x] === b[x - k]) x++
      next.set(k, x)
      if (x >= a.length && x - k >= b.length) return backtrack(trace, a, b)
    }
    far = next
  }
  return null
}

function backtrack (trace: Map<number, number>[], a: string[], b: string[]): Line[] {
  const lines: Line[] = []
  let [x, y] = [a.length, b.length]
  for (let edits = trace.length - 1; edits >= 0; edits--) {
    const far = trace[edits]!
    const k = x - y
    const isDown = k === -edits || (k !== edits && (far.get(k - 1) ?? -1) < (far.get(k + 1) ?? -1))
    const from = isDown ? far.get(k + 1)! : far.get(k - 1)!
    const fromY = from - (isDown ? k + 1 : k - 1)
    while (x > from && y > fromY && x > 0 && y > 0) {
      lines.push({ sign: ' ', text: a[--x]! })
      y--
    }
    if (edits === 0) break
    if (isDown) lines.push({ sign: '+', text: b[--y]! })
    else lines.push({ sign: '-', text: a[--x]! })
  }
  return lines.reverse()
}
