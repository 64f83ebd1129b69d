// What the demo page reckons without a page: merging a room, comparing texts, saying what went wrong.

import assert from 'node:assert/strict'
import { join } from 'node:path'
import test from 'node:test'

import { build } from 'esbuild'

import { root } from '../../scripts/lib/run.mjs'

const { diffLines } = await load('text-diff.ts')
const { parseMarkdown } = await load('markdown.ts')
const { explain } = await load('problem.ts')
const { Merged } = await load('room/merged.ts')
const { decodeOperation, encodeOperation } = await load('room/operations.ts')
const { Held } = await load('held.ts')
const { kindOf } = await load('file-kind.ts')

test('markdown: what notes are made of, and whatever else is text', () => {
  const words = (inlines) => inlines.map((part) => part.text ?? part.alt ?? (part.children ? words(part.children) : '\n')).join('')
  const shape = (blocks) => blocks.map((block) => {
    switch (block.kind) {
      case 'heading': return `h${block.level} ${words(block.children)}`
      case 'paragraph': return `p ${words(block.children)}`
      case 'code': return `code ${block.text}`
      case 'quote': return ['quote', shape(block.blocks)]
      case 'list': return [block.start === null ? 'ul' : `ol ${block.start}`, ...block.items.map(shape)]
      case 'table': return ['table', block.head.map(words), ...block.rows.map((row) => row.map(words))]
      case 'rule': return 'rule'
    }
  })
  const text = ['# One #', 'two', 'lines', '', '> quoted', '> ## deep', '', '- a', '- b', '  - c', '', '  more of b', '3. three', '4. four', '', '```js', '# no heading', '```', '***', '| x | y |', '|---|:-:|', '| 1 | `|` |', '', '    indented', '####### seven'].join('\n')
  assert.deepEqual(shape(parseMarkdown(text)), [
    'h1 One', 'p two\nlines', ['quote', ['p quoted', 'h2 deep']],
    ['ul', ['p a'], ['p b', ['ul', ['p c']], 'p more of b']], ['ol 3', ['p three'], ['p four']],
    'code # no heading', 'rule', ['table', ['x', 'y'], ['1', '`', '`']], 'code indented', 'p ####### seven'
  ])
  const [{ children }] = parseMarkdown('a **b *c* d** `**e**` [f _g_](h.md) ![i](j.png "k") <https://l.org> snake_case_word \\*m\\* ~~n~~  \no')
  assert.deepEqual(children.map(({ kind, target, ...rest }) => [kind, target ?? rest.text ?? words(rest.children ?? [])]), [
    ['text', 'a '], ['strong', 'b c d'], ['text', ' '], ['code', '**e**'], ['text', ' '], ['link', 'h.md'], ['text', ' '], ['image', 'j.png'], ['text', ' '],
    ['link', 'https://l.org'], ['text', ' snake_case_word '], ['text', '*'], ['text', 'm'], ['text', '*'], ['text', ' '], ['del', 'n'], ['break', ''], ['text', 'o']
  ])
  // Neither hangs the page nor throws, and no word is lost.
  for (const piece of ['*', '`', '[', '](', '**a', '> ', '- ', '# ', '|', '![', '_a ', '~~', '<http://', '\\', '\n', '  ', '1. ', '```\n', 'word ']) {
    const blocks = parseMarkdown(piece.repeat(20_000))
    if (piece === 'word ') assert.equal(words(blocks[0].children).length, 100_000)
  }
  const next = numbers(11)
  for (let round = 0; round < 300; round++) parseMarkdown(Array.from({ length: 200 }, () => '*_`[]()!<>#-|~ \n1.ab\\'[next() % 21]).join(''))
})

test('the lines of two texts: both can be read out of the difference, and no shorter one exists', () => {
  const next = numbers(7)
  for (let round = 0; round < 3_000; round++) {
    const [older, newer] = [0, 1].map(() => Array.from({ length: next() % 9 }, () => 'abc'[next() % 3]).join('\n'))
    const lines = diffLines(older, newer)
    assert.equal(lines.filter(({ sign }) => sign !== '+').map(({ text }) => text).join('\n'), older)
    assert.equal(lines.filter(({ sign }) => sign !== '-').map(({ text }) => text).join('\n'), newer)
    assert.equal(lines.filter(({ sign }) => sign === ' ').length, longestCommon(older.split('\n'), newer.split('\n')), JSON.stringify([older, newer]))
  }
  const far = (name) => Array.from({ length: 5_000 }, (_, index) => `${name} ${index}`).join('\n')
  assert.equal(diffLines(far('one'), far('other')), null)
})

