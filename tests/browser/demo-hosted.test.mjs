// The built page as somebody else's web server has it: files in a folder, and nothing said about them.

import assert from 'node:assert/strict'
import { cpSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { once } from 'node:events'
import { extname, join } from 'node:path'
import test from 'node:test'

import { root } from '../../scripts/lib/run.mjs'
import { defer } from '../interop/support/cleanup.mjs'
import { temporaryFolder } from '../interop/support/folder.mjs'
import { startTestnet } from '../interop/support/testnet.mjs'
import { openPage, startBrowser } from './support/browser.mjs'
import { lines, openLog, startDemoRelay, startWriter, waitForState, waitForText } from './support/demo.mjs'

test('the folder works below a path of any server, with the relay in its one line; it can be installed, and starts offline', async (t) => {
  const { bootstrap } = await startTestnet(t)
  const relay = await startDemoRelay(t, bootstrap)
  const folder = temporaryFolder(t)
  cpSync(join(root, 'web-demo', 'dist'), folder, { recursive: true })
  const config = readFileSync(join(folder, 'config.json'), 'utf8')
  assert.equal(config.trim().split('\n').length, 1)
  writeFileSync(join(folder, 'config.json'), config.replace(/ws:\/\/[^"]*/, relay.url))
  const server = await servePlainly(t, folder, '/some/place/')

  const context = await startBrowser(t)
  const { page, problems } = await openPage(context, server.url)
  const { key, announce } = await startWriter(t, bootstrap, lines(12))
  await announce()
  await openLog(page, key)
  await waitForState(page, 'complete')
  assert.ok(server.asked.every((path) => path.startsWith('/some/place/')), server.asked.join())
  assert.deepEqual(problems, [])

  const session = await context.newCDPSession(page)
  const { installabilityErrors } = await session.send('Page.getInstallabilityErrors')
  assert.deepEqual(installabilityErrors.map(({ errorId }) => errorId).filter((id) => id !== 'in-incognito'), [])
  const { url, errors } = await session.send('Page.getAppManifest')
  assert.deepEqual([url, errors], [`${server.url}manifest.webmanifest`, []])

  await page.evaluate(async () => { await navigator.serviceWorker.ready })
  // How soon it is there again, with all its files at hand; on a busy machine that says little.
  await page.goto(server.url)
  await page.getByTestId('known-log').waitFor()
  const painted = await page.evaluate(() => performance.getEntriesByName('first-contentful-paint')[0].startTime)
  t.diagnostic(`painted after ${Math.round(painted)} ms`)
  assert.equal(await page.evaluate(() => new Set(performance.getEntriesByType('resource').filter(({ name, transferSize, workerStart }) => !name.endsWith('config.json') && transferSize > 0 && workerStart === 0).map(({ name }) => name)).size), 0, 'nothing but its configuration comes over the network')
  server.close()
  await context.setOffline(true)
  await page.goto(server.url)
  await page.getByTestId('known-log').locator('a').click()
  await waitForState(page, 'offline', 'relay-unreachable')
  await waitForText(page, 'held', '12')
})

test('licences of what others wrote go along, and are not kept for offline', () => {
  const read = (...path) => readFileSync(join(root, ...path), 'utf8')
  const { dependencies } = JSON.parse(read('web-demo', 'package.json'))

  const ofPage = read('web-demo', 'dist', 'licences', 'page.md')
  for (const name of Object.keys(dependencies).filter((name) => name !== 'hypertab')) assert.match(ofPage, new RegExp(`^## ${name} - `, 'm'))
  assert.equal(read('web-demo', 'dist', 'licences', 'hypertab.txt'), read('wasm', 'dist', 'THIRD-PARTY-NOTICES.txt'))
  assert.doesNotMatch(read('web-demo', 'dist', 'service-worker.js'), /"licences\//)
})

/** A web server that knows a few types of files and sets no other header. */
async function servePlainly (t, folder, below) {
  const types = { '.html': 'text/html', '.js': 'text/javascript', '.css': 'text/css', '.json': 'application/json', '.wasm': 'application/wasm', '.svg': 'image/svg+xml', '.png': 'image/png', '.webmanifest': 'application/manifest+json' }
  const asked = []
  const server = createServer((request, response) => {
    const { pathname } = new URL(request.url, 'http://localhost')
    asked.push(pathname)
    const name = pathname.slice(below.length) || 'index.html'
    try {
      assert.ok(pathname.startsWith(below) && !name.includes('..'))
      const body = readFileSync(join(folder, name))
      response.writeHead(200, { 'content-type': types[extname(name)] ?? 'application/octet-stream' }).end(body)
    } catch {
      response.writeHead(404).end()
    }
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const close = () => { server.closeAllConnections(); server.close() }
  defer(t, close)
  return { url: `http://127.0.0.1:${server.address().port}${below}`, asked, close }
}
