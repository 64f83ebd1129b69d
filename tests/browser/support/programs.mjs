// Programs of tests/interop that ran with upstream's classes in Node, to be run with ours in a page.

import { rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { isDeepStrictEqual } from 'node:util'

import { build } from 'esbuild'
import CoreStorage from 'hypercore-storage'
import Upstream from 'hypercore'

import { root } from '../../../scripts/lib/run.mjs'
import { temporaryFolder } from '../../interop/support/folder.mjs'

const require = createRequire(import.meta.url)

/** Files of programs that need nothing of Node. */
const FILES = [
  'js-suite-batch', 'js-suite-core', 'js-suite-more', 'js-suite-parts', 'js-suite-peers', 'js-suite-repair', 'js-suite-replicate',
  'js-suite-sessions', 'js-suite-storage', 'js-upstream-core'
]

/** What programs import in a page in place of packages that need Node. */
const IN_A_PAGE = {
  'hypercore-crypto': `export { crypto as default } from ${JSON.stringify(join(import.meta.dirname, 'page-tools.mjs'))}`,
  'hypercore-storage': "export { HypercoreStorage as default } from '/hypertab/browser/storage.js'",
  'node:util': 'export const inspect = String'
}

/** How Node's consoles show a core, and how its Buffer refuses what is none. */
const OF_NODE = new Set(['how a core shows itself', 'append - bad data type'])

/**
 * Bundles all programs.
 *
 * @param {import('node:test').TestContext} t
 * @returns {Promise<{ script: string, names: string[], record: (name: string, t: import('node:test').TestContext) => Promise<object> }>}
 *   the file for a page, which exports `run` and `tools`; the programs that a page can run; what upstream notes in one
 */
export async function bundlePrograms (t) {
  const folder = temporaryFolder(t)
  const [forNode, script] = await Promise.all([bundle(folder, 'node'), bundle(folder, 'browser')])
  t.after(() => { rmSync(forNode) })
  const recorded = await import(pathToFileURL(forNode).href)
  return {
    script,
    names: recorded.names().filter((name) => !OF_NODE.has(name)),
    record: (name, t) => recorded.run(name, {
      Hypercore: Upstream,
      Storage: CoreStorage,
      lib: (path) => require(`hypercore/${path}`),
      isEqual: isDeepStrictEqual,
      folder: () => temporaryFolder(t)
    })
  }
}

/** All programs in one file. */
async function bundle (folder, platform) {
  const isPage = platform === 'browser'
  // In Node it finds the packages only from here.
  const outfile = isPage ? join(folder, 'suites.js') : join(root, 'artifacts', `suites-${process.pid}.mjs`)
  const support = (name) => join(import.meta.dirname, name)
  await build({
    stdin: {
      contents: [
        ...FILES.map((name) => `import ${JSON.stringify(join(root, 'tests', 'interop', `${name}.test.mjs`))}`),
        `export { names, run } from ${JSON.stringify(support('recorder.mjs'))}`,
        isPage ? `export { tools } from ${JSON.stringify(support('page-tools.mjs'))}` : ''
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
        build.onResolve({ filter: /\/support\/(suite|both)\.mjs$/ }, () => ({ path: support('recorder.mjs') }))
        if (!isPage) return
        build.onResolve({ filter: /^(hypercore-crypto|hypercore-storage|node:util)$/ }, ({ path }) => ({ path, namespace: 'page' }))
        build.onLoad({ filter: /.*/, namespace: 'page' }, ({ path }) => ({ contents: IN_A_PAGE[path], resolveDir: root }))
      }
    }]
  })
  return outfile
}
