// Programs that upstream's classes ran in Node run with ours in a page, over IndexedDB, and must note the same: in Chromium,
// Firefox and WebKit.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import test from 'node:test'

import { servePackage } from './support/browser.mjs'
import { engines } from './support/engines.mjs'
import { bundlePrograms, CORES } from './support/programs.mjs'

test('programs in a page note what upstream notes in Node', async (t) => {
  const { script, names, record } = await bundlePrograms(t, CORES)
  const { url } = await servePackage(t, { '/suites.js': { type: 'text/javascript', body: readFileSync(script) } })
  const expected = new Map()
  for (const [engine, start] of Object.entries(engines)) {
    const page = await (await start(t)).open(url)
    for (const name of names) {
      await t.test(`${engine}: ${name}`, async (t) => {
        if (!expected.has(name)) expected.set(name, await record(name, t))
        const found = await page.evaluate(async (name) => {
          const { run, tools } = await import('/suites.js')
          return await run(name, tools)
        }, name)
        assert.deepEqual(found, expected.get(name))
        assert.ok(expected.get(name).notes, expected.get(name).failed)
      })
    }
    await page.close()
  }
})
