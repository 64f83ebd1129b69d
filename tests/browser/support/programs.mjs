// Programs of tests/interop that ran with upstream's classes in Node, to be run with ours in a page.

import { rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { isDeepStrictEqual } from 'node:util'

import { build } from 'esbuild'
import Corestore from 'corestore'
import CoreStorage from 'hypercore-storage'
import Hyperbee from 'hyperbee'
import Upstream from 'hypercore'
import Hyperdrive from 'hyperdrive'
import MirrorDrive from 'mirror-drive'

import { root } from '../../../scripts/lib/run.mjs'
import { temporaryFolder } from '../../interop/support/folder.mjs'

const require = createRequire(import.meta.url)

/** Files of programs that need nothing of Node: over cores, and over what is built of them. */
export const CORES = [
  'js-suite-batch', 'js-suite-bits', 'js-suite-core', 'js-suite-more', 'js-suite-parts', 'js-suite-peers', 'js-suite-repair', 'js-suite-replicate',
  'js-suite-sessions', 'js-suite-snapshots', 'js-suite-storage', 'js-upstream-core', 'js-upstream-core-details'
]
export const STORES = [
  'js-readme', 'js-upstream-corestore', 'js-upstream-corestore-details', 'js-upstream-corestore-groups', 'js-upstream-corestore-upkeep', 'js-upstream-drive-remote', 'js-upstream-drive-replicate',
  'js-upstream-atoms', 'js-upstream-hyperbee', 'js-upstream-hyperbee-edges', 'js-upstream-hyperbee-watch', 'js-upstream-hyperblobs', 'js-upstream-hyperblobs-edges', 'js-upstream-hyperdrive', 'js-upstream-hyperdrive-edges'
]

/** Programs over swarms, which need a network. */
export const SWARMS = ['js-upstream-hyperswarm']

/** What programs import in a page in place of packages that need Node. */
const IN_A_PAGE = {
  'hypercore-crypto': `export { crypto as default } from ${JSON.stringify(join(import.meta.dirname, 'page-tools.mjs'))}`,
  'hypercore-storage': "export { HypercoreStorage as default } from '/hypertab/browser/storage.js'",
  'node:util': 'export const inspect = String',
  'hypertab/hyperblobs': "export { default } from '/hypertab/browser/hyperblobs.js'",
  // Upstream's, which no program meets there.
  hypercore: 'export default null',
  hyperblobs: 'export default null'
}

/** How Node's consoles show a core, how its Buffer refuses what is none, what a lock of a file says, cores that tabs would share, and sessions of upstream's class. */
const OF_NODE = new Set([
  'how a core shows itself', 'append - bad data type', 'one directory, one store', 'one storage, cores that open at once', 'a store that waits for another, and one that only reads',
  'sessions of upstream\'s class watch a core'
])

/**
 * Bundles the programs of some files.
 *
 * @param {import('node:test').TestContext} t
 * @param {string[]} files
 * @returns {Promise<{ script: string, names: string[], record: (name: string, t: import('node:test').TestContext, network?: object) => Promise<object> }>}
 *   the file for a page, which exports `run` and `tools`; the programs that a page can run; what upstream notes in one
 */
export async function bundlePrograms (t, files) {
  const folder = temporaryFolder(t)
  const [forNode, script] = await Promise.all([bundle(folder, files, 'node'), bundle(folder, files, 'browser')])
  t.after(() => { rmSync(forNode) })
  const recorded = await import(pathToFileURL(forNode).href)
  return {
    script,
    names: recorded.names().filter((name) => !OF_NODE.has(name)),
    record: (name, t, network) => recorded.run(name, {
      network,
      Hypercore: Upstream,
      Storage: CoreStorage,
      lib: (path) => require(`hypercore/${path}`),
      isEqual: isDeepStrictEqual,
      kit: { name: 'upstream', Hypercore: Upstream, Corestore, Hyperbee, Hyperdrive, MirrorDrive },
      folder: () => temporaryFolder(t)
    })
  }
}

/** The programs in one file. */
async function bundle (folder, files, platform) {
  const isPage = platform === 'browser'
  // In Node it finds the packages only from here.
  const outfile = isPage ? join(folder, 'suites.js') : join(root, 'artifacts', `suites-${process.pid}-${files.length}.mjs`)
  const support = (name) => join(import.meta.dirname, name)
  await build({
    stdin: {
      contents: [
        ...files.map((name) => `import ${JSON.stringify(join(root, 'tests', 'interop', `${name}.test.mjs`))}`),
        `export { names, run } from ${JSON.stringify(support('recorder.mjs'))}`,
        isPage ? `export { networkKit, tools } from ${JSON.stringify(support('page-tools.mjs'))}` : ''
      ].join('\n'),
      resolveDir: root
    },
    outfile,
    bundle: true,
    format: 'esm',
    target: 'es2022',
    platform,
    packages: isPage ? 'bundle' : 'external',
    external: ['/hypertab/*'],
    inject: isPage ? [support('buffer.mjs')] : [],
    logLevel: 'error',
    plugins: [{
      name: 'recorder',
      setup (build) {
        build.onResolve({ filter: /\/support\/(suite|both|bees|stores|drives|same-swarms)\.mjs$/ }, () => ({ path: support('recorder.mjs') }))
        if (!isPage) return
        build.onResolve({ filter: new RegExp(`^(${Object.keys(IN_A_PAGE).join('|')})$`) }, ({ path }) => ({ path, namespace: 'page' }))
        build.onLoad({ filter: /.*/, namespace: 'page' }, ({ path }) => ({ contents: IN_A_PAGE[path], resolveDir: root }))
      }
    }]
  })
  return outfile
}
