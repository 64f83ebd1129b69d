// Programs that upstream's swarms ran in Node run with ours in a page of Chromium, behind the relay, and must note the same.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import test from 'node:test'

import DHT from 'hyperdht'
import Hyperswarm from 'hyperswarm'

import { startRelay } from '../interop/support/relay.mjs'
import { parseBootstrap, startTestnet } from '../interop/support/testnet.mjs'
import { servePackage } from './support/browser.mjs'
import { engines } from './support/engines.mjs'
import { bundlePrograms, SWARMS } from './support/programs.mjs'

test('programs over swarms in a page note what upstream notes in Node', async (t) => {
  const { script, names, record } = await bundlePrograms(t, SWARMS)
  const { url } = await servePackage(t, { '/suites.js': { type: 'text/javascript', body: readFileSync(script) } })
  const page = await (await engines.chromium(t)).open(url)
  for (const name of names) {
    await t.test(name, async (t) => {
      // Each on a network of its own: what is announced there stays when swarms are destroyed by force.
      const { bootstrap } = await startTestnet(t)
      const createNode = () => new DHT({ bootstrap: parseBootstrap(bootstrap), host: '127.0.0.1', firewalled: false })
      const expected = await record(name, t, { Hyperswarm, createNode })
      const { url: relay } = await startRelay(t, { testnet: true, args: ['--allow-private'] })
      const found = await page.evaluate(async ({ name, relay }) => {
        const { run, tools, networkKit } = await import('/suites.js')
        return await run(name, { ...tools, network: await networkKit(relay) })
      }, { name, relay })
      assert.deepEqual(found, expected)
      assert.ok(expected.notes, expected.failed)
    })
  }
  await page.close()
})