test('a room comes to the same in whatever order its blocks come, however often', () => {
  const next = numbers(3)
  for (let round = 0; round < 200; round++) {
    const written = conversation(next)
    const wanted = stateAfter(written)
    for (let again = 0; again < 5; again++) {
      const order = written.map((value) => [next(), value]).sort(([a], [b]) => a - b).map(([, value]) => value)
      assert.deepEqual(stateAfter([...order, ...order.slice(0, 5)]), wanted)
    }
  }
})

test('of two changes the later one wins, what was removed stays so, and a change alone makes no item', () => {
  const [a, b] = ['a'.repeat(52), 'b'.repeat(52)]
  const at = (author, index, clock, operation) => ({ author, index, clock, time: 0, name: author[0], operation })
  const merged = new Merged()
  merged.take(at(b, 0, 5, { op: 'edit', item: `${a}:0`, text: 'changed' }))
  merged.take(at(b, 1, 6, { op: 'check', item: `${a}:9`, isDone: true }))
  assert.deepEqual(merged.items, [])
  merged.take(at(a, 0, 1, { op: 'add', text: 'first' }))
  merged.take(at(a, 1, 5, { op: 'edit', item: `${a}:0`, text: 'at the same time' }))
  merged.take(at(a, 2, 7, { op: 'check', item: `${a}:0`, isDone: true }))
  assert.deepEqual(merged.items, [{ id: `${a}:0`, text: 'changed', isDone: true, by: a }])
  merged.take(at(b, 2, 2, { op: 'remove', item: `${a}:0` }))
  merged.take(at(a, 3, 9, { op: 'edit', item: `${a}:0`, text: 'again' }))
  assert.deepEqual(merged.items, [])
})

test('blocks that are no operation are passed over', () => {
  const author = 'y'.repeat(52)
  const good = { clock: 3, time: 4, name: 'Ada' }
  const bytes = (value) => new TextEncoder().encode(JSON.stringify(value))
  assert.deepEqual(decodeOperation(encodeOperation({ op: 'say', text: 'hello' }, good), author, 7), { author, index: 7, ...good, operation: { op: 'say', text: 'hello' } })
  for (const block of [
    new Uint8Array(), Uint8Array.of(255, 254), bytes(null), bytes([]), bytes('say'), bytes({}), bytes({ ...good, op: 'say' }), bytes({ ...good, op: 'shout', text: 'x' }),
    bytes({ ...good, clock: -1, op: 'say', text: 'x' }), bytes({ ...good, clock: 2 ** 50, op: 'say', text: 'x' }), bytes({ ...good, clock: '3', op: 'say', text: 'x' }),
    bytes({ ...good, time: 1e300, op: 'say', text: 'x' }), new TextEncoder().encode('{"op":"say","text":"x","clock":1,"time":1e999,"name":""}'),
    bytes({ ...good, name: 'x'.repeat(41), op: 'say', text: 'x' }), bytes({ ...good, op: 'say', text: 'x'.repeat(4_001) }),
    bytes({ ...good, op: 'check', item: `${author}:0` }), bytes({ ...good, op: 'remove', item: '__proto__' }), bytes({ ...good, op: 'edit', item: `${author}:-1`, text: 'x' }),
    bytes({ ...good, op: 'own', kind: 'log', id: author, space: '', title: '', length: 0 }), bytes({ ...good, op: 'own', kind: 'drive', id: author, space: '', title: '', length: -1 })
  ]) assert.equal(decodeOperation(block, author, 0), null)
})

test('what cannot be read is to be removed and fetched again, unless it is one’s own', () => {
  const error = (code) => Object.assign(new Error('x'), { cause: Object.assign(new Error('y'), { code }) })
  assert.match(explain(error('STORAGE_CORRUPTED'), 'drive').detail, /^Remove the drive/)
  assert.match(explain(error('STORAGE_CORRUPTED'), 'drive', true).detail, /do not remove it.*a backup/)
  assert.doesNotMatch(explain(error('STORAGE_INCOMPLETE'), 'log', true).detail, /a backup/)
  const late = explain(error('STORAGE_TOO_NEW'))
  assert.deepEqual([late.state, late.canRetry], ['too-new', true])
  assert.equal(explain(new Error('WRITE_FAILED: odd')).detail, 'Odd.')
  assert.match(explain(error('STORAGE_OTHER_VERSION')).detail, /^Load that tab again/)
})

