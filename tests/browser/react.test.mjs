// The hooks of hypertab/react in a real page with React, in strict mode, which mounts everything twice.

import assert from 'node:assert/strict'
import { basename, join } from 'node:path'
import test from 'node:test'

import { build } from 'esbuild'

import { root } from '../../scripts/lib/run.mjs'
import { startTestnet } from '../interop/support/testnet.mjs'
import { openPage, servePackage, startBrowser } from './support/browser.mjs'
import { PATIENCE_MS, startDemoRelay, startWriter } from './support/demo.mjs'

test('a core follows what is appended, and is closed with its component', async (t) => {
  const { page, problems } = await open(t)

  await page.evaluate(() => { globalThis.hide = app.show('Log', { name: 'log' }) })
  await shows(page, '#log', 'open 0 0 true 0 ')
  await page.evaluate(() => core.append(['a', 'b']))
  await shows(page, '#log', 'open 2 2 true 0 ')
  await page.evaluate(() => core.truncate(1))
  await shows(page, '#log', 'open 1 1 true 0 ')
  await page.evaluate(() => hide())
  await page.waitForFunction(() => app.made.cores.every(({ closed }) => closed))

  assert.ok(await page.evaluate(() => app.made.cores.length) >= 1)
  assert.deepEqual(problems, [])
})

test('mounting and unmounting as fast as it goes leaves one open core, and then none', async (t) => {
  const { page, problems } = await open(t)

  await page.evaluate(async () => {
    for (let i = 0; i < 20; i++) {
      const hide = app.show('Log', { name: 'same' })
      await new Promise((resolve) => setTimeout(resolve, i % 4 * 15))
      hide()
    }
    globalThis.hide = app.show('Log', { name: 'same' })
  })
  await shows(page, '#log', 'open 0 0 true 0 ')
  assert.equal(await page.evaluate(() => app.made.cores.filter(({ closed }) => !closed).length), 1)
  await page.evaluate(() => core.append('still works'))
  await shows(page, '#log', 'open 1 1 true 0 ')
  await page.evaluate(() => hide())
  await page.waitForFunction(() => app.made.cores.every(({ closed }) => closed))

  assert.deepEqual(problems, [])
})

test('a core that was given stays open, and tells when it is closed; an error is shown', async (t) => {
  const { page, problems } = await open(t)

  await page.evaluate(async () => {
    globalThis.own = new app.Hypercore(app.memory())
    await own.append('here')
    globalThis.hide = app.show('Given', { core: own })
  })
  await shows(page, '#given', 'open 1')
  await page.evaluate(() => hide())
  assert.equal(await page.evaluate(() => own.closed), false)
  await page.evaluate(() => { globalThis.hide = app.show('Given', { core: own }) })
  await shows(page, '#given', 'open 1')
  await page.evaluate(() => own.close())
  await shows(page, '#given', 'closed 1')
  await page.evaluate(() => { hide(); globalThis.hide = app.show('Log', { name: 5 }) })
  await page.waitForFunction(() => document.querySelector('#log')?.textContent.startsWith('failed'))

  assert.deepEqual(problems, [])
})

test('a bee follows its range, and a drive its folder', async (t) => {
  const { page, problems } = await open(t)

  await page.evaluate(() => {
    globalThis.store = new app.Corestore('tables')
    globalThis.hide = [app.show('Table', { store }), app.show('Files', { store })]
  })
  await shows(page, '#bee', 'open 1 ')
  await page.evaluate(async () => {
    await bee.put('a', 0)
    await bee.put('b', 1)
    await bee.put('c', 2)
  })
  await shows(page, '#bee', 'open 4 b=1,c=2')
  await page.click('#one')
  await shows(page, '#bee', 'open 4 b=1')
  await page.evaluate(() => bee.del('b'))
  await shows(page, '#bee', 'open 5 c=2')

  await shows(page, '#drive', 'open ')
  await page.evaluate(async () => {
    await drive.put('/top.txt', 'top')
    await drive.put('/below/file.txt', 'below')
  })
  await shows(page, '#drive', 'open /below/file.txt,/top.txt')
  await page.click('#below')
  await shows(page, '#drive', 'open /below/file.txt')
  await page.evaluate(() => drive.del('/below/file.txt'))
  await shows(page, '#drive', 'open ')

  await page.evaluate(() => { for (const end of hide) end() })
  await page.waitForFunction(() => [...app.made.bees, ...app.made.drives].every(({ closed }) => closed))
  assert.equal(await page.evaluate(() => store.closed), false)
  assert.deepEqual(problems, [])
})

