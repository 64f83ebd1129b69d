// Markdown, as far as notes and READMEs use it: what a text is made of, without anything that could run.

export type Inline =
  | { readonly kind: 'text', readonly text: string }
  | { readonly kind: 'code', readonly text: string }
  | { readonly kind: 'strong' | 'em' | 'del', readonly children: Inline[] }
  | { readonly kind: 'link', readonly target: string, readonly children: Inline[] }
  | { readonly kind: 'image', readonly target: string, readonly alt: string }
  | { readonly kind: 'break' }

export type Block =
  | { readonly kind: 'heading', readonly level: number, readonly children: Inline[] }
  | { readonly kind: 'paragraph', readonly children: Inline[] }
  | { readonly kind: 'code', readonly text: string }
  | { readonly kind: 'quote', readonly blocks: Block[] }
  | { readonly kind: 'list', readonly start: number | null, readonly items: Block[][] }
  | { readonly kind: 'table', readonly head: Inline[][], readonly rows: Inline[][][] }
  | { readonly kind: 'rule' }

/** How deep quotes, lists and emphasis may nest; what is deeper is text. */
const DEPTH = 12

/** Reads a text. Never fails: what is no Markdown is text. */
export function parseMarkdown (text: string): Block[] {
  return blocksOf(text.replaceAll('\r\n', '\n').replaceAll('\t', '    ').split('\n'), 0)
}

const HEADING = /^ {0,3}(#{1,6})(?:\s+(.*?))?(?:\s+#+)?\s*$/
const FENCE = /^ {0,3}(`{3,}|~{3,})[^`]*$/
const RULE = /^ {0,3}([-*_])(?:\s*\1){2,}\s*$/
const QUOTE = /^ {0,3}> ?/
const ITEM = /^( {0,3})([-*+]|\d{1,9}[.)])( +|$)/
const TABLE_RULE = /^ *\|?(?: *:?-+:? *\|)+ *(?::?-+:? *)?$/

function blocksOf (lines: string[], depth: number): Block[] {
  const blocks: Block[] = []
  let at = 0
  const take = (isMore: (line: string) => boolean): string[] => {
    const first = at
    while (at < lines.length && isMore(lines[at]!)) at++
    return lines.slice(first, at)
  }
  while (at < lines.length) {
    const line = lines[at]!
    if (line.trim() === '') {
      at++
      continue
    }
    const [fence, heading, item] = [FENCE, HEADING, ITEM].map((start) => start.exec(short(line)))
    if (fence) {
      at++
      const text = take((line) => !line.trim().startsWith(fence[1]!))
      at++
      blocks.push({ kind: 'code', text: text.join('\n') })
    } else if (heading) {
      at++
      blocks.push({ kind: 'heading', level: heading[1]!.length, children: inlinesOf(heading[2] ?? '') })
    } else if (RULE.test(short(line))) {
      at++
      blocks.push({ kind: 'rule' })
    } else if (line.startsWith('    ')) {
      blocks.push({ kind: 'code', text: take((line) => line.startsWith('    ') || line.trim() === '').map((line) => line.slice(4)).join('\n').trimEnd() })
    } else if (QUOTE.test(line) && depth < DEPTH) {
      blocks.push({ kind: 'quote', blocks: blocksOf(take((line) => QUOTE.test(line)).map((line) => line.replace(QUOTE, '')), depth + 1) })
    } else if (item && depth < DEPTH) {
      blocks.push(list(item, take, depth))
    } else if (line.includes('|') && TABLE_RULE.test(short(lines[at + 1] ?? ''))) {
      at += 2
      const rows = take((line) => line.includes('|') && line.trim() !== '')
      blocks.push({ kind: 'table', head: cells(line), rows: rows.map(cells) })
    } else {
      at++
      const rest = take((line) => line.trim() !== '' && ![HEADING, FENCE, RULE, QUOTE, ITEM].some((start) => start.test(short(line))))
      blocks.push({ kind: 'paragraph', children: inlinesOf([line, ...rest].join('\n')) })
    }
  }
  return blocks
}

