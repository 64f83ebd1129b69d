// What the declarations of the built package export, and those for `require`.

import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'

import { Failure } from './run.mjs'

/**
 * What a file of declarations exports.
 *
 * @returns {Map<string, string>} names, but `default`, and the text of each declaration
 */
export function exportsOf (file) {
  return new Map([...exported(file)].map(([name, { text }]) => [name, text]))
}

/**
 * What a file of declarations exports, with the classes of ours that each class inherits from and that programs cannot import.
 *
 * @returns {Map<string, { text: string, bases: Array<{ name: string, text: string }> }>}
 */
export function describedExports (file) {
  const found = exported(file)
  const texts = new Set([...found.values()].map(({ text }) => text))
  return new Map([...found].map(([name, declaration]) => [name, { text: declaration.text, bases: [...basesOf(declaration)].filter(({ text }) => !texts.has(text)) }]))
}

/** @typedef {{ text: string, file: string }} Declaration */

/** @returns {Map<string, Declaration>} */
function exported (file, seen = new Set()) {
  const found = new Map()
  if (seen.has(file) || !existsSync(file)) return found
  seen.add(file)
  const source = readFileSync(file, 'utf8')
  const imported = importedNames(source)
  const from = (path) => exported(besides(file, path), new Set(seen))
  for (const [name, text] of declarations(source)) found.set(name, { text, file })
  for (const [, star, names, path] of source.matchAll(/^export (?:type )?(?:(\*(?: as \w+)?)|\{([^}]*)\})(?: from '([^']+)')?;/gm)) {
    if (star) {
      if (star === '*') for (const [name, declaration] of from(path)) found.set(name, declaration)
      continue
    }
    for (const part of names.split(',')) {
      const [own, as = own] = part.trim().replace(/^type /, '').split(' as ')
      const source = path ?? imported.get(own)
      const declaration = source?.startsWith('.') ? from(source).get(own) : found.get(own)
      if (declaration && as !== 'default') found.set(as, declaration)
    }
  }
  return found
}

/** What a class inherits from, the nearest first. */
function * basesOf ({ text, file }) {
  const name = /^(?:export )?declare (?:abstract )?class \w+(?:<.*?>)? extends (\w+)/m.exec(text)?.[1]
  if (name === undefined) return
  const source = readFileSync(file, 'utf8')
  const path = importedNames(source).get(name)
  if (path !== undefined && !path.startsWith('.')) return
  const base = path === undefined ? { text: [...declarations(source, '(?:export )?')].find(([own]) => own === name)?.[1], file } : exported(besides(file, path)).get(name)
  if (base?.text === undefined || base.text === text || !/^(?:export )?declare (?:abstract )?class /m.test(base.text)) return
  yield { name, text: base.text }
  yield * basesOf(base)
}

function importedNames (source) {
  return new Map([...source.matchAll(/^import (?:type )?\{([^}]*)\} from '([^']+)'/gm)].flatMap(([, names, from]) => names.split(',').map((name) => [name.trim().replace(/^type /, ''), from])))
}

function besides (file, path) {
  return join(dirname(file), path.replace(/\.js$/, '.d.ts'))
}

/** The declarations of a file, each with the comment before it; without an argument those that are exported where they stand. */
function * declarations (source, before = 'export ') {
  const start = new RegExp(`^(?:/\\*\\*(?:(?!\\*/)[^])*\\*/\\n)?${before}(?:declare )?(?:abstract )?(?:class|interface|type|function|const|let) (\\w+)`, 'gm')
  for (const match of source.matchAll(start)) {
    const rest = source.slice(match.index)
    // A declaration ends where a line that is not indented ends with a bracket or a semicolon.
    const end = /^(?:\}[^\n]*|export [^\n]*(?:;|\}))$/m.exec(rest)
    if (end) yield [match[1], rest.slice(0, end.index + end[0].length)]
  }
}

