// Names what the package is made of besides our own sources, with the licences that ask for it: dist/THIRD-PARTY-NOTICES.txt.

import { readdirSync, readFileSync, statSync } from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'

import { Failure, root, run } from './run.mjs'

/**
 * A package that something of ours has code of.
 *
 * @typedef {{ name: string, version: string, licence: string | undefined, authors?: string[], texts: string[] }} Part
 */

/** What packages call the files with their licences and notices. */
const FILES = /^(?:licen[cs]e|unlicense|copying|copyright|notice)(?:[._-].*)?$/i

/** Texts for packages that come without, by the SPDX identifier of their licence: all but the names of who wrote them. */
const STANDARD = {
  'Apache-2.0': () => ours('LICENSE-APACHE'),
  /** @param {Part} part */
  MIT: ({ authors = [] }) => authors.length > 0 ? ours('LICENSE-MIT').replace(/^Copyright .*$/m, `Copyright (c) ${authors.map((author) => author.replace(/ *<.*>/, '')).join(', ')}`) : null
}

/**
 * The npm packages of which bundles have code.
 *
 * @param {import('esbuild').Metafile[]} metafiles
 * @returns {Part[]}
 */
export function bundledPackages (metafiles) {
  const used = metafiles.flatMap(({ outputs }) => Object.values(outputs)).flatMap(({ inputs }) => Object.entries(inputs))
    .filter(([, { bytesInOutput }]) => bytesInOutput > 0)
  const folders = new Set(used.flatMap(([path]) => /^.*\bnode_modules\/(?:@[^/]+\/)?[^/]+(?=\/)/.exec(path)?.[0] ?? []))
  return sorted([...folders].map((folder) => {
    const { name, version, license } = JSON.parse(readFileSync(resolve(folder, 'package.json'), 'utf8'))
    return { name, version, licence: license, texts: textsOf(resolve(folder)) }
  }))
}

/**
 * The crates that a crate of the workspace is compiled with for a target, and the library of the compiler.
 *
 * @param {string} crate
 * @param {string} target
 * @returns {Promise<Part[]>}
 */
export async function compiledCrates (crate, target) {
  // The tree tells apart what is for the target and what for the compiler, which the list of packages does not.
  const [tree, metadata, compiler] = await Promise.all([
    run('cargo', ['tree', '--quiet', '--locked', '-p', crate, '--target', target, '--edges', 'normal,no-proc-macro', '--prefix', 'none', '--no-dedupe', '--format', '{p}'], { capture: true }),
    run('cargo', ['metadata', '--quiet', '--locked', '--format-version', '1', '--filter-platform', target], { capture: true }),
    run('rustc', ['--version'], { capture: true })
  ])
  const compiled = new Set(tree.split('\n').map((line) => line.split(' ').slice(0, 2).join(' ')))
  const crates = JSON.parse(metadata).packages.filter(({ name, version, source }) => source !== null && compiled.has(`${name} v${version}`))
  return [
    ...sorted(crates.map(({ name, version, license, authors, manifest_path: manifest }) => ({ name, version, licence: license, authors, texts: textsOf(dirname(manifest)) }))),
    // Compilers come without the texts.
    { name: 'the standard library of Rust', version: compiler.split(' ')[1], licence: 'MIT OR Apache-2.0', texts: [] }
  ]
}

/**
 * Writes all of it as one text: what there is of each kind, then each licence once, with the packages that come under it.
 *
 * @param {string} heading
 * @param {Record<string, Part[]>} kinds
 */
export function noticesOf (heading, kinds) {
  /** @type {Map<string, { text: string, parts: string[] }>} */
  const texts = new Map()
  for (const part of Object.values(kinds).flat()) {
    for (const text of part.texts.length > 0 ? part.texts : [standardText(part)]) {
      // Some break their lines elsewhere, or indent.
      const words = text.replace(/\s+/g, ' ').trim()
      const found = texts.get(words) ?? { text, parts: [] }
      found.parts.push(`${part.name} ${part.version}`)
      texts.set(words, found)
    }
  }
  const lists = Object.entries(kinds).map(([kind, parts]) => `${kind}:\n\n${parts.map(({ name, version, licence }) => `  ${name} ${version}${licence ? ` (${licence})` : ''}\n`).join('')}`)
  const sections = [...texts.values()].map(({ text, parts }) => `${'-'.repeat(80)}\n${wrapped(parts)}\n\n${text.replaceAll('\r\n', '\n').replace(/^(?:[ \t]*\n)+/, '').trimEnd()}\n`)
  return [`${heading}\n`, ...lists, ...sections].join('\n')
}

/** Also those below: of what a package has taken over from another. */
function textsOf (folder) {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((path) => FILES.test(basename(path)) && !path.includes('node_modules') && statSync(join(folder, path)).isFile())
    .map((path) => readFileSync(join(folder, path), 'utf8'))
}

/** @param {Part} part */
function standardText (part) {
  const { name, version, licence } = part
  // Of several, any will do.
  const choices = /\bAND\b/.test(licence ?? '') ? [] : licence?.split(/ OR |\//) ?? []
  const text = choices.map((id) => STANDARD[id]?.(part)).find(Boolean)
  if (text) return text
  throw new Failure(`${name} ${version} comes without the text of its licence, ${licence ?? 'which it does not name'}; scripts/lib/notices.mjs has none either`)
}

function ours (name) {
  return readFileSync(join(root, name), 'utf8')
}

function sorted (parts) {
  const key = ({ name, version }) => `${name} ${version}`
  return parts.sort((a, b) => key(a) < key(b) ? -1 : 1)
}

/** Names as lines of at most 80 letters. */
function wrapped (parts) {
  const lines = ['']
  parts.forEach((part, number) => {
    const word = number < parts.length - 1 ? `${part},` : part
    const line = lines.at(-1)
    if (line.length + word.length + 1 > 80) lines.push(word)
    else lines[lines.length - 1] = line ? `${line} ${word}` : word
  })
  return lines.join('\n')
}