/** What begins something: no line that long does. */
function short (line: string): string {
  return line.length < 1000 ? line : ''
}

function list (first: RegExpExecArray, take: (isMore: (line: string) => boolean) => string[], depth: number): Block {
  const isOrdered = /\d/.test(first[2]!)
  const isSame = (match: RegExpExecArray | null) => match !== null && /\d/.test(match[2]!) === isOrdered
  const items: string[][] = []
  let indent = 0
  for (const line of take((line) => isSame(ITEM.exec(line)) || line.startsWith('  ') || line.trim() === '')) {
    const match = ITEM.exec(line)
    if (isSame(match) && match![1]!.length < Math.max(indent, 1) + (items.length === 0 ? 4 : 0)) {
      indent = match![0].length
      items.push([line.slice(indent)])
    } else {
      items.at(-1)!.push(line.slice(Math.min(indent, /^ */.exec(line)![0].length)))
    }
  }
  return { kind: 'list', start: isOrdered ? Number.parseInt(first[2]!) : null, items: items.map((lines) => blocksOf(lines, depth + 1)) }
}

function cells (line: string): Inline[][] {
  return line.trim().replace(/^\||\|$/g, '').split(/(?<!\\)\|/).map((cell) => inlinesOf(cell.trim().replaceAll('\\|', '|')))
}

// No part is longer than a thousand characters: a text of anything but words takes no time either.
const INLINE = /\\([!-/:-@[-`{-~])|(?<!`)(`{1,20})(?!`)([^]{0,1000}?[^`])\2(?!`)|(!?)\[((?:[^[\]\\]|\\.|\[[^[\]]{0,1000}\]){0,1000})\]\(\s*<?([^\s<>()]*(?:\([^\s()]*\)[^\s<>()]*)*)>?(?:\s+(?:"[^"]*"|'[^']*'))?\s*\)|<(https?:\/\/[^\s<>]+)>|(\*\*|__)(?=\S)([^]{0,1000}?\S)\8|(\*|_)(?=\S)([^]{0,1000}?\S)\10(?![\w*])|~~(?=\S)([^]{0,1000}?\S)~~|( {2,}|\\)\n/

function inlinesOf (text: string, depth = 0): Inline[] {
  const parts: Inline[] = []
  const say = (text: string) => { if (text !== '') parts.push({ kind: 'text', text }) }
  let rest = text
  while (rest !== '') {
    const match = depth < DEPTH ? INLINE.exec(rest) : null
    if (!match) break
    const [whole, escaped, , code, bang, label, target, bare, , strong, , em, del] = match
    const isWithinWord = em !== undefined && whole.startsWith('_') && /\w$/.test(rest.slice(0, match.index))
    say(rest.slice(0, match.index))
    rest = rest.slice(match.index + whole.length)
    if (escaped !== undefined) say(escaped)
    else if (code !== undefined) parts.push({ kind: 'code', text: code.replaceAll('\n', ' ').replace(/^ (.*[^ ].*) $/, '$1') })
    else if (label !== undefined && bang === '!') parts.push({ kind: 'image', target: target!, alt: label.replaceAll(/\\(.)/g, '$1') })
    else if (label !== undefined) parts.push({ kind: 'link', target: target!, children: inlinesOf(label, depth + 1) })
    else if (bare !== undefined) parts.push({ kind: 'link', target: bare, children: [{ kind: 'text', text: bare }] })
    else if (isWithinWord) say(whole)
    else if (strong !== undefined) parts.push({ kind: 'strong', children: inlinesOf(strong, depth + 1) })
    else if (em !== undefined) parts.push({ kind: 'em', children: inlinesOf(em, depth + 1) })
    else if (del !== undefined) parts.push({ kind: 'del', children: inlinesOf(del, depth + 1) })
    else parts.push({ kind: 'break' })
  }
  say(rest)
  return parts
}
