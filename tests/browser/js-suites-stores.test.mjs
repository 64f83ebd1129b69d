// Programs over stores, tables, blobs and drives that upstream's classes ran in Node run with ours in Chromium, over IndexedDB,
// and must note the same.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import test from 'node:test'

import { openPage, servePackage, startBrowser } from './support/browser.mjs'
import { bundlePrograms, STORES } from './support/programs.mjs'

test('programs over stores in a page note what upstream notes in Node', async (t) => {
  const { script, names, record } = await bundlePrograms(t, STORES)
  const { url } = await servePackage(t, { '/suites.js': { type: 'text/javascript', body: readFileSync(script) } })
  const { page } = await openPage(await startBrowser(t), url)
  for (const name of names) {
    await t.test(name, async (t) => {
      const expected = await record(name, t)
      const found = await page.evaluate(async (name) => {
        const { run, tools } = await import('/suites.js')
        return await run(name, tools)
      }, name)
      assert.deepEqual(found, expected)
      assert.ok(expected.notes, expected.failed)
    })
  }
})
