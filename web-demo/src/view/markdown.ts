// Shows Markdown: as elements, never as HTML of the text.

import type { Block, Inline } from '../model/markdown.ts'
import { make } from './dom.ts'

/** Where the text is, so that its links lead somewhere. */
export interface Surroundings {
  /** The address on this page of a path in the same drive. */
  address (path: string): string
  /** Where a picture of the same drive is served; null where nothing serves it. */
  picture (path: string): string | null
  /** The folder of the text, without a slash behind it. */
  readonly folder: string
}

/** Makes the elements of a text. */
export function markdown (blocks: Block[], around: Surroundings): HTMLElement[] {
  return blocks.map((block) => blockElement(block, around))
}

function blockElement (block: Block, around: Surroundings): HTMLElement {
  switch (block.kind) {
    // The page has headings of its own, down to the second.
    case 'heading': return make(`h${Math.min(6, block.level + 2)}` as 'h3', {}, ...inlines(block.children, around))
    case 'paragraph': return make('p', {}, ...inlines(block.children, around))
    case 'code': return make('pre', { tabIndex: 0 }, make('code', {}, block.text))
    case 'quote': return make('blockquote', {}, ...markdown(block.blocks, around))
    case 'list': {
      const items = block.items.map((blocks) => make('li', {}, ...itemContent(blocks, around)))
      return block.start === null ? make('ul', {}, ...items) : make('ol', { start: block.start }, ...items)
    }
    case 'table': {
      const row = (cells: Inline[][], tag: 'th' | 'td') => make('tr', {}, ...cells.map((cell) => make(tag, {}, ...inlines(cell, around))))
      return make('div', { className: 'scroll', tabIndex: 0, role: 'region', ariaLabel: 'Table' }, make('table', {}, make('thead', {}, row(block.head, 'th')), make('tbody', {}, ...block.rows.map((cells) => row(cells, 'td')))))
    }
    case 'rule': return make('hr')
  }
}

// A list of single lines is no list of paragraphs.
function itemContent (blocks: Block[], around: Surroundings): (Node | string)[] {
  return blocks.flatMap((block, index) => index === 0 && block.kind === 'paragraph' ? inlines(block.children, around) : [blockElement(block, around)])
}

function inlines (parts: Inline[], around: Surroundings): (Node | string)[] {
  return parts.map((part) => {
    switch (part.kind) {
      case 'text': return part.text
      case 'code': return make('code', {}, part.text)
      case 'strong': return make('strong', {}, ...inlines(part.children, around))
      case 'em': return make('em', {}, ...inlines(part.children, around))
      case 'del': return make('del', {}, ...inlines(part.children, around))
      case 'break': return make('br')
      case 'link': return link(part.target, inlines(part.children, around), around)
      case 'image': {
        const path = pathOf(part.target, around.folder)
        const src = path === null ? null : around.picture(path)
        return src === null ? make('span', { className: 'note' }, part.alt) : make('img', { src, alt: part.alt, loading: 'lazy' })
      }
    }
  })
}

function link (target: string, children: (Node | string)[], around: Surroundings): Node {
  if (/^(https?|mailto):/i.test(target)) return make('a', { href: target, target: '_blank', rel: 'noopener noreferrer' }, ...children)
  const path = pathOf(target, around.folder)
  return path === null ? make('span', {}, ...children) : make('a', { href: around.address(path) }, ...children)
}

/** The path in the drive that an address in a text means; null for what is not in the drive. */
function pathOf (target: string, folder: string): string | null {
  if (target === '' || target.startsWith('#') || target.startsWith('//') || /^[a-z][a-z0-9+.-]*:/i.test(target)) return null
  try {
    const { pathname } = new URL(target, `drive://drive${folder}/`)
    return decodeURIComponent(pathname)
  } catch {
    return null
  }
}
