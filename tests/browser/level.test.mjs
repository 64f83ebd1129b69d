// The suite that `abstract-level` gives its implementations, in Chromium, over IndexedDB.

import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import test from 'node:test'

import { build } from 'esbuild'

import { Hyperbee, Hypercore, memory } from 'hypertab'
import { BeeLevel } from 'hypertab/level'

import { forBrowsers } from '../../scripts/lib/bundle.mjs'
import { root } from '../../scripts/lib/run.mjs'
import { temporaryFolder } from '../interop/support/folder.mjs'
import { tape } from '../interop/support/tape.mjs'
import { openPage, servePackage, startBrowser } from './support/browser.mjs'

test('hypertab/level passes the suite of abstract-level in a page', async (t) => {
  const suite = createRequire(import.meta.url)('abstract-level/test')
  const listed = tape(assert, async () => {})
  suite({ test: listed.test, factory: (options) => new BeeLevel(() => new Hyperbee(new Hypercore(memory())), options) })
  const names = listed.names()
  assert.ok(names.length > 800)
  const outdir = temporaryFolder(t)
  await build({
    ...forBrowsers, entryPoints: [join(import.meta.dirname, 'support', 'level-suite.mjs')], outdir, bundle: true, format: 'esm', target: 'es2022', keepNames: true,
    define: { ...forBrowsers.define, global: 'globalThis' }, logLevel: 'error'
  })
  const { url } = await servePackage(t, { '/suite/': outdir, '/engine/': join(root, 'wasm', 'dist', 'engine') })
  const { page } = await openPage(await startBrowser(t), url)

  const found = await page.evaluate(async () => {
    const { run } = await import('/suite/level-suite.js')
    return await run()
  })

  assert.deepEqual(found.failures, [])
  assert.deepEqual(found.names, names)
  t.diagnostic(`${names.length} tests`)
})
