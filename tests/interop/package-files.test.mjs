// What is in the tarball: everything that the package and its readme name, and nothing else.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { before, test } from 'node:test'

import { importsOf } from '../../scripts/lib/declarations.mjs'
import { noticesOf } from '../../scripts/lib/notices.mjs'
import { root, run } from '../../scripts/lib/run.mjs'

const folder = join(root, 'wasm')
const manifest = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'))

/** @type {string[]} */
let packed
before(async () => {
  const [{ files }] = JSON.parse(await run('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], { cwd: folder, capture: true }))
  packed = files.map(({ path }) => path)
})

/** The files that an export names, each with the conditions under which it is taken. */
function * targets (exported, conditions = []) {
  if (typeof exported === 'string') yield { path: exported.slice('./'.length), conditions }
  else for (const [condition, inner] of Object.entries(exported)) yield * targets(inner, [...conditions, condition])
}

test('every file that an entry names is there, and each entry has types of the kind that its modules are of', () => {
  for (const [entry, exported] of Object.entries(manifest.exports)) {
    const all = [...targets(exported)]
    for (const { path, conditions } of all) {
      const found = packed.filter((file) => path.includes('*') ? file.startsWith(path.split('*')[0]) && file.endsWith(path.split('*')[1]) : file === path)
      assert.ok(found.length > 0, `${entry} of ${conditions}: ${path} is missing`)
    }
    if (/\.(?:json|wasm)$/.test(entry)) continue
    assert.equal(Object.keys(exported)[0], 'types', `${entry} has types, where compilers look first`)
    const forRequire = (only) => all.filter(({ conditions }) => conditions.includes('require') && (conditions[0] === 'types') === only).map(({ path }) => path)
    assert.equal(forRequire(true).length, forRequire(false).length > 0 ? 1 : 0, `${entry} has types for require where it has a module for it`)
    for (const path of forRequire(true)) assert.match(path, /\.d\.cts$/)
    for (const path of forRequire(false)) assert.match(path, /\.cjs$/)
  }
})

test('nothing else is there', () => {
  const strays = packed.filter((path) => !/^(?:dist\/(?:browser|node|types|engine)\/|examples\/[\w-]+\.mjs$)/.test(path))

  assert.deepEqual(strays.sort(), ['LICENSE-APACHE', 'LICENSE-MIT', 'README.md', 'dist/THIRD-PARTY-NOTICES.txt', 'examples/README.md', 'package.json'])
  assert.deepEqual(packed.filter((path) => /test|\.tsbuildinfo$|\.tgz$/.test(path)), [])
  const maps = packed.filter((path) => path.endsWith('.map'))
  assert.deepEqual(maps.filter((path) => !packed.includes(path.slice(0, -'.map'.length))), [], 'maps of nothing')
})

test('declarations are there that an entry leads to, and no others', () => {
  const declarations = packed.filter((path) => /\.d\.c?ts$/.test(path))
  const isEntry = (path) => Object.values(manifest.exports).flatMap(({ types }) => types ? [...targets(types)] : [])
    .some(({ path: named }) => new RegExp(`^${named.replaceAll('.', '\\.').replace('*', '.+')}$`).test(path))
  const reached = new Set(declarations.filter(isEntry))
  for (const path of reached) for (const imported of importsOf(join(folder, path))) reached.add(relative(folder, imported).replaceAll('\\', '/'))

  assert.ok(declarations.length > 100)
  assert.deepEqual([...reached].filter((path) => !declarations.includes(path)), [], 'missing')
  assert.deepEqual(declarations.filter((path) => !reached.has(path)), [], 'of nobody')
})

test('everything that others wrote is named, with its version and a licence', async () => {
  const notices = readFileSync(join(folder, 'dist', 'THIRD-PARTY-NOTICES.txt'), 'utf8')
  const [list, ...licences] = notices.split(/^-{80}$/m)
  const listed = [...list.matchAll(/^ {2}(\S.*?) (\d\S*) \(.+\)$/gm)].map(([, name, version]) => `${name} ${version}`)

  const named = (names) => assert.deepEqual(names.filter((name) => !listed.includes(name)), [], 'not named')
  const packages = packagesInBundles()
  assert.ok(packages.includes('streamx') && packages.includes('ws') && packages.includes('buffer'))
  named(packages.map((name) => `${name} ${JSON.parse(readFileSync(join(root, 'node_modules', name, 'package.json'), 'utf8')).version}`))
  const crates = [...cratesInEngine(), ...await cratesOfTree()]
  assert.ok(crates.includes('curve25519-dalek 5.0.0') && crates.length > 30)
  named(crates)
  for (const part of listed) {
    const own = licences.filter((licence) => licence.trimStart().split('\n\n')[0].replaceAll('\n', ' ').split(', ').includes(part))
    assert.ok(own.some((licence) => /\b(?:permi(?:ssion|tted)|grants?)\b/i.test(licence)), `the licence of ${part}`)
  }
  assert.doesNotMatch(list, /[/\\]\w+[/\\](?!browser|node|engine)|:\/\//, 'no place of this machine or of a registry')
  assert.ok(!notices.includes(root))
})

test('a package without a licence stops the build', () => {
  const notices = (licence, authors) => noticesOf('', { all: [{ name: 'thing', version: '1.0.0', licence, authors, texts: [] }] })

  assert.match(notices('MIT', ['A. Person <a@example.org>', 'Others']), /\n\nCopyright \(c\) A\. Person, Others\n\nPermission/)
  assert.match(notices('MIT OR Apache-2.0'), /\nthing 1\.0\.0\n\n +Apache License\n/)
  for (const licence of [undefined, 'ISC', 'MIT', 'Apache-2.0 AND ISC']) assert.throws(() => notices(licence), /^Error: thing 1\.0\.0 comes without the text of its licence/)
})

/** The npm packages that maps of bundles name, and comments that esbuild leaves where nothing is minified. */
function packagesInBundles () {
  const maps = packed.filter((path) => path.endsWith('.js.map')).flatMap((path) => JSON.parse(readFileSync(join(folder, path), 'utf8')).sources)
  const comments = packed.filter((path) => /^dist\/node\/.*\.js$/.test(path)).flatMap((path) => readFileSync(join(folder, path), 'utf8').match(/^\/\/ .*node_modules\/.*$/gm) ?? [])
  return [...new Set([...maps, ...comments].flatMap((path) => /\bnode_modules\/((?:@[^/]+\/)?[^/]+)/.exec(path)?.[1] ?? []))]
}

/** The crates from whose sources the engine may panic. */
function cratesInEngine () {
  const engine = readFileSync(join(folder, 'dist', 'engine', 'hypertab_bg.wasm'), 'latin1')
  return [...new Set([...engine.matchAll(/registry\/src\/[^/]+\/([\w-]+?)-(\d+\.[\w.+-]+)\/src/g)].map(([, name, version]) => `${name} ${version}`))]
}

/** The crates that the engine is compiled with, which need not panic. */
async function cratesOfTree () {
  const tree = await run('cargo', ['tree', '--locked', '-p', 'hypertab-wasm', '--target', 'wasm32-unknown-unknown', '--edges', 'normal,no-proc-macro', '--prefix', 'none'], { capture: true })
  return [...new Set(tree.split('\n').filter((line) => line && !line.includes('(/') && !line.startsWith('hypertab')).map((line) => line.replace(/ v(\S+).*/, ' $1')))]
}

test('the licences are those of the repository', () => {
  for (const name of ['LICENSE-APACHE', 'LICENSE-MIT']) assert.equal(readFileSync(join(folder, name), 'utf8'), readFileSync(join(root, name), 'utf8'), name)
})

test('links of the readme lead somewhere where it is shown without the repository', () => {
  const readme = readFileSync(join(folder, 'README.md'), 'utf8')
  const anchors = new Set([...readme.matchAll(/^#+ (.+)$/gm)].map(([, title]) => `#${title.toLowerCase().replace(/[^\w\s-]/g, '').replaceAll(' ', '-')}`))
  const links = [...readme.matchAll(/\]\(([^)]+)\)/g)].map(([, link]) => link)

  assert.ok(links.length > 4)
  assert.deepEqual(links.filter((link) => !link.startsWith('https://') && !anchors.has(link)), [])
})
