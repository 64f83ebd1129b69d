// What a path in a drive means. The same rules as `hyperdrive::path` of the engine, which may not be loaded yet when a
// program first names a file.

/** Where a path leads from another, which counts as a folder. */
export function resolvePath (base: string, path = ''): string {
  const [from, to] = [parse(base), parse(path)]
  if (!to.isAbsolute && !from.isAbsolute) throw new Error('One of the two paths must be absolute')
  const names: string[] = []
  if (!to.isAbsolute) walk(names, from.names)
  walk(names, to.names)
  return '/' + names.join('/')
}

/** The path of a file. */
export function filePath (path: string): string {
  const resolved = resolvePath('/', path)
  if (resolved === '/') throw new Error('Invalid filename: /')
  return resolved
}

/** The path of a folder, without a slash at its end: empty for the root. */
export function folderPath (path: string | null | undefined): string {
  const resolved = resolvePath('/', path || '/')
  return resolved === '/' ? '' : resolved
}

/** What is to be left out. */
export type Ignore = string | string[] | ((key: string) => boolean)

/** Whether a path is to be left out: by itself, or with a folder that it is in. */
export function toIgnoreFunction (ignore: Ignore): (key: string) => boolean {
  if (typeof ignore === 'function') return ignore
  const all = [ignore].flat().map((path) => resolvePath('/', path))
  return (key) => all.some((path) => path === key || key.startsWith(path + '/'))
}

function parse (path: string): { isAbsolute: boolean, names: string[] } {
  const names = path.split(/[/\\]/)
  const [first = ''] = names
  if (names.length === 1 || !first.endsWith(':')) return { isAbsolute: path.startsWith('/') || path.startsWith('\\'), names }
  // A drive letter or a local file; anything else has a host after it.
  return { isAbsolute: true, names: names.slice(first.length === 2 || first === 'file:' ? 1 : 3) }
}

function walk (names: string[], steps: string[]): void {
  for (const step of steps) {
    if (step === '' || step === '.') continue
    if (step !== '..') names.push(step)
    else if (names.pop() === undefined) throw new Error('Path cannot be resolved, too many \'..\'')
  }
}