/**
 * Writes `entries/require/NAME.d.cts` for what `require` gives. Compilers take a `.d.ts` of this package for an ES module, which programs of
 * CommonJS may not import before TypeScript 5.8, and which has no way to say that it is a class.
 *
 * @param {string} types the folder with the declarations
 * @param {Record<string, string>} names of entries, each with its declarations for `import`, below that folder
 */
export function writeTypesForRequire (types, names) {
  const own = join(types, 'entries', 'require')
  for (const [name, path] of Object.entries(names)) {
    const file = join(own, name)
    mkdirSync(dirname(file), { recursive: true })
    writeFileSync(`${file}.d.cts`, forRequire(file, join(types, path)))
    // It said the same to ES modules, which have the entry itself.
    rmSync(`${file}.d.ts`, { force: true })
  }
}

/**
 * Deletes the declarations that no entry of a package leads to: those of what is inside of it, and those of wasm-bindgen.
 *
 * @param {string} folder the folder of the package
 */
export function dropUnreached (folder) {
  const dist = join(folder, 'dist')
  const all = readdirSync(dist, { recursive: true, encoding: 'utf8' }).map((path) => join(dist, path)).filter((path) => /\.d\.c?ts$/.test(path))
  const reached = new Set(all.filter(isEntry(folder)))
  // What is added on the way is walked, too.
  for (const file of reached) {
    for (const imported of importsOf(file)) {
      if (!existsSync(imported)) throw new Failure(`${relative(folder, file)} imports ${relative(folder, imported)}, and there is none`)
      reached.add(imported)
    }
  }
  for (const file of all) if (!reached.has(file)) rmSync(file)
  removeEmpty(dist)
}

/** Whether a file is one that a condition `types` of the package names. */
function isEntry (folder) {
  const { exports } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'))
  const named = Object.values(exports).flatMap(({ types }) => types === undefined ? [] : typeof types === 'string' ? [types] : Object.values(types))
    .map((path) => path.split('*').map((part, number) => number === 0 ? join(folder, part) : part))
  return (file) => named.some(([start, end]) => end === undefined ? file === start : file.startsWith(start) && file.endsWith(end))
}

/** The declarations of ours that a file of them imports. */
export function importsOf (file) {
  const source = readFileSync(file, 'utf8')
  return [...source.matchAll(/(?:\bfrom |\bimport |\bimport\()'(\.[^']*)\.js'/g)].map(([, path]) => `${join(dirname(file), path)}.d.ts`)
}

function removeEmpty (folder) {
  for (const entry of readdirSync(folder, { withFileTypes: true })) if (entry.isDirectory()) removeEmpty(join(folder, entry.name))
  if (readdirSync(folder).length === 0) rmdirSync(folder)
}

const ATTRIBUTES = "with { 'resolution-mode': 'import' }"

function forRequire (own, entry) {
  const path = relative(dirname(own), entry).replaceAll('\\', '/').replace(/\.d\.ts$/, '.js')
  const value = exportsOf(`${own}.d.ts`).get("'module.exports'")
  const [, name, parameters = ''] = /export declare (?:abstract )?class (\w+)(<[^{]*?>)?(?: extends| implements| \{)/.exec(value ?? '') ?? []
  if (name === undefined) {
    const member = value === undefined ? '' : '.default'
    return `import type * as entry from '${path}' ${ATTRIBUTES};\ndeclare const value: typeof entry${member};\nexport = value;\n`
  }
  const also = [...exportsOf(entry)].filter(([as, text]) => as !== name && text !== value && /export (?:declare )?(?:abstract )?(?:class|interface|type) /.test(text)).map(([as]) => as)
  const passed = parameters.replace(/ = [^,>]+/g, '')
  return [
    `import type { ${['default as EntryClass', ...also].join(', ')} } from '${path}' ${ATTRIBUTES};`,
    'declare const EntryBase: typeof EntryClass;',
    // A constant could not have types within.
    `declare class ${name}${parameters} extends EntryBase${passed} {}`,
    ...(also.length > 0 ? [`declare namespace ${name} { export type { ${also.join(', ')} }; }`] : []),
    `export = ${name};\n`
  ].join('\n')
}
