// Which modules go into one file. esbuild makes one for each set of entries that have modules in common; a page would load forty, and each is
// compressed on its own.

import { existsSync } from 'node:fs'
import { relative, resolve } from 'node:path'

/** Fewer bytes than this, compiled and not minified, are no file of their own: they go along where all who need them look anyway. */
const SMALL = 6_000

/**
 * Finds groups of modules that are to be one file each. Where every entry imports all of each group that it needs something of, esbuild finds the
 * group in one set of entries.
 *
 * @param {typeof import('esbuild')} esbuild
 * @param {Omit<import('esbuild').BuildOptions, 'entryPoints'> & { entryPoints: Record<string, string> }} options what is built
 * @param {string[]} parts names of entries that are parts of others: they make no groups
 * @param {string[]} apart modules that are files of their own, in no group
 * @returns {Promise<{ before: (path: string) => string, plugin: import('esbuild').Plugin }>} what to write before the source of an entry, and what
 *   finds it
 */
export async function groupModules (esbuild, options, parts, apart) {
  const { metafile } = await esbuild.build({ ...options, write: false, sourcemap: false, metafile: true })
  const reached = new Map(Object.entries(options.entryPoints).map(([name, path]) => [name, reach(metafile, [relative('.', path)])]))
  const groups = [...groupsOf(reached, sizesOf(metafile), new Set(parts), new Set(apart)).values()]
  const wanted = new Map([...reached].map(([name, modules]) => [options.entryPoints[name], wantedOf(metafile, groups, modules)]))
  return {
    // In its first line, so that maps of the sources keep their lines.
    before: (path) => (wanted.get(path) ?? []).map((group) => `import 'group:${group}';`).join(''),
    plugin: {
      name: 'groups',
      setup (build) {
        build.onResolve({ filter: /^group:/ }, ({ path }) => ({ path: path.slice('group:'.length), namespace: 'group', sideEffects: true }))
        build.onLoad({ filter: /.*/, namespace: 'group' }, ({ path }) => ({
          contents: groups[path].map((module) => `import ${JSON.stringify(resolve(module))}`).join('\n'), resolveDir: '.'
        }))
        // Whatever is imported for its group stays.
        build.onResolve({ filter: /^/, namespace: 'group' }, ({ path }) => ({ path, sideEffects: true }))
        build.onResolve({ filter: /^\.\.?\/.*\.js$/ }, ({ path, resolveDir }) => {
          const file = resolve(resolveDir, path.replace(/\.js$/, '.ts'))
          return existsSync(file) ? { path: file, sideEffects: true } : undefined
        })
      }
    }
  }
}

/** The groups of which an entry needs something, or a group that it needs. */
function wantedOf (metafile, groups, modules) {
  const wanted = new Set()
  let reached = modules
  let found
  do {
    found = wanted.size
    groups.forEach((group, number) => { if (group.some((module) => reached.has(module))) wanted.add(number) })
    reached = reach(metafile, [...wanted].flatMap((number) => groups[number]))
  } while (wanted.size > found)
  return [...wanted].sort((a, b) => a - b)
}

/** Modules by the entries that reach them, in the order in which they are found: whoever begins a circle has to stay first. */
function groupsOf (reached, sizes, parts, apart) {
  const groups = new Map()
  const entriesOf = new Map()
  for (const [name, modules] of reached) {
    if (parts.has(name)) continue
    for (const module of modules) entriesOf.set(module, [...entriesOf.get(module) ?? [], name])
  }
  for (const [module, entries] of entriesOf) {
    // What one entry has alone is in its own file.
    if (entries.length < 2 || !sizes.has(module) || !module.endsWith('.ts') || apart.has(module)) continue
    const group = entries.join(' ')
    groups.set(group, [...groups.get(group) ?? [], module])
  }
  const weight = (group) => groups.get(group).reduce((sum, module) => sum + sizes.get(module), 0)
  const covers = (group, other) => other.split(' ').every((entry) => group.split(' ').includes(entry))
  const large = [...groups.keys()].filter((group) => weight(group) >= SMALL).sort((a, b) => a.split(' ').length - b.split(' ').length)
  for (const [group, modules] of groups) {
    const home = large.includes(group) ? undefined : large.find((other) => covers(other, group))
    if (home === undefined) continue
    groups.get(home).push(...modules)
    groups.delete(group)
  }
  return groups
}

/** What each module is in the output, in bytes. */
function sizesOf ({ outputs }) {
  const sizes = new Map()
  for (const { inputs } of Object.values(outputs)) {
    for (const [module, { bytesInOutput }] of Object.entries(inputs)) sizes.set(module, (sizes.get(module) ?? 0) + bytesInOutput)
  }
  return sizes
}

/** Modules and all that they import, on whatever way, in the order in which they are found. */
function reach ({ inputs }, modules) {
  const seen = new Set()
  const left = modules.toReversed()
  while (left.length > 0) {
    const module = left.pop()
    if (seen.has(module)) continue
    seen.add(module)
    const imports = inputs[module].imports.filter(({ external, kind }) => !external && kind !== 'dynamic-import')
    left.push(...imports.map(({ path }) => path).reverse())
  }
  return seen
}
