// Draws the tree around one block: the nodes near it, the way up to its root, and the other roots.

import { blocksBelow, depthOf, parentOf, rootsOf, siblingOf } from '../model/flat-tree.ts'

const SVG = 'http://www.w3.org/2000/svg'

/** Distances and sizes in the picture's own units. */
const COLUMN = 62
const LEVEL = 56
const RADIUS = 17

/** Where a node is drawn. */
interface Place {
  readonly index: number
  readonly x: number
  readonly y: number
}

export interface Tree {
  readonly places: ReadonlyMap<number, Place>
  /** From a node to its parent. */
  readonly lines: readonly (readonly [child: number, parent: number])[]
  readonly path: ReadonlySet<number>
  readonly uncles: ReadonlySet<number>
  readonly roots: readonly number[]
  readonly width: number
  readonly height: number
}

/** Lays out what is to be seen around a block; `window`, a power of two, is how many blocks are beside each other. */
export function layOut (block: number, length: number, window: number): Tree {
  const roots = rootsOf(length)
  const root = roots.find((index) => blocksBelow(index)[0] <= block && block < blocksBelow(index)[1])!
  const path = new Set([block * 2])
  const uncles = new Set<number>()
  for (let at = block * 2; at !== root; at = parentOf(at)) {
    uncles.add(siblingOf(at))
    path.add(parentOf(at))
  }
  const places = new Map<number, Place>()
  const lines: (readonly [number, number])[] = []
  const start = Math.floor(block / window) * window
  const end = Math.min(start + window, length)
  const middle = window * COLUMN / 2
  const aside = Math.min(2.2, window / 2 - 0.4) * COLUMN
  const height = (Math.max(...roots.map((index) => levelOf(index, start, end)), levelOf(root, start, end)) + 1) * LEVEL
  const y = (level: number) => height - LEVEL / 2 - level * LEVEL
  // All nodes over the window that are full trees.
  for (let level = 0; 2 ** level <= window; level++) {
    const width = 2 ** level
    for (let first = start; first + width <= end; first += width) {
      const index = first * 2 + width - 1
      places.set(index, { index, x: (first - start + width / 2) * COLUMN, y: y(level) })
      if (level > 0) for (const child of childrenOf(index)) lines.push([child, index])
    }
  }
  // Above it, only the way up and what it is hashed with.
  let level = Math.log2(window)
  for (let at = [...path].find((index) => depthOf(index) === level && index !== root); at !== undefined && at !== root; at = parentOf(at)) {
    const uncle = siblingOf(at)
    const parent = parentOf(at)
    const side = uncle > at ? 1 : -1
    places.set(uncle, { index: uncle, x: middle + side * aside, y: y(level) })
    level++
    places.set(parent, { index: parent, x: middle, y: y(level) })
    lines.push([at, parent], [uncle, parent])
  }
  // The other roots, in a column at the side.
  const others = roots.filter((index) => !places.has(index))
  others.forEach((index, place) => places.set(index, { index, x: (window + 0.4) * COLUMN, y: LEVEL / 2 + place * LEVEL * 0.8 }))
  return { places, lines, path, uncles, roots, width: (window + (others.length > 0 ? 1 : 0)) * COLUMN, height: Math.max(height, LEVEL * (0.4 + others.length * 0.8)) }
}

/** Draws a tree. `stored` says which nodes are on this device, `isWrong` which ones came out other than signed. */
export function draw (svg: SVGSVGElement, tree: Tree, block: number, stored: ReadonlySet<number>, isWrong: (index: number) => boolean): void {
  svg.setAttribute('viewBox', `0 0 ${tree.width} ${tree.height}`)
  const shapes: SVGElement[] = []
  for (const [child, parent] of tree.lines) {
    const [a, b] = [tree.places.get(child), tree.places.get(parent)]
    if (!a || !b) continue
    const isOnWay = tree.path.has(parent) && (tree.path.has(child) || tree.uncles.has(child))
    shapes.push(shape('line', { x1: a.x, y1: a.y, x2: b.x, y2: b.y, class: isOnWay ? 'tree-line way' : 'tree-line' }))
  }
  for (const { index, x, y } of tree.places.values()) {
    const kind = index === block * 2 ? 'leaf' : tree.path.has(index) ? 'path' : tree.uncles.has(index) ? 'uncle' : 'other'
    const group = shape('g', { class: `tree-node ${kind}${tree.roots.includes(index) ? ' root' : ''}${stored.has(index) ? ' stored' : ''}${isWrong(index) ? ' wrong' : ''}`, 'data-node': index })
    const title = shape('title', {})
    title.textContent = `Node ${index}, over ${wordsOf(index)}${tree.roots.includes(index) ? ', a root' : ''}, ${stored.has(index) ? 'on this device' : 'not on this device'}`
    group.append(title, shape('circle', { cx: x, cy: y, r: RADIUS }), text(x, y, String(index)))
    shapes.push(group)
  }
  svg.replaceChildren(...shapes)
}

/** Says which blocks are below a node. */
export function wordsOf (index: number): string {
  const [start, end] = blocksBelow(index)
  return end - start === 1 ? `block ${start}` : `blocks ${start} to ${end - 1}`
}

function childrenOf (index: number): [number, number] {
  const step = 2 ** (depthOf(index) - 1)
  return [index - step, index + step]
}

// The level at which a root is drawn: roots beside the window have no level of their own.
function levelOf (root: number, start: number, end: number): number {
  const [first, last] = blocksBelow(root)
  return first < end && last > start ? depthOf(root) : 0
}

function text (x: number, y: number, words: string): SVGElement {
  const element = shape('text', { x, y: y + 4, class: words.length > 4 ? 'small' : '' })
  element.textContent = words
  return element
}

function shape (name: string, attributes: Record<string, string | number>): SVGElement {
  const element = document.createElementNS(SVG, name)
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, String(value))
  return element
}
