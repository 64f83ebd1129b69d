// Writes a reference of the npm package into artifacts/docs, from its declarations: npm run docs

import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { pathToFileURL } from 'node:url'

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
  for (const [path, { types: file }] of Object.entries(exports)) {
    // Parts of upstream's package that programs import have no documentation of their own.
    if (!file || path.includes('*')) continue
    const found = exportsOf(join(root, 'wasm', file))
    const name = `hypertab${path.slice(1)}`
    entries.set(name, [...found.keys()].sort())
    writeFileSync(join(folder, `${name.replaceAll('/', '.')}.md`), page(name, found))
  }
  const list = [...entries].map(([name, names]) => `- [${name}](${name.replaceAll('/', '.')}.md): ${names.filter((name) => /^[A-Z]\w+$/.test(name)).slice(0, 6).join(', ')}`)
  writeFileSync(join(folder, 'README.md'), `# hypertab\n\n${list.join('\n')}\n`)
  return entries
}

/** What a file exports: names, and the text of each declaration. */
function exportsOf (file, seen = new Set()) {
  const found = new Map()
  if (seen.has(file) || !existsSync(file)) return found
  seen.add(file)
  const source = readFileSync(file, 'utf8')
  const imported = new Map([...source.matchAll(/^import (?:type )?\{([^}]*)\} from '([^']+)'/gm)].flatMap(([, names, from]) => names.split(',').map((name) => [name.trim(), from])))
  const from = (path) => exportsOf(join(dirname(file), path.replace(/\.js$/, '.d.ts')), new Set(seen))
  for (const [name, text] of declarations(source)) found.set(name, text)
  for (const [, star, names, path] of source.matchAll(/^export (?:type )?(?:(\*(?: as \w+)?)|\{([^}]*)\})(?: from '([^']+)')?;/gm)) {
    if (star) {
      if (star === '*') for (const [name, text] of from(path)) found.set(name, text)
      continue
    }
    for (const part of names.split(',')) {
      const [own, as = own] = part.trim().replace(/^type /, '').split(' as ')
      const source = path ?? imported.get(own)
      const text = source?.startsWith('.') ? from(source).get(own) : found.get(own)
      if (text && as !== 'default') found.set(as, text)
    }
  }
  return found
}

/** The exported declarations of a file, each with the comment before it. */
function * declarations (source) {
  const start = /^(?:\/\*\*(?:(?!\*\/)[^])*\*\/\n)?export (?:declare )?(?:abstract )?(?:class|interface|type|function|const|let) (\w+)/gm
  for (const match of source.matchAll(start)) {
    const rest = source.slice(match.index)
    // A declaration ends where a line that is not indented ends with a bracket or a semicolon.
    const end = /^(?:\}[^\n]*|export [^\n]*(?:;|\}))$/m.exec(rest)
    if (end) yield [match[1], rest.slice(0, end.index + end[0].length)]
  }
}

function page (name, found) {
  const parts = [...found].sort(([a], [b]) => a < b ? -1 : 1).map(([name, text]) => {
    const [, comment = '', declaration] = /^(\/\*\*(?:(?!\*\/)[^])*\*\/\n)?([^]*)$/.exec(text)
    const words = comment.replace(/^\/\*\*|\*\/\n$/g, '').replace(/^ *\* ?/gm, '').trim()
    return `## ${name}\n\n${words ? `${words}\n\n` : ''}\`\`\`ts\n${declaration}\n\`\`\`\n`
  })
  return `# ${name}\n\n${parts.join('\n')}`
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  await main(async () => {
    const entries = writeDocs()
    say(`${entries.size} pages in ${relative(process.cwd(), join(root, 'artifacts', 'docs'))}`)
  })
}
