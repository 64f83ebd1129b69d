// The package as it would be published, in a fresh folder.

import { createHash } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

import { root, run } from '../../../scripts/lib/run.mjs'
import { temporaryFolder } from '../../interop/support/folder.mjs'

/** Packs the package, and installs it in a folder of its own without a network. */
export async function installTarball (t) {
  const folder = temporaryFolder(t)
  const [{ filename }] = JSON.parse(await run('npm', ['pack', '--json', '--pack-destination', folder], { cwd: join(root, 'wasm'), capture: true }))
  const tarball = `file:${filename}`
  const { dependencies, version } = JSON.parse(readFileSync(join(root, 'wasm', 'package.json'), 'utf8'))
  const integrity = `sha512-${createHash('sha512').update(readFileSync(join(folder, filename))).digest('base64')}`
  const project = { name: 'fresh', version: '1.0.0', private: true, type: 'module', dependencies: { hypertab: tarball } }
  const packages = {
    '': project,
    'node_modules/hypertab': { version, resolved: tarball, integrity, dependencies },
    ...lockedPackages(Object.keys(dependencies))
  }
  writeFileSync(join(folder, 'package.json'), JSON.stringify(project))
  // With versions that this repository has locked, npm takes every package from its cache.
  writeFileSync(join(folder, 'package-lock.json'), JSON.stringify({ ...project, lockfileVersion: 3, requires: true, packages }))
  await run('npm', ['ci', '--offline', '--no-audit', '--no-fund', '--ignore-scripts'], { cwd: folder, capture: true })
  return folder
}

/** What the repository's lock file says of packages and of all that they need. */
function lockedPackages (names) {
  const { packages } = JSON.parse(readFileSync(fileURLToPath(new URL('../../../package-lock.json', import.meta.url)), 'utf8'))
  const found = {}
  const visit = (name) => {
    const path = `node_modules/${name}`
    const entry = packages[path]
    if (!entry || found[path]) return
    const { dev, devOptional, ...kept } = entry
    found[path] = kept
    for (const need of Object.keys({ ...entry.dependencies, ...entry.optionalDependencies })) visit(need)
  }
  names.forEach(visit)
  return found
}
