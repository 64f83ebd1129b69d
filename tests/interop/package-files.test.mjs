// What is in the tarball: everything that the package and its readme name, and nothing else.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { before, test } from 'node:test'

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

  assert.deepEqual(strays.sort(), ['LICENSE-APACHE', 'LICENSE-MIT', 'README.md', 'examples/README.md', 'package.json'])
  assert.deepEqual(packed.filter((path) => /test|\.tsbuildinfo$|\.tgz$/.test(path)), [])
  const maps = packed.filter((path) => path.endsWith('.map'))
  assert.deepEqual(maps.filter((path) => !packed.includes(path.slice(0, -'.map'.length))), [], 'maps of nothing')
})

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
