// Programs that upstream's classes ran in Node run with ours in a page, over IndexedDB, and must note the same.

import assert from 'node:assert/strict'
import { readFileSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { isDeepStrictEqual } from 'node:util'
import test from 'node:test'

import { build } from 'esbuild'
import CoreStorage from 'hypercore-storage'
import Upstream from 'hypercore'

import { root } from '../../scripts/lib/run.mjs'
import { temporaryFolder } from '../interop/support/folder.mjs'
import { openPage, servePackage, startBrowser } from './support/browser.mjs'

const require = createRequire(import.meta.url)

/** Files of programs that need nothing of Node. */
const FILES = [
  'js-suite-batch', 'js-suite-core', 'js-suite-more', 'js-suite-parts', 'js-suite-repair', 'js-suite-replicate',
  'js-suite-sessions', 'js-suite-storage', 'js-upstream-core'
]

/** What programs import in a page in place of packages that need Node. */
const IN_A_PAGE = {
  'hypercore-crypto': `export { crypto as default } from ${JSON.stringify(join(import.meta.dirname, 'support', 'page-tools.mjs'))}`,
  'hypercore-storage': "export { HypercoreStorage as default } from '/hypertab/browser/storage.js'",
  'node:util': 'export const inspect = String'
}

/** How Node's consoles show a core, and how its Buffer refuses what is none. */
const OF_NODE = new Set(['how a core shows itself', 'append - bad data type'])

test('programs in a page note what upstream notes in Node', async (t) => {
  const folder = temporaryFolder(t)
  const [forNode, forPage] = await Promise.all([bundle(folder, 'node'), bundle(folder, 'browser')])
  t.after(() => { rmSync(forNode) })
  const recorded = await import(pathToFileURL(forNode).href)
  const { url } = await servePackage(t, { '/suites.js': { type: 'text/javascript', body: readFileSync(forPage) } })
  const { page } = await openPage(await startBrowser(t), url)
  for (const name of recorded.names()) {
    if (OF_NODE.has(name)) continue
    await t.test(name, async (t) => {
      const expected = await recorded.run(name, {
        Hypercore: Upstream,
        Storage: CoreStorage,
        lib: (path) => require(`hypercore/${path}`),
        isEqual: isDeepStrictEqual,
        folder: () => temporaryFolder(t)
      })
      const found = await page.evaluate(async (name) => {
        const { run, tools } = await import('/suites.js')
        return await run(name, tools)
      }, name)
      assert.deepEqual(found, expected)
      assert.ok(expected.notes, expected.failed)
    })
  }
})

/** All programs in one file. */
async function bundle (folder, platform) {
  const isPage = platform === 'browser'
  // In Node it finds the packages only from here.
  const outfile = isPage ? join(folder, 'suites.js') : join(root, 'artifacts', `suites-${process.pid}.mjs`)
  const support = (name) => join(import.meta.dirname, 'support', name)
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
