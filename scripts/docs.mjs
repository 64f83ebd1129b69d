// Writes a reference of the npm package into artifacts/docs, from its declarations: npm run docs

import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { pathToFileURL } from 'node:url'

import { describedExports } from './lib/declarations.mjs'
import { Failure, main, root, say } from './lib/run.mjs'

const types = join(root, 'wasm', 'dist', 'types')

/**
 * Writes a page for each entry of the package, and a list of them.
 *
 * @returns {Map<string, string[]>} the names that each entry exports
 */
export function writeDocs (folder = join(root, 'artifacts', 'docs')) {
  if (!existsSync(types)) throw new Failure('the package is not built; run: npm run build')
  const { exports } = JSON.parse(readFileSync(join(root, 'wasm', 'package.json'), 'utf8'))
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true })
  const entries = new Map()
  for (const [path, { types: declared }] of Object.entries(exports)) {
    const file = declared?.default ?? declared
    // Parts of upstream's package that programs import have no documentation of their own.
    if (!file || path.includes('*')) continue
    const found = describedExports(join(root, 'wasm', file))
    const name = `hypertab${path.slice(1)}`
    entries.set(name, [...found.keys()].sort())
    writeFileSync(join(folder, `${name.replaceAll('/', '.')}.md`), page(name, found))
  }
  const list = [...entries].map(([name, names]) => `- [${name}](${name.replaceAll('/', '.')}.md): ${names.filter((name) => /^[A-Z]\w+$/.test(name)).slice(0, 6).join(', ')}`)
  writeFileSync(join(folder, 'README.md'), `# hypertab\n\n${list.join('\n')}\n`)
  return entries
}

function page (name, found) {
  // What several classes inherit from is there once.
  const all = new Map([...found.values()].flatMap(({ bases }) => bases).map((base) => [base.name, { text: base.text, bases: [] }]))
  for (const [name, declaration] of found) all.set(name, declaration)
  return `# ${name}\n\n${[...all].sort(([a], [b]) => a < b ? -1 : 1).map(([name, declaration]) => section(name, declaration)).join('\n')}`
}

function section (name, { text, bases }) {
  const [, comment = '', declaration] = /^(\/\*\*(?:(?!\*\/)[^])*\*\/\n)?([^]*)$/.exec(text)
  const words = comment.replace(/^\/\*\*|\*\/\n$/g, '').replace(/^ *\* ?/gm, '').trim()
  const also = bases.length > 0 ? `It also has what ${bases.map(({ name }) => `[${name}](#${name.toLowerCase()})`).join(', ')} ${bases.length > 1 ? 'have' : 'has'}.` : ''
  return `## ${[name, words, also].filter(Boolean).join('\n\n')}\n\n\`\`\`ts\n${declaration}\n\`\`\`\n`
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  await main(async () => {
    const entries = writeDocs()
    say(`${entries.size} pages in ${relative(process.cwd(), join(root, 'artifacts', 'docs'))}`)
  })
}