test('the blocks that are held are those of a set, in logs of any length', () => {
  const next = numbers(5)
  const bits = { firstSet: (from) => [...set].filter((index) => index >= from).sort((a, b) => a - b)[0] ?? -1, firstUnset (from) { while (set.has(from)) from++; return from } }
  let set = new Set()
  for (const length of [70, 40_000, 100_000, 2 ** 50]) {
    const held = new Held()
    set = new Set(Array.from({ length: 60 }, () => Math.floor(next() / 2 ** 23 * length)).flatMap((start) => Array.from({ length: next() % 40 }, (_, at) => start + at)).filter((index) => index < length))
    held.scan(bits, 0, length)
    assert.deepEqual([held.count, held.length], [set.size, length])
    const cut = Math.floor(length * 0.8)
    for (let round = 0; round < 2; round++) {
      for (let step = 0; step < 200; step++) {
        const [start, end] = [next(), next()].map((part) => Math.floor(part / 2 ** 23 * held.length)).sort((a, b) => a - b)
        assert.equal(held.countBetween(start, end), [...set].filter((index) => index >= start && index < end).length)
        assert.equal(held.has(start), set.has(start))
      }
      held.truncate(cut)
      set = new Set([...set].filter((index) => index < cut))
      assert.deepEqual([held.count, held.length], [set.size, cut])
    }
    held.add(cut + 5)
    assert.deepEqual([held.has(cut + 5), held.has(cut + 4), held.length, held.count], [true, false, cut + 6, set.size + 1])
  }
})

test('the end of a name says what a file is, also where objects have a member of that name', () => {
  assert.deepEqual(['a.PNG', 'README', 'a.constructor', 'png'].map((name) => kindOf(name).kind), ['image', 'text', 'other', 'other'])
})

/** Bundles a module of the page. */
async function load (path) {
  const { outputFiles } = await build({ entryPoints: [join(root, 'web-demo', 'src', 'model', path)], bundle: true, write: false, format: 'esm', logLevel: 'error' })
  return await import(`data:text/javascript,${encodeURIComponent(outputFiles[0].text)}`)
}

/** Three authors who see each other's writing some of the time. */
function conversation (next) {
  const authors = ['a', 'b', 'c'].map((letter) => ({ id: letter.repeat(52), clock: 0, length: 0 }))
  const written = []
  for (let step = 0; step < 40; step++) {
    const author = authors[next() % 3]
    if (next() % 2) author.clock = Math.max(...authors.map(({ clock }) => clock))
    const item = `${authors[next() % 3].id}:${next() % 8}`
    const operation = [{ op: 'say', text: `${step}` }, { op: 'add', text: `${step}` }, { op: 'edit', item, text: `${step}` }, { op: 'check', item, isDone: next() % 2 === 0 }, { op: 'remove', item }][next() % 5]
    written.push({ author: author.id, index: author.length++, clock: ++author.clock, time: step, name: `${author.id[0]}${next() % 2}`, operation })
  }
  return written
}

function stateAfter (written) {
  const merged = new Merged()
  for (const value of written) merged.take(value)
  return { said: merged.messages.map(({ author, index }) => `${author}:${index}`), items: merged.items, clock: merged.clock, names: ['a', 'b', 'c'].map((letter) => merged.nameOf(letter.repeat(52))) }
}

function longestCommon (a, b) {
  const table = Array.from({ length: a.length + 1 }, () => new Array(b.length + 1).fill(0))
  for (let i = a.length - 1; i >= 0; i--) {
    for (let j = b.length - 1; j >= 0; j--) table[i][j] = a[i] === b[j] ? table[i + 1][j + 1] + 1 : Math.max(table[i + 1][j], table[i][j + 1])
  }
  return table[0][0]
}

/** Numbers that only look random. */
function numbers (seed) {
  let state = seed
  return () => {
    state = (state * 1_103_515_245 + 12_345) % 2 ** 31
    return state >> 8
  }
}