test('what could not be read is open again once it can be, also when it is the same as before', async (t) => {
  const { page, problems } = await open(t)
  await page.evaluate(() => {
    globalThis.store = new app.Corestore('failing')
    globalThis.hide = app.show('Files', { store })
  })
  await shows(page, '#drive', 'open ')

  await page.evaluate(() => {
    drive.list = () => { throw new Error('not to be read') }
    drive.core.emit('append')
  })
  await shows(page, '#drive', 'failed ')
  await page.evaluate(() => {
    delete drive.list
    drive.core.emit('append')
  })
  await shows(page, '#drive', 'open ')

  await page.evaluate(() => { hide() })
  assert.deepEqual(problems, [])
})

test('a swarm joins while it is shown, replicates, and shows the path; then it is gone', async (t) => {
  const { bootstrap } = await startTestnet(t)
  const relay = await startDemoRelay(t, bootstrap)
  const writer = await startWriter(t, bootstrap, ['from Node', 'over the relay'])
  await writer.announce()
  const { page, problems } = await open(t)
  page.setDefaultTimeout(PATIENCE_MS)

  await page.evaluate(([theirs, relay]) => {
    globalThis.hide = app.show('Remote', { store: new app.Corestore('copies'), theirs, relay })
  }, [writer.key, relay.url])
  await shows(page, '#remote', 'open true relay 2 1')
  assert.equal(await page.evaluate(() => remote.get(1)), 'over the relay')
  await page.evaluate(() => hide())
  await page.waitForFunction(() => app.made.swarms.every(({ destroyed, connections }) => destroyed && connections.size === 0))

  assert.deepEqual(problems, [])
})

/** A page that has the components, and the package beside them. */
async function open (t) {
  const { outputFiles: [script] } = await build({
    entryPoints: [join(import.meta.dirname, 'support', 'react-app.jsx')],
    bundle: true,
    write: false,
    format: 'esm',
    jsx: 'automatic',
    define: { 'process.env.NODE_ENV': '"development"' },
    logLevel: 'error',
    plugins: [{
      name: 'package-of-the-page',
      setup (build) {
        // Two copies of the package would be two engines; React has to be one, too, so the hooks are bundled with it.
        build.onResolve({ filter: /^hypertab$/ }, () => ({ path: '/hypertab/browser/index.js', external: true }))
        build.onResolve({ filter: /^hypertab\/react$/ }, () => ({ path: join(root, 'wasm', 'dist', 'browser', 'react.js') }))
        build.onResolve({ filter: /chunk-\w+\.js$/ }, ({ path }) => ({ path: `/hypertab/browser/${basename(path)}`, external: true }))
      }
    }]
  })
  const { url } = await servePackage(t, { '/app.js': { type: 'text/javascript', body: script.text } })
  const opened = await openPage(await startBrowser(t), url)
  await opened.page.evaluate(async () => { globalThis.app = await import('/app.js') })
  return opened
}

async function shows (page, selector, text) {
  await page.waitForFunction(([selector, text]) => document.querySelector(selector)?.textContent === text, [selector, text]).catch(async (error) => {
    assert.equal(await page.evaluate((selector) => document.querySelector(selector)?.textContent, selector), text, error.message)
  })
}
